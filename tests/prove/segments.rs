//! Segments, of which the rewrite changes the one kind and instantiation runs the other.
//!
//! Element segments are left to instantiation: what it runs is paid by nobody, and is the module's own doing if it traps.
//! Active data segments have become passive ones, and must look as if they were gone. The specification's tests
//! (`spec`) tell neither: they have no computrons, and read no active segment from its first byte.

use vat_abi::{Outcome, TrapKind, VatFault};
use vat_engine::{Engine, EngineConfig, Error, Refusal, VatInstance};

use crate::bench::{Bench, deliver};

/// A vat that calls what is at index 2 of its table, which these segments fill.
fn vat(segments: &str) -> String {
    format!(
        r#"(module (type $f (func (result i32))) (table 4 funcref) {segments}
             (memory (export "memory") 1)
             (func $one (result i32) (i32.const 0))
             (func (export "vat_deliver") (param i32) (result i32) (call_indirect (type $f) (i32.const 2))))"#
    )
}

#[test]
fn a_table_of_expressions_is_filled_at_birth_and_at_every_restore_for_nothing() {
    let segments = [
        "(elem (i32.const 2) func $one)",
        "(elem (i32.const 1) funcref (ref.null func) (ref.func $one))",
        "(elem (i32.const 0) func $one) (elem (i32.const 2) funcref (ref.func $one) (ref.null func))",
    ];
    let mut prices = Vec::new();
    for text in segments {
        let bench = Bench::new(&vat(text));
        let mut instance = bench.birth();
        for _ in 0..2 {
            instance = bench.again(&mut instance);
            let report = deliver(&mut instance, 0);
            assert_eq!(report.outcome, Outcome::Delivered, "{text}");
            prices.push(report.computrons);
        }
    }
    assert!(prices.iter().all(|price| *price == prices[0]), "{prices:?}");
}

#[test]
fn a_segment_that_does_not_fit_its_table_is_a_refusal() {
    let engine = Engine::new(EngineConfig::default()).unwrap();
    for text in
        ["(elem (i32.const 4) func $one)", "(elem (i32.const 3) funcref (ref.func $one) (ref.null func))"]
    {
        let module = engine.module(&wat::parse_str(vat(text)).unwrap()).unwrap();
        let error = VatInstance::birth(&engine, &module, 1).unwrap_err();
        let Error::Refused(Refusal::Birth(fault)) = error else { panic!("{text}: {error}") };
        assert_eq!(fault, "trap: out of bounds table access", "{text}");
    }
}

#[test]
fn an_active_data_segment_is_empty_after_birth_and_a_passive_one_is_not() {
    let empty = Outcome::Faulted(VatFault::Trap(TrapKind::OutOfBoundsMemory));
    let cases = [
        ("$active", 0, 1, &empty),
        ("$active", 0, 0, &Outcome::Delivered),
        ("$active", 1, 0, &empty),
        ("$passive", 0, 3, &Outcome::Delivered),
        ("$passive", 1, 3, &empty),
    ];
    for (segment, from, bytes, expected) in cases {
        let bench = Bench::new(&format!(
            r#"(module (memory (export "memory") 1)
                 (data $active (i32.const 0) "abc") (data $passive "xyz")
                 (func (export "vat_deliver") (param i32) (result i32)
                   (memory.init {segment} (i32.const 8) (i32.const {from}) (i32.const {bytes})) (i32.const 0)))"#
        ));
        let born = bench.birth();
        assert_eq!(born.heap()[..3], *b"abc");
        for mut instance in [bench.again(&mut bench.birth()), born] {
            assert_eq!(
                deliver(&mut instance, 0).outcome,
                *expected,
                "{bytes} bytes of {segment} from {from}"
            );
            let copied = if *expected == Outcome::Delivered { bytes } else { 0 };
            assert_eq!(instance.heap()[8..8 + copied], b"xyz"[..copied], "{bytes} bytes of {segment}");
        }
    }
}
