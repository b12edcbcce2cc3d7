//! The vat for `wasm32-wasip1`, compiled and hosted: its clock, its randomness and its output are functions of
//! the delivery.

use vat_testkit::{Result, Scenario, TestVat, this_vat};

#[test]
fn the_clock_shows_the_time_of_the_crank_and_stands_still() -> Result {
    let mut vat = TestVat::start(this_vat!(wasip1), ())?;
    vat.set_time(1_234_567_890_123_456_789);
    assert_eq!(vat.call::<u64>("now", ())?, 1_234_567_890_123_456_789);
    assert_eq!(vat.call::<u64>("elapsed", ())?, 0);
    Ok(())
}

#[test]
fn what_it_prints_is_in_the_log() -> Result {
    let mut vat = TestVat::start(this_vat!(wasip1), ())?;
    vat.call::<()>("print", ("hello",))?;
    let lines: Vec<&str> = vat.logs().iter().map(|line| line.text.as_str()).collect();
    assert_eq!(lines, ["hello", "about to have printed \"hello\""]);
    Ok(())
}

#[test]
fn each_delivery_has_randomness_of_its_own_and_always_the_same() -> Result {
    let draw = || -> Result<[u64; 2]> {
        let mut vat = TestVat::start(this_vat!(wasip1), ())?;
        Ok([vat.call("random", ())?, vat.call("random", ())?])
    };
    let drawn = draw()?;
    assert_ne!(drawn[0], drawn[1]);
    assert_eq!(drawn, draw()?);
    Ok(())
}

#[test]
fn there_is_no_world_outside() -> Result {
    let mut vat = TestVat::start(this_vat!(wasip1), ())?;
    assert_eq!(vat.call::<(u64, u64, bool)>("outside", ())?, (0, 0, false));
    Ok(())
}

#[test]
fn nobody_can_tell_where_it_was() {
    Scenario::of(this_vat!(wasip1))
        .calls("note", ["one", "two", "three", "two"].map(|word| (word,)))
        .call("words", ())
        .call("random", ())
        .call("now", ())
        .call("print", ("hello",))
        .assert_deterministic();
}
