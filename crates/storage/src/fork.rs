//! Forks: vats that began as another vat was at some position.
//!
//! ```text
//!   parent  0 ─ 1 ─ 2 ─ 3 ─ 4 ─ 5 …
//!                       └ fork at 3:  3' ─ 4' …      entries 0..3 are the parent's
//! ```
//!
//! A fork's transcript is its parent's up to the fork and its own from there on; positions go on. No entry is copied. Invariant:
//! entries that a fork needs are kept when the parent is terminated, and go when the last such fork is purged. Vat storage
//! is copied, since both go on writing to it.

use rusqlite::{Connection, OptionalExtension, params};

use crate::Result;
use crate::error::{Error, Fault, Kind};
use crate::id::{Position, VatId};
use crate::row_sum::{Table, check, sum};
use crate::storage::Storage;
use crate::vat::{self, alive, by_name};
use crate::vatstore;

/// Where a fork's transcript comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The vat it was forked from.
    pub parent: VatId,
    /// Position of the fork's first own delivery.
    pub position: Position,
}

impl Storage {
    /// Makes a vat that goes on from where `parent` is now, with its code, incarnation and vat storage.
    ///
    /// # Errors
    ///
    /// [`Error::Duplicate`] if a vat that is not terminated has the name; [`Error::Unknown`] for a parent that is unknown or
    /// terminated; [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn fork_vat(&self, parent: VatId, name: &str, options: &str) -> Result<VatId> {
        self.write("fork a vat", |session| {
            let row = alive(&session.connection, parent)?;
            if by_name(&session.connection, name)?.is_some() {
                return Err(Error::duplicate(Kind::Vat, name).into());
            }
            let connection = &session.connection;
            let vat = vat::insert(connection, name, row.module, options, row.incarnation)?;
            let position = row.next_position;
            connection
                .prepare_cached("INSERT INTO forks (vat, parent, position, sum) VALUES (?, ?, ?, ?)")?
                .execute(params![
                    vat.0,
                    parent.0,
                    position.0,
                    sum(Table::Forks, &[vat.0.into(), parent.0.into(), position.0.into()])
                ])?;
            copy_vatstore(connection, parent, vat)?;
            session.insert_open_span(vat, row.next_position, row.incarnation)?;
            Ok(vat)
        })
    }

    /// Where a vat's transcript comes from, if it is a fork.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn origin(&self, vat: VatId) -> Result<Option<Origin>> {
        self.read_beside("look up a fork", |session| Ok(origin(&session.connection, vat)?))
    }
}

/// Copies the rows of one vat to another, whose sums are its own.
fn copy_vatstore(connection: &Connection, from: VatId, to: VatId) -> rusqlite::Result<()> {
    let mut select =
        connection.prepare_cached("SELECT sum, vat, key, value FROM vatstore WHERE vat = ? ORDER BY key")?;
    let pairs = select.query_map([from.0], |row| {
        check(row, Table::Vatstore, 0)?;
        Ok((row.get(2)?, row.get(3)?))
    })?;
    for pair in pairs {
        vatstore::insert(connection, to, [&pair?])?;
    }
    Ok(())
}

fn origin(connection: &Connection, vat: VatId) -> rusqlite::Result<Option<Origin>> {
    connection
        .prepare_cached("SELECT sum, vat, parent, position FROM forks WHERE vat = ?")?
        .query_row([vat.0], |row| {
            check(row, Table::Forks, 0)?;
            Ok(Origin { parent: VatId(row.get(2)?), position: Position(row.get(3)?) })
        })
        .optional()
}

/// Which vat's rows hold the entry of `vat` at `position`, and where these rows stop being its.
pub(crate) fn holder(
    connection: &Connection,
    vat: VatId,
    position: Position,
    to: Position,
) -> rusqlite::Result<(VatId, Position)> {
    let (mut holder, mut end) = (vat, to);
    while let Some(origin) = origin(connection, holder)?.filter(|origin| position < origin.position) {
        holder = origin.parent;
        end = end.min(origin.position);
    }
    Ok((holder, end))
}

/// Position before which entries of `vat` are some fork's, too.
pub(crate) fn needed_before(connection: &Connection, vat: VatId) -> rusqlite::Result<Position> {
    let mut forks =
        connection.prepare_cached("SELECT sum, vat, parent, position FROM forks WHERE parent = ?")?;
    let positions = forks.query_map([vat.0], |row| {
        check(row, Table::Forks, 0)?;
        row.get(3).map(Position)
    })?;
    positions.into_iter().try_fold(Position::START, |needed, position| Ok(needed.max(position?)))
}

/// Whether there are forks of `vat` that are not purged.
pub(crate) fn has_forks(connection: &Connection, vat: VatId) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM forks WHERE parent = ?")?.exists([vat.0])
}

/// Forgets that `vat` is a fork. Returns its parent, if that is terminated and only waited for its forks.
pub(crate) fn forget(connection: &Connection, vat: VatId) -> std::result::Result<Option<VatId>, Fault> {
    let Some(origin) = origin(connection, vat)? else { return Ok(None) };
    connection.prepare_cached("DELETE FROM forks WHERE vat = ?")?.execute([vat.0])?;
    let is_waiting = connection
        .prepare_cached("SELECT 1 FROM vats WHERE id = ? AND status = 1")?
        .exists([origin.parent.0])?;
    Ok(is_waiting.then_some(origin.parent))
}
