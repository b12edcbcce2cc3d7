//! The durable format: its schema as text, and a store of each version as a file, opened by today's code.
//!
//! `UPDATE_EXPECT=1 cargo test -p vat-storage` writes both anew. That is right for a version that was never released, and for
//! a new version beside the old ones; a released file is never changed.

use std::fs;
use std::path::{Path, PathBuf};

use expect_test::{expect, expect_file};
use tempfile::TempDir;

use super::{Scratch, WASM, dump};
use crate::{Incarnation, ModuleHash, NewSnapshot, Position, Storage, VatStatus};

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("golden").join(file)
}

/// The statements that would make the tables of a store.
fn schema(storage: &Storage) -> String {
    let read = |session: &mut crate::session::Session| {
        let mut statement = session.connection.prepare(
            "SELECT coalesce(sql, '-- ' || name) FROM sqlite_master WHERE name <> 'sqlite_sequence' ORDER BY name",
        )?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
        Ok(lines.collect::<rusqlite::Result<Vec<_>>>()?.join(";\n") + ";\n")
    };
    storage.read("read the schema", read).expect("the schema")
}

#[test]
fn the_schema_is_version_1() {
    expect_file![golden("schema-1.sql")].assert_eq(&schema(&Scratch::new().storage));
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
        user_version 1
        busy_timeout 5000
    "#]]
    .assert_eq(&text);
}

/// Some of everything, as version 1 writes it.
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

/// The golden store of version 1, copied to where it may be written.
fn copy_of_version_1() -> TempDir {
    let file = golden("store-1.sqlite");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let Scratch { storage, dir } = Scratch::new();
        furnish(&storage);
        drop(storage);
        fs::copy(dir.path().join("store.sqlite"), &file).expect("written");
    }
    let dir = TempDir::new().expect("a directory");
    fs::copy(&file, dir.path().join("store.sqlite")).expect("the golden store");
    dir
}

#[test]
fn a_store_of_version_1_reads_as_it_was_written() {
    let dir = copy_of_version_1();
    let storage = Storage::open_existing(dir.path()).expect("opens");
    storage.check_file().expect("whole");
    expect_file![golden("store-1.txt")].assert_eq(&dump(&storage));
    let written = Scratch::new();
    furnish(&written.storage);
    assert_eq!(schema(&storage), schema(&written.storage), "today's code makes the same tables");
    assert_eq!(dump(&storage), dump(&written.storage), "today's code writes the same rows");
}

#[test]
fn a_store_of_version_1_goes_on() {
    let dir = copy_of_version_1();
    let storage = Storage::open_existing(dir.path()).expect("opens");
    let scratch = Scratch { storage, dir };
    let alice = scratch.storage.vat_by_name("alice").expect("read").expect("alice").id;
    scratch.storage.verify_spans(alice).expect("in order");
    assert_eq!(scratch.append(alice, "entry 5", &[("last", None)]).expect("appended"), Position(3));
    assert_eq!(scratch.vat("dave").0, 4, "ids go on");
    scratch.storage.commit().expect("committed");
    let scratch = scratch.reopened();
    assert_eq!(scratch.texts(alice, 0, 9).expect("entries"), ["entry 0", "entry 2", "entry 4", "entry 5"]);
    assert_eq!(scratch.storage.vatstore_get(alice, "last").expect("read"), None);
}
