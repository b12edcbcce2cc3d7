//! Upgrades: new code, the old vat storage, a new heap; whole or without a trace.
//!
//! | case of the original | what it says | here |
//! |---|---|---|
//! | 17 | a null upgrade begins a span and an incarnation, and leaves no snapshot to start from | `a_null_upgrade_begins_a_span_and_an_incarnation` |
//! | 24 | a restart after an upgrade replays the new incarnation only | `only_the_new_incarnation_is_replayed` |
//! | 75 | what is durable survives a null upgrade, what is not does not | `vat_storage_survives_and_the_heap_does_not` |
//! | 76 | `bringOutYourDead` first, then `startVat` | `a_kernel_may_have_the_dead_brought_out_first`: the caller delivers it |
//! | 79 | a failed upgrade leaves the old incarnation with its state, and no trace | `a_failed_upgrade_leaves_no_trace` |
//!
//! Left out: 77, 78 and 80–84, which are about promises, exports and options that a kernel has.

use std::path::Path;

use proptest::prelude::*;
use vat_abi::{CapData, Delivery, Outcome, Syscall};
use vat_storage::{Incarnation, Position, SpanState};
use vat_warehouse::{
    Error, ModuleHash, Report, Retention, SyscallHandler, SyscallVerdict, VatName, VatOptions, Warehouse,
    WarehouseConfig,
};

use crate::oracle::{crash_once, events, indistinguishable, steady};
use crate::scenario::{Host, Listener, Scenario, message, vat};

const STATE: &str = include_str!("../vats/state.wat");

/// Other code with other state, that reads the storage which the first left.
fn successor() -> Vec<u8> {
    let text = STATE
        .replace("(global $a (mut i32) (i32.const 1))", "(global $a (mut i32) (i32.const 1000))")
        .replace("\"born\"", "\"news\"")
        .replace("(memory (export \"memory\") 2)", "(memory (export \"memory\") 3)");
    wat::parse_str(text).unwrap()
}

/// Code whose every delivery faults, after it wrote to vat storage.
fn broken() -> Vec<u8> {
    wat::parse_str(STATE.replace("(call $log (i32.const 2)", "(unreachable) (call $log (i32.const 2)"))
        .unwrap()
}

/// Code that asks its host for something.
fn asking() -> Vec<u8> {
    let text = STATE.replace(
        "(call $log (i32.const 2)",
        "(drop (call $syscall (i32.const 3072) (i32.const 62))) (call $log (i32.const 2)",
    );
    wat::parse_str(text).unwrap()
}

/// The host fails at each of the vat's syscalls.
struct Failing;

impl SyscallHandler for Failing {
    fn syscall(&mut self, _: &Syscall) -> SyscallVerdict {
        SyscallVerdict::Abandon("the host's disk is full".into())
    }

    fn log(&mut self, _: vat_abi::LogLevel, _: &str) {}
}

fn open(dir: &Path) -> Warehouse {
    Warehouse::open(dir, WarehouseConfig::default()).unwrap()
}

/// A vat of `module` with four deliveries, everything durable.
fn store(dir: &Path) -> Warehouse {
    let warehouse = open(dir);
    warehouse.install("old", &wat::parse_str(STATE).unwrap()).unwrap();
    warehouse.install("new", &successor()).unwrap();
    let undefined = CapData::undefined();
    warehouse.create(&vat(), "old", VatOptions::default(), undefined, 0, Listener::default()).0.unwrap();
    (0..3).for_each(|_| drop(step(&warehouse, &vat())));
    warehouse.provide_blocking(&vat()).unwrap().snapshot().unwrap();
    warehouse.checkpoint().unwrap();
    warehouse
}

fn step(warehouse: &Warehouse, vat: &VatName) -> String {
    let mut lease = warehouse.provide_blocking(vat).unwrap();
    let (report, _) = lease.deliver(message("step", "[1]"), 5, Listener::default());
    report.unwrap().syscalls.last().unwrap().syscall.to_string()
}

fn upgrade(warehouse: &Warehouse, module: &str) -> Result<Report, Error> {
    warehouse.upgrade(&vat(), module, CapData::undefined(), 6, Listener::default()).0
}

fn stored(warehouse: &Warehouse, key: &str) -> Option<String> {
    let id = warehouse.vat(&vat()).unwrap().id;
    warehouse.storage().vatstore_get(id, key).unwrap()
}

fn transcript(warehouse: &Warehouse) -> Vec<(u64, String)> {
    let entries = warehouse.transcript(&vat(), 0).unwrap();
    entries.map(|entry| entry.map(|(at, entry)| (at, entry.to_json())).unwrap()).collect()
}

fn heap(warehouse: &Warehouse) -> Vec<u8> {
    warehouse.provide_blocking(&vat()).unwrap().heap().unwrap().to_vec()
}

fn is_identical(warehouse: &Warehouse, vat: &VatName) -> bool {
    warehouse.verify(vat).unwrap().verdict.is_identical()
}

/// Deliveries with upgrades among them: one in the middle, two in a row, one at the end.
fn scenario() -> Scenario {
    let mut scenario = Scenario::wat(STATE, 10);
    scenario.successor = successor();
    for upgraded in [2, 5, 6, 9] {
        scenario.deliveries[upgraded] = Delivery::StartVat(CapData::undefined());
    }
    scenario
}

#[test]
fn whatever_happens_around_an_upgrade_is_invisible() {
    indistinguishable(&scenario());
}

#[test]
fn a_crash_around_an_upgrade_loses_only_what_was_not_committed() {
    let scenario = scenario();
    let steady = steady(&scenario);
    for at in 2..=10usize {
        for committed in [at - 2, at - 1] {
            let crashed = crash_once(&scenario, Host::ALL[at % Host::ALL.len()], committed, at);
            steady.assert_same(&crashed, &format!("crash at {at}, committed at {committed}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_with_upgrades_is_invisible(
        events in events(16),
        upgraded in proptest::collection::btree_set(0..15usize, 1..4),
        host in 0..Host::ALL.len(),
    ) {
        let mut scenario = Scenario::wat(STATE, 15);
        scenario.successor = successor();
        for index in &upgraded {
            scenario.deliveries[*index] = Delivery::StartVat(CapData::undefined());
        }
        let disturbed = scenario.run(Host::ALL[host], |position| events[position]);
        steady(&scenario).assert_same(&disturbed, &format!("{events:?}, upgraded at {upgraded:?}"));
    }
}

#[test]
fn a_host_that_keeps_the_current_incarnation_can_replay_that() {
    let dir = tempfile::tempdir().unwrap();
    let config = WarehouseConfig { retention: Some(Retention::Replay), ..WarehouseConfig::default() };
    let warehouse = Warehouse::open(dir.path(), config).unwrap();
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    let (start, options) = (CapData::undefined(), VatOptions::default());
    warehouse.create(&vat(), "state", options, start.clone(), 0, Listener::default()).0.unwrap();
    warehouse.upgrade(&vat(), "state", start, 1, Listener::default()).0.unwrap();
    warehouse.checkpoint().unwrap();
    warehouse.prune(&vat()).unwrap();
    assert!(warehouse.at(&vat(), 0).is_err(), "what the old code did is gone");
    let verification = warehouse.verify(&vat()).unwrap();
    assert!(verification.verdict.is_identical(), "{}", verification.verdict);
    assert_eq!((verification.deliveries, verification.passed_over), (1, 1));
    assert_eq!(warehouse.replay(&vat()).unwrap(), None);
    assert!(warehouse.scrub(|_, _| {}).unwrap().is_clean());
}

#[test]
fn a_null_upgrade_begins_a_span_and_an_incarnation() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = store(dir.path());
    let report = upgrade(&warehouse, "old").unwrap();
    assert_eq!((report.position, report.outcome), (4, Outcome::Delivered));
    let row = warehouse.vat(&vat()).unwrap();
    assert_eq!((row.incarnation, row.next_position), (Incarnation(1), Position(5)));
    let spans = warehouse.storage().spans(row.id).unwrap();
    let last = spans.last().unwrap();
    assert_eq!((last.start, last.incarnation, last.state), (Position(4), Incarnation(1), SpanState::Open));
    assert!(spans[..spans.len() - 1].iter().all(|span| span.incarnation == Incarnation(0)));
    let (_, entry) = warehouse.transcript(&vat(), 4).unwrap().next().unwrap().unwrap();
    assert!(matches!(entry.delivery, Delivery::StartVat(_)));
    assert!(warehouse.storage().snapshots(row.id).unwrap().is_empty());
    warehouse.evict(&vat()).unwrap();
    warehouse.checkpoint().unwrap();
    let snapshots = warehouse.storage().snapshots(row.id).unwrap();
    assert_eq!(snapshots.iter().map(|row| row.position).collect::<Vec<_>>(), [Position(5)]);
}

#[test]
fn vat_storage_survives_and_the_heap_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = store(dir.path());
    let (count, old) = (stored(&warehouse, "count"), heap(&warehouse));
    assert!(count.is_some());
    let report = upgrade(&warehouse, "old").unwrap();
    let read =
        report.syscalls.iter().find(|record| matches!(record.syscall, Syscall::VatstoreGet(_))).unwrap();
    assert!(format!("{:?}", read.result).contains(count.as_deref().unwrap()), "{read:?}");
    // The same code with the same first delivery as at its creation: but for what it read, the heap of a new vat.
    assert_ne!(heap(&warehouse), old);
    assert_eq!(warehouse.provide_blocking(&vat()).unwrap().globals().unwrap(), {
        let other: VatName = "other".parse().unwrap();
        let undefined = CapData::undefined();
        warehouse.create(&other, "old", VatOptions::default(), undefined, 6, Listener::default()).0.unwrap();
        warehouse.provide_blocking(&other).unwrap().globals().unwrap()
    });
}

#[test]
fn only_the_new_incarnation_is_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = store(dir.path());
    upgrade(&warehouse, "new").unwrap();
    step(&warehouse, &vat());
    let changed = heap(&warehouse);
    warehouse.commit().unwrap();
    warehouse.abandon().unwrap();
    let warehouse = open(dir.path());
    assert_eq!(heap(&warehouse), changed);
    let stats = warehouse.stats();
    assert_eq!((stats.replayed, stats.fallbacks), (2, 0), "the start and the delivery after it: {stats:?}");
    // Neither the code nor the deliveries of the old incarnation are needed for that.
    let old = ModuleHash::of(&wat::parse_str(STATE).unwrap());
    warehouse.storage().delete_module(old).unwrap();
    warehouse.evict(&vat()).unwrap();
    let verification = warehouse.verify(&vat()).unwrap();
    assert!(verification.verdict.is_identical());
    assert_eq!((verification.deliveries, verification.passed_over), (2, 4));
}

#[test]
fn old_incarnations_are_verified_while_their_modules_are_there() {
    let upgraded_twice = |warehouse: &Warehouse| {
        upgrade(warehouse, "new").unwrap();
        step(warehouse, &vat());
        upgrade(warehouse, "old").unwrap();
        warehouse.verify(&vat()).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let verification = upgraded_twice(&store(dir.path()));
    assert!(verification.verdict.is_identical());
    assert_eq!((verification.deliveries, verification.passed_over), (7, 0));
    // A record is changed that a snapshot covers, so that only verification comes by it.
    let dir = tempfile::tempdir().unwrap();
    let warehouse = store(dir.path());
    warehouse.evict(&vat()).unwrap();
    warehouse.checkpoint().unwrap();
    drop(warehouse);
    let forge = "UPDATE transcript SET entry = CAST(replace(CAST(entry AS TEXT), '\"computrons\":', '\"computrons\":1') AS BLOB) \
                 WHERE position = 2";
    assert_eq!(crate::forged::forge(dir.path(), forge, []), 1);
    let verdict = upgraded_twice(&open(dir.path())).verdict.to_string();
    assert!(verdict.contains("delivery 2"), "an old incarnation's record: {verdict}");
}

#[test]
fn a_kernel_may_have_the_dead_brought_out_first() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = store(dir.path());
    let mut lease = warehouse.provide_blocking(&vat()).unwrap();
    lease.deliver(Delivery::BringOutYourDead, 5, Listener::default()).0.unwrap();
    drop(lease);
    upgrade(&warehouse, "new").unwrap();
    let kinds: Vec<bool> =
        transcript(&warehouse).iter().map(|(_, json)| json.contains("bringOutYourDead")).collect();
    assert_eq!(kinds, [false, false, false, false, true, false]);
    assert!(is_identical(&warehouse, &vat()));
}

#[test]
fn a_failed_upgrade_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = store(dir.path());
    let twin_dir = tempfile::tempdir().unwrap();
    let twin = store(twin_dir.path());
    warehouse.install("broken", &broken()).unwrap();
    warehouse.install("asking", &asking()).unwrap();
    for evicted in [false, true] {
        let before = (warehouse.vat(&vat()).unwrap(), transcript(&warehouse), stored(&warehouse, "count"));
        if evicted {
            warehouse.evict(&vat()).unwrap();
        }
        let error = upgrade(&warehouse, "broken").unwrap_err();
        assert!(matches!(error, Error::UpgradeFaulted { .. }), "{error}");
        assert!(error.to_string().contains("goes on as before"), "{error}");
        let (failed, _) = warehouse.upgrade(&vat(), "asking", CapData::undefined(), 6, Failing);
        assert!(failed.unwrap_err().to_string().contains("the host's disk is full"));
        assert!(matches!(upgrade(&warehouse, "nothing"), Err(Error::UnknownModule(_))));
        let after = (warehouse.vat(&vat()).unwrap(), transcript(&warehouse), stored(&warehouse, "count"));
        assert_eq!(before, after);
        assert_eq!(warehouse.is_resident(&vat()).unwrap(), !evicted, "it is where it was");
        assert_eq!(step(&warehouse, &vat()), step(&twin, &vat()), "it answers from its old state");
    }
    // A crash after the failure finds nothing of it, and the next upgrade works.
    warehouse.checkpoint().unwrap();
    warehouse.abandon().unwrap();
    let warehouse = open(dir.path());
    for warehouse in [&warehouse, &twin] {
        upgrade(warehouse, "new").unwrap();
    }
    assert_eq!(step(&warehouse, &vat()), step(&twin, &vat()));
    assert_eq!(transcript(&warehouse), transcript(&twin));
    assert!(is_identical(&warehouse, &vat()));
}

#[test]
fn new_code_that_needs_more_memory_than_the_vat_may_have_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = store(dir.path());
    let small: VatName = "small".parse().unwrap();
    let options = VatOptions { memory_pages_max: 2, ..VatOptions::default() };
    warehouse.create(&small, "old", options, CapData::undefined(), 0, Listener::default()).0.unwrap();
    let (refused, _) = warehouse.upgrade(&small, "new", CapData::undefined(), 6, Listener::default());
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("memory"), "{error}");
    assert_eq!(warehouse.vat(&small).unwrap().incarnation, Incarnation(0));
    step(&warehouse, &small);
    assert!(is_identical(&warehouse, &small));
}

#[test]
fn forks_before_and_after_an_upgrade_go_their_own_ways() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = store(dir.path());
    let [before, after]: [VatName; 2] = ["before", "after"].map(|name| name.parse().unwrap());
    warehouse.fork(&vat(), &before).unwrap();
    upgrade(&warehouse, "new").unwrap();
    step(&warehouse, &vat());
    warehouse.fork(&vat(), &after).unwrap();
    assert_eq!(step(&warehouse, &after), step(&warehouse, &vat()));
    // The fork of the old code is upgraded by itself; the fork of the new code once more.
    for (fork, module) in [(&before, "new"), (&after, "old")] {
        warehouse.upgrade(fork, module, CapData::undefined(), 6, Listener::default()).0.unwrap();
        step(&warehouse, fork);
    }
    warehouse.terminate(&vat(), "no longer needed").unwrap();
    let roots = [&before, &after].map(|fork| warehouse.root(fork).unwrap());
    warehouse.checkpoint().unwrap();
    drop(warehouse);
    std::fs::remove_dir_all(dir.path().join("pages")).unwrap();
    let warehouse = open(dir.path());
    for (fork, root) in [&before, &after].into_iter().zip(roots) {
        assert_eq!(warehouse.root(fork).unwrap(), root, "{fork}: replayed without any snapshot");
        assert!(is_identical(&warehouse, fork), "{fork}");
    }
    assert_eq!(warehouse.vat(&after).unwrap().incarnation, Incarnation(2));
}

#[test]
fn a_damaged_snapshot_of_the_new_incarnation_never_falls_back_to_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = store(dir.path());
    upgrade(&warehouse, "new").unwrap();
    step(&warehouse, &vat());
    let expected = heap(&warehouse);
    warehouse.evict(&vat()).unwrap();
    warehouse.checkpoint().unwrap();
    drop(warehouse);
    let script = "UPDATE snapshots SET image = x'00' WHERE incarnation = 1";
    let connection = rusqlite::Connection::open(dir.path().join("store.sqlite")).unwrap();
    assert_eq!(connection.execute(script, []).unwrap(), 1);
    drop(connection);
    let warehouse = open(dir.path());
    assert_eq!(heap(&warehouse), expected);
    assert_eq!((warehouse.stats().fallbacks, warehouse.stats().replayed), (1, 2));
}

#[test]
fn a_quarantined_vat_is_not_upgraded_and_an_unknown_one_neither() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = store(dir.path());
    let id = warehouse.vat(&vat()).unwrap().id;
    let reason = vat_warehouse::VatStatus::Quarantined { reason: "looked at".to_owned() };
    warehouse.storage().set_status(id, &reason).unwrap();
    assert!(matches!(upgrade(&warehouse, "new"), Err(Error::Quarantined { .. })));
    let nobody = "nobody".parse().unwrap();
    let (refused, _) = warehouse.upgrade(&nobody, "new", CapData::undefined(), 6, Listener::default());
    assert!(matches!(refused, Err(Error::UnknownVat(_))));
}

#[test]
fn a_state_of_the_old_code_on_its_way_to_being_durable_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = store(dir.path());
    step(&warehouse, &vat());
    // Captured, and not yet a row: the next commit would make it one.
    warehouse.provide_blocking(&vat()).unwrap().snapshot().unwrap();
    upgrade(&warehouse, "new").unwrap();
    warehouse.checkpoint().unwrap();
    let id = warehouse.vat(&vat()).unwrap().id;
    assert_eq!(warehouse.storage().snapshots(id).unwrap(), [], "a heap of code that is no longer run");
    step(&warehouse, &vat());
    let expected = heap(&warehouse);
    warehouse.evict(&vat()).unwrap();
    warehouse.checkpoint().unwrap();
    let kept = warehouse.storage().snapshots(id).unwrap();
    assert_eq!(kept.iter().map(|row| row.incarnation).collect::<Vec<_>>(), [Incarnation(1)]);
    drop(warehouse);
    assert_eq!(heap(&open(dir.path())), expected);
}
