//! Who is in memory and when: the limit, recency, leases, sharing of page-ins, lazy start, what is counted.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use vat_abi::{CapData, Outcome};
use vat_warehouse::{Error, VatLease, VatName, VatOptions, Warehouse, WarehouseConfig};

use crate::scenario::{Listener, message};

const STATE: &str = include_str!("../vats/state.wat");

fn name(n: usize) -> VatName {
    format!("vat-{n}").parse().unwrap()
}

fn open(dir: &Path, resident_max: usize) -> Warehouse {
    let resident_max = NonZeroUsize::new(resident_max).unwrap();
    Warehouse::open(dir, WarehouseConfig { resident_max, ..WarehouseConfig::default() }).unwrap()
}

/// A warehouse of `vats` vats of which `resident_max` may be in memory.
fn warehouse(dir: &Path, vats: usize, resident_max: usize) -> Warehouse {
    let warehouse = open(dir, resident_max);
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    for n in 0..vats {
        let made = warehouse.create(
            &name(n),
            "state",
            VatOptions::default(),
            CapData::undefined(),
            0,
            Listener::default(),
        );
        made.0.unwrap();
    }
    warehouse.commit().unwrap();
    warehouse
}

fn step(lease: &mut VatLease) {
    let (report, _) = lease.deliver(message("step", "[]"), 7, Listener::default());
    assert_eq!(report.unwrap().outcome, Outcome::Delivered);
}

fn touch(warehouse: &Warehouse, n: usize) {
    step(&mut warehouse.provide_blocking(&name(n)).unwrap());
}

fn in_memory(warehouse: &Warehouse) -> Vec<usize> {
    (0..10).filter(|n| warehouse.is_resident(&name(*n)).unwrap_or(false)).collect()
}

/// SwingSet's warehouse test "4 vats in warehouse with 2 online": the last two used are those in memory.
#[test]
fn the_vats_used_last_are_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = warehouse(dir.path(), 4, 2);
    for (used, expected) in [
        (0, [0, 3]),
        (1, [0, 1]),
        (2, [1, 2]),
        (3, [2, 3]),
        (1, [1, 3]),
        (1, [1, 3]),
        (3, [1, 3]),
        (0, [0, 3]),
    ] {
        touch(&warehouse, used);
        assert_eq!(in_memory(&warehouse), expected, "after {used}");
    }
}

#[test]
fn there_are_never_more_vats_in_memory_than_may_be() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = warehouse(dir.path(), 10, 3);
    for n in (0..10).chain((0..10).rev()).chain([4, 4, 9, 4]) {
        touch(&warehouse, n);
        assert!(warehouse.stats().resident_vats <= 3);
    }
    let stats = warehouse.stats();
    assert_eq!(stats.evictions + 3, 10 + stats.page_ins, "what came in went out, but for three");
}

#[test]
fn a_leased_vat_is_not_evicted() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = warehouse(dir.path(), 5, 1);
    let mut held = warehouse.provide_blocking(&name(0)).unwrap();
    for n in 1..5 {
        touch(&warehouse, n);
    }
    assert!(warehouse.is_resident(&name(0)).unwrap());
    assert!(warehouse.try_provide(&name(0)).is_none(), "a lease is exclusive");
    step(&mut held);
    assert_eq!(held.next_position().unwrap(), 2);
    drop(held);
    assert_eq!(warehouse.stats().resident_vats, 1);
}

#[test]
fn the_synchronous_path_is_only_for_vats_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = warehouse(dir.path(), 2, 2);
    assert!(warehouse.try_provide(&name(0)).is_some());
    warehouse.evict(&name(0)).unwrap();
    assert!(warehouse.try_provide(&name(0)).is_none());
    touch(&warehouse, 0);
    assert!(warehouse.try_provide(&name(0)).is_some());
}

#[test]
fn opening_loads_no_vat() {
    let dir = tempfile::tempdir().unwrap();
    let made = warehouse(dir.path(), 6, 3);
    made.checkpoint().unwrap();
    drop(made);
    let warehouse = open(dir.path(), 3);
    assert_eq!(warehouse.stats().resident_vats, 0);
    assert_eq!(warehouse.stats().page_ins, 0);
    touch(&warehouse, 5);
    assert_eq!(warehouse.stats().page_ins, 1);
}

#[test]
fn two_callers_who_want_the_same_vat_share_one_page_in() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = warehouse(dir.path(), 1, 4);
    warehouse.evict(&name(0)).unwrap();
    let delivered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                touch(&warehouse, 0);
                delivered.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(delivered.into_inner(), 8);
    assert_eq!(warehouse.stats().page_ins, 1);
    assert_eq!(warehouse.vat(&name(0)).unwrap().next_position.0, 9);
    assert!(warehouse.verify(&name(0)).unwrap().verdict.is_identical());
}

#[test]
fn asynchronous_callers_share_page_ins_and_page_in_different_vats_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = warehouse(dir.path(), 8, 8);
    warehouse.evict_all().unwrap();
    assert_eq!(warehouse.stats().resident_vats, 0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for n in 0..32 {
            let warehouse = warehouse.clone();
            tasks.push(tokio::spawn(async move {
                let mut lease = warehouse.provide(&name(n % 8)).await.unwrap();
                tokio::task::spawn_blocking(move || step(&mut lease)).await.unwrap();
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(warehouse.stats().page_ins, 8);
    for n in 0..8 {
        assert_eq!(warehouse.vat(&name(n)).unwrap().next_position.0, 5);
    }
}

#[test]
fn many_threads_and_few_places_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = warehouse(dir.path(), 9, 2);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let warehouse = &warehouse;
            scope.spawn(move || {
                for turn in 0..30 {
                    touch(warehouse, (turn * 5 + thread * 2) % 9);
                    if turn % 7 == thread {
                        warehouse.commit().unwrap();
                    }
                }
            });
        }
    });
    let delivered: u64 = (0..9).map(|n| warehouse.vat(&name(n)).unwrap().next_position.0 - 1).sum();
    assert_eq!(delivered, 120);
    assert!(warehouse.stats().resident_vats <= 2);
    for n in 0..9 {
        assert!(warehouse.verify(&name(n)).unwrap().verdict.is_identical());
    }
}

#[test]
fn a_limit_by_bytes_counts_what_vats_changed() {
    let dir = tempfile::tempdir().unwrap();
    drop({
        let made = warehouse(dir.path(), 8, 8);
        made.checkpoint().unwrap();
        made
    });
    let pages = 12 * 4096;
    let config = WarehouseConfig { resident_bytes_max: Some(pages), ..WarehouseConfig::default() };
    let warehouse = Warehouse::open(dir.path(), config).unwrap();
    for n in 0..8 {
        touch(&warehouse, n);
        assert!(warehouse.stats().resident_bytes <= pages, "{:?}", warehouse.stats());
    }
    let stats = warehouse.stats();
    assert!(stats.evictions > 0, "eight vats that each change several pages do not fit");
    assert!(stats.resident_vats > 0);
}

#[test]
fn a_terminated_vat_is_gone_and_its_name_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let made = warehouse(dir.path(), 2, 2);
    made.terminate(&name(0), "no longer needed").unwrap();
    assert!(matches!(made.provide_blocking(&name(0)), Err(Error::UnknownVat(_))));
    touch(&made, 1);
    let again =
        made.create(&name(0), "state", VatOptions::default(), CapData::undefined(), 0, Listener::default());
    again.0.unwrap();
    made.checkpoint().unwrap();
    drop(made);
    let warehouse = open(dir.path(), 2);
    assert_eq!(warehouse.vat(&name(0)).unwrap().next_position.0, 1, "nothing of the first vat-0 came back");
    touch(&warehouse, 0);
    assert!(warehouse.verify(&name(0)).unwrap().verdict.is_identical());
}

#[test]
fn names_are_unique_and_known() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = warehouse(dir.path(), 1, 1);
    let create = |vat: &VatName, module: &str| {
        let made = warehouse.create(
            vat,
            module,
            VatOptions::default(),
            CapData::undefined(),
            0,
            Listener::default(),
        );
        made.0.unwrap_err().to_string()
    };
    assert_eq!(
        create(&name(0), "state"),
        "there is already a vat vat-0; choose another name, or terminate it first"
    );
    assert_eq!(create(&name(1), "nothing"), "there is no module nothing; install it first");
    let unknown = warehouse.provide_blocking(&name(7)).unwrap_err().to_string();
    assert_eq!(unknown, "there is no vat vat-7; `vats list` shows which there are");
}

#[test]
fn a_vat_that_stays_in_memory_does_not_gather_layers() {
    let dir = tempfile::tempdir().unwrap();
    drop(warehouse(dir.path(), 1, 1));
    let config = WarehouseConfig { snapshot_interval: 1, ..WarehouseConfig::default() };
    let warehouse = Warehouse::open(dir.path(), config).unwrap();
    for _ in 0..60 {
        touch(&warehouse, 0);
        warehouse.merge(&name(0)).unwrap();
    }
    let layers = warehouse.figures(&name(0)).unwrap().layers;
    assert!(layers <= 10, "{layers} layers after 60 captures");
    assert!(warehouse.verify(&name(0)).unwrap().verdict.is_identical());
}
