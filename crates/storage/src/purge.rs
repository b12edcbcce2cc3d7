//! Deleting what a terminated vat had: all at once, or in bounded steps so that others are served in between.
//!
//! Newest entries first: what is left of a transcript then still begins at 0. The spans go last, so that an interrupted
//! purge finds what remains.

use rusqlite::Connection;

use crate::Result;
use crate::error::{Error, Fault};
use crate::id::{Position, VatId};
use crate::layer::LayerRow;
use crate::storage::Storage;
use crate::vat::{VatStatus, set_status};
use crate::{fork, snapshot};

/// What one step of a purge did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// Rows that were deleted.
    pub rows: usize,
    /// Layers that nothing needs any longer; their bytes may be reused after the next commit.
    pub layers: Vec<LayerRow>,
    /// Whether rows may be left.
    pub done: bool,
}

impl Storage {
    /// Terminates a vat and deletes its transcript, spans, snapshots and vat storage. Its id is not used again, its name is
    /// free. Returns the layers that nothing needs any longer; their bytes may be reused after the next commit.
    ///
    /// A vat with a very long transcript is better terminated by [`set_status`](Storage::set_status) and
    /// [`purge`](Storage::purge) in steps.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for a vat that is unknown or terminated; [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn terminate(&self, vat: VatId, reason: &str) -> Result<Vec<LayerRow>> {
        self.write("terminate a vat", |session| {
            set_status(session, vat, &VatStatus::Terminated { reason: reason.to_owned() })?;
            Ok(purge(&session.connection, vat, usize::MAX)?.layers)
        })
    }

    /// Deletes at most `rows_max` rows of a terminated vat.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for a vat that is not terminated; [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn purge(&self, vat: VatId, rows_max: usize) -> Result<Purged> {
        self.write("purge a vat", |session| {
            let mut statement =
                session.connection.prepare_cached("SELECT 1 FROM vats WHERE id = ? AND status = 1")?;
            if !statement.exists([vat.0])? {
                let reason = format!("vat {vat} is not terminated");
                return Err(Error::Refused { attempt: "purge a vat", reason }.into());
            }
            purge(&session.connection, vat, rows_max)
        })
    }
}

const DELETE_VATSTORE: &str = "DELETE FROM vatstore WHERE vat = ?1 \
    AND key IN (SELECT key FROM vatstore WHERE vat = ?1 ORDER BY key DESC LIMIT ?2)";
const DELETE_TRANSCRIPT: &str = "DELETE FROM transcript WHERE vat = ?1 AND position >= ?3 \
    AND position IN (SELECT position FROM transcript WHERE vat = ?1 ORDER BY position DESC LIMIT ?2)";
const DELETE_PACKS: &str = "DELETE FROM packs WHERE vat = ?1 AND start_position >= ?3 \
    AND start_position IN (SELECT start_position FROM packs WHERE vat = ?1 ORDER BY start_position DESC LIMIT ?2)";
const DELETE_SPANS: &str = "DELETE FROM spans WHERE vat = ?1 AND (open = 1 OR end_position > ?3 OR end_position = start_position) \
    AND start_position IN (SELECT start_position FROM spans WHERE vat = ?1 ORDER BY start_position DESC LIMIT ?2)";

fn purge(connection: &Connection, vat: VatId, rows_max: usize) -> std::result::Result<Purged, Fault> {
    let mut left = rows_max;
    let mut layers = purge_snapshots(connection, vat, &mut left)?;
    let limit = |left: usize| i64::try_from(left).unwrap_or(i64::MAX);
    left -= connection.prepare_cached(DELETE_VATSTORE)?.execute((vat.0, limit(left)))?;
    // What forks still need stays; the last of them takes it along. Of spans these are the closed ones that are all theirs: they have the
    // hashes of a fork's past, and say what of it was pruned.
    let kept = fork::needed_before(connection, vat)?;
    left -= connection.prepare_cached(DELETE_TRANSCRIPT)?.execute((vat.0, limit(left), kept.0))?;
    left -= connection.prepare_cached(DELETE_PACKS)?.execute((vat.0, limit(left), kept.0))?;
    left -= connection.prepare_cached(DELETE_SPANS)?.execute((vat.0, limit(left), kept.0))?;
    // A vat with forks stays a link between them and its own parent; it is purged again with the last of them.
    if left > 0
        && !fork::has_forks(connection, vat)?
        && let Some(parent) = fork::forget(connection, vat)?
    {
        let purged = purge(connection, parent, left)?;
        left -= purged.rows;
        layers.extend(purged.layers);
    }
    Ok(Purged { rows: rows_max - left, layers, done: left > 0 })
}

fn purge_snapshots(
    connection: &Connection,
    vat: VatId,
    left: &mut usize,
) -> std::result::Result<Vec<LayerRow>, Fault> {
    let limit = i64::try_from(*left).unwrap_or(i64::MAX);
    let positions = connection
        .prepare_cached("SELECT position FROM snapshots WHERE vat = ? ORDER BY position DESC LIMIT ?")?
        .query_map((vat.0, limit), |row| row.get(0).map(Position))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    *left -= positions.len();
    let mut layers = Vec::new();
    for position in positions {
        layers.extend(snapshot::delete(connection, vat, position)?);
    }
    Ok(layers)
}
