//! Hazards of determinism that no other test is about: what a host must not take for something else, and who must not hear what.
//! The table of all of them is `tests/HAZARDS.md`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use vat_abi::{CapData, LogLevel, Outcome, Syscall};
use vat_image::fault::{Failure, FaultyDisk};
use vat_warehouse::{
    CostModel, Error, SnapshotPolicy, SyscallHandler, SyscallVerdict, VatOptions, Warehouse, WarehouseConfig,
};

use crate::scenario::{Listener, STATE, State, message, vat};

/// A host that replays all of a vat's past whenever it comes into memory: it saves nothing.
fn replaying(dir: &std::path::Path) -> Warehouse {
    let never = CostModel { replay_computrons_max: u64::MAX, computrons_per_page: std::num::NonZeroU64::MAX };
    let config =
        WarehouseConfig { snapshot_policy: SnapshotPolicy::ByCost(never), ..WarehouseConfig::default() };
    let warehouse = Warehouse::open(dir, config).unwrap();
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    let (start, options) = (CapData::undefined(), VatOptions::default());
    warehouse.create(&vat(), "state", options, start, 0, Listener::default()).0.unwrap();
    warehouse
}

fn deliver(warehouse: &Warehouse, n: u64, listener: &Listener) {
    let mut lease = warehouse.provide_blocking(&vat()).unwrap();
    let (report, _) = lease.deliver(message("step", &format!("[{n}]")), n, listener.clone());
    assert_eq!(report.unwrap().outcome, Outcome::Delivered);
}

/// Panics when the vat has written to its memory and its storage, and logs.
struct Panicking;

impl SyscallHandler for Panicking {
    fn syscall(&mut self, _: &Syscall) -> SyscallVerdict {
        panic!("the host has a bug")
    }

    fn log(&mut self, _: LogLevel, _: &str) {}
}

#[test]
fn a_panic_of_the_host_in_a_delivery_leaves_no_trace() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (warehouse, steady) = (replaying(dir.path()), replaying(other.path()));
    let listener = Listener::default();
    (1..4).for_each(|n| [&warehouse, &steady].iter().for_each(|host| deliver(host, n, &listener)));
    let mut lease = warehouse.provide_blocking(&vat()).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| lease.deliver(message("step", "[4]"), 4, Panicking).0));
    assert!(panicked.is_err(), "it is our bug, and nobody's error");
    assert_eq!(lease.next_position().unwrap(), 4, "nothing was recorded");
    drop(lease);
    (4..7).for_each(|n| [&warehouse, &steady].iter().for_each(|host| deliver(host, n, &listener)));
    assert_eq!(State::of(&warehouse, &vat()).unwrap(), State::of(&steady, &vat()).unwrap());
    assert!(warehouse.verify(&vat()).unwrap().verdict.is_identical());
    assert_eq!(warehouse.stats().resident_vats, 1);
}

#[test]
fn what_a_vat_says_in_a_replay_is_heard_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = replaying(dir.path());
    let before = Listener::default();
    (1..6).for_each(|n| deliver(&warehouse, n, &before));
    assert_eq!(before.heard.lock().unwrap().len(), 5, "a line for each delivery");
    warehouse.evict(&vat()).unwrap();
    let replayed = warehouse.stats().replayed;
    let after = Listener::default();
    deliver(&warehouse, 6, &after);
    assert_eq!(warehouse.stats().replayed - replayed, 6, "the vat came back by a replay of all it did");
    assert_eq!(*after.heard.lock().unwrap(), ["delivered"], "one line, of the delivery that was made");
    assert_eq!(before.heard.lock().unwrap().len(), 5);
    let mut moment = warehouse.at(&vat(), 3).unwrap();
    let asked = Listener::default();
    moment.ask(&message("step", "[7]"), 7, asked.clone()).0.unwrap();
    assert_eq!(asked.heard.lock().unwrap().len(), 1, "a question is not a replay");
    assert!(warehouse.verify(&vat()).unwrap().verdict.is_identical());
    assert_eq!(before.heard.lock().unwrap().len() + after.heard.lock().unwrap().len(), 6);
}

#[test]
fn a_disk_that_fails_is_no_refusal_and_a_refusal_no_failure() {
    let good = wat::parse_str(STATE).unwrap();
    let bad = &good[..good.len() - 1];
    let is_refused = |error: &Error| matches!(error, Error::Engine(vat_engine::Error::Refused(_)));
    let mut failures = 0;
    for at in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(FaultyDisk::failing(at, Failure::Once));
        let config = || WarehouseConfig { disk: Arc::clone(&disk) as _, ..WarehouseConfig::default() };
        // Opening writes, too; what fails then is not an install.
        let Ok(warehouse) = Warehouse::open(dir.path(), config()) else { continue };
        let installed = warehouse.install("state", &good).and_then(|_| warehouse.checkpoint());
        if let Err(error) = &installed {
            assert!(!is_refused(error), "operation {at} failed, and the module is told as refused: {error}");
            failures += 1;
        }
        // What is wrong with the module is the same on a disk that failed, and each time.
        let refused = [warehouse.install("bad", bad), warehouse.install("bad", bad)].map(Result::unwrap_err);
        assert!(refused.iter().all(is_refused), "{refused:?}");
        assert_eq!(refused[0].to_string(), refused[1].to_string());
        drop(warehouse);
        let again = Warehouse::open(dir.path(), WarehouseConfig::default()).unwrap();
        again.install("state", &good).expect("what was the disk's fault is not held against the module");
    }
    assert!(failures > 0, "no operation of an install failed");
}
