//! Data directories that earlier versions wrote, one for each version of the store: this one opens them and goes on.
//!
//! `UPDATE_EXPECT=1 cargo test --test e2e golden_store` writes the directory of the current version anew (and only that one);
//! those of older versions are never written again. What each vat must be is not in them: the host that never stops says it, so a
//! dependency's upgrade that changes a computron count, a heap byte or a layout fails here.

use std::fs;
use std::path::{Path, PathBuf};

use vat_warehouse::{VatName, Warehouse, WarehouseConfig};

use crate::scenario::State;
use crate::steady::{Kind, Script, Steady, code_cache, install};

/// Deliveries of each vat, and how many of them no snapshot covers.
const DELIVERIES: u64 = 9;
const REPLAYED: u64 = 3;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn open(dir: &Path) -> Warehouse {
    let config = WarehouseConfig { code_cache: Some(code_cache()), ..WarehouseConfig::default() };
    Warehouse::open(dir, config).unwrap()
}

/// The vats of a golden store: one of each kind, and a fork.
fn vats() -> Vec<(VatName, Script)> {
    let mut vats: Vec<(VatName, Script)> = (1..)
        .zip(Kind::ALL)
        .map(|(seed, kind)| (kind.module().parse().unwrap(), Script::new(kind, seed)))
        .collect();
    let fork = vats[0].1.forked(DELIVERIES - REPLAYED, 99);
    vats.push(("fork".parse().unwrap(), fork));
    vats
}

fn write(dir: &Path) {
    let warehouse = open(dir);
    install(&warehouse).unwrap();
    let deliver = |from, to| {
        for (name, script) in vats() {
            for position in from..to {
                if warehouse.vat(&name).is_ok() || position == 0 && name.as_str() != "fork" {
                    script.deliver(&warehouse, &name, position).unwrap();
                }
            }
        }
    };
    deliver(0, DELIVERIES - REPLAYED);
    let (parent, _) = &vats()[0];
    warehouse.fork(parent, &"fork".parse().unwrap()).unwrap();
    warehouse.evict_all().unwrap();
    warehouse.checkpoint().unwrap();
    deliver(DELIVERIES - REPLAYED, DELIVERIES);
    warehouse.commit().unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

/// The version that a store says it has.
fn version(dir: &Path) -> i64 {
    let connection = rusqlite::Connection::open(dir.join("store.sqlite")).unwrap();
    connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

#[test]
fn stores_of_every_version_open_and_go_on() {
    let written = tempfile::tempdir().unwrap();
    write(written.path());
    let current = golden().join(format!("store-v{}", version(written.path())));
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        if current.exists() {
            fs::remove_dir_all(&current).unwrap();
        }
        fs::create_dir_all(current.join("pages")).unwrap();
        fs::copy(written.path().join("store.sqlite"), current.join("store.sqlite")).unwrap();
        copy(&written.path().join("pages"), &current.join("pages"));
    }
    assert!(
        current.join("store.sqlite").exists(),
        "there is no golden store of this version: UPDATE_EXPECT=1 cargo test --test e2e golden_store"
    );
    let mut steady = Steady::new();
    for entry in fs::read_dir(golden()).unwrap() {
        let stored = entry.unwrap().path();
        let dir = tempfile::tempdir().unwrap();
        copy(&stored, dir.path());
        let warehouse = open(dir.path());
        let what = stored.display();
        for (name, script) in vats() {
            assert_eq!(warehouse.vat(&name).unwrap().next_position.0, DELIVERIES, "{what}: {name}");
            let state = State::of(&warehouse, &name).unwrap().digest();
            assert_eq!(state, *steady.state(&script, DELIVERIES), "{what}: {name}");
            let verdict = warehouse.verify(&name).unwrap().verdict;
            assert!(verdict.is_identical(), "{what}: {name}: {verdict}");
            let next = script.deliver(&warehouse, &name, DELIVERIES).unwrap();
            assert_eq!(next, *steady.observed(&script, DELIVERIES), "{what}: {name} goes on");
        }
        let stats = warehouse.stats();
        assert_eq!(stats.fallbacks, 0, "{what}: its snapshots are read");
        // A vat that faults is brought back once more; none is replayed from birth.
        let uncovered = vats().len() as u64 * REPLAYED;
        assert!((uncovered..=2 * uncovered).contains(&stats.replayed), "{what}: {stats:?}");
        assert_eq!(warehouse.scrub(|_, _| {}).unwrap().damaged, [], "{what}");
    }
}
