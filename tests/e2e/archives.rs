//! Archives: what was exported, imported elsewhere and continued is indistinguishable from what stayed.
//!
//! The original's cases: 18 (export at level operational, import, go on), 123 (what each level holds, and when it fails),
//! 124 (each corruption has its error and leaves no store), 125 (level by level, what can be exported again). Left out: 127
//! (repairing metadata), since spans' rows are never imported without their hashes here, so there is nothing to repair.

use std::path::Path;

use serde_json::Value;
use vat_abi::CapData;
use vat_warehouse::archive::{
    ArchiveError, ExportOptions, ImportOptions, Imported, Retention, SnapshotChoice, Source, Target, import,
};
use vat_warehouse::attest::SigningKey;
use vat_warehouse::{Report, SpanContent, VatOptions, Warehouse, WarehouseConfig};

use crate::scenario::{Listener, message, vat};

pub(crate) const STATE: &str = include_str!("../vats/state.wat");

pub(crate) fn config() -> WarehouseConfig {
    WarehouseConfig::default()
}

fn key() -> SigningKey {
    SigningKey::of(&[7; 32])
}

pub(crate) fn trusting() -> ImportOptions {
    ImportOptions { trust: format!("us {}", key().public()).parse().unwrap() }
}

/// A vat with a past of four spans, a snapshot at 9, and entries after it.
pub(crate) fn host(dir: &Path) -> Warehouse {
    let warehouse = Warehouse::open(dir, config()).unwrap();
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    let start = CapData::undefined();
    warehouse.create(&vat(), "state", VatOptions::default(), start, 1, Listener::default()).0.unwrap();
    for n in 0..11 {
        step(&warehouse, n);
        if n % 3 == 2 {
            warehouse.storage().close_span(warehouse.vat(&vat()).unwrap().id).unwrap();
        }
        if n == 8 {
            warehouse.evict(&vat()).unwrap();
            warehouse.checkpoint().unwrap();
        }
    }
    warehouse.commit().unwrap();
    warehouse
}

/// The same after an upgrade: a second incarnation with a past of its own, a snapshot, and an entry after it.
pub(crate) fn upgraded(dir: &Path) -> Warehouse {
    let warehouse = host(dir);
    warehouse.upgrade(&vat(), "state", CapData::undefined(), 50, Listener::default()).0.unwrap();
    step(&warehouse, 12);
    warehouse.storage().close_span(warehouse.vat(&vat()).unwrap().id).unwrap();
    warehouse.evict(&vat()).unwrap();
    warehouse.checkpoint().unwrap();
    step(&warehouse, 13);
    warehouse.commit().unwrap();
    warehouse
}

pub(crate) fn step(warehouse: &Warehouse, n: u64) -> Report {
    let mut lease = warehouse.provide_blocking(&vat()).unwrap();
    lease.deliver(message("step", &format!("[{n}]")), 1_000 + n, Listener::default()).0.unwrap()
}

pub(crate) fn export(
    warehouse: &Warehouse,
    dir: &Path,
    retention: Retention,
    snapshots: SnapshotChoice,
) -> Result<String, ArchiveError> {
    let options = ExportOptions { retention, vats: Vec::new(), snapshots, signer: Some(key()) };
    Ok(warehouse.export(Target::Dir(dir.to_owned()), &options)?.manifest)
}

fn bring(archive: &Path, data: &Path, options: &ImportOptions) -> Result<Imported, ArchiveError> {
    import(Source::Dir(archive.to_owned()), data, config(), options, |_, _| {})
}

fn names(archive: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(archive.join("artifacts"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("module"))
        .collect();
    names.sort();
    names
}

#[test]
fn an_open_span_that_an_archive_lacks_is_closed_so_that_what_comes_after_it_is_there() {
    for lacks in [false, true] {
        let (home, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (archive, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let warehouse = host(home.path());
        warehouse.evict(&vat()).unwrap();
        warehouse.checkpoint().unwrap(); // The newest snapshot is now at the end of the open span.
        export(&warehouse, archive.path(), Retention::Operational, SnapshotChoice::Newest).unwrap();
        let last = |m: &mut Value| m["vats"][0]["spans"].as_array().unwrap().len() - 1;
        edit(archive.path(), |m| {
            let last = last(m);
            assert!(!m["vats"][0]["spans"][last]["artifact"].is_null(), "the open span goes along whole");
            if lacks {
                let artifact = m["vats"][0]["spans"][last]["artifact"].take();
                let file = archive.path().join("artifacts").join(artifact["name"].as_str().unwrap());
                std::fs::remove_file(file).unwrap();
            }
        });
        let data = away.path().join("data");
        bring(archive.path(), &data, &trusting()).unwrap();
        let there = Warehouse::open(&data, config()).unwrap();
        assert_same_future(&warehouse, &there);
        there.evict(&vat()).unwrap();
        there.commit().unwrap();
        let spans = there.storage().spans(there.vat(&vat()).unwrap().id).unwrap();
        assert_ne!(spans.last().unwrap().content, SpanContent::Pruned, "{spans:?}");
        export(&there, again.path(), Retention::Operational, SnapshotChoice::Newest).unwrap();
    }
}

#[test]
fn a_host_that_prunes_can_still_sign_and_hand_over_what_it_has() {
    let (home, away, archive) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let full = host(home.path());
    let claim = full.claim(&vat()).unwrap();
    drop(full);
    let lean = WarehouseConfig { retention: Some(Retention::Operational), ..config() };
    let warehouse = Warehouse::open(home.path(), lean).unwrap();
    assert!(warehouse.prune(&vat()).unwrap() > 0);
    warehouse.commit().unwrap();
    assert_eq!(warehouse.claim(&vat()).unwrap(), claim, "the same statement as before");
    let fork = "fork".parse().unwrap();
    warehouse.fork(&vat(), &fork).unwrap();
    assert_eq!(warehouse.claim(&fork).unwrap().transcript, claim.transcript, "a fork has the same past");
    warehouse.checkpoint().unwrap();
    export(&warehouse, archive.path(), Retention::Operational, SnapshotChoice::Newest).unwrap();
    bring(archive.path(), &away.path().join("data"), &trusting()).unwrap();
    let there = Warehouse::open(&away.path().join("data"), config()).unwrap();
    assert_eq!(there.claim(&vat()).unwrap(), claim);
    assert_same_future(&warehouse, &there);
}

/// Continues both with the same deliveries.
pub(crate) fn assert_same_future(a: &Warehouse, b: &Warehouse) {
    for n in 20..24 {
        assert_eq!(step(a, n), step(b, n));
    }
    let heap = |warehouse: &Warehouse| {
        let mut lease = warehouse.provide_blocking(&vat()).unwrap();
        (lease.globals().unwrap(), lease.heap().unwrap().to_vec())
    };
    assert!(heap(a) == heap(b), "heap or globals differ");
    assert_eq!(a.root(&vat()).unwrap(), b.root(&vat()).unwrap());
}

#[test]
fn a_vat_goes_on_elsewhere_as_if_it_had_stayed() {
    for (level, snapshots) in [
        (Retention::Operational, SnapshotChoice::Needed),
        (Retention::Replay, SnapshotChoice::Needed),
        (Retention::Replay, SnapshotChoice::Newest),
        (Retention::Archival, SnapshotChoice::Newest),
        (Retention::Debug, SnapshotChoice::Newest),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let here = host(&dir.path().join("here"));
        export(&here, &dir.path().join("archive"), level, snapshots).unwrap();
        let imported = bring(&dir.path().join("archive"), &dir.path().join("there"), &trusting()).unwrap();
        assert_eq!(imported.vats, 1);
        assert!(!dir.path().join("there.importing").exists());
        let there = Warehouse::open_existing(&dir.path().join("there"), config()).unwrap();
        assert_same_future(&here, &there);
        assert_eq!(here.claim(&vat()).unwrap(), there.claim(&vat()).unwrap(), "{level}");
    }
}

#[test]
fn a_replay_vouches_for_a_snapshot_that_nobody_trusted_signed() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    let archive = dir.path().join("archive");
    export(&here, &archive, Retention::Archival, SnapshotChoice::Newest).unwrap();
    let imported = bring(&archive, &dir.path().join("there"), &ImportOptions::default()).unwrap();
    assert_eq!((imported.replayed, imported.replayed_snapshots, imported.trusted_snapshots), (10, 1, 0));
    let there = Warehouse::open_existing(&dir.path().join("there"), config()).unwrap();
    step(&there, 11);
    assert_eq!(there.stats().replayed, 2, "only what came after the snapshot");
}

#[test]
fn without_trust_a_vat_that_cannot_be_replayed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    let archive = dir.path().join("archive");
    export(&here, &archive, Retention::Operational, SnapshotChoice::Needed).unwrap();
    let refused = bring(&archive, &dir.path().join("there"), &ImportOptions::default());
    assert!(matches!(refused, Err(ArchiveError::Unvouched { position: 10, .. })), "{refused:?}");
    assert!(!dir.path().join("there").exists() && !dir.path().join("there.importing").exists());
}

#[test]
fn each_level_holds_what_it_says_and_can_be_exported_again_as_far_as_it_reaches() {
    let dir = tempfile::tempdir().unwrap();
    let here = upgraded(&dir.path().join("here"));
    let levels = [Retention::Operational, Retention::Replay, Retention::Archival];
    for (index, level) in levels.into_iter().enumerate() {
        let archive = dir.path().join(format!("{level}"));
        let manifest = export(&here, &archive, level, SnapshotChoice::Needed).unwrap();
        let spans = names(&archive).iter().filter(|name| name.starts_with("span")).count();
        assert_eq!(spans, [1, 2, 6][index], "{level}: {:?}", names(&archive));
        let data = dir.path().join(format!("{level}-data"));
        bring(&archive, &data, &trusting()).unwrap();
        let there = Warehouse::open_existing(&data, config()).unwrap();
        there.compress_transcripts().unwrap();
        for again in levels {
            let out = dir.path().join(format!("{level}-{again}"));
            let exported = export(&there, &out, again, SnapshotChoice::Needed);
            let can = level >= again;
            assert_eq!(exported.is_ok(), can, "{level} to {again}: {exported:?}");
            if level == again {
                assert_eq!(exported.unwrap(), manifest, "the same state gives the same bytes");
            }
        }
        export(&there, &dir.path().join(format!("{level}-debug")), Retention::Debug, SnapshotChoice::Needed)
            .expect("debug takes what there is");
    }
}

/// Changes the manifest.
fn edit(archive: &Path, change: impl FnOnce(&mut Value)) {
    let path = archive.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    std::fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
}

/// Changes an artifact, and the manifest so that its hash is right.
pub(crate) fn forge(archive: &Path, pointer: &str, change: impl FnOnce(&mut Vec<u8>)) {
    edit(archive, |manifest| {
        let record = manifest.pointer_mut(pointer).unwrap();
        let path = archive.join("artifacts").join(record["name"].as_str().unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        record["bytes"] = bytes.len().into();
        record["blake3"] = blake3::hash(&bytes).to_hex().as_str().into();
        std::fs::write(path, bytes).unwrap();
    });
}

pub(crate) type Corruption = (&'static str, fn(&Path), &'static str);

pub(crate) const SPAN: &str = "/vats/0/spans/0/artifact";
const SNAPSHOT: &str = "/vats/0/snapshots/0/artifact";

pub(crate) const CORRUPTIONS: &[Corruption] = &[
    ("no manifest", |a| std::fs::remove_file(a.join("manifest.json")).unwrap(), "cannot open"),
    ("not JSON", |a| std::fs::write(a.join("manifest.json"), "{").unwrap(), "the manifest is wrong"),
    ("version", |a| edit(a, |m| m["version"] = 2.into()), "version 2"),
    ("unknown field", |a| edit(a, |m| m["more"] = 1.into()), "unknown field `more`"),
    ("rules", |a| edit(a, |m| m["rules"] = 999.into()), "version 999"),
    ("vat's name", |a| edit(a, |m| m["vats"][0]["name"] = "../x".into()), "not a name for a vat"),
    ("options", |a| edit(a, |m| m["vats"][0]["options"] = "{}".into()), "options of vat subject"),
    ("gap", |a| edit(a, |m| m["vats"][0]["spans"][1]["start"] = 5.into()), "begins at 5"),
    ("end", |a| edit(a, |m| m["vats"][0]["next_position"] = 99.into()), "the vat is at 99"),
    (
        "span's hash",
        |a| edit(a, |m| m["vats"][0]["spans"][0]["hash"] = "0".repeat(64).into()),
        "give the span hash",
    ),
    (
        "path",
        |a| edit(a, |m| m["vats"][0]["spans"][0]["artifact"]["name"] = "../../x".into()),
        "should be named",
    ),
    ("missing", |a| std::fs::remove_file(a.join("artifacts/span-subject-0-4")).unwrap(), "it is missing"),
    ("unlisted", |a| std::fs::write(a.join("artifacts/more"), "").unwrap(), "not in the manifest"),
    (
        "flipped",
        |a| {
            let path = a.join("artifacts/span-subject-0-4");
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[9] ^= 1;
            std::fs::write(path, bytes).unwrap();
        },
        "do not have the manifest's hash",
    ),
    ("cut", |a| std::fs::write(a.join("artifacts/span-subject-0-4"), "x").unwrap(), "it has 1 bytes"),
    ("entry", |a| forge(a, SPAN, |b| b[0] = b'['), "the entry at position 0"),
    ("entry with a space", |a| forge(a, SPAN, |b| b.insert(1, b' ')), "it is not canonical JSON"),
    (
        "fewer entries",
        |a| forge(a, SPAN, |b| b.truncate(b.iter().position(|c| *c == b'\n').unwrap() + 1)),
        "ends before position 1",
    ),
    ("vat storage", |a| forge(a, "/vats/0/vatstore", |b| b.clear()), "lacks the key"),
    ("module", |a| forge(a, "/modules/0/artifact", |b| b.push(0)), "another hash"),
    (
        "heap root",
        |a| {
            edit(a, |m| {
                m["vats"][0]["snapshots"][0]["root"] = "0".repeat(64).into();
                m["vats"][0]["snapshots"][0]["statement"] = Value::Null;
                std::fs::remove_file(a.join("artifacts/statement-subject-10")).unwrap();
            })
        },
        "a replay leads to the heap root",
    ),
    ("heap", |a| forge(a, SNAPSHOT, |b| *b.last_mut().unwrap() ^= 1), "its heap root is"),
    ("heap cut", |a| forge(a, SNAPSHOT, |b| b.truncate(b.len() - 1)), "it ends too early"),
    (
        "signature",
        |a| {
            forge(a, "/vats/0/snapshots/0/statement", |b| {
                let last = b.len() - 2;
                b[last] = if b[last] == b'0' { b'1' } else { b'0' };
            })
        },
        "the signature is not one of",
    ),
];

#[test]
fn every_corruption_is_named_and_leaves_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    for (what, corrupt, expected) in CORRUPTIONS {
        let (archive, data) = (dir.path().join(what), dir.path().join(format!("{what}-data")));
        export(&here, &archive, Retention::Archival, SnapshotChoice::Newest).unwrap();
        corrupt(&archive);
        let error = bring(&archive, &data, &ImportOptions::default()).expect_err(what).to_string();
        assert!(error.contains(expected), "{what}: {error}");
        assert!(!data.exists() && !dir.path().join(format!("{what}-data.importing")).exists(), "{what}");
    }
}

#[test]
fn a_stream_has_the_same_content_and_every_cut_of_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    let mut stream = Vec::new();
    let options = ExportOptions {
        retention: Retention::Archival,
        vats: vec![vat()],
        snapshots: SnapshotChoice::Needed,
        signer: None,
    };
    let exported = here.export(Target::Stream(&mut stream), &options).unwrap();
    let directory = here.export(Target::Dir(dir.path().join("archive")), &options).unwrap();
    assert_eq!(exported, directory);
    let data = dir.path().join("there");
    let len = stream.len();
    let cuts = [
        (0, "in its first line"),
        (5, "in its first line"),
        (14, "before its first record"),
        (15, "before its first record"),
        (60, "before its first record"),
        (100, "within module-"),
        (len / 2, "within span-subject-"),
        (len - 5, "within manifest.json"),
        (len - 1, "after manifest.json"),
    ];
    for (cut, place) in cuts {
        let mut short = &stream[..cut];
        let refused = import(Source::Stream(&mut short), &data, config(), &trusting(), |_, _| {});
        assert!(matches!(refused, Err(ArchiveError::Stream { .. })), "cut at {cut}: {refused:?}");
        let said = refused.unwrap_err().to_string();
        assert!(said.contains(&format!("it ends too early, {place}")), "cut at {cut}: {said}");
    }
    import(Source::Stream(&mut stream.as_slice()), &data, config(), &trusting(), |_, _| {}).unwrap();
    assert_same_future(&here, &Warehouse::open_existing(&data, config()).unwrap());
}

#[test]
fn an_export_neither_commits_nor_sees_what_is_not_committed() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    let before = export(&here, &dir.path().join("a"), Retention::Archival, SnapshotChoice::Needed).unwrap();
    step(&here, 30);
    let during = export(&here, &dir.path().join("b"), Retention::Archival, SnapshotChoice::Needed).unwrap();
    assert_eq!(before, during);
    here.abandon().unwrap();
    let here = Warehouse::open_existing(&dir.path().join("here"), config()).unwrap();
    assert_eq!(here.vat(&vat()).unwrap().next_position.0, 12);
}

#[test]
fn a_fork_travels_with_its_whole_past() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    let child = "child".parse().unwrap();
    here.fork(&vat(), &child).unwrap();
    here.checkpoint().unwrap();
    export(&here, &dir.path().join("archive"), Retention::Archival, SnapshotChoice::Needed).unwrap();
    bring(&dir.path().join("archive"), &dir.path().join("there"), &ImportOptions::default()).unwrap();
    let there = Warehouse::open_existing(&dir.path().join("there"), config()).unwrap();
    assert_eq!(here.claim(&child).unwrap(), there.claim(&child).unwrap());
    assert!(there.verify(&child).unwrap().verdict.is_identical());
}

#[test]
fn a_claim_is_replayed_and_a_false_one_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    let claim = here.claim(&vat()).unwrap();
    step(&here, 40);
    assert_eq!(here.check_claim(&claim).unwrap(), None, "the vat has gone on, the claim still holds");
    let mut forged = claim.clone();
    forged.root[0] ^= 1;
    let difference = here.check_claim(&forged).unwrap().expect("a difference");
    assert!(difference.claimed.starts_with("root "), "{difference:?}");
    let mut forged = claim;
    forged.transcript.0[0] ^= 1;
    assert!(here.check_claim(&forged).unwrap().expect("a difference").claimed.starts_with("transcript "));
}

#[test]
fn a_claim_of_an_earlier_incarnation_still_holds() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    let claim = here.claim(&vat()).unwrap();
    drop(here);
    let here = upgraded(&dir.path().join("there"));
    assert_eq!(here.check_claim(&claim).unwrap(), None, "the same past on another host");
    assert_ne!(here.claim(&vat()).unwrap().incarnation, claim.incarnation);
}

#[test]
fn an_upgraded_vat_goes_on_elsewhere() {
    let levels = [Retention::Operational, Retention::Replay, Retention::Archival];
    for level in levels {
        let dir = tempfile::tempdir().unwrap();
        let here = upgraded(&dir.path().join("here"));
        export(&here, &dir.path().join("archive"), level, SnapshotChoice::Newest).unwrap();
        // Without trust, the incarnation is replayed, if it is there.
        let options = if level == Retention::Operational { trusting() } else { ImportOptions::default() };
        bring(&dir.path().join("archive"), &dir.path().join("there"), &options).unwrap();
        let there = Warehouse::open_existing(&dir.path().join("there"), config()).unwrap();
        assert_same_future(&here, &there);
        // What the entries of the earlier incarnation hash to, nobody said at level replay: no signer was trusted.
        assert_eq!(there.claim(&vat()).is_ok(), level != Retention::Replay, "{level}");
    }
}

/// What the entries before the upgrade hash to, only a statement tells, and that is about a snapshot.
#[test]
fn an_upgraded_vat_that_is_signed_for_can_be_signed_for_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let here = upgraded(&dir.path().join("here"));
    let archive = dir.path().join("archive");
    export(&here, &archive, Retention::Replay, SnapshotChoice::Needed).unwrap();
    bring(&archive, &dir.path().join("there"), &trusting()).unwrap();
    let there = Warehouse::open_existing(&dir.path().join("there"), config()).unwrap();
    assert_eq!(there.claim(&vat()).unwrap(), here.claim(&vat()).unwrap());
    assert_same_future(&here, &there);
    let snapshots = |warehouse: &Warehouse, name: &str, signer: Option<SigningKey>| {
        let (retention, snapshots) = (Retention::Replay, SnapshotChoice::Needed);
        let options = ExportOptions { retention, vats: Vec::new(), snapshots, signer };
        warehouse.export(Target::Dir(dir.path().join(name)), &options).unwrap().snapshots
    };
    assert_eq!(snapshots(&here, "unsigned", None), 0, "nobody says anything of it");
    let first = host(&dir.path().join("first incarnation"));
    assert_eq!(snapshots(&first, "whole", Some(key())), 0, "the entries say it themselves");
    // Who does not trust the signer knows nothing of that past, and hands over what there is.
    bring(&archive, &dir.path().join("untrusting"), &ImportOptions::default()).unwrap();
    let untrusting = Warehouse::open_existing(&dir.path().join("untrusting"), config()).unwrap();
    untrusting.provide_blocking(&vat()).unwrap().snapshot().unwrap();
    untrusting.checkpoint().unwrap();
    assert!(matches!(untrusting.claim(&vat()), Err(vat_warehouse::Error::PastUnknown { .. })));
    assert_eq!(snapshots(&untrusting, "handed on", Some(key())), 0);
}

#[test]
fn an_import_that_was_cut_off_goes_on_with_the_next_vat() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    let (archive, data) = (dir.path().join("archive"), dir.path().join("there"));
    for name in ["second", "third"] {
        here.fork(&vat(), &name.parse().unwrap()).unwrap();
    }
    here.checkpoint().unwrap();
    export(&here, &archive, Retention::Archival, SnapshotChoice::Newest).unwrap();
    let cut_off = std::panic::catch_unwind(|| {
        import(Source::Dir(archive.clone()), &data, config(), &trusting(), |done, _| assert!(done < 2))
    });
    assert!(cut_off.is_err() && !data.exists());
    let imported = bring(&archive, &data, &trusting()).unwrap();
    assert_eq!((imported.vats, imported.resumed), (3, 2));
    let there = Warehouse::open_existing(&data, config()).unwrap();
    for name in ["subject", "second", "third"] {
        assert!(there.verify(&name.parse().unwrap()).unwrap().verdict.is_identical(), "{name}");
    }
    assert_same_future(&here, &there);
}

/// Runs an export that ends where the artifact `at` should be written.
fn interrupted(here: &Warehouse, archive: &Path, at: &str) {
    let artifacts = archive.join("artifacts");
    std::fs::create_dir_all(artifacts.join(at)).unwrap(); // A directory cannot be written into.
    std::fs::write(archive.join("manifest.new"), "").unwrap();
    let failed = export(here, archive, Retention::Archival, SnapshotChoice::Newest);
    assert!(matches!(failed, Err(ArchiveError::Io { .. })), "{failed:?}");
    std::fs::remove_dir(artifacts.join(at)).unwrap();
}

#[test]
fn an_interrupted_export_is_no_archive_and_running_it_again_completes_it() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    let whole = dir.path().join("whole");
    let manifest = export(&here, &whole, Retention::Archival, SnapshotChoice::Newest).unwrap();
    for (index, at) in names(&whole).iter().enumerate() {
        let archive = dir.path().join(format!("archive-{index}"));
        interrupted(&here, &archive, at);
        let refused = bring(&archive, &dir.path().join("there"), &trusting()).unwrap_err();
        assert!(refused.to_string().contains("was interrupted"), "{refused}");
        // What was written last may be short, and what an older state had is still lying about.
        let short = archive.join("artifacts/span-subject-0-4");
        if let Ok(bytes) = std::fs::read(&short) {
            std::fs::write(short, &bytes[..bytes.len() / 2]).unwrap();
        }
        std::fs::write(archive.join("artifacts/snapshot-subject-3"), "of long ago").unwrap();
        let again = export(&here, &archive, Retention::Archival, SnapshotChoice::Newest).unwrap();
        assert_eq!((again, names(&archive)), (manifest.clone(), names(&whole)), "{at}");
        bring(&archive, &dir.path().join(format!("there-{index}")), &trusting()).unwrap();
    }
}

#[test]
fn an_export_writes_into_nothing_that_is_not_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let here = host(&dir.path().join("here"));
    for file in ["manifest.json", "letter.txt", "manifest.new.old"] {
        let archive = dir.path().join(format!("with-{file}"));
        std::fs::create_dir_all(archive.join("artifacts")).unwrap();
        std::fs::write(archive.join("manifest.new"), "").unwrap();
        std::fs::write(archive.join(file), "mine").unwrap();
        let refused = export(&here, &archive, Retention::Replay, SnapshotChoice::Needed);
        assert!(matches!(refused, Err(ArchiveError::NotEmpty { .. })), "{file}: {refused:?}");
    }
}
