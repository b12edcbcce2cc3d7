//! A crash at any moment leaves the last commit: no less, and nothing of what came after it.
//!
//! The crash is a copy of the files while the store is open: what a killed process leaves on disk. (Power loss adds torn
//! writes, which SQLite's log detects by its own checksums.)

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{Scratch, WASM, dump};
use crate::{Incarnation, ModuleHash, NewSnapshot, Position, Storage, VatId, VatstoreWrite};

const VAT: VatId = VatId(1);

/// A scenario with all kinds of records, and commits in between.
const STEPS: [fn(&Scratch); 14] = [
    |s| assert_eq!(s.vat("a"), VAT),
    |s| append(s, "0", &[("x", Some("0"))]),
    |s| s.storage.commit().expect("committed"),
    |s| append(s, "1", &[("x", Some("1")), ("y", Some("1"))]),
    snapshot,
    |s| assert!(s.storage.close_span(VAT).expect("closed").is_some()),
    |s| s.storage.commit().expect("committed"),
    |s| append(s, "2", &[("x", None)]),
    snapshot,
    |s| drop(s.storage.delete_snapshot(VAT, Position(2)).expect("deleted")),
    |s| s.storage.host_put("recent", Some(b"a")).expect("written"),
    |s| s.storage.commit().expect("committed"),
    |s| drop(s.storage.terminate(VAT, "done").expect("terminated")),
    |s| s.storage.commit().expect("committed"),
];

fn append(scratch: &Scratch, entry: &str, vatstore: &[VatstoreWrite<'_>]) {
    scratch.append(VAT, entry, vatstore).expect("appended");
}

fn snapshot(scratch: &Scratch) {
    let position = scratch.storage.vat(VAT).expect("a vat").next_position;
    let layers = [scratch.storage.add_layer(1, 4_096 * position.0, 4_096).expect("a layer")];
    let incarnation = Incarnation(0);
    let new = NewSnapshot {
        vat: VAT,
        position,
        incarnation,
        image: b"image",
        root: Some([3; 32]),
        layers: &layers,
    };
    scratch.storage.put_snapshot(&new).expect("kept");
}

/// What the store holds for whoever opens it after a crash now.
fn after_crash(dir: &Path) -> String {
    let copy = TempDir::new().expect("a directory");
    for file in ["store.sqlite", "store.sqlite-wal"] {
        fs::copy(dir.join(file), copy.path().join(file)).expect("copied");
    }
    let storage = Storage::open_existing(copy.path()).expect("opens after a crash");
    storage.check_file().expect("whole after a crash");
    dump(&storage)
}

#[test]
fn a_crash_after_any_step_leaves_the_last_commit() {
    let scratch = Scratch::new();
    let changes =
        || scratch.storage.read("count", |session| Ok(session.connection.total_changes())).expect("a count");
    let mut committed = dump(&scratch.storage);
    let mut uncommitted_steps = 0;
    for (number, step) in STEPS.iter().enumerate() {
        let before = changes();
        step(&scratch);
        let crashed = after_crash(scratch.dir.path());
        if changes() == before {
            committed = dump(&scratch.storage);
        } else {
            uncommitted_steps += 1;
            assert_ne!(dump(&scratch.storage), committed, "step {number} leaves something to commit");
        }
        assert_eq!(crashed, committed, "after step {number}");
        assert_eq!(after_crash(scratch.dir.path()), committed, "after step {number}, cranks written");
    }
    assert_eq!(uncommitted_steps, 10);
}

#[test]
fn a_transaction_larger_than_the_cache_is_still_undone() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    scratch.storage.commit().expect("committed");
    let committed = dump(&scratch.storage);
    // SQLite writes uncommitted pages to the log once its cache is full.
    let log = scratch.dir.path().join("store.sqlite-wal");
    let before = fs::metadata(&log).expect("the log").len();
    for _ in 0..700 {
        scratch.append(vat, &"x".repeat(60_000), &[]).expect("appended");
    }
    assert!(fs::metadata(&log).expect("the log").len() > before + 1_000_000);
    assert_eq!(after_crash(scratch.dir.path()), committed);
    assert_eq!(dump(&scratch.reopened().storage), committed);
}

#[test]
fn drop_without_commit_undoes() {
    let scratch = Scratch::new();
    let storage = &scratch.storage;
    storage.put_module(ModuleHash::of(WASM), "module", WASM).expect("kept");
    assert!(storage.module_by_name("module").expect("read").is_some());
    assert_eq!(scratch.reopened().storage.module_by_name("module").expect("read"), None);
}
