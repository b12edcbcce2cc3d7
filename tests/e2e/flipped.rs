//! One flipped bit in every kind of record: it is found and named, and what the data allows is recovered.
//!
//! Each row of [`CASES`] changes one thing in a store at rest, as a failing disk would, and says who finds it: opening the store, using
//! the vat, or a scrub. Whoever finds it, there is no panic.

use std::path::{Path, PathBuf};
use std::{fs, io};

use vat_abi::CapData;
use vat_warehouse::{Scrubbed, VatOptions, Warehouse, WarehouseConfig};

use crate::scenario::{Listener, message, vat};

const STATE: &str = include_str!("../vats/state.wat");

/// What becomes of the vat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It is as it was, by a fallback or because nothing that decides is damaged.
    Recovered,
    /// It cannot be used, and the error says so; a backup is needed.
    Refused,
    /// It can be used, as its own state has it; scrubbing and verification say what is wrong with the rest.
    Reported,
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

/// Flips the lowest bit of one byte in the middle of a column of one row.
fn flip(dir: &Path, table: &str, column: &str, row: &str) {
    let connection = connect(dir);
    let read = format!(
        "SELECT rowid_or_key, value FROM (SELECT 1 AS rowid_or_key, CAST({column} AS BLOB) AS value FROM {table} WHERE {row} LIMIT 1)"
    );
    let (_, mut value): (i64, Vec<u8>) =
        connection.query_row(&read, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let middle = value.len() / 2;
    value[middle] ^= 1;
    let kind: String = connection
        .query_row(&format!("SELECT typeof({column}) FROM {table} WHERE {row} LIMIT 1"), [], |row| row.get(0))
        .unwrap();
    let cast = if kind == "text" { "CAST(? AS TEXT)" } else { "?" };
    let changed =
        connection.execute(&format!("UPDATE {table} SET {column} = {cast} WHERE {row}"), [value]).unwrap();
    assert_eq!(changed, 1, "{table}.{column}");
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
        what: "a transcript entry that a restart does not need",
        damage: |dir| flip(dir, "transcript", "entry", "position = 3"),
        scrub: Some("its transcript: "),
        then: Then::Reported,
    },
    Case {
        what: "a transcript entry that a restart needs",
        damage: |dir| flip(dir, "transcript", "entry", "position = 20"),
        scrub: Some("its transcript: "),
        then: Then::Refused,
    },
    Case {
        what: "the hash of a span",
        damage: |dir| flip(dir, "spans", "hash", "open = 1"),
        scrub: Some("its transcript: "),
        then: Then::Reported,
    },
    Case {
        what: "a value in vat storage",
        damage: |dir| flip(dir, "vatstore", "value", "key = 'count'"),
        scrub: Some("its vat storage under \"count\""),
        then: Then::Reported,
    },
    Case {
        what: "a key in vat storage",
        damage: |dir| flip(dir, "vatstore", "key", "key = 'count'"),
        scrub: Some("its vat storage under \"count\""),
        then: Then::Reported,
    },
    Case {
        what: "the description of the newest snapshot",
        damage: |dir| flip(dir, "snapshots", "image", "position = (SELECT max(position) FROM snapshots)"),
        scrub: Some("its snapshot at 19: the snapshot's description is damaged"),
        then: Then::Recovered,
    },
    Case {
        what: "the position of the newest snapshot",
        damage: |dir| {
            set(
                dir,
                "UPDATE OR FAIL snapshots SET position = 18 WHERE position = (SELECT max(position) FROM snapshots)",
            )
        },
        scrub: Some("a row refers to one that is not there"),
        then: Then::Refused,
    },
    Case {
        what: "the description of the birth image",
        damage: |dir| flip(dir, "modules", "birth", "birth IS NOT NULL"),
        scrub: Some("birth image of module"),
        then: Then::Recovered,
    },
    Case {
        what: "the code of the module",
        damage: |dir| flip(dir, "modules", "wasm", "TRUE"),
        scrub: Some("do not have its hash"),
        then: Then::Recovered, // Compiled code is still there, under the hash of what it was compiled from.
    },
    Case {
        what: "the hash of the module",
        damage: |dir| flip(dir, "modules", "hash", "TRUE"),
        scrub: Some("do not have its hash"),
        then: Then::Recovered,
    },
    Case {
        what: "the options of the vat",
        damage: |dir| set(dir, "UPDATE vats SET options = replace(options, '\"seeds\"', '\"sedes\"')"),
        scrub: Some("its options cannot be read"),
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

/// A store at rest: a vat of 22 deliveries with two snapshots, the newest at 19.
fn store(dir: &Path) {
    let warehouse = Warehouse::open(dir, WarehouseConfig::default()).unwrap();
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    let options = VatOptions::default();
    warehouse.create(&vat(), "state", options, CapData::undefined(), 0, Listener::default()).0.unwrap();
    for n in 1..22 {
        deliver(&warehouse, n).unwrap();
        if n == 9 || n == 18 {
            warehouse.provide_blocking(&vat()).unwrap().snapshot().unwrap();
            warehouse.checkpoint().unwrap();
        }
    }
    warehouse.commit().unwrap();
}

fn deliver(warehouse: &Warehouse, n: u64) -> Result<Vec<vat_abi::SyscallRecord>, vat_warehouse::Error> {
    let mut lease = warehouse.provide_blocking(&vat())?;
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

#[test]
fn a_flipped_bit_in_any_record_is_found_and_named() {
    let whole = tempfile::tempdir().unwrap();
    store(whole.path());
    let expected = {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path()).unwrap();
        deliver(&Warehouse::open(dir.path(), WarehouseConfig::default()).unwrap(), 22).unwrap()
    };
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
            Then::Recovered => {
                assert_eq!(deliver(&warehouse, 22).unwrap(), expected, "{what}");
                let verdict = warehouse.verify(&vat()).map(|verified| verified.verdict.to_string());
                assert!(matches!(verdict.as_deref(), Ok("identical") | Err(_)), "{what}: {verdict:?}");
            }
            Then::Reported => {
                let verified = warehouse.verify(&vat());
                assert!(!verified.is_ok_and(|verified| verified.verdict.is_identical()), "{what}: verified");
            }
            Then::Refused => {
                let error = deliver(&warehouse, 22).expect_err(what).to_string();
                assert!(error.contains("subject") || error.contains("module"), "{what}: {error}");
            }
        }
    }
}
