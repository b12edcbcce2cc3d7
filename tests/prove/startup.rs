//! What the engine does to make an instance: tables and initial values that it cannot lay out in advance are code to it, which is
//! metered and can trap. None of that may be the host's error, nor cost a vat anything.

use vat_abi::Outcome;
use vat_engine::{Engine, EngineConfig, Error, Refusal, VatInstance};

use crate::bench::{Bench, PAGES_MAX, deliver};

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

#[test]
fn elements_beyond_their_table_are_refused_as_birth() {
    let engine = Engine::new(EngineConfig::default()).unwrap();
    let wasm = wat::parse_str(vat("(table 1 funcref) (elem (i32.const 1) func $f)")).unwrap();
    let module = engine.module(&wasm).unwrap();
    match VatInstance::birth(&engine, &module, PAGES_MAX) {
        Err(Error::Refused(Refusal::Birth(why))) => {
            assert_eq!(why, "trap: out of bounds table access");
        }
        other => panic!("{other:?}"),
    }
}
