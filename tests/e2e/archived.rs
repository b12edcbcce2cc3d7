//! Archives beside a store that lives: in place of what was pruned, under a statement, and vats that are added to others.

use std::path::Path;

use vat_abi::CapData;
use vat_warehouse::archive::{
    Archive, ArchiveError, Archived, CheckedClaim, ImportOptions, Imported, Restored, Retention, RootSource,
    SnapshotChoice, Source, import_into,
};
use vat_warehouse::{SpanContent, VatOptions, Warehouse};

use crate::archives::{
    CORRUPTIONS, STATE, assert_same_future, config, export, host, step, trusting, upgraded,
};
use crate::scenario::{Listener, vat};

fn pruned(warehouse: &Warehouse) -> Vec<u64> {
    let spans = warehouse.storage().spans(warehouse.vat(&vat()).unwrap().id).unwrap();
    spans.iter().filter(|span| span.content == SpanContent::Pruned).map(|span| span.start.0).collect()
}

#[test]
fn what_an_archive_has_may_go_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (lean, full) = (host(&dir.path().join("lean")), host(&dir.path().join("full")));
    let at = dir.path().join("archive");
    export(&lean, &at, Retention::Archival, SnapshotChoice::Needed).unwrap();
    let archive = Archive::open(&at).unwrap();
    assert_eq!(archive.vats().collect::<Vec<_>>(), [vat()]);
    lean.compress_transcripts().unwrap();
    let archived = lean.prune_archived(&vat(), &archive, &at).unwrap();
    assert_eq!((archived.spans, archived.uncovered, archived.shared), (3, 0, 0), "{archived:?}");
    assert_eq!(lean.retention(), Retention::Archival);
    lean.commit().unwrap();
    drop(lean);
    let lean = Warehouse::open_existing(&dir.path().join("lean"), config()).unwrap();
    assert_eq!(pruned(&lean), [0, 4, 7], "what the snapshot at 10 covers");
    assert_same_future(&lean, &full);
    assert_eq!(lean.claim(&vat()).unwrap(), full.claim(&vat()).unwrap());
    assert!(lean.verify(&vat()).unwrap_err().to_string().contains("`vats restore`"));
    let whole = Restored { spans: 3, entries: 10, absent: 0 };
    assert_eq!(lean.restore(&vat(), &archive).unwrap(), whole);
    assert!(lean.verify(&vat()).unwrap().verdict.is_identical());
    assert_eq!(lean.restore(&vat(), &archive).unwrap(), Restored::default(), "nothing is missing");
}

#[test]
fn nothing_goes_that_the_vat_or_a_fork_needs_or_the_archive_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    let at = |name: &str| dir.path().join(name);
    // Only what is at or after the snapshot at 10 is in it.
    export(&here, &at("operational"), Retention::Operational, SnapshotChoice::Needed).unwrap();
    let archive = Archive::open(&at("operational")).unwrap();
    let archived = here.prune_archived(&vat(), &archive, &at("operational")).unwrap();
    assert_eq!(archived, Archived { uncovered: 3, ..Archived::default() });
    // An artifact that is damaged covers nothing.
    export(&here, &at("damaged"), Retention::Archival, SnapshotChoice::Needed).unwrap();
    let path = at("damaged").join("artifacts/span-subject-4-7");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(path, bytes).unwrap();
    let archive = Archive::open(&at("damaged")).unwrap();
    let error = here.prune_archived(&vat(), &archive, &at("damaged")).unwrap_err().to_string();
    assert!(error.contains("artifact span-subject-4-7 is wrong"), "{error}");
    assert_eq!(pruned(&here), [0]);
    assert!(here.restore(&vat(), &Archive::open(&at("operational")).unwrap()).unwrap().absent == 1);
    assert_eq!(here.restore(&vat(), &archive).unwrap().spans, 1);
    // A fork shares everything.
    export(&here, &at("whole"), Retention::Archival, SnapshotChoice::Needed).unwrap();
    let archive = Archive::open(&at("whole")).unwrap();
    here.fork(&vat(), &"fork".parse().unwrap()).unwrap();
    let archived = here.prune_archived(&vat(), &archive, &at("whole")).unwrap();
    assert_eq!(archived, Archived { shared: 3, ..Archived::default() });
    let unknown = here.prune_archived(&"fork".parse().unwrap(), &archive, &at("whole")).unwrap_err();
    assert!(matches!(unknown, ArchiveError::Absent { .. }), "{unknown}");
    // A vat of the same name that lived otherwise.
    let other = Warehouse::open(&at("other"), config()).unwrap();
    other.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    other
        .create(&vat(), "state", VatOptions::default(), CapData::undefined(), 2, Listener::default())
        .0
        .unwrap();
    for n in 0..4 {
        step(&other, n + 90);
        if n == 2 {
            other.storage().close_span(other.vat(&vat()).unwrap().id).unwrap();
        }
    }
    other.evict(&vat()).unwrap();
    other.checkpoint().unwrap();
    let refused = other.prune_archived(&vat(), &archive, &at("whole")).unwrap_err();
    assert!(matches!(refused, ArchiveError::OtherVat { start: 0, end: 4, .. }), "{refused}");
}

#[test]
fn a_snapshot_that_cannot_be_read_covers_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    let at = dir.path().join("archive");
    export(&here, &at, Retention::Archival, SnapshotChoice::Needed).unwrap();
    drop(here);
    let store = rusqlite::Connection::open(dir.path().join("here/store.sqlite")).unwrap();
    store.execute("UPDATE snapshots SET image = x'00'", []).unwrap();
    drop(store);
    let here = Warehouse::open_existing(&dir.path().join("here"), config()).unwrap();
    let archived = here.prune_archived(&vat(), &Archive::open(&at).unwrap(), &at).unwrap();
    assert_eq!(archived, Archived::default());
    assert!(here.verify(&vat()).unwrap().verdict.is_identical());
}

/// What is compared without a replay is the record; the heap root only where a snapshot is.
#[test]
fn a_statement_is_checked_against_an_archive_alone() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    let at_snapshot = {
        let earlier = Warehouse::open(&dir.path().join("earlier"), config()).unwrap();
        earlier.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
        let start = CapData::undefined();
        earlier.create(&vat(), "state", VatOptions::default(), start, 1, Listener::default()).0.unwrap();
        (0..9).for_each(|n| drop(step(&earlier, n)));
        earlier.claim(&vat()).unwrap()
    };
    let now = here.claim(&vat()).unwrap();
    let upgraded = upgraded(&dir.path().join("upgraded"));
    let at = dir.path().join("archive");
    export(&upgraded, &at, Retention::Archival, SnapshotChoice::Newest).unwrap();
    let after = upgraded.claim(&vat()).unwrap();
    let archive = Archive::open(&at).unwrap();
    let scratch = Warehouse::open(&dir.path().join("scratch"), config()).unwrap();
    let replay = RootSource::Replay(&scratch);
    for claim in [&at_snapshot, &now, &after] {
        let by_record = archive.check_claim(claim, RootSource::Snapshot).unwrap();
        assert_eq!(by_record, CheckedClaim { difference: None, root_compared: false }, "{claim:?}");
        let by_replay = archive.check_claim(claim, replay).unwrap();
        assert_eq!(by_replay, CheckedClaim { difference: None, root_compared: true }, "{claim:?}");
        let mut forged = claim.clone();
        forged.root[3] ^= 1;
        let found = archive.check_claim(&forged, replay).unwrap().difference.expect("a difference");
        assert!(found.claimed.starts_with("root "), "{found:?}");
        let mut forged = claim.clone();
        forged.transcript.0[3] ^= 1;
        for source in [RootSource::Snapshot, replay] {
            let found = archive.check_claim(&forged, source).unwrap().difference.expect("a difference");
            assert!(found.claimed.starts_with("transcript "), "{found:?}");
        }
        let mut beyond = claim.clone();
        beyond.position = 99;
        assert!(archive.check_claim(&beyond, replay).is_err());
    }
    assert!(scratch.storage().vats().unwrap().is_empty());
    // At a snapshot, its pages are what the root is compared with.
    export(&here, &dir.path().join("second"), Retention::Archival, SnapshotChoice::Newest).unwrap();
    let second = Archive::open(&dir.path().join("second")).unwrap();
    let by_snapshot = second.check_claim(&at_snapshot, RootSource::Snapshot).unwrap();
    assert_eq!(by_snapshot, CheckedClaim { difference: None, root_compared: true });
    let mut forged = at_snapshot.clone();
    forged.root[3] ^= 1;
    assert!(second.check_claim(&forged, RootSource::Snapshot).unwrap().difference.is_some());
    // An archive that begins later cannot say what the whole past hashes to.
    export(&here, &dir.path().join("third"), Retention::Operational, SnapshotChoice::Needed).unwrap();
    let third = Archive::open(&dir.path().join("third")).unwrap();
    let unknown = third.check_claim(&now, replay).unwrap_err().to_string();
    assert!(unknown.contains("0..4 are missing"), "{unknown}");
    // A host is charged for the bytes of an entry: the same entry in other bytes is another one.
    crate::archives::forge(&dir.path().join("second"), crate::archives::SPAN, |bytes| bytes.insert(1, b' '));
    let spaced = Archive::open(&dir.path().join("second")).unwrap();
    let refused = spaced.check_claim(&now, replay).unwrap_err().to_string();
    assert!(refused.contains("it is not canonical JSON"), "{refused}");
}

/// A host with a vat of its own, beside which others are to live.
fn other_host(dir: &Path) -> Warehouse {
    let warehouse = Warehouse::open(dir, config()).unwrap();
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    let (resident, start) = ("resident".parse().unwrap(), CapData::undefined());
    warehouse.create(&resident, "state", VatOptions::default(), start, 7, Listener::default()).0.unwrap();
    warehouse.checkpoint().unwrap();
    warehouse
}

fn add(archive: &Path, data: &Path, options: &ImportOptions) -> Result<Imported, ArchiveError> {
    import_into(Source::Dir(archive.to_owned()), data, config(), options, |_, _| {})
}

#[test]
fn vats_are_added_to_a_store_that_has_others_and_go_on_there() {
    for (level, snapshots) in [
        (Retention::Operational, SnapshotChoice::Needed),
        (Retention::Replay, SnapshotChoice::Newest),
        (Retention::Debug, SnapshotChoice::Newest),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let here = host(&dir.path().join("here"));
        here.fork(&vat(), &"second".parse().unwrap()).unwrap();
        here.checkpoint().unwrap();
        let (archive, data) = (dir.path().join("archive"), dir.path().join("there"));
        export(&here, &archive, level, snapshots).unwrap();
        drop(other_host(&data));
        let imported = add(&archive, &data, &trusting()).unwrap();
        assert_eq!(imported.vats, 2);
        assert!(!dir.path().join("there.importing").exists());
        let there = Warehouse::open_existing(&data, config()).unwrap();
        assert_same_future(&here, &there);
        assert_eq!(there.stats().fallbacks, 0);
        for name in ["subject", "second"] {
            let name = name.parse().unwrap();
            assert_eq!(here.claim(&name).unwrap(), there.claim(&name).unwrap(), "{level}: {name}");
        }
        assert!(there.verify(&"resident".parse().unwrap()).unwrap().verdict.is_identical());
        assert!(there.scrub(|_, _| {}).unwrap().is_clean());
        assert_eq!(there.storage().modules().unwrap().len(), 1, "the module is shared");
        let mut future = export(&there, &dir.path().join("again"), Retention::Debug, SnapshotChoice::Needed);
        assert!(future.is_ok());
        drop(there);
        // Once more, the names are taken.
        future = add(&archive, &data, &trusting()).map(|imported| imported.manifest);
        let error = future.unwrap_err().to_string();
        assert!(error.contains("vat second, vat subject"), "{error}");
    }
}

/// A store that says what is in it, byte by byte, but for what opening it changes.
fn contents(data: &Path) -> Vec<String> {
    let store = rusqlite::Connection::open(data.join("store.sqlite")).unwrap();
    let mut rows = Vec::new();
    for sql in [
        "SELECT id || name || options || incarnation || status FROM vats ORDER BY 1",
        "SELECT vat || ' ' || start_position || ' ' || end_position || hash FROM spans ORDER BY 1",
        "SELECT vat || ' ' || position || hex(image) FROM snapshots ORDER BY 1",
        "SELECT vat || key || value FROM vatstore ORDER BY 1",
        "SELECT name || hex(hash) FROM module_names ORDER BY 1",
        "SELECT key || hex(value) FROM host ORDER BY 1",
    ] {
        let mut statement = store.prepare(sql).unwrap();
        let found = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.extend(found.map(Result::unwrap));
    }
    rows
}

#[test]
fn what_cannot_be_added_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    let archive = dir.path().join("archive");
    export(&here, &archive, Retention::Archival, SnapshotChoice::Newest).unwrap();
    let data = dir.path().join("there");
    drop(other_host(&data));
    let before = contents(&data);
    for (what, corrupt, expected) in CORRUPTIONS {
        let damaged = dir.path().join(what);
        export(&here, &damaged, Retention::Archival, SnapshotChoice::Newest).unwrap();
        corrupt(&damaged);
        let error = add(&damaged, &data, &ImportOptions::default()).expect_err(what).to_string();
        assert!(error.contains(expected), "{what}: {error}");
        assert_eq!(contents(&data), before, "{what}");
    }
    // A module of the same name, and a vat.
    let taken = dir.path().join("taken");
    let warehouse = Warehouse::open(&taken, config()).unwrap();
    warehouse.install("state", &wat::parse_str(STATE.replace("\"born\"", "\"torn\"")).unwrap()).unwrap();
    warehouse.commit().unwrap();
    drop(warehouse);
    let error = add(&archive, &taken, &trusting()).unwrap_err().to_string();
    assert!(error.contains("nothing was imported") && error.contains("module state ("), "{error}");
    assert!(!dir.path().join("taken.importing").exists());
    let nowhere = add(&archive, &dir.path().join("nowhere"), &trusting()).unwrap_err();
    assert!(!dir.path().join("nowhere").exists(), "{nowhere}");
}

#[test]
fn adding_that_was_cut_off_goes_on_and_shows_nothing_before_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    let (archive, data) = (dir.path().join("archive"), dir.path().join("there"));
    for name in ["second", "third"] {
        here.fork(&vat(), &name.parse().unwrap()).unwrap();
    }
    here.checkpoint().unwrap();
    export(&here, &archive, Retention::Archival, SnapshotChoice::Newest).unwrap();
    drop(other_host(&data));
    let before = contents(&data);
    let cut_off = std::panic::catch_unwind(|| {
        import_into(Source::Dir(archive.clone()), &data, config(), &trusting(), |done, _| assert!(done < 2))
    });
    assert!(cut_off.is_err());
    assert_eq!(contents(&data), before);
    let imported = add(&archive, &data, &trusting()).unwrap();
    assert_eq!((imported.vats, imported.resumed), (3, 2));
    // As if it had been killed after its commit, before it tidied up.
    std::fs::create_dir_all(dir.path().join("there.importing/store")).unwrap();
    assert_eq!(add(&archive, &data, &trusting()).unwrap().resumed, 3);
    assert!(!dir.path().join("there.importing").exists());
    let there = Warehouse::open_existing(&data, config()).unwrap();
    assert_same_future(&here, &there);
    // The vats are ended, and wanted again: what is left of a cut-off run is then not taken for the end of one.
    for name in ["subject", "second", "third"] {
        there.terminate(&name.parse().unwrap(), "to begin again").unwrap();
    }
    there.checkpoint().unwrap();
    drop(there);
    std::fs::create_dir_all(dir.path().join("there.importing/store")).unwrap();
    assert_eq!(add(&archive, &data, &trusting()).unwrap().resumed, 0);
    let there = Warehouse::open_existing(&data, config()).unwrap();
    assert!(there.verify(&vat()).unwrap().verdict.is_identical());
}

#[test]
fn damaged_entries_come_back_too() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    let at = dir.path().join("archive");
    export(&here, &at, Retention::Archival, SnapshotChoice::Needed).unwrap();
    here.compress_transcripts().unwrap();
    here.commit().unwrap();
    drop(here);
    let store = rusqlite::Connection::open(dir.path().join("here/store.sqlite")).unwrap();
    assert_eq!(store.execute("UPDATE packs SET entries = x'7b7d' WHERE start_position = 0", []).unwrap(), 1);
    assert_eq!(store.execute("DELETE FROM packs WHERE start_position = 4", []).unwrap(), 1);
    drop(store);
    let here = Warehouse::open_existing(&dir.path().join("here"), config()).unwrap();
    assert!(!here.scrub(|_, _| {}).unwrap().is_clean());
    let restored = here.restore(&vat(), &Archive::open(&at).unwrap()).unwrap();
    assert_eq!((restored.spans, restored.entries, restored.absent), (2, 7, 0));
    assert!(here.scrub(|_, _| {}).unwrap().is_clean());
    assert!(here.verify(&vat()).unwrap().verdict.is_identical());
}
