//! One flipped bit in every kind of record: it is found and named, and what the data allows is recovered.
//!
//! Three ways to flip it in a store at rest, as a failing disk would. In every column of every table that SQLite's own list of
//! tables has, so that a new one cannot be forgotten; in every kind of file ([`CASES`]); and anywhere in the store's file. Whatever is
//! flipped, a delivery either does what it would have done, or is refused with an error that names what is damaged: there is no panic,
//! and no wrong answer. What one byte of a row can do is mended by [`Warehouse::mend`], and all is as before.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rusqlite::OptionalExtension;
use rusqlite::types::Value;
use vat_abi::{CapData, SyscallRecord};
use vat_warehouse::{
    Error, Retention, Scrubbed, SpanPolicy, VatName, VatOptions, Warehouse, WarehouseConfig,
};

use crate::scenario::{Listener, message, vat};
use crate::steady::code_cache;

const STATE: &str = include_str!("../vats/state.wat");

/// What becomes of the vat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It is as it was, by a fallback or because nothing that decides is damaged.
    Recovered,
    /// It cannot be used, and the error says so; a backup is needed.
    Refused,
    /// It cannot be used until its storage was computed from its transcript.
    Restored,
}

struct Case {
    what: &'static str,
    damage: fn(&Path),
    /// A part of what scrubbing says; `None` if the store is whole to it, or not even opened.
    scrub: Option<&'static str>,
    then: Then,
}

/// A connection that keeps no rule, as a disk keeps none.
fn connect(dir: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(dir.join("store.sqlite")).unwrap();
    connection.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON").unwrap();
    connection
}

/// Flips the lowest bit of one byte in the middle of a column of one row; `false` if it has no byte, or if the row would then be in
/// the place of another.
fn flip(dir: &Path, table: &str, column: &str, row: &str) -> bool {
    let connection = connect(dir);
    let value: Option<Value> = connection
        .query_row(&format!("SELECT {column} FROM {table} WHERE {row} LIMIT 1"), [], |row| row.get(0))
        .optional()
        .unwrap();
    let flipped = match value {
        None | Some(Value::Null | Value::Real(_)) => return false,
        Some(Value::Integer(number)) => Value::Integer(number ^ 1),
        Some(Value::Text(text)) => {
            let Some(bytes) = in_the_middle(text.into_bytes()) else { return false };
            Value::Text(String::from_utf8(bytes).unwrap())
        }
        Some(Value::Blob(bytes)) => {
            let Some(bytes) = in_the_middle(bytes) else { return false };
            Value::Blob(bytes)
        }
    };
    match connection.execute(&format!("UPDATE {table} SET {column} = ? WHERE {row}"), [flipped]) {
        Ok(changed) => assert_eq!(changed, 1, "{table}.{column} {row}"),
        Err(error) => {
            let code = error.sqlite_error_code();
            assert_eq!(code, Some(rusqlite::ErrorCode::ConstraintViolation), "{table}.{column}: {error}");
            return false;
        }
    }
    true
}

fn in_the_middle(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let middle = bytes.len().checked_sub(1)? / 2;
    bytes[middle] ^= 1;
    Some(bytes)
}

fn set(dir: &Path, sql: &str) {
    let connection = connect(dir);
    assert!(connection.execute(sql, []).unwrap() > 0, "{sql}");
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

/// The segment file of the layer that was written last, and where in it that layer begins.
fn newest_layer(dir: &Path) -> (PathBuf, usize) {
    let query = "SELECT segment, offset FROM layers ORDER BY id DESC LIMIT 1";
    let (segment, offset): (usize, usize) =
        connect(dir).query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let names_it = |path: &PathBuf| path.to_string_lossy().ends_with(&format!("{segment:08}.pages"));
    (files(&dir.join("pages"), "pages").into_iter().find(names_it).unwrap(), offset)
}

fn flip_in_file(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

const CASES: &[Case] = &[
    Case { what: "nothing", damage: |_| {}, scrub: None, then: Then::Recovered },
    Case {
        what: "the code of the module",
        damage: |dir| assert!(flip(dir, "modules", "wasm", "TRUE")),
        scrub: Some("do not have its hash"),
        then: Then::Recovered, // Compiled code is still there, under the hash of what it was compiled from.
    },
    Case {
        what: "several bytes of a value in vat storage",
        damage: |dir| set(dir, "UPDATE vatstore SET value = 'else' WHERE key = 'count' AND vat = 1"),
        scrub: Some("the row vat 1, key \"count\" of the table vatstore"),
        then: Then::Restored,
    },
    Case {
        what: "a lost value in vat storage",
        damage: |dir| set(dir, "DELETE FROM vatstore WHERE vat = 1"),
        scrub: Some("its vat storage under \"count\""),
        then: Then::Restored,
    },
    Case {
        what: "several bytes of the newest snapshot's description",
        damage: |dir| {
            set(
                dir,
                "UPDATE snapshots SET image = zeroblob(40) WHERE position = (SELECT max(position) FROM snapshots)",
            )
        },
        scrub: Some("the row vat 1, position 19 of the table snapshots"),
        then: Then::Recovered,
    },
    Case {
        what: "several bytes of a transcript entry that a restart needs",
        damage: |dir| set(dir, "UPDATE transcript SET entry = zeroblob(9) WHERE vat = 1 AND position = 20"),
        scrub: Some("the row vat 1, position 20 of the table transcript"),
        then: Then::Refused,
    },
    Case {
        what: "a page of a heap image",
        damage: |dir| flip_in_file(&newest_layer(dir).0, |_| newest_layer(dir).1 + 100),
        scrub: Some("its bytes are not those that were written"),
        then: Then::Recovered, // The pages that a vat is known to touch are verified when it comes from disk.
    },
    Case {
        what: "the end of a layer",
        damage: |dir| flip_in_file(files(&dir.join("pages"), "pages").last().unwrap(), |len| len - 9),
        scrub: Some("damaged"),
        then: Then::Recovered,
    },
    Case {
        what: "compiled code",
        damage: |dir| {
            files(&dir.join("code"), "code").iter().for_each(|path| flip_in_file(path, |len| len / 2))
        },
        scrub: None, // A cache: what is damaged is compiled again.
        then: Then::Recovered,
    },
    Case {
        what: "the sum of compiled code",
        damage: |dir| {
            files(&dir.join("code"), "sum").iter().for_each(|path| flip_in_file(path, |len| len / 2))
        },
        scrub: None,
        then: Then::Recovered,
    },
];

/// A store at rest: a vat of 22 deliveries with two snapshots, the newest at 19, a fork of it, spans of which some are compressed.
fn store(dir: &Path) {
    let span_policy = SpanPolicy { entries_max: NonZeroU64::new(8).unwrap(), ..SpanPolicy::default() };
    let config =
        WarehouseConfig { span_policy, retention: Some(Retention::Debug), ..WarehouseConfig::default() };
    let warehouse = Warehouse::open(dir, config).unwrap();
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    let options = VatOptions::default();
    warehouse.create(&vat(), "state", options, CapData::undefined(), 0, Listener::default()).0.unwrap();
    for n in 1..22 {
        deliver(&warehouse, n).unwrap();
        if n == 9 || n == 18 {
            warehouse.provide_blocking(&vat()).unwrap().snapshot().unwrap();
            warehouse.checkpoint().unwrap();
        }
        if n == 11 {
            while !warehouse.compress_transcripts().unwrap().done {}
        }
        if n == 12 {
            warehouse.fork(&vat(), &fork()).unwrap();
            deliver_to(&warehouse, &fork(), 13).unwrap();
        }
    }
    warehouse.commit().unwrap();
}

fn fork() -> VatName {
    "fork".parse().unwrap()
}

fn deliver(warehouse: &Warehouse, n: u64) -> Result<Vec<SyscallRecord>, Error> {
    deliver_to(warehouse, &vat(), n)
}

fn deliver_to(warehouse: &Warehouse, vat: &VatName, n: u64) -> Result<Vec<SyscallRecord>, Error> {
    let mut lease = warehouse.provide_blocking(vat)?;
    let (report, _) = lease.deliver(message("step", &format!("[{n}]")), n, Listener::default());
    Ok(report?.syscalls)
}

fn said(scrubbed: &Scrubbed) -> String {
    let layers = scrubbed.damaged.iter().map(|layer| layer.what.clone());
    layers.chain(scrubbed.records.iter().map(|record| record.what.clone())).collect::<Vec<_>>().join("\n")
}

/// Copies a directory, as a backup would.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name()))?,
            false => drop(fs::copy(entry.path(), to.join(entry.file_name()))?),
        }
    }
    Ok(())
}

/// What the next delivery does in a store that is whole, to the vat and to its fork.
type Expected = [Vec<SyscallRecord>; 2];

/// A store, its bytes as they should be, and what follows from them.
fn whole() -> (tempfile::TempDir, Expected) {
    let whole = tempfile::tempdir().unwrap();
    store(whole.path());
    let dir = tempfile::tempdir().unwrap();
    copy(whole.path(), dir.path()).unwrap();
    let warehouse = open(dir.path()).unwrap();
    let expected = [vat(), fork()].map(|vat| deliver_to(&warehouse, &vat, 22).unwrap());
    (whole, expected)
}

fn open(dir: &Path) -> Result<Warehouse, Error> {
    let config = WarehouseConfig { code_cache: Some(code_cache()), ..WarehouseConfig::default() };
    Warehouse::open_existing(dir, config)
}

/// Every delivery does what it should, or is refused; says whether all did.
fn answers(dir: &Path, expected: &Expected, what: &str) -> bool {
    let refused = |error: Error| {
        let text = error.to_string();
        let is_named = ["damaged", "subject", "fork", "module", "store", "no vat", "of vat"]
            .iter()
            .any(|word| text.contains(word));
        assert!(is_named, "{what}: {text}");
        false
    };
    let warehouse = match open(dir) {
        Ok(warehouse) => warehouse,
        Err(error) => return refused(error),
    };
    let mut all = true;
    for (vat, expected) in [vat(), fork()].iter().zip(expected) {
        all &= match deliver_to(&warehouse, vat, 22) {
            Ok(syscalls) => {
                assert_eq!(&syscalls, expected, "{what}: {vat} was given something else");
                true
            }
            Err(error) => refused(error),
        };
    }
    all
}

fn names(connection: &rusqlite::Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

#[test]
fn a_flipped_bit_in_any_column_of_any_table_is_named_and_mended() {
    let (whole, expected) = whole();
    let connection = connect(whole.path());
    let (mut tried, mut refused) = (0, 0);
    for table in names(&connection, "SELECT name FROM sqlite_schema WHERE type = 'table'") {
        let columns = names(&connection, &format!("SELECT name FROM pragma_table_info('{table}')"));
        let keys = names(&connection, &format!("SELECT name FROM pragma_table_info('{table}') WHERE pk > 0"));
        let keys = if keys.is_empty() { "name".to_owned() } else { keys.join(", ") };
        for column in columns {
            let mut of_column = 0;
            // The first row, the last one, and some between: not every key has room beside it for what it is flipped to.
            for (order, from) in [("ASC", 0), ("DESC", 0), ("ASC", 3)] {
                let row = format!(
                    "({keys}) = (SELECT {keys} FROM {table} WHERE {column} IS NOT NULL ORDER BY {} LIMIT 1 OFFSET {from})",
                    keys.split(", ").map(|key| format!("{key} {order}")).collect::<Vec<_>>().join(", ")
                );
                let what = format!("{table}.{column}, {order} {from}");
                let dir = tempfile::tempdir().unwrap();
                copy(whole.path(), dir.path()).unwrap();
                if !flip(dir.path(), &table, &column, &row) {
                    continue;
                }
                of_column += 1;
                refused += u32::from(!answers(dir.path(), &expected, &what));
                is_found_and_mended(whole.path(), dir.path(), &table, &column, &row, &expected);
            }
            assert!(
                of_column > 0 || column == "reason",
                "{table}.{column} was not tried: give the store such a row"
            );
            tried += of_column;
        }
    }
    assert!(tried > 90 && refused > 30, "{tried} tried, {refused} refused");
}

fn is_found_and_mended(whole: &Path, dir: &Path, table: &str, column: &str, row: &str, expected: &Expected) {
    let what = format!("{table}.{column}, {row}");
    // Once more from the beginning: opening and delivering may have mended it, or written the row anew.
    fs::remove_dir_all(dir).unwrap();
    copy(whole, dir).unwrap();
    flip(dir, table, column, row);
    match (table, column) {
        // SQLite's own: the next number of a table, which it takes from the table itself if that has a greater one.
        ("sqlite_sequence", _) => return assert!(answers(dir, expected, &what)),
        // Not small enough to be mended: found by its hash. An archive has it.
        ("packs", _) | ("modules", "wasm") => {
            let said = open(dir).map(|warehouse| said(&warehouse.scrub(|_, _| {}).unwrap()));
            return assert!(said.as_ref().is_ok_and(|said| !said.is_empty()), "{what}: {said:?}");
        }
        _ => {}
    }
    let mended = Warehouse::mend(dir).unwrap();
    assert_eq!((mended.mended.len(), mended.left.len()), (1, 0), "{what}: {mended:?}");
    assert_eq!(mended.mended[0].table, table, "{what}");
    let scrubbed = open(dir).unwrap().scrub(|_, _| {}).unwrap();
    assert!(scrubbed.is_clean(), "{what}: {}", said(&scrubbed));
    assert!(answers(dir, expected, &what), "{what}");
}

#[test]
fn a_flipped_bit_in_any_kind_of_file_is_found_and_named() {
    let (whole, expected) = whole();
    for Case { what, damage, scrub, then } in CASES {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path()).unwrap();
        damage(dir.path());
        let warehouse = Warehouse::open(dir.path(), WarehouseConfig::default()).unwrap();
        let scrubbed = warehouse.scrub(|_, _| {}).unwrap();
        match scrub {
            Some(scrub) => {
                assert!(said(&scrubbed).contains(scrub), "{what}: scrubbing said {:?}", said(&scrubbed))
            }
            None => assert!(scrubbed.is_clean(), "{what}: scrubbing said {:?}", said(&scrubbed)),
        }
        match then {
            Then::Recovered => {}
            Then::Restored => {
                let restored = warehouse.restore_vat_storage().unwrap();
                assert_eq!(
                    (restored.len(), restored[0].vat.as_str()),
                    (1, "subject"),
                    "{what}: {restored:?}"
                );
                assert!(warehouse.scrub(|_, _| {}).unwrap().is_clean(), "{what}");
            }
            Then::Refused => {
                let error = deliver(&warehouse, 22).expect_err(what).to_string();
                assert!(error.contains("vat 1"), "{what}: {error}");
                assert_eq!(deliver_to(&warehouse, &fork(), 22).unwrap(), expected[1], "{what}: others go on");
                continue;
            }
        }
        assert_eq!(deliver(&warehouse, 22).unwrap(), expected[0], "{what}");
        let verdict = warehouse.verify(&vat()).map(|verified| verified.verdict.to_string());
        assert!(matches!(verdict.as_deref(), Ok("identical") | Err(_)), "{what}: {verdict:?}");
    }
}

/// Places tried in the store's file.
const PLACES: u64 = 150;

#[test]
fn a_flipped_bit_anywhere_in_the_file_gives_no_wrong_answer() {
    let (whole, expected) = whole();
    let path = whole.path().join("store.sqlite");
    let bytes = fs::read(&path).unwrap();
    let bits = bytes.len() as u64 * 8;
    let mut refused = 0;
    for place in 0..PLACES {
        // Spread over the file by a step that has no common divisor with its length.
        let bit = usize::try_from(place * ((bits / PLACES) | 1) % bits).unwrap();
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path()).unwrap();
        fs::write(dir.path().join("store.sqlite"), damaged).unwrap();
        refused += u64::from(!answers(dir.path(), &expected, &format!("bit {bit} of {}", path.display())));
    }
    assert!((1..PLACES).contains(&refused), "{refused} of {PLACES} were noticed");
}
