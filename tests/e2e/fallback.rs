//! A snapshot is a cache: whatever happens to snapshots, only time is lost. And what happens when the truth itself is damaged.

use std::fs;
use std::path::{Path, PathBuf};

use vat_warehouse::{Error, Warehouse, WarehouseConfig};

use crate::scenario::{Event, Host, Listener, Scenario, message, vat};

const STATE: &str = include_str!("../vats/state.wat");

/// A store with one vat of twenty deliveries, several snapshots, closed cleanly.
fn store(dir: &Path) -> Warehouse {
    let warehouse = open(dir);
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    let made = warehouse.create(
        &vat(),
        "state",
        vat_warehouse::VatOptions::default(),
        vat_abi::CapData::undefined(),
        0,
        Listener::default(),
    );
    made.0.unwrap();
    for n in 0..20 {
        deliver(&warehouse, n);
        if n % 6 == 5 {
            warehouse.evict(&vat()).unwrap();
            warehouse.checkpoint().unwrap();
        }
    }
    warehouse.evict(&vat()).unwrap();
    warehouse.checkpoint().unwrap();
    warehouse
}

fn open(dir: &Path) -> Warehouse {
    Warehouse::open(dir, WarehouseConfig::default()).unwrap()
}

fn deliver(warehouse: &Warehouse, n: usize) {
    let delivery = message("step", &format!("[{n}]"));
    let (report, _) =
        warehouse.provide_blocking(&vat()).unwrap().deliver(delivery, n as u64, Listener::default());
    report.unwrap();
}

fn heap(warehouse: &Warehouse) -> Vec<u8> {
    warehouse.provide_blocking(&vat()).unwrap().heap().unwrap().to_vec()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("pages")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "pages")).collect();
    segments.sort();
    segments
}

/// Damages the store while it is closed, opens it again, and expects the same vat as before.
fn survives(what: &str, fallbacks: bool, damage: impl Fn(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let before = {
        let warehouse = store(dir.path());
        heap(&warehouse)
    };
    damage(dir.path());
    let warehouse = open(dir.path());
    assert!(heap(&warehouse) == before, "{what}: the heap came back");
    assert_eq!(warehouse.stats().fallbacks > 0, fallbacks, "{what}: {:?}", warehouse.stats());
    deliver(&warehouse, 20);
    assert!(warehouse.verify(&vat()).unwrap().verdict.is_identical(), "{what}");
}

#[test]
fn nothing_damaged_means_nothing_replayed_and_no_fallback() {
    survives("nothing", false, |_| {});
    let dir = tempfile::tempdir().unwrap();
    drop(store(dir.path()));
    let warehouse = open(dir.path());
    heap(&warehouse);
    assert_eq!(warehouse.stats().replayed, 0);
}

#[test]
fn the_working_set_is_recorded_and_prefetched_when_a_vat_comes_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    drop(store(dir.path()));
    let warehouse = open(dir.path());
    let size = heap(&warehouse).len() as u64 / 4096;
    let prefetched = warehouse.stats().prefetched;
    assert!(prefetched > 0 && prefetched < size, "{prefetched} of {size} pages");
    warehouse.evict(&vat()).unwrap();
    heap(&warehouse);
    assert_eq!(warehouse.stats().prefetched, prefetched, "what was just in memory needs no disk");
}

#[test]
fn losing_all_pages_costs_a_replay() {
    survives("all pages removed", true, |dir| fs::remove_dir_all(dir.join("pages")).unwrap());
}

#[test]
fn truncated_segments_cost_a_replay() {
    for keep in [0, 1, 4096, 20_000] {
        survives(&format!("segments cut to {keep} bytes"), true, |dir| {
            for path in segments(dir) {
                fs::OpenOptions::new().write(true).open(path).unwrap().set_len(keep).unwrap();
            }
        });
    }
}

#[test]
fn the_newest_snapshot_damaged_means_the_older_one_is_used() {
    let dir = tempfile::tempdir().unwrap();
    drop(store(dir.path()));
    let path = segments(dir.path()).pop().unwrap();
    let len = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len - 4096).unwrap();
    let warehouse = open(dir.path());
    heap(&warehouse);
    let stats = warehouse.stats();
    assert_eq!(stats.fallbacks, 1, "{stats:?}");
    assert!(stats.replayed > 0 && stats.replayed < 20, "from the older snapshot, not from birth: {stats:?}");
}

#[test]
fn losing_compiled_code_costs_a_compilation() {
    survives("compiled code removed", false, |dir| fs::remove_dir_all(dir.join("code")).unwrap());
}

#[test]
fn compiled_code_that_was_tampered_with_is_never_run() {
    survives("compiled code altered", false, |dir| {
        for entry in fs::read_dir(dir.join("code")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "code") {
                let mut bytes = fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0xff;
                fs::write(&path, bytes).unwrap();
            }
        }
    });
    survives("sums removed", false, |dir| {
        for entry in fs::read_dir(dir.join("code")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "sum") {
                fs::remove_file(path).unwrap();
            }
        }
    });
}

#[test]
fn a_store_can_be_opened_by_one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let _first = store(dir.path());
    let second = Warehouse::open(dir.path(), WarehouseConfig::default()).unwrap_err().to_string();
    assert!(second.contains("in use") || second.contains("locked") || second.contains("another"), "{second}");
}

/// Changes one recorded computron count in the middle of the transcript, the way only a tool can.
fn forge(dir: &Path) {
    let script = "UPDATE transcript SET entry = CAST(replace(CAST(entry AS TEXT), '\"computrons\":', '\"computrons\":1') AS BLOB) \
                  WHERE position = 13";
    assert_eq!(crate::forged::forge(dir, script, []), 1);
}

#[test]
fn a_vat_whose_replay_differs_is_quarantined_with_its_evidence_and_the_rest_go_on() {
    let dir = tempfile::tempdir().unwrap();
    {
        let warehouse = store(dir.path());
        let other = "other".parse().unwrap();
        let options = vat_warehouse::VatOptions::default();
        let undefined = vat_abi::CapData::undefined();
        warehouse.create(&other, "state", options, undefined, 0, Listener::default()).0.unwrap();
        warehouse.checkpoint().unwrap();
    }
    forge(dir.path());
    fs::remove_dir_all(dir.path().join("pages")).unwrap();
    let warehouse = open(dir.path());
    let error = warehouse.provide_blocking(&vat()).unwrap_err();
    assert!(matches!(error, Error::Diverged { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("subject") && text.contains("delivery 13") && text.contains("computrons"),
        "{text}"
    );
    let again = warehouse.provide_blocking(&vat()).unwrap_err();
    assert!(matches!(again, Error::Quarantined { .. }), "{again}");
    let mut other = warehouse.provide_blocking(&"other".parse().unwrap()).unwrap();
    other.deliver(message("step", "[]"), 3, Listener::default()).0.unwrap();
}

#[test]
fn the_bytes_of_compiled_code_do_not_depend_on_where_it_came_from() {
    let scenario = Scenario::wat(STATE, 5);
    let steady = scenario.run(Host::ALL[0], |_| Event::Stay);
    let restarted = scenario.run(Host::ALL[0], |_| Event::Restart);
    steady.assert_same(&restarted, "code compiled now, and code mapped back");
}
