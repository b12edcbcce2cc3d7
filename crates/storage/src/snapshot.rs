//! Snapshots: descriptors of heaps at rest, by vat and position, and the layers that each of them needs.
//!
//! A snapshot is a cache: the transcript gives the same heap, later. Several are kept per vat, so that an unreadable one has
//! an older one behind it; which to delete is the caller's policy.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::Result;
use crate::error::{Error, Fault, Kind};
use crate::id::{Incarnation, LayerId, Position, VatId};
use crate::layer::{self, LayerRow, release};
use crate::row_sum::{RowDamage, Table, check, sum};
use crate::session::Session;
use crate::storage::Storage;
use crate::transcript::VALUE_BYTES_MAX;

const KEEP: &str = "keep a snapshot";

/// All columns of snapshots, in the order of [`snapshot_row`].
macro_rules! select_snapshots {
    () => {
        "SELECT sum, vat, position, incarnation, root, image FROM snapshots"
    };
}

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
            check_new(session, snapshot)?;
            let connection = &session.connection;
            let NewSnapshot { vat, position, incarnation, image, root, layers } = *snapshot;
            let before = forget_layers(connection, vat, position)?;
            connection
                .prepare_cached(
                    "INSERT INTO snapshots (vat, position, incarnation, root, image, sum) VALUES (?, ?, ?, ?, ?, ?) \
                     ON CONFLICT DO UPDATE SET incarnation = excluded.incarnation, root = excluded.root, \
                     image = excluded.image, sum = excluded.sum",
                )?
                .execute(params![
                    vat.0,
                    position.0,
                    incarnation.0,
                    root,
                    image,
                    row_sum(vat, position, incarnation, root.as_ref(), image)
                ])?;
            for layer in layers {
                connection
                    .prepare_cached(
                        "INSERT OR IGNORE INTO snapshot_layers (vat, position, layer, sum) VALUES (?, ?, ?, ?)",
                    )?
                    .execute(params![
                        vat.0,
                        position.0,
                        layer.0,
                        sum(Table::SnapshotLayers, &[vat.0.into(), position.0.into(), layer.0.into()])
                    ])?;
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
            let connection = &session.connection;
            let row = connection
                .prepare_cached(concat!(select_snapshots!(), " WHERE vat = ? AND position = ?"))?
                .query_row([vat.0, position.0], snapshot_row)
                .optional()?
                .ok_or_else(|| unknown(vat, position))?;
            let sum = row_sum(vat, position, row.incarnation, Some(&root), &row.image);
            connection
                .prepare_cached("UPDATE snapshots SET root = ?, sum = ? WHERE vat = ? AND position = ?")?
                .execute(params![root, sum, vat.0, position.0])?;
            Ok(())
        })
    }

    /// The snapshots of `vat`, newest first. One whose row is damaged is passed over, and logged: it is a cache.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn snapshots(&self, vat: VatId) -> Result<Vec<SnapshotRow>> {
        self.newest_snapshots(vat, usize::MAX)
    }

    /// The same, and how many were passed over.
    ///
    /// # Errors
    ///
    /// As [`snapshots`](Storage::snapshots).
    pub fn snapshots_and_damaged(&self, vat: VatId) -> Result<(Vec<SnapshotRow>, u64)> {
        let snapshots = self.snapshots(vat)?;
        let all: u64 = self.read_beside("count snapshots", |session| {
            let mut count =
                session.connection.prepare_cached("SELECT count(*) FROM snapshots WHERE vat = ?")?;
            Ok(count.query_row([vat.0], |row| row.get(0))?)
        })?;
        let damaged = all.saturating_sub(snapshots.len() as u64);
        Ok((snapshots, damaged))
    }

    /// At most `limit` snapshots of `vat`, newest first.
    ///
    /// # Errors
    ///
    /// As [`snapshots`](Storage::snapshots).
    pub fn newest_snapshots(&self, vat: VatId, limit: usize) -> Result<Vec<SnapshotRow>> {
        self.read_beside("list snapshots", |session| {
            let mut statement = session
                .connection
                .prepare_cached(concat!(select_snapshots!(), " WHERE vat = ? ORDER BY position DESC"))?;
            let rows = statement.query_map([vat.0], snapshot_row)?;
            Ok(rows.filter_map(readable).take(limit).collect::<rusqlite::Result<_>>()?)
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
fn check_new(session: &mut Session, snapshot: &NewSnapshot<'_>) -> std::result::Result<(), Fault> {
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
    check(row, Table::Snapshots, 0)?;
    Ok(SnapshotRow {
        position: Position(row.get(2)?),
        incarnation: Incarnation(row.get(3)?),
        root: row.get(4)?,
        image: row.get(5)?,
    })
}

/// Passes over a row that is damaged.
fn readable(row: rusqlite::Result<SnapshotRow>) -> Option<rusqlite::Result<SnapshotRow>> {
    match row.map_err(RowDamage::of) {
        Ok(row) => Some(Ok(row)),
        Err(Ok(damage)) => {
            tracing::warn!(%damage, "a snapshot cannot be used");
            None
        }
        Err(Err(error)) => Some(Err(error)),
    }
}

/// Positions of the oldest and the newest usable snapshot of an incarnation.
pub(crate) fn oldest_and_newest(
    connection: &Connection,
    vat: VatId,
    incarnation: Incarnation,
) -> rusqlite::Result<(Option<Position>, Option<Position>)> {
    let mut statement = connection.prepare_cached(concat!(
        select_snapshots!(),
        " WHERE vat = ? AND incarnation = ? ORDER BY position"
    ))?;
    let rows = statement.query_map(params![vat.0, incarnation.0], snapshot_row)?.filter_map(readable);
    let positions = rows.map(|row| row.map(|row| row.position)).collect::<rusqlite::Result<Vec<_>>>()?;
    Ok((positions.first().copied(), positions.last().copied()))
}

fn row_sum(
    vat: VatId,
    position: Position,
    incarnation: Incarnation,
    root: Option<&[u8; 32]>,
    image: &[u8],
) -> i64 {
    let cells = [vat.0.into(), position.0.into(), incarnation.0.into(), root.into(), image.into()];
    sum(Table::Snapshots, &cells)
}
