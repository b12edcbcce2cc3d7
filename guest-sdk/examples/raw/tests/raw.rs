//! The vat without the SDK, compiled and hosted: the test kit asks nothing of a vat but the ABI.

use vat_testkit::{Delivery, Result, Scenario, TestVat, VatFault, this_vat};

#[test]
fn it_counts() -> Result {
    let mut vat = TestVat::start(this_vat!(), ())?;
    assert_eq!(vat.call::<u64>("add", (5,))?, 5);
    vat.evict()?;
    assert_eq!(vat.call::<u64>("add", (7,))?, 12);
    assert_eq!(vat.call::<u64>("peek", ())?, 12);
    vat.send_only("add", (1,))?;
    assert!(vat.syscalls().is_empty(), "nobody waits for an answer");
    assert_eq!(vat.call::<u64>("peek", ())?, 13);
    Ok(())
}

#[test]
fn it_rejects_what_it_does_not_understand() -> Result {
    let mut vat = TestVat::start(this_vat!(), ())?;
    let wrong = vat.rejects("peek", (1,))?;
    assert_eq!(wrong.message(), "add takes one number below 2^53, peek takes none");
    assert_eq!(vat.rejects("multiply", (5,))?.message(), "there are two methods: add and peek");
    vat.rejects("add", (-5,))?;
    assert!(vat.deliver(Delivery::BringOutYourDead)?.outcome.is_delivered());
    let fault = vat.faults("add", ("x".repeat(5_000),))?;
    assert!(matches!(fault, VatFault::Failed { .. }), "{fault}");
    Ok(())
}

#[test]
fn nobody_can_tell_where_it_was() {
    Scenario::of(this_vat!())
        .calls("add", (0..4).map(|n| (n,)))
        .call("peek", ())
        .call("add", ("x".repeat(5_000),))
        .call("peek", ())
        .assert_deterministic();
}
