//! Numbers that hosts could disagree about: the bits of a NaN, and the price of a delivery that trapped.

use vat_abi::Outcome;
use vat_engine::VatInstance;

use crate::bench::{Bench, COMPUTRONS_MAX, deliver};

/// The first bytes of the heap after one delivery of a vat with this body.
fn after(body: &str) -> VatInstance {
    let bench = Bench::new(&format!(
        r#"(module (memory (export "memory") 1) (func (export "vat_deliver") (param i32) (result i32) {body} (i32.const 0)))"#
    ));
    let mut instance = bench.birth();
    assert_eq!(deliver(&mut instance, 0).outcome, Outcome::Delivered, "{body}");
    instance
}

#[test]
fn nan_bits_are_canonical() {
    // Each operand is a NaN with a payload or a sign, which processors carry over, each in its own way.
    let f32_nan = "(f32.reinterpret_i32 (i32.const 0xffa00001))";
    let f64_nan = "(f64.reinterpret_i64 (i64.const 0xfff4000000000001))";
    let lanes = "(v128.const i32x4 0xffa00001 0xffa00002 0x7fa00003 0xffc00004)";
    let wide = "(v128.const i64x2 0xfff4000000000001 0x7ff4000000000002)";
    for operation in ["add", "sub", "mul", "div", "min", "max"] {
        let instance = after(&format!(
            "(f32.store (i32.const 0) (f32.{operation} {f32_nan} (f32.const 1)))
             (f64.store (i32.const 8) (f64.{operation} (f64.const 1) {f64_nan}))
             (v128.store (i32.const 16) (f32x4.{operation} {lanes} {lanes}))
             (v128.store (i32.const 32) (f64x2.{operation} {wide} {wide}))"
        ));
        let heap = instance.heap();
        let (small, large) = (0x7fc0_0000_u32.to_le_bytes(), 0x7ff8_0000_0000_0000_u64.to_le_bytes());
        assert_eq!(heap[..4], small, "f32.{operation}");
        assert_eq!(heap[8..16], large, "f64.{operation}");
        assert_eq!(heap[16..32], small.repeat(4), "f32x4.{operation}");
        assert_eq!(heap[32..48], large.repeat(2), "f64x2.{operation}");
    }
}

#[test]
fn a_trap_costs_the_whole_allowance() {
    // Work before the trap, since the engine's own count forgets it, for some of these traps and not for others.
    let work = "(loop $l (br_if $l (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 5000))))";
    let traps = [
        "(unreachable)",
        "(drop (i32.div_s (i32.const 1) (i32.const 0)))",
        "(drop (i32.load (i32.const -4)))",
        "(memory.fill (i32.const 65535) (i32.const 1) (i32.const 2))",
        "(loop $forever (br $forever))",
    ];
    for trap in traps {
        let bench = Bench::new(&format!(
            r#"(module (memory (export "memory") 1)
                 (func (export "vat_deliver") (param i32) (result i32) {work} {trap} (i32.const 0)))"#
        ));
        let report = deliver(&mut bench.birth(), 0);
        assert!(matches!(report.outcome, Outcome::Faulted(_)), "{trap}");
        assert_eq!(report.computrons.0, COMPUTRONS_MAX, "{trap}");
    }
}
