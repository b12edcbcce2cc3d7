//! Sums of rows: eight bytes beside the columns of each row, compared whenever the row is read.
//!
//! ```text
//!   sum = fold(table, kind ‖ length ‖ bytes of column 1, kind ‖ length ‖ bytes of column 2, …)
//!   fold(h, word) = let x = (h ^ word) * ODD in x ^ (x >> 32)
//! ```
//!
//! A step of the fold is a bijection of `h` for each word and of the word for each `h`. So whatever happens to a row within
//! eight bytes of one column changes its sum, for certain; any other damage is missed once in 2⁶⁴. The sum keeps out accidents,
//! not attackers: what is signed or shared has real hashes.
//!
//! Invariants: every row of every table in [`Table::ALL`] has a sum of all its columns, keys included; whoever writes a row computes
//! it from values that were given or verified, so that a damaged column is never given a new sum. `packs` is not among
//! them: its rows have a BLAKE3 of their own. Of `modules.wasm` only the length is summed, since it is verified by its hash.
//!
//! Not here: what to do with a row that is damaged ([`repair`](crate::repair)), and rows that are not found ([`gap`](crate::gap)).

use std::fmt::Write as _;

use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, Row};

use crate::error::Fault;

/// Odd, so that multiplying by it loses nothing: 2⁶⁴ divided by the golden ratio.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
/// The number by which `ODD` gives 1. Each round doubles the bits that are right; `ODD` itself has three.
const ODD_INVERSE: u64 = {
    let (mut inverse, mut round) = (ODD, 0);
    while round < 5 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(ODD.wrapping_mul(inverse)));
        round += 1;
    }
    inverse
};
const WORD_BYTES: usize = 8;
/// The one column of which only the length is summed.
pub(crate) const MEASURED_COLUMN: &str = "wasm";
/// Characters of a key that an error shows.
const KEY_CHARS_MAX: usize = 80;

/// A table whose rows have sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    Modules,
    ModuleNames,
    Vats,
    Forks,
    Transcript,
    Spans,
    Snapshots,
    Layers,
    SnapshotLayers,
    ModuleLayers,
    Vatstore,
    Host,
}

impl Table {
    /// All, those that others refer to before those that do.
    pub(crate) const ALL: [Table; 12] = [
        Table::Modules,
        Table::ModuleNames,
        Table::Vats,
        Table::Forks,
        Table::Transcript,
        Table::Spans,
        Table::Snapshots,
        Table::Layers,
        Table::SnapshotLayers,
        Table::ModuleLayers,
        Table::Vatstore,
        Table::Host,
    ];

    pub(crate) fn name(self) -> &'static str {
        self.layout().0
    }

    /// Its columns but the sum, the key first, in the order in which they are summed.
    pub(crate) fn columns(self) -> &'static [&'static str] {
        self.layout().1
    }

    /// How many of the columns are the key.
    pub(crate) fn key_columns(self) -> usize {
        self.layout().2
    }

    fn layout(self) -> (&'static str, &'static [&'static str], usize) {
        match self {
            Table::Modules => ("modules", &["hash", "birth", "wasm"], 1),
            Table::ModuleNames => ("module_names", &["name", "hash"], 1),
            Table::Vats => {
                ("vats", &["id", "name", "module", "status", "reason", "options", "incarnation"], 1)
            }
            Table::Forks => ("forks", &["vat", "parent", "position"], 1),
            Table::Transcript => ("transcript", &["vat", "position", "entry"], 2),
            Table::Spans => (
                "spans",
                &["vat", "start_position", "end_position", "hash", "incarnation", "open", "bytes", "content"],
                2,
            ),
            Table::Snapshots => ("snapshots", &["vat", "position", "incarnation", "root", "image"], 2),
            Table::Layers => ("layers", &["id", "segment", "offset", "bytes"], 1),
            Table::SnapshotLayers => ("snapshot_layers", &["vat", "position", "layer"], 3),
            Table::ModuleLayers => ("module_layers", &["hash", "layer"], 2),
            Table::Vatstore => ("vatstore", &["vat", "key", "value"], 2),
            Table::Host => ("host", &["key", "value"], 1),
        }
    }

    /// The columns as they are summed, for a `SELECT`.
    pub(crate) fn summed(self) -> Vec<&'static str> {
        self.columns()
            .iter()
            .map(|column| if *column == MEASURED_COLUMN { "length(wasm)" } else { *column })
            .collect()
    }

    /// `SELECT sum, columns FROM table` and what follows.
    pub(crate) fn select(self, rest: &str) -> String {
        format!("SELECT sum, {} FROM {} {rest}", self.summed().join(", "), self.name())
    }

    /// As SQL of a write has it, with as many parameters as there are columns and a sum.
    pub(crate) fn insert(self) -> String {
        let columns = self.columns();
        let parameters = vec!["?"; columns.len() + 1].join(", ");
        format!("INSERT INTO {} ({}, sum) VALUES ({parameters})", self.name(), columns.join(", "))
    }

    fn number(self) -> u64 {
        Table::ALL.iter().zip(1..).find(|(table, _)| **table == self).map_or(0, |(_, number)| number)
    }
}

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell<'a> {
    Null,
    Number(u64),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
}

impl From<u64> for Cell<'_> {
    fn from(number: u64) -> Self {
        Cell::Number(number)
    }
}

impl From<u32> for Cell<'_> {
    fn from(number: u32) -> Self {
        Cell::Number(number.into())
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Cell::Text(text.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for Cell<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Cell::Bytes(bytes)
    }
}

impl<'a> From<&'a [u8; 32]> for Cell<'a> {
    fn from(hash: &'a [u8; 32]) -> Self {
        Cell::Bytes(hash)
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}

impl<'a> From<ValueRef<'a>> for Cell<'a> {
    fn from(value: ValueRef<'a>) -> Self {
        match value {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(number) => Cell::Number(number.cast_unsigned()),
            // No column of ours has such a value; as a number it has some sum, which is not that of the row.
            ValueRef::Real(number) => Cell::Number(number.to_bits()),
            ValueRef::Text(text) => Cell::Text(text),
            ValueRef::Blob(bytes) => Cell::Bytes(bytes),
        }
    }
}

/// The sum of a row, as its column has it.
pub(crate) fn sum(table: Table, cells: &[Cell<'_>]) -> i64 {
    let mut state = begin(table);
    for cell in cells {
        walk(cell, |word, _| state = fold(state, word));
    }
    state.cast_signed()
}

/// One step of the fold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) word: u64,
    /// Where the word is from: a column, and the byte in it; `None` for what only says what follows.
    pub(crate) value: Option<(usize, usize)>,
}

/// All steps of a row's fold, in order.
pub(crate) fn steps(table: Table, cells: &[Cell<'_>]) -> Vec<Step> {
    debug_assert_eq!(cells.len(), table.columns().len(), "all columns of the table");
    let mut steps = Vec::new();
    for (column, cell) in cells.iter().enumerate() {
        walk(cell, |word, at| steps.push(Step { word, value: at.map(|at| (column, at)) }));
    }
    steps
}

/// The state before the first column.
pub(crate) fn begin(table: Table) -> u64 {
    fold(ODD, table.number())
}

/// Calls `step` with each word of a cell, and the byte that it begins at if it is a part of the value.
#[inline]
fn walk(cell: &Cell<'_>, mut step: impl FnMut(u64, Option<usize>)) {
    let (kind, bytes) = match *cell {
        Cell::Null => return step(1, None),
        Cell::Number(number) => {
            step(2, None);
            return step(number, Some(0));
        }
        Cell::Text(bytes) => (3, bytes),
        Cell::Bytes(bytes) => (4, bytes),
    };
    step(kind, None);
    step(bytes.len() as u64, None);
    let (words, rest) = bytes.as_chunks::<WORD_BYTES>();
    for (index, word) in words.iter().enumerate() {
        step(u64::from_le_bytes(*word), Some(index * WORD_BYTES));
    }
    if !rest.is_empty() {
        let mut last = [0; WORD_BYTES];
        last[..rest.len()].copy_from_slice(rest);
        step(u64::from_le_bytes(last), Some(words.len() * WORD_BYTES));
    }
}

#[inline]
pub(crate) fn fold(state: u64, word: u64) -> u64 {
    let mixed = (state ^ word).wrapping_mul(ODD);
    mixed ^ (mixed >> 32)
}

/// The state before a step that ended in `state`.
pub(crate) fn unfold(state: u64, word: u64) -> u64 {
    word_between(word, state)
}

/// The word that leads from one state to another: a step treats state and word alike.
pub(crate) fn word_between(before: u64, after: u64) -> u64 {
    (after ^ (after >> 32)).wrapping_mul(ODD_INVERSE) ^ before
}

/// A row whose columns are not those that its sum was computed from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the row {row} of the table {table} is not what was written")]
pub(crate) struct RowDamage {
    pub(crate) table: &'static str,
    /// Its key, as far as it can be read: the damage may be in it.
    pub(crate) row: String,
}

impl From<RowDamage> for rusqlite::Error {
    fn from(damage: RowDamage) -> rusqlite::Error {
        rusqlite::Error::FromSqlConversionFailure(0, Type::Integer, Box::new(damage))
    }
}

/// Compares the sum in column `first` with the columns of `table` after it, which are all there in their order.
pub(crate) fn check(row: &Row<'_>, table: Table, first: usize) -> rusqlite::Result<()> {
    const COLUMNS_MAX: usize = 8;
    let columns = table.columns().len();
    let mut cells = [Cell::Null; COLUMNS_MAX];
    for (index, cell) in cells.iter_mut().enumerate().take(columns) {
        *cell = row.get_ref(first + 1 + index)?.into();
    }
    let kept = row.get_ref(first)?;
    if kept == ValueRef::Integer(sum(table, &cells[..columns])) {
        return Ok(());
    }
    Err(RowDamage { table: table.name(), row: describe(table, &cells[..columns]) }.into())
}

/// A row by its key, for people.
pub(crate) fn describe(table: Table, cells: &[Cell<'_>]) -> String {
    let mut text = String::new();
    for (column, cell) in table.columns().iter().zip(cells).take(table.key_columns()) {
        let separator = if text.is_empty() { "" } else { ", " };
        let value = match cell {
            Cell::Null => "NULL".to_owned(),
            Cell::Number(number) => number.cast_signed().to_string(),
            Cell::Text(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                format!("{:?}", text.chars().take(KEY_CHARS_MAX).collect::<String>())
            }
            Cell::Bytes(bytes) => bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")),
        };
        write!(text, "{separator}{column} {value}").expect("a string takes any text");
    }
    text
}

/// All rows of all tables whose sum is not theirs, in the order of the tables.
pub(crate) fn damaged_rows(connection: &Connection) -> std::result::Result<Vec<RowDamage>, Fault> {
    let mut found = Vec::new();
    for table in Table::ALL {
        // Without an index: it is the rows themselves that are to be read.
        let mut statement = connection.prepare(&table.select("NOT INDEXED"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let Err(error) = check(row, table, 0) else { continue };
            match RowDamage::of(error) {
                Ok(damage) => found.push(damage),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(found)
}

impl RowDamage {
    /// The damage that an error tells of, or the error if it is another one.
    pub(crate) fn of(error: rusqlite::Error) -> Result<RowDamage, rusqlite::Error> {
        match error {
            rusqlite::Error::FromSqlConversionFailure(column, kind, source) => match source.downcast() {
                Ok(damage) => Ok(*damage),
                Err(source) => Err(rusqlite::Error::FromSqlConversionFailure(column, kind, source)),
            },
            other => Err(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_one_byte_changes_the_sum() {
        let text = "a value of some length, longer than a few words";
        let whole = sum(Table::Vatstore, &[3u64.into(), "key".into(), text.into()]);
        for at in 0..text.len() {
            for change in 1..=255u8 {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] ^= change;
                assert_ne!(sum(Table::Vatstore, &[3u64.into(), "key".into(), Cell::Text(&bytes)]), whole);
            }
        }
    }

    #[test]
    fn a_step_can_be_undone() {
        for (state, word) in [(0, 0), (1, u64::MAX), (u64::MAX, 7), (ODD, 1 << 63), (12_345, 67_890)] {
            let after = fold(state, word);
            assert_eq!((unfold(after, word), word_between(state, after)), (state, word));
        }
    }

    #[test]
    fn rows_that_look_alike_have_different_sums() {
        let rows: [&[Cell<'_>]; 9] = [
            &[],
            &[Cell::Null],
            &[Cell::Number(0)],
            &[Cell::Text(b"")],
            &[Cell::Bytes(b"")],
            &[Cell::Text(b"\0")],
            &[Cell::Text(b"\0\0")],
            &[Cell::Text(b"a"), Cell::Text(b"b")],
            &[Cell::Text(b"ab"), Cell::Text(b"")],
        ];
        let sums: Vec<i64> = rows.iter().map(|row| sum(Table::Host, row)).collect();
        for (at, sum) in sums.iter().enumerate() {
            assert!(!sums[at + 1..].contains(sum), "{:?}", rows[at]);
        }
        assert_ne!(sum(Table::Host, rows[7]), sum(Table::Vatstore, rows[7]));
    }
}
