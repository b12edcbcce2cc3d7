//! Which files are opened, and what is said of those that are not.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use super::{Scratch, dump, edit};
use crate::{Error, SCHEMA_VERSION, Storage};

#[test]
fn a_second_writer_is_told_who_to_stop() {
    let first = Scratch::new();
    let error = Storage::open(first.dir.path()).expect_err("locked");
    assert!(matches!(error, Error::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains(first.dir.path().to_str().expect("a path")), "{error}");
    assert!(error.to_string().ends_with("stop that process, or choose another data directory"), "{error}");
    first.reopened();
}

#[test]
fn a_file_that_another_program_is_writing_is_locked() {
    let dir = TempDir::new().expect("a directory");
    drop(Storage::open(dir.path()).expect("a new store"));
    let other = Connection::open(dir.path().join("store.sqlite")).expect("the file");
    other.execute_batch("BEGIN IMMEDIATE").expect("its write lock");
    let error = Storage::open(dir.path()).expect_err("locked");
    assert!(matches!(error, Error::Locked { .. }), "{error:?}");
    drop(other);
    Storage::open(dir.path()).expect("free again");
}

#[test]
fn only_open_creates() {
    let dir = TempDir::new().expect("a directory");
    let data = dir.path().join("deep").join("data");
    for open in [Storage::open_existing, Storage::open_read_only] {
        let error = open(&data).expect_err("nothing there");
        assert!(matches!(error, Error::NotAStore { .. }), "{error:?}");
        assert!(error.to_string().contains("run `vats init`"), "{error}");
        assert!(!data.exists());
    }
    drop(Storage::open(&data).expect("created"));
    for open in [Storage::open_existing, Storage::open_read_only, Storage::open] {
        open(&data).expect("there now");
    }
}

/// What an edit of a closed store's file does to the next open, by the beginning of the error's `Debug`.
const EDITS: [(&str, &str); 5] = [
    ("PRAGMA user_version = 4", "NewerVersion { path"),
    ("PRAGMA user_version = 0", "Damaged { what"),
    ("PRAGMA application_id = 7", "NotAStore { path"),
    ("PRAGMA application_id = 0", "NotAStore { path"),
    ("PRAGMA application_id = 0; PRAGMA user_version = 0", "NotAStore { path"),
];

#[test]
fn a_file_of_another_version_or_program_is_refused_and_left_as_it_is() {
    for (sql, expected) in EDITS {
        let Scratch { storage, dir } = Scratch::new();
        drop(storage);
        edit(dir.path(), sql);
        let before = fs::read(dir.path().join("store.sqlite")).expect("the file");
        for open in [Storage::open, Storage::open_existing, Storage::open_read_only] {
            let error = open(dir.path()).expect_err(sql);
            assert!(format!("{error:?}").starts_with(expected), "{sql}: {error:?}");
        }
        assert_eq!(fs::read(dir.path().join("store.sqlite")).expect("the file"), before, "{sql}");
    }
}

#[test]
fn a_newer_store_names_both_versions() {
    let Scratch { storage, dir } = Scratch::new();
    drop(storage);
    edit(dir.path(), "PRAGMA user_version = 4");
    let error = Storage::open(dir.path()).expect_err("newer");
    assert!(matches!(error, Error::NewerVersion { found: 4, supported: SCHEMA_VERSION, .. }), "{error:?}");
    assert!(
        error.to_string().ends_with("this program reads up to 3: use the program that wrote it"),
        "{error}"
    );
}

/// Overwrites bytes of a file.
fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).open(path).expect("the file");
    file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(bytes)).expect("written");
}

/// A way to damage a file of some length, with its name.
type Damage = (&'static str, fn(&Path, u64));

/// Ways to damage a store's file.
const DAMAGES: [Damage; 5] = [
    ("magic", |path, _| overwrite(path, 3, b"!")),
    ("page size", |path, _| overwrite(path, 16, &[3, 3])),
    ("table of tables", |path, _| overwrite(path, 100, &[0xee; 8])),
    ("second half", |path, len| {
        overwrite(path, len / 2, &vec![0xee; usize::try_from(len / 2).expect("small")])
    }),
    ("cut", |path, len| {
        fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(len / 2)).expect("cut");
    }),
];

#[test]
fn damage_is_called_damage() {
    for (name, damage) in DAMAGES {
        let scratch = Scratch::new();
        let vat = scratch.vat("a");
        for _ in 0..200 {
            scratch.append(vat, &"entry ".repeat(50), &[("key", Some("value"))]).expect("appended");
        }
        scratch.storage.commit().expect("committed");
        let Scratch { storage, dir } = scratch;
        drop(storage);
        let path = dir.path().join("store.sqlite");
        damage(&path, fs::metadata(&path).expect("the file").len());
        let error = Storage::open(dir.path()).and_then(|storage| storage.check_file()).expect_err(name);
        assert!(matches!(error, Error::Damaged { .. }), "{name}: {error:?}");
        assert!(error.to_string().starts_with("the store is damaged: "), "{error}");
    }
}

#[test]
fn a_reader_sees_each_commit_and_writes_nothing() {
    let writer = Scratch::new();
    let vat = writer.vat("a");
    writer.storage.commit().expect("committed");
    let reader = Storage::open_read_only(writer.dir.path()).expect("beside the writer");
    assert_eq!(dump(&reader), dump(&writer.storage));
    writer.append(vat, "entry", &[]).expect("appended");
    assert_eq!(reader.vat(vat).expect("the vat").next_position.0, 0);
    writer.storage.commit().expect("committed");
    assert_eq!(reader.vat(vat).expect("the vat").next_position.0, 1);

    let error = reader.host_put("key", Some(b"value")).expect_err("read-only");
    assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
    assert_eq!(reader.host_get("key").expect("not stopped by that"), None);
}

#[test]
fn a_data_directory_that_is_a_file_is_an_io_error() {
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "text").expect("written");
    let error = Storage::open(&file).expect_err("not a directory");
    assert!(matches!(error, Error::Io { attempt: "create the data directory", .. }), "{error:?}");
}
