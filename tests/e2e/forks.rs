//! Forks: two vats with one past.

use vat_abi::CapData;
use vat_warehouse::{Error, VatName, VatOptions, Warehouse, WarehouseConfig};

use crate::scenario::{Listener, message};

const STATE: &str = include_str!("../vats/state.wat");

fn name(text: &str) -> VatName {
    text.parse().unwrap()
}

fn step(warehouse: &Warehouse, vat: &str) -> String {
    let mut lease = warehouse.provide_blocking(&name(vat)).unwrap();
    let (report, _) = lease.deliver(message("step", "[1]"), 5, Listener::default());
    report.unwrap().syscalls.last().unwrap().syscall.to_string()
}

fn open(dir: &std::path::Path) -> Warehouse {
    Warehouse::open(dir, WarehouseConfig::default()).unwrap()
}

fn forked(dir: &std::path::Path) -> Warehouse {
    let warehouse = open(dir);
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    let undefined = CapData::undefined();
    warehouse
        .create(&name("parent"), "state", VatOptions::default(), undefined, 0, Listener::default())
        .0
        .unwrap();
    for _ in 0..4 {
        step(&warehouse, "parent");
    }
    assert_eq!(warehouse.fork(&name("parent"), &name("child")).unwrap(), 5);
    warehouse
}

#[test]
fn a_fork_does_what_its_parent_would_have_done() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = forked(dir.path());
    assert_eq!(warehouse.root(&name("parent")).unwrap(), warehouse.root(&name("child")).unwrap());
    let (a, b) = (step(&warehouse, "parent"), step(&warehouse, "child"));
    assert_eq!(a, b);
    step(&warehouse, "child");
    assert_ne!(warehouse.root(&name("parent")).unwrap(), warehouse.root(&name("child")).unwrap());
    for vat in ["parent", "child"] {
        let verification = warehouse.verify(&name(vat)).unwrap();
        assert!(verification.verdict.is_identical(), "{vat}: {}", verification.verdict);
    }
}

#[test]
fn a_fork_writes_no_pages() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = forked(dir.path());
    let written = warehouse.stats().pages_written;
    for n in 0..20 {
        warehouse.fork(&name("child"), &name(&format!("child-{n}"))).unwrap();
    }
    assert_eq!(warehouse.stats().pages_written, written);
}

#[test]
fn a_fork_outlives_its_parent_its_snapshots_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = forked(dir.path());
    step(&warehouse, "child");
    let root = warehouse.root(&name("child")).unwrap();
    warehouse.terminate(&name("parent"), "no longer needed").unwrap();
    warehouse.checkpoint().unwrap();
    drop(warehouse);
    std::fs::remove_dir_all(dir.path().join("pages")).unwrap();
    let warehouse = open(dir.path());
    assert_eq!(
        warehouse.root(&name("child")).unwrap(),
        root,
        "replayed from birth, through its parent's past"
    );
    assert!(warehouse.verify(&name("child")).unwrap().verdict.is_identical());
}

#[test]
fn forks_have_names_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = forked(dir.path());
    assert!(matches!(warehouse.fork(&name("parent"), &name("child")), Err(Error::DuplicateVat(_))));
    assert!(matches!(warehouse.fork(&name("nobody"), &name("else")), Err(Error::UnknownVat(_))));
}

#[test]
fn a_fork_of_a_fork_outlives_both_in_any_order() {
    for order in [["parent", "child"], ["child", "parent"]] {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = forked(dir.path());
        step(&warehouse, "child");
        warehouse.fork(&name("child"), &name("grandchild")).unwrap();
        step(&warehouse, "grandchild");
        let root = warehouse.root(&name("grandchild")).unwrap();
        for vat in order {
            warehouse.terminate(&name(vat), "no longer needed").unwrap();
        }
        warehouse.checkpoint().unwrap();
        drop(warehouse);
        std::fs::remove_dir_all(dir.path().join("pages")).unwrap();
        let warehouse = open(dir.path());
        assert_eq!(warehouse.root(&name("grandchild")).unwrap(), root, "{order:?}");
        warehouse.terminate(&name("grandchild"), "nor this one").unwrap();
        let entries: i64 = {
            warehouse.checkpoint().unwrap();
            drop(warehouse);
            let connection = rusqlite::Connection::open(dir.path().join("store.sqlite")).unwrap();
            connection.query_row("SELECT count(*) FROM transcript", [], |row| row.get(0)).unwrap()
        };
        assert_eq!(entries, 0, "{order:?}: the last takes everything along");
    }
}
