//! When states are captured is a host's own affair: it changes what is written and replayed, and nothing else.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;

use vat_abi::{CapData, TranscriptEntry};
use vat_warehouse::{
    CostModel, Hint, KeptPolicy, SnapshotPolicy, Speed, Stats, VatName, VatOptions, Warehouse,
    WarehouseConfig,
};

use crate::scenario::{Listener, message};
use crate::steady::code_cache;

const STATE: &str = include_str!("../vats/state.wat");

fn name(n: usize) -> VatName {
    format!("v{n}").parse().unwrap()
}

fn by_cost(replay_computrons_max: u64, computrons_per_page: u64) -> SnapshotPolicy {
    let computrons_per_page = NonZeroU64::new(computrons_per_page).unwrap();
    SnapshotPolicy::ByCost(CostModel { replay_computrons_max, computrons_per_page })
}

/// A warehouse of three vats, of which `resident_max` may be in memory.
fn host(dir: &Path, policy: SnapshotPolicy, resident_max: usize) -> Warehouse {
    let config = WarehouseConfig {
        snapshot_policy: policy,
        resident_max: NonZeroUsize::new(resident_max).unwrap(),
        ..WarehouseConfig::default()
    };
    let warehouse = Warehouse::open(dir, config).unwrap();
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    for n in 0..3 {
        let undefined = CapData::undefined();
        let made =
            warehouse.create(&name(n), "state", VatOptions::default(), undefined, 0, Listener::default());
        made.0.unwrap();
    }
    warehouse
}

fn step(warehouse: &Warehouse, n: usize) -> u64 {
    let mut lease = warehouse.provide_blocking(&name(n)).unwrap();
    lease.deliver(message("step", "[1]"), 5, Listener::default()).0.unwrap().computrons.0
}

/// Eight deliveries to one vat, each followed by an eviction.
fn evicting(policy: SnapshotPolicy) -> (Stats, [u8; 32]) {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = host(dir.path(), policy, 100);
    for _ in 0..8 {
        step(&warehouse, 0);
        warehouse.evict(&name(0)).unwrap();
    }
    let stats = warehouse.stats();
    (stats, warehouse.root(&name(0)).unwrap().1.0)
}

#[test]
fn an_eviction_writes_or_leaves_it_to_a_replay_whichever_is_cheaper() {
    let (saving, one) = evicting(SnapshotPolicy::EveryN);
    assert_eq!((saving.captures, saving.deferred, saving.replayed), (8, 0, 0));
    let (writing_is_dear, two) = evicting(by_cost(u64::MAX, u64::MAX));
    assert_eq!((writing_is_dear.captures, writing_is_dear.deferred), (0, 8));
    assert_eq!(writing_is_dear.replayed, (2..=8).sum::<u64>(), "the start and all that followed, each time");
    let (writing_is_cheap, three) = evicting(by_cost(u64::MAX, 1));
    assert_eq!((writing_is_cheap.captures, writing_is_cheap.deferred), (8, 0));
    assert_eq!((one, one), (two, three), "nobody can tell");
}

#[test]
fn a_replay_is_bounded_by_the_computrons_that_are_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let one = step(&host(dir.path(), SnapshotPolicy::EveryN, 100), 0);
    let (bounded, _) = evicting(by_cost(3 * one, u64::MAX));
    assert!(bounded.captures > 0 && bounded.deferred > 0, "{bounded:?}");
    // Between two captures at most what is allowed is left, so that each of eight page-ins replays three at most.
    assert!(bounded.replayed <= 8 * 3, "{bounded:?}");
}

#[test]
fn a_vat_that_stays_is_captured_by_cost_and_later_if_work_is_queued() {
    let captures = |hint| {
        let dir = tempfile::tempdir().unwrap();
        let one = step(&host(dir.path(), SnapshotPolicy::EveryN, 100), 0);
        let dir = tempfile::tempdir().unwrap();
        let warehouse = host(dir.path(), by_cost(2 * one, 1), 100);
        warehouse.hint(&name(0), hint).unwrap();
        for _ in 0..12 {
            step(&warehouse, 0);
        }
        warehouse.stats().captures
    };
    let (automatic, queued) = (captures(Hint::Automatic), captures(Hint::Queued));
    assert!(automatic > queued && queued > 0, "{automatic} captures, {queued} with queued work");
}

#[test]
fn a_vat_with_queued_work_or_a_pin_is_not_evicted_to_make_room() {
    for hint in [Hint::Queued, Hint::Pinned] {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = host(dir.path(), SnapshotPolicy::EveryN, 1);
        step(&warehouse, 0);
        warehouse.hint(&name(0), hint).unwrap();
        step(&warehouse, 1);
        step(&warehouse, 2);
        assert!(warehouse.is_resident(&name(0)).unwrap(), "{hint:?}");
        assert!(!warehouse.is_resident(&name(1)).unwrap(), "the others make room");
        warehouse.hint(&name(0), Hint::Automatic).unwrap();
        step(&warehouse, 1);
        assert!(!warehouse.is_resident(&name(0)).unwrap(), "{hint:?} withdrawn");
    }
    let dir = tempfile::tempdir().unwrap();
    let nobody = "nobody".parse().unwrap();
    assert!(host(dir.path(), SnapshotPolicy::EveryN, 1).hint(&nobody, Hint::Pinned).is_err());
}

/// The configuration that leaves the policy to the directory.
fn left_to_the_directory() -> WarehouseConfig {
    WarehouseConfig { code_cache: Some(code_cache()), ..WarehouseConfig::default() }
}

fn kept(replay_ms_max: u64, computrons_per_ms: u64) -> KeptPolicy {
    let number = |number| NonZeroU64::new(number).unwrap();
    let speed = Speed { computrons_per_ms: number(computrons_per_ms), bytes_per_ms: NonZeroU64::MIN };
    KeptPolicy::ReplayTime { replay_ms_max: number(replay_ms_max), speed }
}

/// Deliveries to a vat of a directory that keeps `policy`; after each the process ends, orderly or not. What the vat is at the end, and
/// the most computrons that any page-in replayed.
fn living_by(policy: Option<KeptPolicy>) -> (Vec<TranscriptEntry>, [u8; 32], u64) {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(dir.path(), left_to_the_directory()).unwrap();
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    let undefined = CapData::undefined();
    warehouse.create(&name(0), "state", VatOptions::default(), undefined, 0, Listener::default()).0.unwrap();
    warehouse.keep_policy(policy.as_ref()).unwrap();
    warehouse.checkpoint().unwrap();
    drop(warehouse);
    let mut replayed_max = 0;
    for n in 0..24 {
        let warehouse = Warehouse::open_existing(dir.path(), left_to_the_directory()).unwrap();
        drop(warehouse.provide_blocking(&name(0)).unwrap());
        let replayed = usize::try_from(warehouse.stats().replayed).unwrap();
        let entries = transcript(&warehouse);
        let computrons = entries.iter().rev().take(replayed).map(|entry| entry.computrons.0).sum();
        // The start was delivered before the policy was obeyed.
        replayed_max = if n == 0 { 0 } else { replayed_max.max(computrons) };
        step(&warehouse, 0);
        if n % 3 == 0 {
            warehouse.evict(&name(0)).unwrap();
        }
        warehouse.checkpoint().unwrap();
    }
    let warehouse = Warehouse::open_existing(dir.path(), left_to_the_directory()).unwrap();
    (transcript(&warehouse), warehouse.root(&name(0)).unwrap().1.0, replayed_max)
}

fn transcript(warehouse: &Warehouse) -> Vec<TranscriptEntry> {
    warehouse.transcript(&name(0), 0).unwrap().map(|entry| entry.unwrap().1).collect()
}

#[test]
fn the_policy_of_a_directory_bounds_every_replay_and_changes_no_vat() {
    let (entries, root, unbounded) = living_by(Some(KeptPolicy::Every(NonZeroU64::MAX)));
    let dearest = entries.iter().map(|entry| entry.computrons.0).max().unwrap();
    assert!(unbounded >= 2 * dearest, "without a bound there is something to replay: {unbounded}");
    let mut bounds = Vec::new();
    for policy in [kept(1, dearest), kept(3, dearest), kept(7, dearest / 2)] {
        let bound = policy.replay_computrons_max().unwrap();
        let (bounded_entries, bounded_root, replayed) = living_by(Some(policy));
        assert!(replayed <= bound, "{replayed} computrons were replayed, {bound} are allowed");
        assert!(bounded_entries == entries && bounded_root == root, "{policy:?} can be told from the vat");
        bounds.push(replayed);
    }
    assert!(bounds[1] > 0, "what is allowed is used: {bounds:?}");
    let (_, _, replayed) = living_by(Some(KeptPolicy::Every(NonZeroU64::MIN)));
    assert_eq!(replayed, 0, "every delivery");
    let (default_entries, default_root, _) = living_by(None);
    assert!(default_entries == entries && default_root == root);
}

#[test]
fn a_policy_of_the_caller_is_not_the_directory_s() {
    let dir = tempfile::tempdir().unwrap();
    drop(host(dir.path(), SnapshotPolicy::OfDirectory, 100));
    let captures = |snapshot_policy| {
        let config = WarehouseConfig { snapshot_policy, ..left_to_the_directory() };
        let warehouse = Warehouse::open(dir.path(), config).unwrap();
        warehouse.keep_policy(Some(&KeptPolicy::Every(NonZeroU64::MIN))).unwrap();
        warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
        if warehouse.vat(&name(0)).is_err() {
            let undefined = CapData::undefined();
            warehouse
                .create(&name(0), "state", VatOptions::default(), undefined, 0, Listener::default())
                .0
                .unwrap();
        }
        warehouse.commit().unwrap();
        step(&warehouse, 0);
        warehouse.stats().captures
    };
    assert_eq!(captures(SnapshotPolicy::OfDirectory), 0, "a setting is obeyed from the next opening on");
    assert!(captures(SnapshotPolicy::OfDirectory) > 0);
    assert_eq!(captures(SnapshotPolicy::EveryN), 0, "200 deliveries are not reached");
}
