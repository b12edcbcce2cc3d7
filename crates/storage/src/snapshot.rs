//! Snapshots: descriptors of heaps at rest, by vat and position, and the layers that each of them needs.
//!
//! A snapshot is a cache: the transcript gives the same heap, later. Several are kept per vat, so that an unreadable one has
//! an older one behind it; which to delete is the caller's policy.

use rusqlite::{Connection, Row, params};

use crate::Result;
use crate::error::{Error, Fault, Kind};
use crate::id::{Incarnation, LayerId, Position, VatId};
use crate::layer::{self, LayerRow, release};
use crate::session::Session;
use crate::storage::Storage;
use crate::transcript::VALUE_BYTES_MAX;

const KEEP: &str = "keep a snapshot";

/// A snapshot to be kept.
#[derive(Clone, Copy, Debug)]
pub struct NewSnapshot<'a> {
    /// Whose heap it is.
    pub vat: VatId,
    /// The deliveries before this position are in it.
    pub position: Position,
    /// The incarnation whose code it belongs to.
    pub incarnation: Incarnation,
    /// Descriptor of the heap image, opaque.
    pub image: &'a [u8],
    /// Heap root, if it is known already.
    pub root: Option<[u8; 32]>,
    /// All layers that the image needs.
    pub layers: &'a [LayerId],
}

/// A snapshot that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRow {
    /// The deliveries before this position are in it.
    pub position: Position,
    /// The incarnation whose code it belongs to.
    pub incarnation: Incarnation,
    /// Descriptor of the heap image, opaque.
    pub image: Vec<u8>,
    /// Heap root, if it is known.
    pub root: Option<[u8; 32]>,
}

impl Storage {
    /// Keeps a snapshot, in place of one at the same position. Returns the layers that nothing needs any longer; their
    /// bytes may be reused after the next commit.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for a vat or layer; [`Error::Refused`] for a position that the vat has not reached;
    /// [`Error::TooLarge`]; [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn put_snapshot(&self, snapshot: &NewSnapshot<'_>) -> Result<Vec<LayerRow>> {
        self.write_checked(KEEP, |session| {
            check(session, snapshot)?;
            let connection = &session.connection;
            let NewSnapshot { vat, position, incarnation, image, root, layers } = *snapshot;
            let before = forget_layers(connection, vat, position)?;
            connection
                .prepare_cached(
                    "INSERT INTO snapshots (vat, position, incarnation, root, image) VALUES (?, ?, ?, ?, ?) \
                     ON CONFLICT DO UPDATE SET incarnation = excluded.incarnation, root = excluded.root, \
                     image = excluded.image",
                )?
                .execute(params![vat.0, position.0, incarnation.0, root, image])?;
            for layer in layers {
                connection
                    .prepare_cached(
                        "INSERT OR IGNORE INTO snapshot_layers (vat, position, layer) VALUES (?, ?, ?)",
                    )?
                    .execute([vat.0, position.0, layer.0])?;
            }
            Ok(release(connection, before)?)
        })
    }

    /// Sets the heap root of a snapshot, when it was computed later.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`]; [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn set_snapshot_root(&self, vat: VatId, position: Position, root: [u8; 32]) -> Result<()> {
        self.write_checked("set a heap root", |session| {
            let found = session
                .connection
                .prepare_cached("UPDATE snapshots SET root = ? WHERE vat = ? AND position = ?")?
                .execute(params![root, vat.0, position.0])?;
            if found == 0 { Err(unknown(vat, position)) } else { Ok(()) }
        })
    }

    /// The snapshots of `vat`, newest first.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn snapshots(&self, vat: VatId) -> Result<Vec<SnapshotRow>> {
        self.newest_snapshots(vat, usize::MAX)
    }

    /// At most `limit` snapshots of `vat`, newest first.
    ///
    /// # Errors
    ///
    /// As [`snapshots`](Storage::snapshots).
    pub fn newest_snapshots(&self, vat: VatId, limit: usize) -> Result<Vec<SnapshotRow>> {
        self.read_beside("list snapshots", |session| {
            let mut statement = session.connection.prepare_cached(
                "SELECT position, incarnation, image, root FROM snapshots WHERE vat = ? ORDER BY position DESC LIMIT ?",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            Ok(statement.query_map(params![vat.0, limit], snapshot_row)?.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Deletes a snapshot. Returns the layers that nothing needs any longer; their bytes may be reused after the next commit.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`]; [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn delete_snapshot(&self, vat: VatId, position: Position) -> Result<Vec<LayerRow>> {
        self.write_checked("delete a snapshot", |session| delete(&session.connection, vat, position))
    }
}

pub(crate) fn delete(
    connection: &Connection,
    vat: VatId,
    position: Position,
) -> std::result::Result<Vec<LayerRow>, Fault> {
    let mut exists = connection.prepare_cached("SELECT 1 FROM snapshots WHERE vat = ? AND position = ?")?;
    if !exists.exists([vat.0, position.0])? {
        return Err(unknown(vat, position));
    }
    let layers = forget_layers(connection, vat, position)?;
    connection
        .prepare_cached("DELETE FROM snapshots WHERE vat = ? AND position = ?")?
        .execute([vat.0, position.0])?;
    Ok(release(connection, layers)?)
}

/// Everything about a new snapshot that could be the caller's mistake.
fn check(session: &mut Session, snapshot: &NewSnapshot<'_>) -> std::result::Result<(), Fault> {
    let NewSnapshot { vat, position, image, layers, .. } = *snapshot;
    let next = session.next_position(vat)?;
    if position > next {
        let reason = format!("vat {vat} is at position {next}, the snapshot at {position}");
        return Err(Error::Refused { attempt: KEEP, reason }.into());
    }
    if image.len() > VALUE_BYTES_MAX {
        return Err(Error::TooLarge { attempt: KEEP }.into());
    }
    layers.iter().try_for_each(|id| layer::require(&session.connection, *id))
}

fn forget_layers(connection: &Connection, vat: VatId, position: Position) -> rusqlite::Result<Vec<LayerId>> {
    connection
        .prepare_cached("DELETE FROM snapshot_layers WHERE vat = ? AND position = ? RETURNING layer")?
        .query_map([vat.0, position.0], |row| row.get(0).map(LayerId))?
        .collect()
}

fn unknown(vat: VatId, position: Position) -> Fault {
    Error::unknown(Kind::Snapshot, format_args!("{vat}@{position}")).into()
}

fn snapshot_row(row: &Row<'_>) -> rusqlite::Result<SnapshotRow> {
    Ok(SnapshotRow {
        position: Position(row.get(0)?),
        incarnation: Incarnation(row.get(1)?),
        image: row.get(2)?,
        root: row.get(3)?,
    })
}
