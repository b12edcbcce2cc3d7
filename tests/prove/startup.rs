//! What happens before anything is delivered: initial values and segments that the engine lays out by code cost a vat nothing, and
//! birth, which all vats of a module share, depends on no vat's limit. What tables then hold is for `segments`.

use vat_abi::{Outcome, VatFault};
use vat_engine::Error;

use crate::bench::{Bench, deliver};

/// Each makes the engine run code of its own before anything of the module's runs.
const LAID_OUT_BY_CODE: [&str; 4] = [
    "(elem func $f)",
    "(table 3 funcref) (elem (i32.const 1) funcref (ref.null func) (ref.func $f))",
    "(global $g i32 (i32.add (i32.const 40) (i32.const 2)))",
    "(global $g funcref (ref.func $f)) (elem declare func $f)",
];

fn vat(declarations: &str) -> String {
    format!(
        r#"(module (memory (export "memory") 1) {declarations} (func $f)
             (func (export "vat_deliver") (param i32) (result i32) (i32.const 0)))"#
    )
}

#[test]
fn what_an_engine_lays_out_by_code_costs_a_vat_nothing() {
    let plain = deliver(&mut Bench::new(&vat("")).birth(), 0);
    for declarations in LAID_OUT_BY_CODE {
        let bench = Bench::new(&vat(declarations));
        let mut instance = bench.birth();
        let mut restored = bench.again(&mut instance);
        for instance in [&mut instance, &mut restored] {
            let report = deliver(instance, 0);
            assert_eq!(report.outcome, Outcome::Delivered, "{declarations}");
            assert_eq!(report.computrons, plain.computrons, "{declarations}");
        }
    }
}

/// Grows by 20 pages at birth, and by one with each delivery; fails if it cannot.
const GROWING: &str = r#"(module (memory (export "memory") 1)
  (func $start (if (i32.ne (memory.grow (i32.const 20)) (i32.const 1)) (then (unreachable))))
  (start $start)
  (func (export "vat_deliver") (param i32) (result i32) (i32.lt_s (memory.grow (i32.const 1)) (i32.const 0))))"#;

#[test]
fn birth_is_the_same_for_every_limit_and_too_large_for_some() {
    let bench = Bench::new(GROWING);
    assert_eq!(bench.birth().memory_pages(), 21);
    let state = bench.capture(&mut bench.birth());
    for limit in [1, 20] {
        let (born, restored) = (bench.birth_within(limit), bench.restore_within(limit, &state));
        for refused in [born, restored] {
            let error = refused.expect_err("it has more pages than it may");
            assert!(matches!(error, Error::MemoryLimitTooLow { needed: 21, .. }), "{limit} pages: {error}");
        }
    }
    for mut instance in [bench.birth_within(22).unwrap(), bench.restore_within(22, &state).unwrap()] {
        assert_eq!(deliver(&mut instance, 0).outcome, Outcome::Delivered);
        assert_eq!(deliver(&mut instance, 0).outcome, Outcome::Faulted(VatFault::failed(&[])));
    }
}
