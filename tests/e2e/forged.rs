//! Changing a store the way only somebody who knows its format can: rows together with their sums.
//!
//! A row that merely changed is damage, and whoever reads it is told so (`flipped.rs`). To see what stands behind the sums, a test
//! gives the changed rows new ones. They are computed here once more from the description of the format, so that this is also a
//! test of that.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Params};

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
/// The tables, in the order of their numbers, which begin at 1.
const TABLES: [&str; 12] = [
    "modules",
    "module_names",
    "vats",
    "forks",
    "transcript",
    "spans",
    "snapshots",
    "layers",
    "snapshot_layers",
    "module_layers",
    "vatstore",
    "host",
];

/// Runs a statement on the store in `dir`, which nobody has open, and gives all rows their sums; how many rows it changed.
pub(crate) fn forge(dir: &Path, sql: &str, parameters: impl Params) -> usize {
    let connection = Connection::open(dir.join("store.sqlite")).unwrap();
    let changed = connection.execute(sql, parameters).unwrap();
    for (table, number) in TABLES.iter().zip(1..) {
        reseal(&connection, table, number);
    }
    changed
}

fn reseal(connection: &Connection, table: &str, number: u64) {
    let mut columns =
        connection.prepare("SELECT name FROM pragma_table_info(?) WHERE name <> 'sum'").unwrap();
    let columns: Vec<String> =
        columns.query_map([table], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let all = columns.join(", ");
    let mut select = connection.prepare(&format!("SELECT {all} FROM {table}")).unwrap();
    let mut rows = select.query([]).unwrap();
    let is_row: Vec<String> = columns.iter().map(|column| format!("{column} IS ?")).collect();
    let update = format!("UPDATE {table} SET sum = ? WHERE {}", is_row.join(" AND "));
    while let Some(row) = rows.next().unwrap() {
        let mut sum = fold(ODD, number);
        let mut values = Vec::new();
        for (index, column) in columns.iter().enumerate() {
            let value = row.get_ref(index).unwrap();
            sum = match (column.as_str(), value) {
                ("wasm", ValueRef::Blob(bytes)) => {
                    add(sum, ValueRef::Integer(i64::try_from(bytes.len()).unwrap()))
                }
                (_, value) => add(sum, value),
            };
            values.push(rusqlite::types::Value::try_from(value).unwrap());
        }
        values.insert(0, rusqlite::types::Value::Integer(sum.cast_signed()));
        assert_eq!(connection.execute(&update, rusqlite::params_from_iter(values)).unwrap(), 1, "{table}");
    }
}

fn add(sum: u64, value: ValueRef<'_>) -> u64 {
    let (kind, bytes) = match value {
        ValueRef::Null => return fold(sum, 1),
        ValueRef::Integer(number) => return fold(fold(sum, 2), number.cast_unsigned()),
        ValueRef::Real(_) => panic!("no column has such values"),
        ValueRef::Text(bytes) => (3, bytes),
        ValueRef::Blob(bytes) => (4, bytes),
    };
    bytes.chunks(8).fold(fold(fold(sum, kind), bytes.len() as u64), |sum, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        fold(sum, u64::from_le_bytes(word))
    })
}

fn fold(sum: u64, word: u64) -> u64 {
    let mixed = (sum ^ word).wrapping_mul(ODD);
    mixed ^ (mixed >> 32)
}
