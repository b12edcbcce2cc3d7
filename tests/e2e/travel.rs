//! Looking back: a vat as it was after any of its deliveries, and what differs between two of them.

use std::path::Path;

use vat_abi::CapData;
use vat_engine::Globals;
use vat_warehouse::{
    Error, Finding, HeapRoot, Moment, Release, VatName, VatOptions, Warehouse, WarehouseConfig,
};

use crate::scenario::{Listener, message, vat};

const STATE: &str = include_str!("../vats/state.wat");
const DELIVERIES: u64 = 13;

/// Everything there is of a vat at one time.
#[derive(Debug, PartialEq)]
struct State {
    heap: Vec<u8>,
    globals: Globals,
    root: HeapRoot,
    keys: Vec<(String, String)>,
}

impl State {
    fn of(moment: &mut Moment) -> State {
        State {
            heap: moment.heap().to_vec(),
            globals: moment.globals(),
            root: moment.root(),
            keys: moment.storage().unwrap().iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        }
    }

    fn now(warehouse: &Warehouse, name: &VatName) -> State {
        let mut lease = warehouse.provide_blocking(name).unwrap();
        let (heap, globals) = (lease.heap().unwrap().to_vec(), lease.globals().unwrap());
        drop(lease);
        let id = warehouse.vat(name).unwrap().id;
        let count = warehouse.storage().vatstore_get(id, "count").unwrap();
        let keys = count.into_iter().map(|value| ("count".to_owned(), value)).collect();
        State { heap, globals, root: warehouse.root(name).unwrap().1, keys }
    }
}

fn open(dir: &Path) -> Warehouse {
    Warehouse::open(dir, WarehouseConfig { snapshot_interval: 4, ..WarehouseConfig::default() }).unwrap()
}

/// Every fifth delivery faults, after it changed everything.
fn wasm() -> Vec<u8> {
    let text = STATE
        .replace("(local $reply i32)", "(local $reply i32) (call $maybe_fault (local.get $len))")
        .replace(
            "(func (export \"vat_deliver\")",
            r#"(func $maybe_fault (param $len i32)
             (if (i32.gt_u (local.get $len) (i32.const 500))
               (then
                 (global.set $a (i32.const -7))
                 (drop (call $syscall (i32.const 2048) (i32.const 36)))
                 (unreachable))))
           (func (export "vat_deliver")"#,
        );
    wat::parse_str(text).unwrap()
}

fn deliver(warehouse: &Warehouse, name: &VatName, n: u64) {
    let argument = "7".repeat(if n % 5 == 3 { 500 } else { 1 });
    let mut lease = warehouse.provide_blocking(name).unwrap();
    let (report, _) = lease.deliver(message("step", &format!("[\"{argument}\"]")), n, Listener::default());
    assert_eq!(report.unwrap().outcome.fault().is_some(), n % 5 == 3);
}

/// A vat, and what another one that lived the same was after each delivery.
fn lived(warehouse: &Warehouse) -> Vec<State> {
    let elsewhere = tempfile::tempdir().unwrap();
    let other = open(elsewhere.path());
    let mut states = Vec::new();
    for warehouse in [&other, warehouse] {
        warehouse.install("state", &wasm()).unwrap();
        let options = VatOptions::default();
        warehouse.create(&vat(), "state", options, CapData::undefined(), 0, Listener::default()).0.unwrap();
    }
    states.push(State::now(&other, &vat()));
    for n in 1..DELIVERIES {
        deliver(warehouse, &vat(), n);
        deliver(&other, &vat(), n);
        states.push(State::now(&other, &vat()));
        if n % 3 == 0 {
            warehouse.checkpoint().unwrap();
        }
    }
    states
}

#[test]
fn every_moment_is_what_the_vat_was_then() {
    let dir = tempfile::tempdir().unwrap();
    let states = lived(&open(dir.path()));
    let warehouse = open(dir.path());
    let mut replayed = 0;
    for (position, state) in (0..).zip(&states) {
        let mut moment = warehouse.at(&vat(), position).unwrap();
        assert!(State::of(&mut moment) == *state, "after delivery {position}");
        replayed += moment.replayed();
    }
    assert!(replayed < DELIVERIES * (DELIVERIES + 1) / 2, "the newest ones come from snapshots");
    let beyond = warehouse.at(&vat(), DELIVERIES).unwrap_err().to_string();
    assert_eq!(beyond, "the vat subject has had no delivery 13; its deliveries are 0 to 12");
}

#[test]
fn looking_back_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path());
    lived(&warehouse);
    let all = || {
        let figures = (warehouse.disk_figures().unwrap(), warehouse.vat(&vat()).unwrap());
        let transcript: Vec<_> = warehouse.transcript(&vat(), 0).unwrap().map(Result::unwrap).collect();
        (figures, transcript, warehouse.storage().snapshots(warehouse.vat(&vat()).unwrap().id).unwrap())
    };
    let before = all();
    for position in 0..DELIVERIES {
        let mut moment = warehouse.at(&vat(), position).unwrap();
        let (report, _) = moment.ask(&message("step", "[]"), 1, Listener::default());
        report.unwrap();
        moment.root();
    }
    warehouse.checkpoint().unwrap();
    assert_eq!(all(), before);
    assert!(warehouse.verify(&vat()).unwrap().verdict.is_identical());
}

#[test]
fn a_moment_answers_what_the_vat_answered_next() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path());
    lived(&warehouse);
    let recorded: Vec<_> = warehouse.transcript(&vat(), 0).unwrap().map(|entry| entry.unwrap().1).collect();
    for (position, next) in (0..).zip(&recorded[1..]) {
        let mut moment = warehouse.at(&vat(), position).unwrap();
        let state = State::of(&mut moment);
        for _ in 0..2 {
            let (report, _) = moment.ask(&next.delivery, next.time_ns, Listener::default());
            let report = report.unwrap();
            assert_eq!(report.outcome, next.outcome);
            assert_eq!(report.computrons, next.computrons);
            assert_eq!(report.syscalls, next.syscalls, "also of vat storage as it was");
        }
        assert!(State::of(&mut moment) == state, "a question leaves it as it was");
    }
}

#[test]
fn a_fork_has_the_moments_of_its_parent_and_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path());
    let states = lived(&warehouse);
    let child: VatName = "child".parse().unwrap();
    warehouse.fork(&vat(), &child).unwrap();
    deliver(&warehouse, &child, 1);
    let own = State::now(&warehouse, &child);
    for (position, state) in (0..).zip(&states) {
        assert!(State::of(&mut warehouse.at(&child, position).unwrap()) == *state, "shared past {position}");
    }
    assert!(State::of(&mut warehouse.at(&child, DELIVERIES).unwrap()) == own);
}

#[test]
fn a_contrast_names_what_changed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path());
    let states = lived(&warehouse);
    let same = warehouse.contrast(&vat(), 2, 3).unwrap();
    assert!(same.pages.is_empty() && same.globals.is_empty() && same.keys.is_empty(), "delivery 3 faulted");
    for (a, b) in [(0, 1), (1, 6), (6, 1), (4, 12)] {
        let contrast = warehouse.contrast(&vat(), a, b).unwrap();
        let (before, after) = (&states[usize::try_from(a).unwrap()], &states[usize::try_from(b).unwrap()]);
        let byte = |state: &State, at: usize| state.heap.get(at).copied().unwrap_or(0);
        let differing = |at: &usize| byte(before, *at) != byte(after, *at);
        let all: Vec<usize> = (0..before.heap.len().max(after.heap.len())).filter(differing).collect();
        assert_eq!(contrast.pages.iter().map(|run| run.bytes).sum::<u64>(), all.len() as u64);
        let (address, x, y) = contrast.pages[0].byte;
        let first = all[0];
        assert_eq!((address, x, y), (first as u64, byte(before, first), byte(after, first)));
        for run in &contrast.pages {
            let pages = run.first.offset()..run.first.offset() + run.count as usize * 4096;
            assert!(all.iter().any(|at| pages.contains(at)));
        }
        assert!(contrast.globals.iter().any(|global| global.index == 0), "the first global counts");
        assert_eq!(contrast.keys.len(), 1);
        assert_eq!(contrast.keys[0].before.as_deref(), before.keys.first().map(|(_, value)| value.as_str()));
        assert_eq!(contrast.keys[0].after.as_deref(), after.keys.first().map(|(_, value)| value.as_str()));
    }
}

/// Replaces text in one recorded entry, the way only a tool can.
fn forge(dir: &Path, position: u64, from: &str, to: &str) {
    let script = "UPDATE transcript SET entry = CAST(replace(CAST(entry AS TEXT), ?1, ?2) AS BLOB) \
                  WHERE position = ?3 AND instr(CAST(entry AS TEXT), ?1) > 0";
    assert_eq!(crate::forged::forge(dir, script, (from, to, position)), 1, "{from}");
}

#[test]
fn a_quarantined_vat_is_looked_into_put_right_and_released() {
    let dir = tempfile::tempdir().unwrap();
    drop(lived(&open(dir.path())));
    forge(dir.path(), 12, "vatstoreGet\",\"count", "vatstoreGet\",\"coumt");
    let warehouse = open(dir.path());
    assert!(matches!(warehouse.provide_blocking(&vat()), Err(Error::Diverged { .. })));
    warehouse.commit().unwrap();
    // It has moments up to where it differs, and tells how.
    assert!(warehouse.at(&vat(), 11).unwrap().replayed() < 12);
    assert!(matches!(warehouse.at(&vat(), 12), Err(Error::ReplayDiffers { .. })));
    let report = warehouse.replay(&vat()).unwrap().unwrap().report();
    assert!(
        report.contains("wrong        0") && report.contains("at [1]: \"coumt\", not \"count\""),
        "{report}"
    );
    assert!(matches!(warehouse.release(&vat(), Release::Checked), Err(Error::ReplayDiffers { .. })));
    assert!(matches!(warehouse.provide_blocking(&vat()), Err(Error::Quarantined { .. })));
    drop(warehouse);
    forge(dir.path(), 12, "vatstoreGet\",\"coumt", "vatstoreGet\",\"count");
    let warehouse = open(dir.path());
    assert!(matches!(warehouse.provide_blocking(&vat()), Err(Error::Quarantined { .. })), "that lasts");
    warehouse.release(&vat(), Release::Checked).unwrap();
    deliver(&warehouse, &vat(), DELIVERIES);
    assert!(warehouse.verify(&vat()).unwrap().verdict.is_identical());
}

#[test]
fn a_forced_release_lasts_until_the_replay_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    drop(lived(&open(dir.path())));
    forge(dir.path(), 12, "vatstoreGet\",\"count", "vatstoreGet\",\"coumt");
    let warehouse = open(dir.path());
    assert!(warehouse.provide_blocking(&vat()).is_err());
    warehouse.release(&vat(), Release::Forced).unwrap();
    assert!(matches!(warehouse.provide_blocking(&vat()), Err(Error::Diverged { .. })));
}

#[test]
fn a_vat_that_is_as_its_record_says_has_nothing_to_find() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path());
    lived(&warehouse);
    warehouse.checkpoint().unwrap();
    let id = warehouse.vat(&vat()).unwrap().id;
    let stored = warehouse.storage().snapshots(id).unwrap();
    assert!(stored.len() > 1 && stored.iter().all(|snapshot| snapshot.root.is_some()), "{stored:?}");
    for snapshot in &stored {
        let root = warehouse.at(&vat(), snapshot.position.0 - 1).unwrap().root();
        assert_eq!(snapshot.root, Some(root.0));
    }
    let bisection = warehouse.bisect(&vat()).unwrap();
    assert_eq!((bisection.roots, bisection.finding), (stored.len() as u64, None));
}

#[test]
fn a_heap_that_went_elsewhere_is_found_between_two_roots() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path());
    lived(&warehouse);
    warehouse.checkpoint().unwrap();
    let id = warehouse.vat(&vat()).unwrap().id;
    let stored = warehouse.storage().snapshots(id).unwrap();
    let (newest, older) = (stored[0].position, stored[1].position);
    warehouse.storage().set_snapshot_root(id, newest, [7; 32]).unwrap();
    let bisection = warehouse.bisect(&vat()).unwrap();
    assert_eq!(bisection.roots, 1);
    let Some(Finding::State { first, last, stored, replayed, pages }) = bisection.finding else {
        panic!("{bisection:?}")
    };
    assert_eq!((first, last), (older.0, newest.0 - 1));
    assert_eq!(stored, HeapRoot([7; 32]));
    assert_eq!(replayed, warehouse.at(&vat(), last).unwrap().root());
    assert_eq!(pages, Some(Vec::new()), "only the root was changed, not the snapshot");
    assert!(!warehouse.scrub(|_, _| {}).unwrap().is_clean(), "scrubbing finds that root, too");
}

#[test]
fn a_delivery_that_went_otherwise_is_found_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path());
    lived(&warehouse);
    warehouse.checkpoint().unwrap();
    drop(warehouse);
    forge(dir.path(), 6, "vatstoreGet\",\"count", "vatstoreGet\",\"coumt");
    let finding = open(dir.path()).bisect(&vat()).unwrap().finding;
    let Some(Finding::Delivery(divergence)) = finding else { panic!("{finding:?}") };
    assert_eq!(divergence.position, 6);
}
