//! Kept transcripts: what the vats in `tests/vats` did, with the hash of every heap, when this was written.
//!
//! A difference means that an upgrade (of wasmtime, of wasm-encoder, of our rewrite) changed a computron, a syscall, a
//! global or a byte of heap. Stores in the field would then fail to replay: such a change needs a new `RULES_VERSION`, and
//! only then new golden files, by `UPDATE_EXPECT=1`.

use std::fmt::Write as _;

use expect_test::{ExpectFile, expect_file};
use vat_engine::VatInstance;

use crate::bench::{Bench, deliver};

const DELIVERIES: usize = 12;
const STATE: &str = include_str!("../vats/state.wat");
const SCATTER: &str = include_str!("../vats/scatter.wat");

fn line(text: &mut String, instance: &mut VatInstance) {
    let (pages, heap) = (instance.memory_pages(), blake3::hash(instance.heap()));
    writeln!(text, "  heap {pages} pages {heap}\n  {:?}", instance.globals()).unwrap();
}

/// The transcript of a vat, restored before every delivery or never.
fn transcript(wat: &str, is_restored: impl Fn(usize) -> bool) -> String {
    let bench = Bench::new(wat);
    let mut instance = bench.birth();
    let mut text = "birth\n".to_owned();
    line(&mut text, &mut instance);
    for number in 0..DELIVERIES {
        if is_restored(number) {
            instance = bench.again(&mut instance);
        }
        let report = deliver(&mut instance, number * 7);
        writeln!(text, "delivery {number}: {} {} computrons", report.outcome, report.computrons.0).unwrap();
        for syscall in &report.syscalls {
            writeln!(text, "  {syscall:?}").unwrap();
        }
        line(&mut text, &mut instance);
    }
    text
}

#[track_caller]
fn check(wat: &str, expected: &ExpectFile) {
    let stayed = transcript(wat, |_| false);
    assert_eq!(transcript(wat, |_| true), stayed, "restored before every delivery");
    expected.assert_eq(&stayed);
}

#[test]
fn the_golden_transcripts_have_not_changed() {
    check(STATE, &expect_file!["golden/state.txt"]);
    check(SCATTER, &expect_file!["golden/scatter.txt"]);
}

#[test]
fn a_vat_that_is_restored_before_every_delivery_is_charged_the_same() {
    for wat in [STATE, SCATTER] {
        assert_eq!(transcript(wat, |number| number % 2 == 0), transcript(wat, |number| number % 3 == 0));
    }
}
