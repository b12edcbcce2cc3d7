//! One byte changed in each column of each table: found when the row is read, named, mended from the row's own sum.
//!
//! Two ways to change it. By SQL, without any rule of the tables: then indexes agree with the change. In the bytes of the file:
//! then a key is out of its place, or an index disagrees with its table, as after a fault of a disk.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;

use super::golden::furnish_more;
use super::{Scratch, dump_connection};
use crate::row_sum::Table;
use crate::{Error, LayerId, ModuleHash, Position, Storage, VatId};

/// A closed store with some of everything.
fn furnished() -> TempDir {
    let Scratch { storage, dir } = Scratch::new();
    furnish_more(&storage);
    let alice = storage.vat_by_name("alice").expect("read").expect("alice").id;
    storage.fork_vat(alice, "fork", "{}").expect("forked");
    storage.commit().expect("committed");
    drop(storage);
    dir
}

fn connect(dir: &Path) -> Connection {
    let connection = Connection::open(dir.join("store.sqlite")).expect("the file");
    connection
        .execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON")
        .expect("no rules");
    connection
}

fn dump(dir: &Path) -> String {
    let connection = connect(dir);
    // A repair writes nothing of SQLite's own but what an index's statistics would be.
    dump_connection(&connection).expect("readable")
}

/// The columns of a table in the file, whoever made them.
fn columns(connection: &Connection, table: &str) -> Vec<String> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?)").expect("the columns");
    let names = statement.query_map([table], |row| row.get(0)).expect("read");
    names.collect::<rusqlite::Result<_>>().expect("names")
}

fn tables(connection: &Connection) -> Vec<String> {
    let mut statement = connection
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
        )
        .expect("the tables");
    let names = statement.query_map([], |row| row.get(0)).expect("read");
    names.collect::<rusqlite::Result<_>>().expect("names")
}

/// A value with one bit changed; `None` for one that has no bytes.
fn flipped(value: Value) -> Option<Value> {
    Some(match value {
        Value::Null => return None,
        Value::Integer(number) => Value::Integer(number ^ 1),
        Value::Real(_) => panic!("no column has such values"),
        Value::Text(text) => {
            let mut bytes = text.into_bytes();
            let middle = bytes.len().checked_sub(1)? / 2;
            bytes[middle] ^= 1;
            Value::Text(String::from_utf8(bytes).expect("ASCII with its lowest bit changed"))
        }
        Value::Blob(mut bytes) => {
            let middle = bytes.len().checked_sub(1)? / 2;
            bytes[middle] ^= 1;
            Value::Blob(bytes)
        }
    })
}

/// Flips a bit of a column in the first row of a table that has bytes there; `false` if there is none, or if the row would be in the
/// place of another one.
fn flip(dir: &Path, table: &str, column: &str) -> bool {
    flip_where(dir, table, column, "TRUE")
}

/// The same in the first of some rows.
fn flip_where(dir: &Path, table: &str, column: &str, which: &str) -> bool {
    let connection = connect(dir);
    let select = format!("SELECT {column} FROM {table} WHERE {column} IS NOT NULL AND {which} LIMIT 1");
    let value: Value = match connection.query_row(&select, [], |row| row.get(0)) {
        Err(rusqlite::Error::QueryReturnedNoRows) => return false,
        value => value.expect("a value"),
    };
    let Some(changed) = flipped(value.clone()) else { return false };
    let mut statement =
        connection.prepare("SELECT name FROM pragma_table_info(?) WHERE pk > 0").expect("the key");
    let key = statement.query_map([table], |row| row.get::<_, String>(0)).expect("read");
    let key = key.collect::<rusqlite::Result<Vec<_>>>().expect("names").join(", ");
    let update = format!(
        "UPDATE {table} SET {column} = ?1 WHERE ({key}) = (SELECT {key} FROM {table} WHERE {column} = ?2 AND {which} LIMIT 1)"
    );
    match connection.execute(&update, (changed, value)) {
        Ok(count) => assert_eq!(count, 1, "{table}.{column}"),
        Err(error) => {
            assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::ConstraintViolation), "{error}");
            return false;
        }
    }
    true
}

#[test]
fn a_changed_column_of_any_table_is_found_named_and_mended() {
    let whole = furnished();
    let before = dump(whole.path());
    let (mut tried, mut tables_tried) = (0, 0);
    for table in tables(&connect(whole.path())) {
        assert!(table == "packs" || Table::ALL.iter().any(|known| known.name() == table), "{table} has sums");
        let columns = columns(&connect(whole.path()), &table);
        let mut of_table = 0;
        for column in &columns {
            let dir = copy(whole.path());
            if !flip(dir.path(), &table, column) {
                continue;
            }
            of_table += 1;
            let what = format!("{table}.{column}");
            if table == "packs" {
                let error = packed(dir.path()).expect_err("a pack that is not what was written");
                assert!(
                    matches!(error, Error::Damaged { .. } | Error::MissingEntry { .. }),
                    "{what}: {error:?}"
                );
                continue;
            }
            let storage = Storage::open_existing(dir.path()).expect("opens");
            let found = storage.damaged_rows().expect("the rows can be read");
            drop(storage);
            if table == "modules" && column == "wasm" {
                assert_eq!(found, [], "{what}: only its length has a sum");
                let error = Storage::open_existing(dir.path()).and_then(|storage| storage.module(module()));
                assert!(matches!(error, Err(Error::Damaged { .. })), "{what}: {error:?}");
                continue;
            }
            assert_eq!(found.iter().map(|row| row.table).collect::<Vec<_>>(), [table.as_str()], "{what}");
            let repaired = Storage::repair(dir.path()).expect("repaired");
            assert_eq!((repaired.mended, repaired.left), (found, vec![]), "{what}");
            assert_eq!(dump(dir.path()), before, "{what}");
        }
        assert!(of_table * 3 >= columns.len() * 2, "{table}: {of_table} of its columns were tried");
        tried += of_table;
        tables_tried += 1;
    }
    assert_eq!((tables_tried, tried >= 50), (13, true), "{tried} columns");
}

fn module() -> ModuleHash {
    ModuleHash::of(super::WASM)
}

fn packed(dir: &Path) -> Result<(), Error> {
    let storage = Storage::open_existing(dir)?;
    let dave = storage.vat_by_name("dave")?.expect("dave").id;
    storage.transcript(dave, Position(1), Position(3))?;
    storage.transcript(ALICE, Position(0), Position(3)).map(drop)
}

/// A store of its own, with the same bytes.
fn copy(from: &Path) -> TempDir {
    let dir = TempDir::new().expect("a directory");
    fs::copy(from.join("store.sqlite"), dir.path().join("store.sqlite")).expect("copied");
    dir
}

/// A row that is damaged, by a table and a column, and a call that reads it.
type Reader = (&'static str, &'static str, fn(&Storage) -> Result<(), Error>);

/// The first vat of [`furnished`].
const ALICE: VatId = VatId(1);

/// Who reads what, where a wrong answer could go unnoticed.
const READERS: [Reader; 16] = [
    ("vats", "name", |storage| storage.vat_by_name("alice").map(drop)),
    ("vats", "name", |storage| storage.create_vat("alice", module(), "{}").map(drop)),
    ("vats", "module", |storage| storage.vat(ALICE).map(drop)),
    ("vats", "options", |storage| storage.vats().map(drop)),
    ("vats", "incarnation", |storage| storage.set_options(ALICE, "{}")),
    ("module_names", "name", |storage| storage.module_by_name("counter").map(drop)),
    ("module_names", "hash", |storage| storage.module_by_name("counter").map(drop)),
    ("modules", "birth", |storage| storage.module_row(module()).map(drop)),
    ("transcript", "entry", |storage| storage.transcript(VatId(2), Position(0), Position(1)).map(drop)),
    ("spans", "hash", |storage| storage.spans(ALICE).map(drop)),
    ("spans", "end_position", |storage| storage.spans(ALICE).map(drop)),
    ("layers", "offset", |storage| storage.layer(LayerId(1)).map(drop)),
    ("vatstore", "value", |storage| storage.vatstore_get(ALICE, "last").map(drop)),
    ("vatstore", "key", |storage| storage.vatstore_get(ALICE, "last").map(drop)),
    ("vatstore", "key", |storage| storage.vatstore_next_key(ALICE, "m").map(drop)),
    ("host", "value", |storage| storage.host_get("recent").map(drop)),
];

#[test]
fn a_reader_of_a_changed_row_is_told_which_and_others_go_on() {
    for (table, column, read) in READERS {
        let dir = furnished();
        assert!(flip(dir.path(), table, column), "{table}.{column}");
        let storage = Storage::open_existing(dir.path()).expect("opens");
        let error = read(&storage).expect_err(column);
        assert!(
            matches!(error, Error::DamagedRow { table: found, .. } if found == table),
            "{table}.{column}: {error:?}"
        );
        let bob = storage.create_vat("zoe", module(), "{}");
        let is_shared = ["module_names", "modules"].contains(&table);
        assert!(bob.is_ok() || is_shared, "{table}.{column}: {bob:?}");
        storage.commit().expect("not stopped by that");
    }
}

/// The fork in [`furnished`], of [`ALICE`] after three deliveries.
const FORK: VatId = VatId(5);

/// Which row is damaged: a table, a column and a condition; and a call that needs the row, or must know that no other is there.
type ReaderOf = (&'static str, &'static str, &'static str, fn(&Storage) -> Result<(), Error>);

const READERS_OF: [ReaderOf; 9] = [
    ("forks", "parent", "vat = 5", |storage| storage.transcript(FORK, Position(0), Position(3)).map(drop)),
    ("forks", "position", "vat = 5", |storage| storage.shared_before(ALICE).map(drop)),
    ("module_names", "name", "TRUE", |storage| storage.module_row(module()).map(drop)),
    ("spans", "bytes", "vat = 1 AND open = 1", |storage| storage.vat(ALICE).map(drop)),
    ("vatstore", "value", "vat = 1", |storage| storage.fork_vat(ALICE, "again", "{}").map(drop)),
    ("vatstore", "value", "vat = 1", |storage| storage.vatstore_after(ALICE, "", 9).map(drop)),
    ("vatstore", "key", "vat = 1", |storage| storage.vatstore_after(ALICE, "m", 9).map(drop)),
    ("vatstore", "vat", "vat = 1", |storage| storage.vatstore_after(ALICE, "", 9).map(drop)),
    ("vatstore", "value", "vat = 2", |storage| storage.vatstore_after(ALICE, "", 9).map(drop)),
];

#[test]
fn a_reader_of_a_certain_row_or_of_the_place_beside_it_is_told() {
    for (table, column, which, read) in READERS_OF {
        let dir = furnished();
        read(&Storage::open_existing(dir.path()).expect("opens")).expect("whole");
        assert!(flip_where(dir.path(), table, column, which), "{table}.{column}, {which}");
        let error = read(&Storage::open_existing(dir.path()).expect("opens")).expect_err(column);
        assert!(
            matches!(error, Error::DamagedRow { table: found, .. } if found == table),
            "{table}.{column}, {which}: {error:?}"
        );
    }
}

#[test]
fn what_is_damaged_is_not_compressed() {
    for (table, column) in [("spans", "hash"), ("transcript", "entry")] {
        let Scratch { storage, dir } = Scratch::new();
        storage.put_module(module(), "module", super::WASM).expect("kept");
        let vat = storage.create_vat("alice", module(), "{}").expect("created");
        for entry in ["one", "two"] {
            let crank = crate::CrankRecord { vat, entry: entry.as_bytes(), vatstore: &[] };
            storage.append_crank(&crank).expect("appended");
        }
        storage.close_span(vat).expect("closed");
        storage.commit().expect("committed");
        drop(storage);
        assert!(flip_where(dir.path(), table, column, "vat = 1"));
        let storage = Storage::open_existing(dir.path()).expect("opens");
        let error = storage.compress().expect_err("damage under a new sum");
        assert!(matches!(error, Error::DamagedRow { table: found, .. } if found == table), "{error:?}");
        drop(storage);
        assert_eq!(Storage::repair(dir.path()).expect("repaired").mended.len(), 1);
        let storage = Storage::open_existing(dir.path()).expect("opens");
        assert_eq!(storage.compress().expect("whole again").entries, 2);
    }
}

#[test]
fn a_snapshot_whose_row_is_damaged_is_passed_over() {
    for column in ["position", "incarnation", "root", "image", "sum", "vat"] {
        let dir = furnished();
        assert!(flip(dir.path(), "snapshots", column));
        let storage = Storage::open_existing(dir.path()).expect("opens");
        assert_eq!(storage.snapshots(ALICE).expect("read"), [], "{column}");
    }
}

#[test]
fn a_layer_is_not_given_up_because_of_a_damaged_reference() {
    let dir = furnished();
    connect(dir.path()).execute("UPDATE snapshot_layers SET layer = 3 WHERE layer = 2", []).expect("changed");
    let storage = Storage::open_existing(dir.path()).expect("opens");
    for error in [storage.live_layers().map(drop), storage.delete_unused_layers().map(drop)] {
        assert!(matches!(error, Err(Error::DamagedRow { table: "snapshot_layers", .. })), "{error:?}");
    }
    drop(storage);
    Storage::repair(dir.path()).expect("repaired");
    assert_eq!(
        Storage::open_existing(dir.path())
            .and_then(|storage| storage.live_layers())
            .map(|live| live.len())
            .ok(),
        Some(2)
    );
}

#[test]
fn damage_of_more_than_a_byte_is_left_as_it_is() {
    let dir = furnished();
    connect(dir.path()).execute("UPDATE vatstore SET value = 'other' WHERE vat = 1", []).expect("changed");
    let before = dump(dir.path());
    let repaired = Storage::repair(dir.path()).expect("nothing to be done");
    assert_eq!((repaired.mended.len(), repaired.left.len()), (0, 1));
    assert_eq!((repaired.left[0].table, repaired.left[0].row.as_str()), ("vatstore", "vat 1, key \"last\""));
    assert_eq!(dump(dir.path()), before);
}

/// All places of some bytes in a file.
fn places(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    bytes
        .windows(wanted.len())
        .enumerate()
        .filter(|(_, window)| *window == wanted)
        .map(|(at, _)| at)
        .collect()
}

/// Keys whose bytes are in the file once for the table and once for each index: any of them is changed where it stands.
const IN_PLACE: [(&str, usize); 4] = [("key-17", 1), ("vat-17", 2), ("host-17", 1), ("module-17", 1)];

#[test]
fn a_key_that_changed_in_its_place_is_not_merely_absent() {
    let Scratch { storage, dir } = Scratch::new();
    storage.put_module(module(), "module", super::WASM).expect("kept");
    for number in 10..40 {
        let vat = storage.create_vat(&format!("vat-{number}"), module(), "{}").expect("created");
        storage.host_put(&format!("host-{number}"), Some(b"value")).expect("put");
        storage.put_module(module(), &format!("module-{number}"), super::WASM).expect("kept");
        if number == 10 {
            let keys: Vec<_> = (10..40).map(|number| (format!("key-{number}"), number.to_string())).collect();
            storage.restore_vatstore(vat, &keys).expect("written");
        }
    }
    storage.commit().expect("committed");
    drop(storage);
    let before = dump(dir.path());
    let whole = fs::read(dir.path().join("store.sqlite")).expect("the file");
    for (key, copies) in IN_PLACE {
        let places = places(&whole, key.as_bytes());
        assert!(places.len() >= copies, "{key}: some may be left in the free space of a page");
        for (at, bit) in places
            .into_iter()
            .flat_map(|at| [(at, 1), (at, 0x20), (at + key.len() - 1, 1), (at + key.len() - 1, 8)])
        {
            let mut bytes = whole.clone();
            bytes[at] ^= bit;
            let dir = TempDir::new().expect("a directory");
            fs::write(dir.path().join("store.sqlite"), bytes).expect("written");
            let storage = Storage::open_existing(dir.path()).expect("opens");
            let found = match key {
                "key-17" => storage.vatstore_get(ALICE, key).map(|value| value.is_some()),
                "vat-17" => storage.vat_by_name(key).map(|vat| vat.is_some()),
                "host-17" => storage.host_get(key).map(|value| value.is_some()),
                _ => storage.module_by_name(key).map(|module| module.is_some()),
            };
            assert!(
                matches!(found, Ok(true) | Err(Error::DamagedRow { .. } | Error::Damaged { .. })),
                "{key}, byte {at}, bit {bit}: {found:?}"
            );
            if key == "key-17" {
                let next = storage.vatstore_next_key(ALICE, "key-16");
                assert!(next.is_err(), "byte {at}, bit {bit}: {next:?}");
            }
            drop(storage);
            let repaired = Storage::repair(dir.path()).expect("repaired");
            assert_eq!(repaired.left, [], "{key}, byte {at}, bit {bit}");
            assert_eq!(dump(dir.path()), before, "{key}, byte {at}, bit {bit}");
            Storage::open_existing(dir.path()).expect("opens").check_file().expect("whole");
        }
    }
}

#[test]
fn a_hash_that_changed_wherever_it_stands_is_mended_in_tables_and_indexes() {
    let dir = furnished();
    let before = dump(dir.path());
    let whole = fs::read(dir.path().join("store.sqlite")).expect("the file");
    let places = places(&whole, &module().0);
    // The module's row, its names, its vats, its layers, and their indexes.
    assert!(places.len() >= 9, "{places:?}");
    let mut damaged_indexes = 0;
    for at in places {
        let mut bytes = whole.clone();
        bytes[at + 5] ^= 0x10;
        let dir = TempDir::new().expect("a directory");
        fs::write(dir.path().join("store.sqlite"), bytes).expect("written");
        let storage = Storage::open_existing(dir.path()).expect("opens");
        let rows = storage.damaged_rows().expect("read").len();
        damaged_indexes += u32::from(rows == 0 && storage.check_file().is_err());
        drop(storage);
        let repaired = Storage::repair(dir.path()).expect("repaired");
        assert_eq!((repaired.mended.len(), repaired.left.len()), (rows, 0), "byte {at}");
        assert_eq!(dump(dir.path()), before, "byte {at}");
        Storage::open_existing(dir.path()).expect("opens").check_file().expect("whole");
    }
    assert!(damaged_indexes >= 2, "the hash is a key in more than one index");
}
