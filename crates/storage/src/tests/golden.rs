//! The durable format: its schema as text, and a store of each version as a file, opened by today's code.
//!
//! `UPDATE_EXPECT=1 cargo test -p vat-storage` writes those of the current version anew. That is right for a version that was
//! never released; a released file is never changed: versions 1 and 2 are only read.

use std::fs;
use std::path::{Path, PathBuf};

use expect_test::{expect, expect_file};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{Scratch, WASM, dump};
use crate::{Error, Incarnation, ModuleHash, NewSnapshot, Position, Retention, Storage, VatStatus};

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("golden").join(file)
}

/// The statements that would make the tables of a store.
fn schema(storage: &Storage) -> String {
    storage.read("read the schema", |session| Ok(statements(&session.connection)?)).expect("the schema")
}

fn statements(connection: &Connection) -> rusqlite::Result<String> {
    let mut statement = connection.prepare(
        "SELECT coalesce(sql, '-- ' || name) FROM sqlite_master WHERE name <> 'sqlite_sequence' ORDER BY name",
    )?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    Ok(lines.collect::<rusqlite::Result<Vec<_>>>()?.join(";\n") + ";\n")
}

#[test]
fn the_kept_stores_of_older_versions_are_what_these_wrote() {
    for version in [1, 2] {
        let dir = TempDir::new().expect("a directory");
        let copy = dir.path().join("store.sqlite");
        fs::copy(golden(&format!("store-{version}.sqlite")), &copy).expect("the golden store");
        let kept = statements(&Connection::open(copy).expect("it opens")).expect("the schema");
        let schema = golden(&format!("schema-{version}.sql"));
        assert_eq!(kept, fs::read_to_string(schema).expect("the golden schema"), "version {version}");
    }
}

#[test]
fn the_schema_is_version_3() {
    expect_file![golden("schema-3.sql")].assert_eq(&schema(&Scratch::new().storage));
}

#[test]
fn the_settings_are_what_durability_needs() {
    let scratch = Scratch::new();
    let setting = |name: &str| {
        let read = |session: &mut crate::session::Session| {
            Ok(session
                .connection
                .query_row(&format!("PRAGMA {name}"), [], |row| Ok(super::literal(row.get_ref(0)?)))?)
        };
        scratch.storage.read("read a setting", read).expect("a setting")
    };
    let names =
        ["journal_mode", "synchronous", "foreign_keys", "application_id", "user_version", "busy_timeout"];
    let text = names.map(|name| format!("{name} {}\n", setting(name))).concat();
    expect![[r#"
        journal_mode 'wal'
        synchronous 2
        foreign_keys 1
        application_id 1447122007
        user_version 3
        busy_timeout 5000
    "#]]
    .assert_eq(&text);
}

/// Some of everything that version 1 had.
fn furnish(storage: &Storage) {
    let scratch_module = ModuleHash::of(WASM);
    storage.put_module(scratch_module, "counter", WASM).expect("kept");
    let birth = storage.add_layer(1, 0, 8_192).expect("a layer");
    storage.set_birth(scratch_module, b"birth", &[birth]).expect("set");
    let names = ["alice", "bob", "carol"];
    let [alice, bob, carol] =
        names.map(|name| storage.create_vat(name, scratch_module, "{}").expect("created"));
    for (number, vat) in [alice, bob, alice, carol, alice].into_iter().enumerate() {
        let (entry, value) = (format!("entry {number}"), format!("value {number}"));
        let vatstore = [("last", Some(value.as_str()))];
        storage
            .append_crank(&crate::CrankRecord { vat, entry: entry.as_bytes(), vatstore: &vatstore })
            .expect("appended");
    }
    storage.close_span(alice).expect("closed");
    let delta = storage.add_layer(1, 8_192, 4_096).expect("a layer");
    let snapshot = NewSnapshot {
        vat: alice,
        position: Position(3),
        incarnation: Incarnation(0),
        image: b"image",
        root: Some([5; 32]),
        layers: &[birth, delta],
    };
    storage.put_snapshot(&snapshot).expect("kept");
    storage.begin_incarnation(alice, scratch_module).expect("begun");
    storage.set_status(bob, &VatStatus::Quarantined { reason: "diverged".to_owned() }).expect("set");
    storage.terminate(carol, "done").expect("terminated");
    storage.host_put("recent", Some(b"alice")).expect("written");
    storage.commit().expect("committed");
}

/// The same, with what version 2 added: a compressed span, and one that was pruned.
pub(super) fn furnish_more(storage: &Storage) {
    furnish(storage);
    let module = ModuleHash::of(WASM);
    let dave = storage.create_vat("dave", module, "{}").expect("created");
    for entry in ["one", "two", "three"] {
        let crank = crate::CrankRecord { vat: dave, entry: entry.as_bytes(), vatstore: &[] };
        storage.append_crank(&crank).expect("appended");
        storage.close_span(dave).expect("closed");
    }
    while !storage.compress().expect("compressed").done {}
    let (vat, position, incarnation) = (dave, Position(1), Incarnation(0));
    let snapshot = NewSnapshot { vat, position, incarnation, image: b"image", root: None, layers: &[] };
    storage.put_snapshot(&snapshot).expect("kept");
    assert_eq!(storage.prune(dave, Retention::Operational, 99).expect("pruned").rows, 1);
    storage.set_retention(Retention::Replay).expect("set");
    storage.commit().expect("committed");
}

/// A copy of a golden store, where it may be written.
fn copy_of(file: &str) -> TempDir {
    let dir = TempDir::new().expect("a directory");
    fs::copy(golden(file), dir.path().join("store.sqlite")).expect("the golden store");
    dir
}

fn copy_of_version_3() -> TempDir {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let Scratch { storage, dir } = Scratch::new();
        furnish_more(&storage);
        drop(storage);
        fs::copy(dir.path().join("store.sqlite"), golden("store-3.sqlite")).expect("written");
    }
    copy_of("store-3.sqlite")
}

/// What is in a file, and its version, without opening it as a store.
fn raw_dump(dir: &Path) -> (u32, String) {
    let file = Connection::open(dir.join("store.sqlite")).expect("the file");
    let version = file.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a version");
    (version, super::dump_connection(&file).expect("readable"))
}

/// Rows but for the bytes that the compressor made, which are its own affair.
fn without_packs(dump: &str) -> String {
    dump.lines().filter(|line| !line.starts_with("packs ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_store_of_an_older_version_becomes_one_of_today() {
    for version in [1, 2] {
        let furnish = if version == 1 { furnish } else { furnish_more };
        let dir = copy_of(&format!("store-{version}.sqlite"));
        let (found, before) = raw_dump(dir.path());
        assert_eq!(found, version);
        expect_file![golden(&format!("store-{version}.txt"))].assert_eq(&before);
        let storage = Storage::open_existing(dir.path()).expect("opens, and migrates");
        storage.check_file().expect("whole");
        let written = Scratch::new();
        furnish(&written.storage);
        assert_eq!(schema(&storage), schema(&written.storage), "today's code makes the same tables");
        let dumps = [&storage, &written.storage].map(|storage| without_packs(&dump(storage)));
        assert_eq!(dumps[0], dumps[1], "today's code writes the same rows");
        for vat in storage.vats().expect("vats") {
            storage.verify_spans(vat.id).expect("the entries that were there");
        }
        drop(storage);
        let (version, _) = raw_dump(dir.path());
        assert_eq!(version, 3, "migrated once");
    }
}

#[test]
fn a_store_of_version_1_goes_on() {
    let dir = copy_of("store-1.sqlite");
    let storage = Storage::open_existing(dir.path()).expect("opens");
    let scratch = Scratch { storage, dir };
    let alice = scratch.storage.vat_by_name("alice").expect("read").expect("alice").id;
    assert_eq!(scratch.append(alice, "entry 5", &[("last", None)]).expect("appended"), Position(3));
    assert_eq!(scratch.vat("dave").0, 4, "ids go on");
    assert_eq!(scratch.storage.compress().expect("compressed").entries, 3);
    scratch.storage.commit().expect("committed");
    let scratch = scratch.reopened();
    assert_eq!(scratch.texts(alice, 0, 9).expect("entries"), ["entry 0", "entry 2", "entry 4", "entry 5"]);
    assert_eq!(scratch.storage.vatstore_get(alice, "last").expect("read"), None);
}

#[test]
fn a_reader_asks_for_the_migration() {
    let dir = copy_of("store-1.sqlite");
    let error = Storage::open_read_only(dir.path()).expect_err("cannot migrate");
    assert!(matches!(error, Error::OlderVersion { found: 1, .. }), "{error:?}");
    Storage::open_existing(dir.path()).expect("migrated");
    Storage::open_read_only(dir.path()).expect("current");
}

#[test]
fn a_crash_in_the_middle_of_the_migration_leaves_version_1() {
    let dir = copy_of("store-1.sqlite");
    let (_, before) = raw_dump(dir.path());
    let file = Connection::open(dir.path().join("store.sqlite")).expect("the file");
    file.execute_batch("PRAGMA journal_mode = WAL; BEGIN IMMEDIATE").expect("begun");
    crate::schema::migrate(&file, 1).expect("migrated, not committed");
    file.cache_flush().expect("as far on disk as a transaction can be");
    let crashed = TempDir::new().expect("a directory");
    for name in ["store.sqlite", "store.sqlite-wal"] {
        fs::copy(dir.path().join(name), crashed.path().join(name)).expect("copied");
    }
    assert_eq!(raw_dump(crashed.path()), (1, before));
    Storage::open_existing(crashed.path()).expect("migrates").check_file().expect("whole");
}

#[test]
fn a_migration_that_fails_leaves_version_1() {
    let dir = copy_of("store-1.sqlite");
    super::edit(dir.path(), "CREATE TABLE packs (in_the_way INTEGER)");
    let before = raw_dump(dir.path());
    let error = Storage::open_existing(dir.path()).expect_err("in the way");
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    assert_eq!(raw_dump(dir.path()), before);
}

#[test]
fn a_store_of_version_3_reads_as_it_was_written() {
    let dir = copy_of_version_3();
    let storage = Storage::open_existing(dir.path()).expect("opens");
    storage.check_file().expect("whole");
    expect_file![golden("store-3.txt")].assert_eq(&dump(&storage));
    let written = Scratch::new();
    furnish_more(&written.storage);
    assert_eq!(schema(&storage), schema(&written.storage), "today's code makes the same tables");
    assert_eq!(without_packs(&dump(&storage)), without_packs(&dump(&written.storage)), "and the same rows");
    let dave = storage.vat_by_name("dave").expect("read").expect("dave").id;
    storage.verify_spans(dave).expect("compressed entries can be read");
    let scratch = Scratch { storage, dir };
    assert_eq!(scratch.texts(dave, 1, 9).expect("entries"), ["two", "three"]);
    assert!(matches!(scratch.texts(dave, 0, 9), Err(Error::Pruned { .. })));
    assert_eq!(scratch.storage.retention().expect("read"), Retention::Replay);
}
