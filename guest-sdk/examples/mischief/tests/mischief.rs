//! The vat that misbehaves, compiled and hosted: each misdeed is a fault, undone, and the same everywhere.

use vat_testkit::{Result, Scenario, Subject, TestVat, VatFault, VatOptions, json, promise, this_vat};

/// With an allowance that an endless loop uses up soon, and memory for a few mebibytes.
fn subject() -> Subject {
    this_vat!().options(VatOptions { computrons_per_delivery: 20_000_000, memory_pages_max: 128 })
}

#[test]
fn every_misdeed_is_its_own_fault_and_is_undone() -> Result {
    let misdeeds = [
        ("loop", json!([]), "out of computrons"),
        ("recurse", json!([]), "stack overflow"),
        ("trap", json!([]), "trap: unreachable"),
        ("panic", json!(["oh"]), ": oh"),
        ("badPointer", json!([4_294_967_290_u32, 8]), "bad pointer"),
        ("badSyscall", json!(["[\"nonsense\"]"]), "bad syscall bytes"),
        ("badText", json!([]), "bad syscall bytes"),
        ("flood", json!([200_000]), "out of computrons"),
        ("grow", json!([64]), "trap: unreachable"), // how std ends when an allocation fails
    ];
    let mut vat = TestVat::start(subject(), ())?;
    for (count, (misdeed, arguments, expected)) in (1..).zip(misdeeds) {
        let fault = vat.faults(misdeed, arguments)?.to_string();
        assert!(fault.contains(expected), "{misdeed}: {fault}");
        assert_eq!(vat.call::<u64>("count", ())?, count, "after {misdeed}");
    }
    vat.verify()
}

#[test]
fn a_promise_that_is_not_its_own_cannot_be_settled() -> Result {
    let mut vat = TestVat::start(subject(), ())?;
    assert_eq!(vat.faults("stealPromise", (promise(7),))?, VatFault::IllegalSyscall);
    assert!(vat.logs()[0].text.contains("p-7 is not the vat's to decide"), "{}", vat.logs()[0]);
    assert_eq!(vat.call::<u64>("count", ())?, 1);
    Ok(())
}

#[test]
fn nobody_can_tell_where_it_was() {
    Scenario::of(subject())
        .call("count", ())
        .call("loop", ())
        .call("grow", (2,))
        .call("trap", ())
        .call("stealPromise", (promise(7),))
        .call("badPointer", (4_294_967_290_u32, 8))
        .call("stuff", (10_000,))
        .call("count", ())
        .assert_deterministic();
}
