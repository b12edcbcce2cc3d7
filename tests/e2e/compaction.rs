//! Disk space is given back beside everything that goes on: vats in memory, captures under way, an open block of cranks.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use vat_abi::{CapData, Outcome};
use vat_warehouse::{VatName, VatOptions, Warehouse, WarehouseConfig};

use crate::scenario::{Listener, message};

const STATE: &str = include_str!("../vats/state.wat");
/// Room for a few captures, so that there are many segments.
const SEGMENT_BYTES: u64 = 256 << 10;
const VATS: usize = 6;

fn name(n: usize) -> VatName {
    format!("vat-{n}").parse().unwrap()
}

fn open(dir: &Path) -> Warehouse {
    let config = WarehouseConfig {
        resident_max: NonZeroUsize::new(2).unwrap(),
        segment_bytes: SEGMENT_BYTES,
        check_one_in: 3,
        ..WarehouseConfig::default()
    };
    Warehouse::open(dir, config).unwrap()
}

/// A warehouse of vats that were evicted again and again, with everything durable.
fn worn(dir: &Path) -> Warehouse {
    let warehouse = open(dir);
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    for n in 0..VATS {
        let options = VatOptions::default();
        let made = warehouse.create(&name(n), "state", options, CapData::undefined(), 0, Listener::default());
        made.0.unwrap();
    }
    for turn in 0..20 * VATS {
        touch(&warehouse, turn % VATS);
        if turn % 7 == 0 {
            warehouse.checkpoint().unwrap();
        }
    }
    warehouse.checkpoint().unwrap();
    warehouse
}

fn touch(warehouse: &Warehouse, n: usize) {
    let mut lease = warehouse.provide_blocking(&name(n)).unwrap();
    let (report, _) = lease.deliver(message("step", "[]"), 7, Listener::default());
    assert_eq!(report.unwrap().outcome, Outcome::Delivered);
}

fn lengths(warehouse: &Warehouse) -> Vec<u64> {
    (0..VATS).map(|n| warehouse.vat(&name(n)).unwrap().next_position.0).collect()
}

/// Everything is there, and was brought back from snapshots that are current.
fn assert_whole(warehouse: &Warehouse) {
    let scrubbed = warehouse.scrub(|_, _| {}).unwrap();
    assert!(scrubbed.is_clean(), "{scrubbed:?}");
    for n in 0..VATS {
        assert!(warehouse.verify(&name(n)).unwrap().verdict.is_identical(), "vat {n}");
    }
    assert_eq!(warehouse.stats().fallbacks, 0);
    assert_eq!(warehouse.stats().disagreements, 0);
}

#[test]
fn compaction_gives_back_what_nobody_needs_and_keeps_what_somebody_does() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = worn(dir.path());
    let before = warehouse.disk_figures().unwrap();
    let mut held = warehouse.provide_blocking(&name(0)).unwrap();
    let heap = held.heap().unwrap().to_vec();
    let compacted = warehouse.compact().unwrap();
    assert!(compacted.segments > 0 && compacted.freed_bytes > 0, "{compacted:?}");
    assert_eq!(compacted.left, 0);
    assert_eq!(held.heap().unwrap(), heap, "a vat in memory does not notice");
    drop(held);
    warehouse.evict_all().unwrap();
    warehouse.checkpoint().unwrap();
    drop(warehouse);
    let warehouse = open(dir.path());
    let after = warehouse.disk_figures().unwrap();
    assert!(after.bytes < before.bytes && after.garbage_bytes < before.garbage_bytes, "{before:?} {after:?}");
    assert_whole(&warehouse);
    assert_eq!(warehouse.stats().replayed, 0);
}

#[test]
fn compaction_commits_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = worn(dir.path());
    let committed = lengths(&warehouse);
    (0..VATS).for_each(|n| touch(&warehouse, n));
    assert!(warehouse.compact().unwrap().segments > 0);
    (0..VATS).for_each(|n| touch(&warehouse, n));
    warehouse.abandon().unwrap();
    let warehouse = open(dir.path());
    assert_eq!(lengths(&warehouse), committed, "what was not committed is gone, what was is there");
    assert_whole(&warehouse);
}

#[test]
fn states_captured_on_top_of_moved_layers_are_durable() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = worn(dir.path());
    let mut held = warehouse.provide_blocking(&name(0)).unwrap();
    let mut segments = 0;
    for _ in 0..3 {
        segments += warehouse.compact().unwrap().segments;
        warehouse.commit().unwrap(); // The segment that the vat in memory is mapped from goes.
        let (report, _) = held.deliver(message("step", "[]"), 7, Listener::default());
        assert_eq!(report.unwrap().outcome, Outcome::Delivered);
        held.snapshot().unwrap();
        (1..VATS).for_each(|n| touch(&warehouse, n));
        warehouse.checkpoint().unwrap();
    }
    drop(held);
    assert!(segments > 0);
    warehouse.evict_all().unwrap();
    warehouse.checkpoint().unwrap();
    warehouse.abandon().unwrap();
    let warehouse = open(dir.path());
    assert_whole(&warehouse);
    assert_eq!(warehouse.stats().replayed, 0);
}

#[test]
fn a_segment_with_a_damaged_layer_stays() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = worn(dir.path());
    // What is left of one vat of six makes every segment mostly garbage, however far merging has come.
    (1..VATS).for_each(|n| warehouse.terminate(&name(n), "no longer needed").unwrap());
    warehouse.checkpoint().unwrap();
    drop(warehouse);
    let files = || std::fs::read_dir(dir.path().join("pages")).unwrap().map(|entry| entry.unwrap().path());
    for file in files() {
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, bytes.iter().map(|byte| byte ^ 0x55).collect::<Vec<_>>()).unwrap();
    }
    let damaged: Vec<_> = files().collect();
    let warehouse = open(dir.path());
    let compacted = warehouse.compact().unwrap();
    assert!(compacted.left > 0);
    warehouse.checkpoint().unwrap();
    let kept = damaged.iter().filter(|file| file.exists()).count();
    assert!(kept as u64 >= compacted.left, "whoever wants to look into the damage can");
    let verified = warehouse.verify(&name(0)).unwrap();
    assert!(verified.verdict.is_identical(), "the vat comes back from birth: {}", verified.verdict);
}

/// Three threads use, commit and compact the same warehouse; then it crashes.
#[test]
fn vats_are_used_and_committed_while_their_layers_move() {
    const TURNS: usize = 400;
    let dir = tempfile::tempdir().unwrap();
    let warehouse = worn(dir.path());
    let done = AtomicBool::new(false);
    let mut segments = 0;
    std::thread::scope(|threads| {
        let users: Vec<_> = (0..2)
            .map(|thread| {
                let warehouse = &warehouse;
                threads.spawn(move || {
                    for turn in 0..TURNS {
                        touch(warehouse, (turn * (thread + 2)) % VATS);
                        if turn % 5 == thread {
                            warehouse.commit().unwrap();
                        }
                        if turn % 50 == 0 {
                            warehouse.checkpoint().unwrap();
                        }
                    }
                })
            })
            .collect();
        let compacting = threads.spawn(|| {
            let mut segments = 0;
            while !done.load(Ordering::Relaxed) {
                segments += warehouse.compact().unwrap().segments;
            }
            segments
        });
        users.into_iter().for_each(|user| user.join().unwrap());
        done.store(true, Ordering::Relaxed);
        segments = compacting.join().unwrap();
    });
    assert!(segments > 0);
    assert_eq!(warehouse.stats().fallbacks, 0, "no state pointed to a place that was gone");
    warehouse.commit().unwrap();
    let committed = lengths(&warehouse);
    warehouse.abandon().unwrap();
    let warehouse = open(dir.path());
    assert_eq!(lengths(&warehouse), committed);
    assert_whole(&warehouse);
}

/// Writes one page after another, round and round a heap of fixed size.
const ROUND: &str = r#"(module
  (memory (export "memory") 4)
  (global $page (mut i32) (i32.const 0))
  (func (export "vat_deliver") (param i32) (result i32)
    (global.set $page (i32.rem_u (i32.add (global.get $page) (i32.const 1)) (i32.const 64)))
    (i32.store (i32.mul (global.get $page) (i32.const 4096))
      (i32.add (global.get $page) (i32.load (i32.mul (global.get $page) (i32.const 4096)))))
    (i32.const 0)))"#;

#[test]
fn a_host_that_serves_is_compacted_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path());
    warehouse.install("round", &wat::parse_str(ROUND).unwrap()).unwrap();
    for n in 0..VATS {
        let options = VatOptions::default();
        let made = warehouse.create(&name(n), "round", options, CapData::undefined(), 0, Listener::default());
        made.0.unwrap();
    }
    // Nobody asks for it; how soon it comes is the scheduler's affair, so there is only a limit that shows that it does.
    let mut turn = 0;
    while warehouse.stats().compacted < 100 && turn < 1_000_000 {
        touch(&warehouse, turn % VATS);
        turn += 1;
        if turn % 50 == 0 {
            warehouse.commit().unwrap();
        }
    }
    assert!(warehouse.stats().compacted >= 100, "{:?}", warehouse.stats());
    warehouse.commit().unwrap();
    warehouse.checkpoint().unwrap();
    assert_whole(&warehouse);
}
