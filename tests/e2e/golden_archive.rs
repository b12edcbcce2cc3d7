//! What earlier versions wrote for others to read: archives as directories and streams, with every kind of artifact, a statement, a
//! key file, a trust list. This version writes the same bytes, and reads them.
//!
//! ```text
//!   tests/golden-archives/v1-rules1/archive/          a directory with a manifest and artifacts of every kind
//!                                   archive.stream    the same as one stream
//!                                   statement         of the vat as it is at the end
//!                                   key, trust        who signed it
//! ```
//!
//! `UPDATE_EXPECT=1 cargo test --test e2e golden_archive` writes the directory of the current version anew (and only that one); those
//! of older versions are never written again. A change of a format raises its version (`manifest.rs`, `container.rs`, `heap_file.rs`,
//! `attest.rs`), and what has the old one is read further, or refused by its version.

use std::fs;
use std::path::{Path, PathBuf};

use vat_warehouse::archive::{
    ArchiveError, ExportOptions, ImportOptions, Retention, SnapshotChoice, Source, Target, import,
};
use vat_warehouse::attest::{SigningKey, Statement, TrustList};
use vat_warehouse::{Warehouse, WarehouseConfig};

use crate::archives::upgraded;
use crate::scenario::vat;

const KEY: &str = "0707070707070707070707070707070707070707070707070707070707070707\n";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-archives")
}

fn current() -> PathBuf {
    golden().join(format!("v1-rules{}", vat_engine::RULES_VERSION))
}

fn write(dir: &Path) {
    let scratch = tempfile::tempdir().unwrap();
    let warehouse = upgraded(scratch.path());
    let key = SigningKey::parse(KEY).unwrap();
    let options = ExportOptions {
        retention: Retention::Archival,
        vats: vec![vat()],
        snapshots: SnapshotChoice::Newest,
        signer: Some(SigningKey::parse(KEY).unwrap()),
    };
    warehouse.export(Target::Dir(dir.join("archive")), &options).unwrap();
    let mut stream = Vec::new();
    warehouse.export(Target::Stream(&mut stream), &options).unwrap();
    fs::write(dir.join("archive.stream"), stream).unwrap();
    fs::write(dir.join("key"), KEY).unwrap();
    fs::write(dir.join("trust"), format!("# whom we believe\n\nus {} # our own\n", key.public())).unwrap();
    fs::write(dir.join("statement"), warehouse.claim(&vat()).unwrap().sign(&key).to_string()).unwrap();
}

/// The files below a directory, by their paths in it.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = PathBuf::from(path.file_name().unwrap());
            found.extend(files(&path).iter().map(|inner| name.join(inner)));
        } else {
            found.push(path.file_name().unwrap().into());
        }
    }
    found.sort();
    found
}

#[test]
fn the_same_vat_gives_the_same_bytes_as_ever() {
    let written = tempfile::tempdir().unwrap();
    write(written.path());
    let current = current();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        if current.exists() {
            fs::remove_dir_all(&current).unwrap();
        }
        for file in files(written.path()) {
            fs::create_dir_all(current.join(&file).parent().unwrap()).unwrap();
            fs::copy(written.path().join(&file), current.join(&file)).unwrap();
        }
    }
    assert!(current.exists(), "{}: UPDATE_EXPECT=1 cargo test --test e2e golden_archive", current.display());
    assert_eq!(files(written.path()), files(&current), "artifacts have other names, or there are others");
    for file in files(&current) {
        let (now, then) =
            (fs::read(written.path().join(&file)).unwrap(), fs::read(current.join(&file)).unwrap());
        let first = now.iter().zip(&then).position(|(a, b)| a != b);
        assert!(
            now == then,
            "{} is written otherwise than before, from byte {first:?} on: a format, a computron count or a heap has changed; \
             if that is meant, raise the version, and keep the old directory",
            file.display()
        );
    }
}

#[test]
fn what_every_version_wrote_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let here = upgraded(&dir.path().join("here"));
    for entry in fs::read_dir(golden()).unwrap() {
        let kept = entry.unwrap().path();
        let name = kept.file_name().unwrap().to_string_lossy().into_owned();
        let read = |file: &str| fs::read_to_string(kept.join(file)).unwrap();
        let (trust, key): (TrustList, _) =
            (read("trust").parse().unwrap(), SigningKey::parse(&read("key")).unwrap());
        let statement: Statement = read("statement").parse().unwrap();
        statement.verify().unwrap();
        assert_eq!(trust.name_of(&statement.signer), Some("us"), "{name}");
        assert_eq!(statement.claim.clone().sign(&key), statement, "{name}");
        let mut stream = fs::File::open(kept.join("archive.stream")).unwrap();
        let sources = [("dir", Source::Dir(kept.join("archive"))), ("stream", Source::Stream(&mut stream))];
        for (how, source) in sources {
            let data = dir.path().join(format!("{name}-{how}"));
            let options = ImportOptions { trust: trust.clone() };
            let imported = import(source, &data, WarehouseConfig::default(), &options, |_, _| {});
            if !name.ends_with(&format!("-rules{}", vat_engine::RULES_VERSION)) {
                // A vat that lived under other rules cannot be replayed here.
                assert!(matches!(imported, Err(ArchiveError::Manifest { .. })), "{name}: {imported:?}");
                continue;
            }
            assert_eq!(imported.unwrap().trusted_snapshots, 1, "{name} by {how}");
            let there = Warehouse::open_existing(&data, WarehouseConfig::default()).unwrap();
            assert_eq!(there.check_claim(&statement.claim).unwrap(), None, "{name} by {how}");
            assert_eq!(there.claim(&vat()).unwrap(), here.claim(&vat()).unwrap(), "{name} by {how}");
            assert!(there.verify(&vat()).unwrap().verdict.is_identical(), "{name} by {how}");
        }
    }
}
