//! The vat that misbehaves, compiled and hosted: each misdeed is a fault, undone, and the same everywhere.

use vat_testkit::{
    Result, Scenario, Subject, TestVat, TrapKind, Value, VatFault, VatOptions, json, promise, this_vat,
};

/// With an allowance that an endless loop uses up soon, and memory for a few mebibytes.
fn subject() -> Subject {
    this_vat!().options(VatOptions { computrons_per_delivery: 20_000_000, memory_pages_max: 128 })
}

#[test]
fn every_misdeed_is_its_own_fault_and_is_undone() -> Result {
    let panicked =
        |fault: &VatFault| matches!(fault, VatFault::Failed { message } if message.ends_with(": oh"));
    let misdeeds: [(&str, Value, &dyn Fn(&VatFault) -> bool); 9] = [
        ("loop", json!([]), &|fault| *fault == VatFault::OutOfComputrons),
        ("recurse", json!([]), &|fault| *fault == VatFault::StackOverflow),
        ("trap", json!([]), &|fault| *fault == VatFault::Trap(TrapKind::Unreachable)),
        ("panic", json!(["oh"]), &panicked),
        ("badPointer", json!([4_294_967_290_u32, 8]), &|fault| *fault == VatFault::BadPointer),
        ("badSyscall", json!(["[\"nonsense\"]"]), &|fault| *fault == VatFault::BadSyscallBytes),
        ("badText", json!([]), &|fault| *fault == VatFault::BadSyscallBytes),
        ("flood", json!([200_000]), &|fault| *fault == VatFault::OutOfComputrons),
        ("grow", json!([64]), &|fault| matches!(fault, VatFault::Failed { .. } | VatFault::Trap(_))),
    ];
    let mut vat = TestVat::start(subject(), ())?;
    let mut count = 0;
    for (misdeed, arguments, expected) in misdeeds {
        let fault = vat.faults(misdeed, arguments)?;
        assert!(expected(&fault), "{misdeed}: {fault}");
        count += 1;
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
