//! The counter, compiled and hosted: what it answers, and that nobody can tell where it was meanwhile.

use vat_testkit::{Result, Scenario, TestVat, VatFault, json, this_vat};

#[test]
fn it_counts() -> Result {
    let mut vat = TestVat::start(this_vat!(), json!({"start": 7}))?;
    assert_eq!(vat.call::<u64>("add", (5,))?, 12);
    assert_eq!(vat.call::<u64>("increment", ())?, 13);
    assert_eq!(vat.rejects("add", (-100,))?.message(), "13 -100 is no count");
    assert_eq!(vat.call::<u64>("peek", ())?, 13);
    vat.call::<()>("reset", ())?;
    assert_eq!(vat.call::<u64>("peek", ())?, 7);
    Ok(())
}

#[test]
fn it_begins_at_zero_and_refuses_parameters_that_it_does_not_know() -> Result {
    let mut vat = TestVat::start(this_vat!(), ())?;
    assert_eq!(vat.call::<u64>("peek", ())?, 0);
    let error = TestVat::start(this_vat!(), json!({"begin": 7})).expect_err("the name is wrong");
    assert!(error.to_string().contains("unknown field `begin`"), "{error}");
    Ok(())
}

#[test]
fn a_crash_of_its_own_changes_nothing() -> Result {
    let mut vat = TestVat::start(this_vat!(), json!({"start": 7}))?;
    let fault = vat.faults("crash", ("why not",))?;
    let VatFault::Failed { message } = fault else { panic!("{fault}") };
    assert!(message.starts_with("panicked at ") && message.ends_with(": why not"), "{message}");
    assert_eq!(vat.call::<u64>("peek", ())?, 7);
    Ok(())
}

#[test]
fn it_survives_whatever_happens_to_its_host() -> Result {
    let mut vat = TestVat::start(this_vat!(), ())?;
    for (step, happens) in
        [TestVat::evict, TestVat::snapshot, TestVat::restart, TestVat::crash].iter().enumerate()
    {
        assert_eq!(vat.call::<u64>("increment", ())?, step as u64 + 1);
        happens(&mut vat)?;
    }
    assert_eq!(vat.call::<u64>("peek", ())?, 4);
    vat.verify()
}

#[test]
fn nobody_can_tell_where_it_was() {
    Scenario::of(this_vat!())
        .start(json!({"start": 7}))
        .calls("add", (0..4).map(|n| (n,)))
        .call("crash", ("on purpose",))
        .call("add", (-1_000,))
        .call("reset", ())
        .call("increment", ())
        .assert_deterministic();
}
