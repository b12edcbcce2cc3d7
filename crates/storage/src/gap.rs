//! Rows that are not found: whether that is so because their key changed on disk.
//!
//! ```text
//!   asked for "m":     … "d"   "k"   │   "q"   "x" …        nothing is between "k" and "q"; both rows are read, and whole
//!   asked for "m":     … "d"   "k"  "M"  "q"   "x" …        a search ends beside the row that should be it, whose sum tells
//! ```
//!
//! A row whose key changed stays in its place in the tree. A search for the old key takes the right way up to that row, so that it
//! is one of the two neighbours of the place where the search ends. Both are read, which compares their sums. This way an absent key
//! is as certain as a present one, at the price of two more searches.

use rusqlite::{Connection, Params, Row};

use crate::row_sum::{Table, check};

/// A neighbour of a place in a table or an index: one row at most, with its sum before all its columns.
pub(crate) fn check_neighbour(
    connection: &Connection,
    table: Table,
    select: &str,
    parameters: impl Params,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(select)?;
    let mut rows = statement.query(parameters)?;
    rows.next()?.map_or(Ok(()), |row: &Row<'_>| check(row, table, 0))
}

/// The two neighbours of the place of a text that `table` does not have in its key `column`.
macro_rules! neighbours {
    ($table:literal, $columns:literal, $column:literal, $and:literal) => {
        [
            concat!(
                "SELECT sum, ",
                $columns,
                " FROM ",
                $table,
                " WHERE ",
                $column,
                " <= ?",
                $and,
                " ORDER BY ",
                $column,
                " DESC LIMIT 1"
            ),
            concat!(
                "SELECT sum, ",
                $columns,
                " FROM ",
                $table,
                " WHERE ",
                $column,
                " >= ?",
                $and,
                " ORDER BY ",
                $column,
                " LIMIT 1"
            ),
        ]
    };
}

/// Fails if a name of a vat is absent only because of damage.
pub(crate) fn check_vat_name(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    let columns = neighbours!(
        "vats",
        "id, name, module, status, reason, options, incarnation",
        "name",
        " AND status <> 1"
    );
    columns.iter().try_for_each(|select| check_neighbour(connection, Table::Vats, select, [name]))
}

/// Fails if a name of a module is absent only because of damage.
pub(crate) fn check_module_name(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    let both = neighbours!("module_names", "name, hash", "name", "");
    both.iter().try_for_each(|select| check_neighbour(connection, Table::ModuleNames, select, [name]))
}

/// Fails if a key of the host is absent only because of damage.
pub(crate) fn check_host_key(connection: &Connection, key: &str) -> rusqlite::Result<()> {
    let both = neighbours!("host", "key, value", "key", "");
    both.iter().try_for_each(|select| check_neighbour(connection, Table::Host, select, [key]))
}

/// Fails if the row before the place of a key in vat storage, or at it, is damaged.
pub(crate) fn check_key_before(connection: &Connection, vat: u64, key: &str) -> rusqlite::Result<()> {
    const SELECT: &str = "SELECT sum, vat, key, value FROM vatstore WHERE (vat, key) <= (?, ?) \
        ORDER BY vat DESC, key DESC LIMIT 1";
    check_neighbour(connection, Table::Vatstore, SELECT, (vat, key))
}

/// Fails if the row after the place of a key in vat storage is damaged, whichever vat's it is.
pub(crate) fn check_key_after(connection: &Connection, vat: u64, key: &str) -> rusqlite::Result<()> {
    const SELECT: &str = "SELECT sum, vat, key, value FROM vatstore WHERE (vat, key) > (?, ?) \
        ORDER BY vat, key LIMIT 1";
    check_neighbour(connection, Table::Vatstore, SELECT, (vat, key))
}
