//! No vat is ever shown another vat's bytes: one fills its heap with a marker, and nobody else's memory, image or storage has it.
//!
//! What is reused is what could leak: address ranges (mapped and copied into), segments, compacted layers, names, ids.

use std::num::NonZeroUsize;
use std::path::Path;

use vat_abi::{CapData, Outcome};
use vat_warehouse::{RestoreMethod, VatName, VatOptions, Warehouse, WarehouseConfig};

use crate::scenario::{Listener, State, message};
use crate::steady::code_cache;

const MARKER: u64 = 0x5345_4352_4554_2121;

/// Grows to 32 pages with its first delivery; a delivery of more than 500 bytes fills the whole heap with the marker and keeps it
/// in vat storage.
const KEEPER: &str = r#"(module
  (import "vat" "syscall" (func $syscall (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $secret (mut i64) (i64.const 0))
  (data (i32.const 0) "[\"vatstoreSet\",\"secret\",\"SECRET!!\"]")
  (func (export "vat_deliver") (param $len i32) (result i32)
    (local $at i32)
    (if (i32.lt_u (memory.size) (i32.const 32))
      (then (drop (memory.grow (i32.sub (i32.const 32) (memory.size))))))
    (if (i32.gt_u (local.get $len) (i32.const 500))
      (then
        (drop (call $syscall (i32.const 0) (i32.const 35)))
        (global.set $secret (i64.const 0x5345435245542121))
        (local.set $at (i32.const 4096))
        (loop $again
          (i64.store (local.get $at) (global.get $secret))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (br_if $again (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))))
    ;; What it is shown by the memory it got, it touches as well.
    (i32.store (i32.const 2048) (i32.load (i32.const 131072)))
    (i32.const 0)))"#;

const METHODS: [RestoreMethod; 2] = [RestoreMethod::Map, RestoreMethod::Copy];

fn name(text: &str) -> VatName {
    text.parse().unwrap()
}

fn open(dir: &Path, restore: RestoreMethod) -> Warehouse {
    let config = WarehouseConfig {
        resident_max: NonZeroUsize::new(2).unwrap(),
        segment_bytes: 4 << 20,
        check_one_in: 1,
        code_cache: Some(code_cache()),
        restore,
        ..WarehouseConfig::default()
    };
    let warehouse = Warehouse::open(dir, config).unwrap();
    warehouse.install("keeper", &wat::parse_str(KEEPER).unwrap()).unwrap();
    warehouse
}

fn create(warehouse: &Warehouse, vat: &str) {
    let (start, options) = (CapData::undefined(), VatOptions::default());
    warehouse.create(&name(vat), "keeper", options, start, 0, Listener::default()).0.unwrap();
}

fn deliver(warehouse: &Warehouse, vat: &str, text: &str) {
    let delivery = message("step", &format!("[{text:?}]"));
    let mut lease = warehouse.provide_blocking(&name(vat)).unwrap();
    assert_eq!(lease.deliver(delivery, 1, Listener::default()).0.unwrap().outcome, Outcome::Delivered);
}

/// A vat that is full of the marker.
fn create_secret(warehouse: &Warehouse, vat: &str) {
    create(warehouse, vat);
    deliver(warehouse, vat, &"7".repeat(500));
    assert!(has_marker(&State::of(warehouse, &name(vat)).unwrap()), "the test can see a marker");
}

fn marks(bytes: &[u8]) -> usize {
    let marker = MARKER.to_le_bytes();
    bytes.windows(8).filter(|window| *window == marker).count()
}

fn has_marker(state: &State) -> bool {
    let stored = state.storage.iter().any(|(key, value)| key.contains("secret") || value.contains("SECRET"));
    marks(&state.heap) > 0 || stored || format!("{:?}", state.globals).contains(&MARKER.to_string())
}

#[track_caller]
fn assert_clean(warehouse: &Warehouse, vat: &str, what: &str) {
    let state = State::of(warehouse, &name(vat)).unwrap();
    let marks = marks(&state.heap);
    assert!(!has_marker(&state), "{what}: {vat} has {marks} of another vat's words, {:?}", state.storage);
}

/// Vats that are made and grow, while address ranges of the secret one are reused.
fn crowd(warehouse: &Warehouse, what: &str) {
    for n in 0..5 {
        let vat = format!("{what}-{n}");
        create(warehouse, &vat);
        assert_clean(warehouse, &vat, what);
        deliver(warehouse, &vat, "grow");
        assert_clean(warehouse, &vat, what);
        warehouse.evict(&name(&vat)).unwrap();
        assert_clean(warehouse, &vat, what);
    }
}

#[test]
fn memory_that_one_vat_had_is_empty_for_the_next() {
    for restore in METHODS {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = open(dir.path(), restore);
        create_secret(&warehouse, "secret");
        crowd(&warehouse, "beside");
        warehouse.evict(&name("secret")).unwrap();
        crowd(&warehouse, "after-evicting");
        assert!(has_marker(&State::of(&warehouse, &name("secret")).unwrap()));
        warehouse.terminate(&name("secret"), "its time has come").unwrap();
        crowd(&warehouse, "after-terminating");
        create(&warehouse, "secret");
        deliver(&warehouse, "secret", "grow");
        assert_clean(&warehouse, "secret", "a new vat of the old name");
    }
}

#[test]
fn a_fork_and_its_parent_do_not_see_what_the_other_writes() {
    for restore in METHODS {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = open(dir.path(), restore);
        create(&warehouse, "parent");
        deliver(&warehouse, "parent", "grow");
        warehouse.fork(&name("parent"), &name("fork")).unwrap();
        deliver(&warehouse, "fork", &"7".repeat(500));
        assert_clean(&warehouse, "parent", "in memory");
        warehouse.evict_all().unwrap();
        assert_clean(&warehouse, "parent", "at rest");
        create(&warehouse, "sibling");
        assert_clean(&warehouse, "sibling", "from the same birth image");
    }
}

#[test]
fn at_rest_only_its_own_layers_have_a_vats_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path(), RestoreMethod::Map);
    create_secret(&warehouse, "secret");
    crowd(&warehouse, "beside");
    warehouse.evict_all().unwrap();
    warehouse.checkpoint().unwrap();
    assert!(marks_at_rest(dir.path()) > 0, "the test can see a marker at rest");
    warehouse.terminate(&name("secret"), "its time has come").unwrap();
    warehouse.checkpoint().unwrap();
    warehouse.compact().unwrap();
    warehouse.checkpoint().unwrap();
    drop(warehouse);
    let warehouse = open(dir.path(), RestoreMethod::Map);
    assert_eq!(marks_at_rest(dir.path()), 0, "what was compacted has taken nothing along");
    assert_eq!(warehouse.scrub(|_, _| {}).unwrap().damaged, []);
    for n in 0..5 {
        assert_clean(&warehouse, &format!("beside-{n}"), "compacted");
    }
}

/// Words of the marker in all segments.
fn marks_at_rest(dir: &Path) -> usize {
    let files = std::fs::read_dir(dir.join("pages")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).map(|path| marks(&std::fs::read(path).unwrap())).sum()
}
