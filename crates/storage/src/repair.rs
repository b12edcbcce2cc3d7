//! Mending rows of a store at rest from their own sums.
//!
//! ```text
//!   words   w0   w1   w2   w3           states from the front   h0 ─w0→ h1 ─w1→ h2 …
//!   sum     ────────────────────┘       states from the back    … g3 ←w2─ g4 ←w3─ sum
//!   for each word: the one value that leads from h to g; if it differs from the word in a single byte, that byte is the damage
//! ```
//!
//! Each step of a [row sum](crate::row_sum) can be undone, so the sum says of each word what it would have to be were all the others
//! right. A word that is a byte away from that was the one: by chance it would be so once in 2⁵³. That mends any damage within
//! one byte of a row, in its key too, in time proportional to the row.
//!
//! Works on a store that nobody has open, in one transaction, without foreign keys: a row under a wrong key is moved, and nothing
//! that refers to it must go meanwhile. What cannot be mended stays as it is and is reported; deleting is not done here.

use std::path::Path;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql, params_from_iter};

use crate::Result;
use crate::error::Fault;
use crate::lock::Lock;
use crate::row_sum::{self, Cell, RowDamage, Step, Table, describe, steps, sum};
use crate::schema;
use crate::storage::{Storage, require_file};

const REPAIR: &str = "repair the store";

/// A row that is not what was written, or was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRow {
    /// Its table.
    pub table: &'static str,
    /// Its key, as it was found: the damage may be in it.
    pub row: String,
}

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Rows that are what was written, again.
    pub mended: Vec<DamagedRow>,
    /// Rows whose damage is more than one byte. They are as they were.
    pub left: Vec<DamagedRow>,
}

/// A value that may be text no longer, though its column says so.
#[derive(Debug, Clone)]
enum Kept {
    Null,
    Number(u64),
    Text(Vec<u8>),
    Bytes(Vec<u8>),
}

/// A damaged row with all its columns and its sum as they are in the file.
struct Damaged {
    columns: Vec<Kept>,
    sum: i64,
}

impl Storage {
    /// Mends the rows of the store in `dir`, which nobody has open, and makes its indexes anew. Durable when it returns.
    ///
    /// # Errors
    ///
    /// As [`open_existing`](Storage::open_existing); [`Error::OlderVersion`](crate::Error::OlderVersion) for a store whose rows have no sums yet.
    pub fn repair(dir: &Path) -> Result<Repaired> {
        let _lock = Lock::take(dir)?;
        let path = require_file(dir)?;
        let repair = || -> std::result::Result<Repaired, Fault> {
            let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            schema::require_current(schema::inspect(&connection, &path)?, &path)?;
            connection
                .execute_batch("PRAGMA foreign_keys = OFF; PRAGMA synchronous = FULL; BEGIN IMMEDIATE;")?;
            // An index that disagrees with its table would hide rows, or refuse them.
            let indexes = drop_indexes(&connection)?;
            let mut repaired = Repaired::default();
            for table in Table::ALL {
                repair_table(&connection, table, &mut repaired)?;
            }
            connection.execute_batch(&indexes)?;
            connection.execute_batch("REINDEX; COMMIT")?;
            Ok(repaired)
        };
        repair().map_err(|fault| fault.into_error(REPAIR, &path))
    }

    /// Compares all rows of all tables with their sums. Takes time in proportion to the store.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`](crate::Error::Damaged) if a table cannot be read at all; [`Error::Io`](crate::Error::Io),
    /// [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn damaged_rows(&self) -> Result<Vec<DamagedRow>> {
        let found = self.read("check the rows", |session| row_sum::damaged_rows(&session.connection))?;
        Ok(found.into_iter().map(DamagedRow::from).collect())
    }
}

impl From<RowDamage> for DamagedRow {
    fn from(RowDamage { table, row }: RowDamage) -> DamagedRow {
        DamagedRow { table, row }
    }
}

/// Drops the indexes that have names; the statements that make them again.
fn drop_indexes(connection: &Connection) -> std::result::Result<String, Fault> {
    let mut select = connection.prepare(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name",
    )?;
    let indexes = select
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for (name, _) in &indexes {
        connection.execute_batch(&format!("DROP INDEX \"{name}\""))?;
    }
    Ok(indexes.into_iter().map(|(_, sql)| sql + ";\n").collect())
}

fn repair_table(
    connection: &Connection,
    table: Table,
    repaired: &mut Repaired,
) -> std::result::Result<(), Fault> {
    for damaged in damaged(connection, table)? {
        let row = DamagedRow { table: table.name(), row: describe(table, &damaged.cells()) };
        let mended = match damaged.mended(table) {
            Some(mended) => put(connection, table, &damaged, &mended)?,
            None => false,
        };
        if mended { repaired.mended.push(row) } else { repaired.left.push(row) }
    }
    Ok(())
}

/// The rows of a table whose sum is not theirs.
fn damaged(connection: &Connection, table: Table) -> std::result::Result<Vec<Damaged>, Fault> {
    let mut statement = connection.prepare(&table.select("NOT INDEXED"))?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Vec::new();
        for index in 1..=table.columns().len() {
            columns.push(Kept::of(row.get_ref(index)?));
        }
        let damaged = Damaged { columns, sum: row.get(0)? };
        if damaged.sum != sum(table, &damaged.cells()) {
            found.push(damaged);
        }
    }
    Ok(found)
}

/// Puts the mended row in the place of the damaged one; `false` if a rule of the tables is against it.
fn put(
    connection: &Connection,
    table: Table,
    damaged: &Damaged,
    mended: &Damaged,
) -> std::result::Result<bool, Fault> {
    if update(connection, table, table.name(), damaged, mended).is_ok_and(|found| found == 1) {
        return Ok(true);
    }
    // A key that changed in its place is out of order, so that nothing finds it: put all rows in order.
    const ASIDE: &str = "temp.aside";
    let name = table.name();
    connection.execute_batch(&format!("CREATE TABLE {ASIDE} AS SELECT * FROM main.{name} NOT INDEXED"))?;
    let is_found = update(connection, table, ASIDE, damaged, mended)? == 1;
    if is_found {
        connection.execute_batch(&format!(
            "DELETE FROM main.{name}; INSERT INTO main.{name} SELECT * FROM {ASIDE}"
        ))?;
    }
    connection.execute_batch(&format!("DROP TABLE {ASIDE}"))?;
    Ok(is_found)
}

fn update(
    connection: &Connection,
    table: Table,
    name: &str,
    damaged: &Damaged,
    mended: &Damaged,
) -> rusqlite::Result<usize> {
    let is_written = |column: &&&str| **column != row_sum::MEASURED_COLUMN;
    let columns: Vec<&&str> = table.columns().iter().filter(is_written).collect();
    let set: Vec<String> = columns.iter().map(|column| format!("{column} = ?")).collect();
    let keys = &table.columns()[..table.key_columns()];
    let key: Vec<String> = keys.iter().map(|column| format!("{column} IS ?")).collect();
    let sql =
        format!("UPDATE {name} SET {}, sum = ? WHERE {} AND sum = ?", set.join(", "), key.join(" AND "));
    let parameters = mended.columns[..columns.len()]
        .iter()
        .cloned()
        .chain([Kept::Number(mended.sum.cast_unsigned())])
        .chain(damaged.columns[..keys.len()].iter().cloned())
        .chain([Kept::Number(damaged.sum.cast_unsigned())]);
    connection.execute(&sql, params_from_iter(parameters))
}

impl Damaged {
    fn cells(&self) -> Vec<Cell<'_>> {
        self.columns.iter().map(Kept::cell).collect()
    }

    /// The row that was written, if one byte of this one, or of its sum, is all that is wrong.
    fn mended(&self, table: Table) -> Option<Damaged> {
        let cells = self.cells();
        let computed = sum(table, &cells);
        if differ_in_one_byte(self.sum.cast_unsigned(), computed.cast_unsigned()) {
            return Some(Damaged { columns: self.columns.clone(), sum: computed });
        }
        let steps = steps(table, &cells);
        let front = steps.iter().scan(row_sum::begin(table), |state, step| {
            let before = *state;
            *state = row_sum::fold(before, step.word);
            Some(before)
        });
        let front: Vec<u64> = front.collect();
        let mut back = self.sum.cast_unsigned();
        for (step, before) in steps.iter().zip(front).rev() {
            let fitting = row_sum::word_between(before, back);
            if let Step { word, value: Some((column, at)) } = *step
                && differ_in_one_byte(word, fitting)
                && let Some(columns) = self.with_word(table, column, at, fitting)
            {
                return Some(Damaged { columns, sum: self.sum });
            }
            back = row_sum::unfold(back, step.word);
        }
        None
    }

    /// The columns with another word in one of them; `None` if it does not fit there.
    fn with_word(&self, table: Table, column: usize, at: usize, word: u64) -> Option<Vec<Kept>> {
        if table.columns()[column] == row_sum::MEASURED_COLUMN {
            return None;
        }
        let mut columns = self.columns.clone();
        match columns.get_mut(column)? {
            Kept::Null => return None,
            Kept::Number(number) => *number = word,
            Kept::Text(bytes) | Kept::Bytes(bytes) => {
                let word = word.to_le_bytes();
                let place = bytes.get_mut(at..)?;
                let length = place.len().min(word.len());
                place[..length].copy_from_slice(&word[..length]);
                if word[length..].iter().any(|byte| *byte != 0) {
                    return None;
                }
            }
        }
        Some(columns)
    }
}

fn differ_in_one_byte(a: u64, b: u64) -> bool {
    a.to_le_bytes().iter().zip(b.to_le_bytes()).filter(|(a, b)| **a != *b).count() == 1
}

impl Kept {
    fn of(value: ValueRef<'_>) -> Kept {
        match Cell::from(value) {
            Cell::Null => Kept::Null,
            Cell::Number(number) => Kept::Number(number),
            Cell::Text(bytes) => Kept::Text(bytes.to_vec()),
            Cell::Bytes(bytes) => Kept::Bytes(bytes.to_vec()),
        }
    }

    fn cell(&self) -> Cell<'_> {
        match self {
            Kept::Null => Cell::Null,
            Kept::Number(number) => Cell::Number(*number),
            Kept::Text(bytes) => Cell::Text(bytes),
            Kept::Bytes(bytes) => Cell::Bytes(bytes),
        }
    }
}

impl ToSql for Kept {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Kept::Null => ValueRef::Null,
            Kept::Number(number) => ValueRef::Integer(number.cast_signed()),
            Kept::Text(bytes) => ValueRef::Text(bytes),
            Kept::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_fits_only_if_its_value_has_room_for_it() {
        let texts = ["key", "nine byte", ""].map(|text| Kept::Text(text.as_bytes().to_vec()));
        let row = Damaged { columns: texts.to_vec(), sum: 0 };
        let fits = |column, at, word: &[u8; 8]| {
            let columns = row.with_word(Table::Vatstore, column, at, u64::from_le_bytes(*word))?;
            match columns.into_iter().nth(column)? {
                Kept::Text(bytes) => Some(bytes),
                _ => None,
            }
        };
        assert_eq!(fits(0, 0, b"kex\0\0\0\0\0").as_deref(), Some(b"kex".as_slice()));
        assert_eq!(fits(0, 0, b"keys\0\0\0\0"), None, "four bytes in the place of three");
        assert_eq!(fits(1, 8, b"x\0\0\0\0\0\0\0").as_deref(), Some(b"nine bytx".as_slice()));
        assert_eq!(fits(1, 8, b"\0x\0\0\0\0\0\0"), None, "beyond the last byte");
    }
}
