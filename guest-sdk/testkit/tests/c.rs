//! A vat in C, compiled and hosted; skipped, loudly, where there is no C compiler for wasm.

use std::path::PathBuf;

use vat_testkit::{Result, Scenario, Subject, TestVat};

fn c_counter() -> Result<Option<Subject>> {
    let sources = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../c");
    Subject::c(sources.join("c-counter.c"), &[sources.join("vat.h")])
}

#[test]
fn it_counts_and_echoes() -> Result {
    let Some(subject) = c_counter()? else { return Ok(()) };
    let mut vat = TestVat::start(subject, ())?;
    assert_eq!(vat.call::<u64>("add", (5,))?, 5);
    vat.evict()?;
    assert_eq!(vat.call::<u64>("add", (7,))?, 12);
    assert_eq!(vat.call::<String>("echo", ("a \"quoted\" word",))?, "a \"quoted\" word");
    assert_eq!(vat.rejects("multiply", (2,))?.name(), "TypeError");
    assert_eq!(vat.call::<u64>("peek", ())?, 12);
    Ok(())
}

#[test]
fn nobody_can_tell_where_it_was() -> Result {
    let Some(subject) = c_counter()? else { return Ok(()) };
    Scenario::of(subject).calls("add", (0..4).map(|n| (n,))).call("echo", ("x",)).assert_deterministic();
    Ok(())
}
