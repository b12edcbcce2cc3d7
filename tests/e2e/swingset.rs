//! The original's own test cases, as far as they make sense without a JavaScript engine and without a kernel.
//!
//! | case | what it says | here |
//! |---|---|---|
//! | 1 | four vats, two in memory | `residency::the_vats_used_last_are_in_memory` |
//! | 2 | who is evicted, use by use | `the_least_recently_used_vat_goes` |
//! | 3 | creating more vats than fit | `creating_more_vats_than_fit_evicts_the_first` |
//! | 4 | static vats first at start | left out: there are no static vats; nothing is loaded before it is asked for (`residency::opening_loads_no_vat`) |
//! | 5 | a message to a vat at rest | `a_message_to_a_vat_at_rest_disturbs_nobody_in_memory` |
//! | 6, 7 | snapshots at their positions; only what is after one is replayed | `a_restart_replays_only_what_the_newest_snapshot_does_not_cover` |
//! | 8 | no automatic snapshot | `without_a_snapshot_interval_nothing_is_captured` |
//! | 9 | snapshots of all vats, twice | `a_second_snapshot_without_a_delivery_writes_nothing` |
//! | 10 | a worker that is reused, one that is replaced | `staying_and_leaving_give_the_same_transcript` |
//! | 11 | no snapshots at all: everything is replayed | `without_snapshots_everything_is_replayed` |
//! | 12, 21 | vats without a transcript | left out: every vat has one |
//! | 13, 14 | what the transcript of a new vat has | `the_transcript_of_a_new_vat_begins_with_its_start` |
//! | 15 | spans close with snapshots | left out: snapshots leave no mark in a transcript; spans close by a policy of their own, tested with it |
//! | 16 | restarts leave transcripts as they are | `restarts_leave_the_transcript_as_it_is` |
//! | 17, 24, 75, 76, 79 | upgrades | `upgrade` |
//! | 18 | export, import, go on | `archives` |
//! | 19, 20 | from any stored state the next step is the same | `from_every_stored_state_the_next_crank_is_the_same` |
//! | 22 | creation is not repeated | `a_vat_is_started_once` |
//! | 23 | a dead vat stays dead | `a_terminated_vat_is_not_brought_back_by_a_restart` |
//! | 25 | missing, wrong, extra syscalls | `divergence::each_kind_of_difference_is_told`, `travel::a_quarantined_vat_is_looked_into_put_right_and_released` |
//! | 26 | same inputs, same snapshot | `the_same_deliveries_give_the_same_root` |
//! | 27 | the same snapshot for ever | `the_root_after_birth_and_after_some_deliveries_is_golden` |
//! | 28 | compression of snapshots | left out: snapshots are mapped, so they are not compressed; zero pages take no space (`vat-image`'s golden files) |
//! | 29, 31 | a restored vat goes on as one that stayed | `oracle` |
//! | 30 | a delivery right after a snapshot | `a_snapshot_has_the_state_before_the_delivery_that_follows_it` |
//! | 42 | a restart does not change the hash of what was done | `a_restart_changes_no_hash` |
//! | 43 | nothing is initialised again after a restart | `oracle`: its vat counts its births |
//! | 44 | hash of a crank's writes to the kernel's store | left out: there is no kernel yet |

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use expect_test::expect;
use vat_abi::{CapData, Delivery, Outcome};
use vat_warehouse::{Error, HeapRoot, VatName, VatOptions, Warehouse, WarehouseConfig};

use crate::scenario::{Listener, message};

const STATE: &str = include_str!("../vats/state.wat");

fn name(n: usize) -> VatName {
    format!("v{n}").parse().unwrap()
}

fn open(dir: &Path, resident_max: usize, snapshot_interval: u64) -> Warehouse {
    let resident_max = NonZeroUsize::new(resident_max).unwrap();
    Warehouse::open(dir, WarehouseConfig { resident_max, snapshot_interval, ..WarehouseConfig::default() })
        .unwrap()
}

fn create(warehouse: &Warehouse, n: usize) {
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    let (made, _) = warehouse.create(
        &name(n),
        "state",
        VatOptions::default(),
        CapData::undefined(),
        0,
        Listener::default(),
    );
    made.unwrap();
}

fn deliver(warehouse: &Warehouse, n: usize, times: usize) {
    for _ in 0..times {
        let mut lease = warehouse.provide_blocking(&name(n)).unwrap();
        let (report, _) = lease.deliver(message("step", "[]"), 7, Listener::default());
        assert_eq!(report.unwrap().outcome, Outcome::Delivered);
    }
}

fn in_memory(warehouse: &Warehouse) -> Vec<usize> {
    (0..20).filter(|n| warehouse.is_resident(&name(*n)).unwrap_or(false)).collect()
}

fn transcript(warehouse: &Warehouse, n: usize) -> Vec<String> {
    warehouse.transcript(&name(n), 0).unwrap().map(|entry| entry.unwrap().1.to_json()).collect()
}

fn snapshots(warehouse: &Warehouse, n: usize) -> Vec<u64> {
    let vat = warehouse.vat(&name(n)).unwrap().id;
    warehouse.storage().snapshots(vat).unwrap().iter().map(|row| row.position.0).collect()
}

fn hashes(warehouse: &Warehouse, n: usize) -> Vec<String> {
    let vat = warehouse.vat(&name(n)).unwrap().id;
    warehouse.storage().spans(vat).unwrap().iter().map(|span| span.hash.to_string()).collect()
}

fn root(warehouse: &Warehouse, n: usize) -> HeapRoot {
    warehouse.root(&name(n)).unwrap().1
}

#[test]
fn the_least_recently_used_vat_goes() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path(), 3, u64::MAX);
    (0..4).for_each(|n| create(&warehouse, n));
    warehouse.evict_all().unwrap();
    let mut before = Vec::new();
    for (used, gone) in [(0, None), (1, None), (2, None), (3, Some(0)), (3, None), (2, None)] {
        deliver(&warehouse, used, 1);
        let now = in_memory(&warehouse);
        assert_eq!(before.iter().copied().find(|n| !now.contains(n)), gone, "after {used}");
        before = now;
    }
}

#[test]
fn creating_more_vats_than_fit_evicts_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path(), 10, u64::MAX);
    (0..13).for_each(|n| create(&warehouse, n));
    assert_eq!(in_memory(&warehouse), (3..13).collect::<Vec<_>>());
}

#[test]
fn a_message_to_a_vat_at_rest_disturbs_nobody_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path(), 10, u64::MAX);
    (0..8).for_each(|n| create(&warehouse, n));
    warehouse.evict(&name(6)).unwrap();
    deliver(&warehouse, 6, 1);
    assert_eq!(in_memory(&warehouse), (0..8).collect::<Vec<_>>());
}

#[test]
fn a_restart_replays_only_what_the_newest_snapshot_does_not_cover() {
    for delivered in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = open(dir.path(), 10, 4);
        create(&warehouse, 0);
        deliver(&warehouse, 0, delivered);
        warehouse.checkpoint().unwrap();
        let next = delivered as u64 + 1;
        let newest = next / 4 * 4;
        assert_eq!(snapshots(&warehouse, 0).first().copied().unwrap_or(0), newest);
        drop(warehouse);
        let warehouse = open(dir.path(), 10, 4);
        deliver(&warehouse, 0, 1);
        assert_eq!(warehouse.stats().replayed, next - newest, "after {delivered} messages");
        assert!(warehouse.verify(&name(0)).unwrap().verdict.is_identical());
    }
}

#[test]
fn without_a_snapshot_interval_nothing_is_captured() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path(), 10, u64::MAX);
    create(&warehouse, 0);
    deliver(&warehouse, 0, 30);
    assert_eq!(warehouse.stats().captures, 0);
}

#[test]
fn a_second_snapshot_without_a_delivery_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path(), 10, u64::MAX);
    create(&warehouse, 0);
    let snapshot = || {
        warehouse.provide_blocking(&name(0)).unwrap().snapshot().unwrap();
        warehouse.stats().pages_written
    };
    let first = snapshot();
    assert!(first > 0);
    assert_eq!(snapshot(), first);
    deliver(&warehouse, 0, 1);
    assert!(snapshot() > first);
}

#[test]
fn staying_and_leaving_give_the_same_transcript() {
    let run = |leaves: bool| {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = open(dir.path(), 10, 3);
        create(&warehouse, 0);
        for _ in 0..9 {
            deliver(&warehouse, 0, 1);
            if leaves {
                warehouse.evict(&name(0)).unwrap();
            }
        }
        (transcript(&warehouse, 0), hashes(&warehouse, 0), root(&warehouse, 0))
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn without_snapshots_everything_is_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path(), 10, u64::MAX);
    create(&warehouse, 0);
    deliver(&warehouse, 0, 9);
    warehouse.commit().unwrap();
    let heap = warehouse.provide_blocking(&name(0)).unwrap().heap().unwrap().to_vec();
    warehouse.abandon().unwrap();
    let warehouse = open(dir.path(), 10, u64::MAX);
    assert!(warehouse.provide_blocking(&name(0)).unwrap().heap().unwrap() == heap);
    assert_eq!(warehouse.stats().replayed, 10);
}

#[test]
fn the_transcript_of_a_new_vat_begins_with_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path(), 10, 3);
    create(&warehouse, 0);
    deliver(&warehouse, 0, 2);
    let entries: Vec<_> = warehouse.transcript(&name(0), 0).unwrap().map(Result::unwrap).collect();
    assert_eq!(entries.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(matches!(entries[0].1.delivery, Delivery::StartVat(_)));
    assert!(entries[1..].iter().all(|(_, entry)| matches!(entry.delivery, Delivery::Message { .. })));
    assert!(entries.iter().all(|(_, entry)| entry.computrons.0 > 0));
}

#[test]
fn restarts_leave_the_transcript_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut warehouse = open(dir.path(), 10, 3);
    create(&warehouse, 0);
    for delivered in 0..8 {
        warehouse.checkpoint().unwrap();
        let before = (transcript(&warehouse, 0), hashes(&warehouse, 0));
        drop(warehouse);
        warehouse = open(dir.path(), 10, 3);
        assert_eq!((transcript(&warehouse, 0), hashes(&warehouse, 0)), before);
        deliver(&warehouse, 0, 1);
        assert_eq!(warehouse.vat(&name(0)).unwrap().next_position.0, delivered + 2);
    }
}

/// Copies what a crash would leave of a committed store.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

#[test]
fn from_every_stored_state_the_next_crank_is_the_same() {
    const CRANKS: usize = 7;
    let everything =
        |warehouse: &Warehouse| (transcript(warehouse, 0), hashes(warehouse, 0), root(warehouse, 0));
    let live = tempfile::tempdir().unwrap();
    let warehouse = open(live.path(), 10, 3);
    create(&warehouse, 0);
    warehouse.checkpoint().unwrap();
    let mut stored = Vec::new();
    let mut states = vec![everything(&warehouse)];
    for _ in 0..CRANKS {
        let copied = tempfile::tempdir().unwrap();
        copy(live.path(), copied.path());
        stored.push(copied);
        deliver(&warehouse, 0, 1);
        warehouse.commit().unwrap();
        states.push(everything(&warehouse));
    }
    for (at, copied) in stored.iter().enumerate() {
        let warehouse = open(copied.path(), 10, 3);
        assert_eq!(everything(&warehouse), states[at], "state {at} as it was stored");
        deliver(&warehouse, 0, 1);
        assert_eq!(everything(&warehouse), states[at + 1], "the crank after state {at}");
    }
}

#[test]
fn a_vat_is_started_once() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path(), 10, 3);
    create(&warehouse, 0);
    warehouse.commit().unwrap();
    drop(warehouse);
    let warehouse = open(dir.path(), 10, 3);
    deliver(&warehouse, 0, 1);
    let entries = warehouse.transcript(&name(0), 0).unwrap().map(Result::unwrap);
    assert_eq!(entries.filter(|(_, entry)| matches!(entry.delivery, Delivery::StartVat(_))).count(), 1);
}

#[test]
fn a_terminated_vat_is_not_brought_back_by_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path(), 10, 3);
    (0..2).for_each(|n| create(&warehouse, n));
    deliver(&warehouse, 0, 4);
    warehouse.checkpoint().unwrap();
    warehouse.terminate(&name(0), "done").unwrap();
    warehouse.checkpoint().unwrap();
    drop(warehouse);
    let warehouse = open(dir.path(), 10, 3);
    assert!(matches!(warehouse.provide_blocking(&name(0)), Err(Error::UnknownVat(_))));
    assert_eq!(warehouse.stats().page_ins, 0);
    deliver(&warehouse, 1, 1);
}

#[test]
fn the_same_deliveries_give_the_same_root() {
    let run = |n: usize, snapshot_interval: u64| {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = open(dir.path(), 10, snapshot_interval);
        create(&warehouse, n);
        deliver(&warehouse, n, 5);
        root(&warehouse, n)
    };
    assert_eq!(run(0, 1), run(1, u64::MAX));
}

#[test]
fn the_root_after_birth_and_after_some_deliveries_is_golden() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path(), 10, u64::MAX);
    create(&warehouse, 0);
    let mut roots = root(&warehouse, 0).to_string();
    deliver(&warehouse, 0, 7);
    roots = format!("{roots}\n{}\n", root(&warehouse, 0));
    expect![[r#"
        ebed1fe649e74d750c18dce617a49c13e08e6bc4d1d3109e6c0b5430701e573f
        d3a9b1cdd25ba8465270c36827b6cf44a5cd9993d35bf46451d9bca7043c4f6a
    "#]]
    .assert_eq(&roots);
}

#[test]
fn a_snapshot_has_the_state_before_the_delivery_that_follows_it() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = open(dir.path(), 10, u64::MAX);
    create(&warehouse, 0);
    let mut lease = warehouse.provide_blocking(&name(0)).unwrap();
    lease.snapshot().unwrap();
    let (report, _) = lease.deliver(message("step", "[]"), 7, Listener::default());
    report.unwrap();
    let heap = lease.heap().unwrap().to_vec();
    drop(lease);
    warehouse.checkpoint().unwrap();
    assert_eq!(snapshots(&warehouse, 0), [1]);
    drop(warehouse);
    let warehouse = open(dir.path(), 10, u64::MAX);
    assert!(warehouse.provide_blocking(&name(0)).unwrap().heap().unwrap() == heap);
    assert_eq!(warehouse.stats().replayed, 1);
}

#[test]
fn a_restart_changes_no_hash() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let goes_on = open(one.path(), 10, 3);
    create(&goes_on, 0);
    deliver(&goes_on, 0, 5);
    goes_on.checkpoint().unwrap();
    copy(one.path(), other.path());
    let restarted = open(other.path(), 10, 5);
    for warehouse in [&goes_on, &restarted] {
        deliver(warehouse, 0, 6);
    }
    assert_eq!(hashes(&goes_on, 0), hashes(&restarted, 0));
    assert_eq!(root(&goes_on, 0), root(&restarted, 0));
}
