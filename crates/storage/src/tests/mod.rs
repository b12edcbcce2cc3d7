//! Tests of the crate, from inside: they reach the connection, to break the file and to make SQLite fail for real.
//!
//! Cases of the original's store tests that are here, by number:
//! 118 (spans and hashes of init, add, rollover, incarnation) in `spans`, without its export records, which this crate does not
//! make; 119 (order of keys, large keys, reopening, an uncommitted close, an abort that loses entries) in `cranks`, `buffer`,
//! `crash`; 121 (old spans readable, an error after pruning) in `packs` and `retention`; 122 (no row of a snapshot is
//! ambiguous, saved again after deletion, what is in use stays) in `layers` and `retention`; 126 (an aborted crank leaves no
//! debris) in `failures` and `buffer`; 129 (streaming hash equals one-shot) in `spans`.
//! Left out: 120 (nested savepoints: the storage has none to offer, a crank is buffered until it is whole); 122's archive
//! files, sizes and 126's export log (no export log is kept); 129's use after finish (a hash here is a value, it has no end).
//!
//! Each file is one question. A store is dumped as text ([`dump`]) where two of them are to be the same.

mod buffer;
mod cranks;
mod crash;
mod damage;
mod failures;
mod forks;
mod golden;
mod layers;
mod modules;
mod opening;
mod packs;
mod retention;
mod spans;
mod vats;

use std::fmt::Write as _;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tempfile::TempDir;

use crate::row_sum::{self, Cell, Table};
use crate::{CrankRecord, Error, ModuleHash, Position, Storage, VatId, VatstoreWrite};

/// A module's bytes; to storage they are only bytes.
const WASM: &[u8] = b"\0asm\x01\0\0\0";

/// A store in a directory that goes away with it.
struct Scratch {
    // Before the directory, so that the files are closed when it is removed.
    storage: Storage,
    dir: TempDir,
}

impl Scratch {
    fn new() -> Scratch {
        let dir = TempDir::new().expect("a temporary directory");
        Scratch { storage: Storage::open(dir.path()).expect("a new store"), dir }
    }

    /// Closes the store, which undoes what is not committed, and opens it again.
    fn reopened(self) -> Scratch {
        let Scratch { storage, dir } = self;
        drop(storage);
        Scratch { storage: Storage::open_existing(dir.path()).expect("the same store"), dir }
    }

    fn vat(&self, name: &str) -> VatId {
        let module = ModuleHash::of(WASM);
        self.storage.put_module(module, "module", WASM).expect("a module");
        self.storage.create_vat(name, module, "{}").expect("a vat")
    }

    /// Appends a crank, in the caller's words; the position it got.
    fn append(&self, vat: VatId, entry: &str, vatstore: &[VatstoreWrite<'_>]) -> Result<Position, Error> {
        self.storage.append_crank(&CrankRecord { vat, entry: entry.as_bytes(), vatstore })
    }

    /// The entries in a range, as text.
    fn texts(&self, vat: VatId, from: u64, to: u64) -> Result<Vec<String>, Error> {
        let entries = self.storage.transcript(vat, Position(from), Position(to))?;
        Ok(entries.into_iter().map(|(_, bytes)| String::from_utf8(bytes).expect("text")).collect())
    }
}

/// Runs SQL on the storage's own connection, in its open transaction if it has one.
fn raw(storage: &Storage, sql: &str) {
    storage
        .read("run a test's SQL", |session| Ok(session.connection.execute_batch(sql)?))
        .expect("valid SQL");
}

/// Runs SQL on a closed store's file.
fn edit(dir: &Path, sql: &str) {
    Connection::open(dir.join("store.sqlite")).and_then(|file| file.execute_batch(sql)).expect("valid SQL");
}

/// Gives every row the sum of what is in it.
fn reseal(storage: &Storage) {
    let reseal = |connection: &Connection| -> rusqlite::Result<()> {
        for table in Table::ALL {
            let keys = &table.columns()[..table.key_columns()];
            let mut select = connection.prepare(&table.select(""))?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let mut cells = Vec::new();
                for column in 0..table.columns().len() {
                    cells.push(Cell::from(row.get_ref(column + 1)?));
                }
                let mut key = Vec::new();
                for column in 0..keys.len() {
                    key.push(row.get::<_, rusqlite::types::Value>(column + 1)?);
                }
                let sum = rusqlite::types::Value::Integer(row_sum::sum(table, &cells));
                let sql = format!("UPDATE {} SET sum = ? WHERE {} = ?", table.name(), keys.join(" = ? AND "));
                connection.execute(&sql, rusqlite::params_from_iter([sum].into_iter().chain(key)))?;
            }
        }
        Ok(())
    };
    storage.read("reseal", |session| Ok(reseal(&session.connection)?)).expect("resealed");
}

/// All tables with all rows, as text, as this connection sees them. Every row has the sum that is its own.
fn dump(storage: &Storage) -> String {
    assert_eq!(storage.damaged_rows().expect("readable rows"), []);
    storage.read("dump", |session| Ok(dump_connection(&session.connection)?)).expect("a readable store")
}

fn dump_connection(connection: &Connection) -> rusqlite::Result<String> {
    let mut text = String::new();
    let mut tables =
        connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")?;
    for table in tables.query_map([], |row| row.get::<_, String>(0))? {
        let table = table?;
        let columns = connection.prepare(&format!("SELECT * FROM {table}"))?.column_count();
        let order = (1..=columns).map(|column| column.to_string()).collect::<Vec<_>>().join(", ");
        let mut rows = connection.prepare(&format!("SELECT * FROM {table} ORDER BY {order}"))?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            write!(text, "{table}").expect("a string");
            for column in 0..columns {
                text.push(' ');
                text.push_str(&literal(row.get_ref(column)?));
            }
            text.push('\n');
        }
    }
    Ok(text)
}

/// A value as SQL writes it.
fn literal(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) => format!("'{}'", String::from_utf8_lossy(bytes)),
        ValueRef::Blob(bytes) => {
            bytes.iter().fold("x'".to_owned(), |text, byte| format!("{text}{byte:02x}")) + "'"
        }
    }
}

/// A small generator of repeatable numbers (xorshift64*), for tests that walk many cases.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

/// A storage is shared between the warehouse's threads.
const _: fn() = || {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Storage>();
};
