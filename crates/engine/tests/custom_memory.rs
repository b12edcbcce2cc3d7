//! What restoring relies on and wasmtime does not promise: its documentation wants a memory of one's own to be zero-filled
//! and of the declared minimum. If an upgrade changes any of this, it must fail here, loudly, and not in somebody's vat.

use std::sync::Arc;

use vat_abi::{CapData, Delivery, Outcome, Syscall, SyscallResult};
use vat_engine::{
    CrankContext, Engine, EngineConfig, HeapState, SyscallHandler, SyscallVerdict, VatInstance, VatModule,
};
use vat_image::{Check, PageStore, RestoreMethod, StoreOptions, best_tracker};

const CONTEXT: CrankContext = CrankContext { time_ns: 1, seed: [7; 32], computrons_max: 1_000_000 };
const PAGES_MAX: u32 = 64;

/// Grows by one page per delivery and traps unless it sees what it left: its size, and a mark in every page.
const GROWING: &str = r#"(module
  (memory (export "memory") 1)
  (data (i32.const 0) "active")
  (func (export "vat_deliver") (param i32) (result i32) (local $page i32)
    (if (i32.ne (i32.load8_u (i32.const 1)) (i32.const 99)) (then ;; 'c': not yet overwritten
      (if (i32.ne (memory.size) (i32.load (i32.const 16))) (then (unreachable)))
      (loop $each
        (local.set $page (i32.add (local.get $page) (i32.const 1)))
        (if (i32.lt_u (local.get $page) (memory.size)) (then
          (if (i32.ne (i32.load (i32.mul (local.get $page) (i32.const 65536))) (local.get $page)) (then (unreachable)))
          (br $each))))))
    (i32.store8 (i32.const 1) (i32.const 33))
    (drop (memory.grow (i32.const 1)))
    (i32.store (i32.mul (i32.sub (memory.size) (i32.const 1)) (i32.const 65536)) (i32.sub (memory.size) (i32.const 1)))
    (i32.store (i32.const 16) (memory.size))
    (i32.const 0)))"#;

struct Silent;

impl SyscallHandler for Silent {
    fn syscall(&mut self, _syscall: &Syscall) -> SyscallVerdict {
        SyscallVerdict::Answer(SyscallResult::Ok(None))
    }
}

struct Bench {
    _dir: tempfile::TempDir,
    engine: Engine,
    module: VatModule,
    pages: PageStore,
}

impl Bench {
    fn new(restore: RestoreMethod, wat: &str) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::new(EngineConfig { restore, ..EngineConfig::default() }).unwrap();
        let module = engine.module(&wat::parse_str(wat).unwrap()).unwrap();
        let (pages, _) = PageStore::open(dir.path(), &[], StoreOptions::default()).unwrap();
        Bench { _dir: dir, engine, module, pages }
    }

    fn birth(&self) -> VatInstance {
        VatInstance::birth(&self.engine, &self.module, PAGES_MAX).unwrap()
    }

    fn capture(&self, instance: &mut VatInstance) -> HeapState {
        instance.capture(&self.pages, Arc::clone(&best_tracker()).as_ref(), Check::Always).unwrap().state
    }

    fn restore(&self, state: &HeapState) -> VatInstance {
        VatInstance::restore(&self.engine, &self.module, PAGES_MAX, state).unwrap()
    }
}

fn deliver(instance: &mut VatInstance) {
    let (report, _) = instance.deliver(&Delivery::StartVat(CapData::undefined()), &CONTEXT, Silent);
    assert_eq!(report.unwrap().outcome, Outcome::Delivered);
}

#[test]
fn a_memory_that_begins_filled_is_not_touched_by_instantiation() {
    for method in [RestoreMethod::Map, RestoreMethod::Copy] {
        let bench = Bench::new(method, GROWING);
        let mut instance = bench.birth();
        deliver(&mut instance);
        let state = bench.capture(&mut instance);
        let restored = bench.restore(&state);
        assert_eq!(restored.heap(), instance.heap(), "{method:?}: right after instantiation");
        assert_eq!(&restored.heap()[..6], b"a!tive", "{method:?}: the active segment was not written again");
    }
}

#[test]
fn a_memory_larger_than_its_minimum_is_as_large_as_it_says() {
    for method in [RestoreMethod::Map, RestoreMethod::Copy] {
        let bench = Bench::new(method, GROWING);
        let mut instance = bench.birth();
        for size in 2..20 {
            deliver(&mut instance);
            assert_eq!(instance.memory_pages(), size, "{method:?}: growth goes on from the restored size");
            let state = bench.capture(&mut instance);
            instance = bench.restore(&state);
            assert_eq!(instance.memory_pages(), size, "{method:?}: restored");
        }
    }
}

#[test]
fn what_lies_beyond_a_restored_memory_is_out_of_bounds() {
    let touching = GROWING.replace(
        "(i32.const 0)))",
        "(drop (i32.load (i32.mul (memory.size) (i32.const 65536)))) (i32.const 0)))",
    );
    let bench = Bench::new(RestoreMethod::Map, &touching);
    let state = bench.capture(&mut bench.birth());
    let (report, _) =
        bench.restore(&state).deliver(&Delivery::StartVat(CapData::undefined()), &CONTEXT, Silent);
    let outcome = report.unwrap().outcome;
    assert!(outcome.to_string().contains("memory"), "{outcome}");
}

#[test]
fn a_range_that_is_used_again_shows_nothing_of_the_vat_before() {
    let filling = r#"(module (memory (export "memory") 4) (func (export "vat_deliver") (param i32) (result i32)
        (memory.fill (i32.const 0) (i32.const 0xee) (i32.const 262144)) (i32.const 0)))"#;
    let bench = Bench::new(RestoreMethod::Map, filling);
    for _ in 0..8 {
        let mut poisoned = bench.birth();
        deliver(&mut poisoned);
        assert!(poisoned.heap().iter().all(|byte| *byte == 0xee));
        drop(poisoned);
        assert!(bench.birth().heap().iter().all(|byte| *byte == 0), "a new vat begins with zeros");
    }
    assert!(bench.engine.address_pool().stats().free > 0, "ranges are used again");
}

#[test]
fn a_state_of_another_module_is_refused() {
    let bench = Bench::new(RestoreMethod::Map, GROWING);
    let other = Bench::new(
        RestoreMethod::Map,
        r#"(module (global (mut i32) (i32.const 1)) (memory (export "memory") 1)
             (func (export "vat_deliver") (param i32) (result i32) (i32.const 0)))"#,
    );
    let state = bench.capture(&mut bench.birth());
    let error = VatInstance::restore(&other.engine, &other.module, PAGES_MAX, &state).unwrap_err();
    assert!(error.to_string().contains("globals"), "{error}");
}

#[test]
fn a_spent_instance_does_nothing_more() {
    let bench = Bench::new(
        RestoreMethod::Map,
        r#"(module (memory (export "memory") 1) (func (export "vat_deliver") (param i32) (result i32) (unreachable)))"#,
    );
    let mut instance = bench.birth();
    let start = Delivery::StartVat(CapData::undefined());
    assert!(instance.deliver(&start, &CONTEXT, Silent).0.unwrap().outcome.fault().is_some());
    assert!(instance.is_spent());
    assert!(instance.deliver(&start, &CONTEXT, Silent).0.is_err());
    assert!(instance.capture(&bench.pages, best_tracker().as_ref(), Check::Never).is_err());
}
