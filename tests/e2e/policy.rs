//! When states are captured is a host's own affair: it changes what is written and replayed, and nothing else.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;

use vat_abi::CapData;
use vat_warehouse::{
    CostModel, Hint, SnapshotPolicy, Stats, VatName, VatOptions, Warehouse, WarehouseConfig,
};

use crate::scenario::{Listener, message};

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
