//! Layers: where the immutable extents of the page store lie, and which of them anything still needs.
//!
//! A layer is *live* while a snapshot or a birth image refers to it. The calls that drop a reference also forget the layers
//! that lost their last one, and return them, so that the page store can use their bytes again: after the commit, not
//! before, since until then a crash brings the reference back.
//!
//! A layer that was added and never referred to is not live. It can only be left over if a commit came between the two
//! calls; [`Storage::delete_unused_layers`] at open clears it.

use rusqlite::{Connection, Row, params};

use crate::Result;
use crate::error::{Error, Fault, Kind};
use crate::id::{LayerId, VatId};
use crate::row_sum::{Table, check, sum};
use crate::storage::Storage;

/// Where a layer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayerRow {
    /// Its name, which compaction does not change.
    pub id: LayerId,
    /// Number of the segment file.
    pub segment: u32,
    /// First byte in that file.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

impl Storage {
    /// Notes where a layer lies, and names it; a layer that is known keeps its name. Refer to it before the next commit.
    ///
    /// # Errors
    ///
    /// [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn add_layer(&self, segment: u32, offset: u64, bytes: u64) -> Result<LayerId> {
        self.write_checked("add a layer", |session| {
            let connection = &session.connection;
            let mut statement = connection.prepare_cached(
                "INSERT INTO layers (segment, offset, bytes, sum) VALUES (?, ?, ?, 0) \
                 ON CONFLICT (segment, offset) DO UPDATE SET bytes = excluded.bytes RETURNING id",
            )?;
            let id = statement.query_row(params![segment, offset, bytes], |row| row.get(0).map(LayerId))?;
            connection
                .prepare_cached("UPDATE layers SET sum = ? WHERE id = ?")?
                .execute(params![row_sum(id, segment, offset, bytes), id.0])?;
            Ok(id)
        })
    }

    /// Notes that compaction moved a layer.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`]; [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn move_layer(&self, id: LayerId, segment: u32, offset: u64, bytes: u64) -> Result<()> {
        self.write_checked("move a layer", |session| {
            let found = session
                .connection
                .prepare_cached("UPDATE layers SET segment = ?, offset = ?, bytes = ?, sum = ? WHERE id = ?")?
                .execute(params![segment, offset, bytes, row_sum(id, segment, offset, bytes), id.0])?;
            if found == 0 { Err(Error::unknown(Kind::Layer, id).into()) } else { Ok(()) }
        })
    }

    /// Where a layer lies.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`]; [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn layer(&self, id: LayerId) -> Result<LayerRow> {
        self.read_beside("look up a layer", |session| {
            let mut statement = session
                .connection
                .prepare_cached("SELECT sum, id, segment, offset, bytes FROM layers WHERE id = ?")?;
            let mut rows = statement.query_map([id.0], layer_row)?;
            Ok(rows.next().ok_or_else(|| Error::unknown(Kind::Layer, id))??)
        })
    }

    /// All layers that a snapshot or a birth image needs, ordered by where they lie.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn live_layers(&self) -> Result<Vec<LayerRow>> {
        self.read_beside("list live layers", |session| {
            check_references(&session.connection)?;
            let mut statement = session.connection.prepare_cached(
                "SELECT sum, id, segment, offset, bytes FROM layers \
                 WHERE id IN (SELECT layer FROM snapshot_layers UNION SELECT layer FROM module_layers) \
                 ORDER BY segment, offset, id",
            )?;
            Ok(statement.query_map([], layer_row)?.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Those of the [live layers](Storage::live_layers) that lie in a segment, ordered by where.
    ///
    /// # Errors
    ///
    /// As [`live_layers`](Storage::live_layers).
    pub fn live_layers_in(&self, segment: u32) -> Result<Vec<LayerRow>> {
        self.read_beside("list the live layers of a segment", |session| {
            let mut statement = session.connection.prepare_cached(
                "SELECT sum, id, segment, offset, bytes FROM layers WHERE segment = ? \
                 AND (EXISTS (SELECT 1 FROM snapshot_layers WHERE layer = id) \
                 OR EXISTS (SELECT 1 FROM module_layers WHERE layer = id)) ORDER BY offset",
            )?;
            Ok(statement.query_map([segment], layer_row)?.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The vats whose snapshots need a layer, in the order of their ids. None if only birth images do.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn vats_of_layer(&self, id: LayerId) -> Result<Vec<VatId>> {
        self.read_beside("list the vats of a layer", |session| {
            let mut statement = session
                .connection
                .prepare_cached("SELECT DISTINCT vat FROM snapshot_layers WHERE layer = ? ORDER BY vat")?;
            Ok(statement.query_map([id.0], |row| row.get(0).map(VatId))?.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Forgets the layers that nothing refers to, and returns them. For use at open, before any layer is added.
    ///
    /// # Errors
    ///
    /// [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn delete_unused_layers(&self) -> Result<Vec<LayerRow>> {
        self.write("delete unused layers", |session| {
            check_references(&session.connection)?;
            let mut statement = session.connection.prepare_cached(
                "DELETE FROM layers \
                 WHERE id NOT IN (SELECT layer FROM snapshot_layers UNION SELECT layer FROM module_layers) \
                 RETURNING sum, id, segment, offset, bytes",
            )?;
            Ok(statement.query_map([], layer_row)?.collect::<rusqlite::Result<_>>()?)
        })
    }
}

/// Fails unless the layer exists.
pub(crate) fn require(connection: &Connection, layer: LayerId) -> std::result::Result<(), Fault> {
    let exists = connection.prepare_cached("SELECT 1 FROM layers WHERE id = ?")?.exists([layer.0])?;
    if exists { Ok(()) } else { Err(Error::unknown(Kind::Layer, layer).into()) }
}

/// Forgets those of `candidates` that nothing refers to any longer, and returns them.
pub(crate) fn release(
    connection: &Connection,
    candidates: impl IntoIterator<Item = LayerId>,
) -> rusqlite::Result<Vec<LayerRow>> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM layers WHERE id = ?1 \
         AND NOT EXISTS (SELECT 1 FROM snapshot_layers WHERE layer = ?1) \
         AND NOT EXISTS (SELECT 1 FROM module_layers WHERE layer = ?1) \
         RETURNING sum, id, segment, offset, bytes",
    )?;
    let mut released = Vec::new();
    for candidate in candidates {
        let rows = statement.query_map([candidate.0], layer_row)?;
        released.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    Ok(released)
}

fn layer_row(row: &Row<'_>) -> rusqlite::Result<LayerRow> {
    check(row, Table::Layers, 0)?;
    Ok(LayerRow { id: LayerId(row.get(1)?), segment: row.get(2)?, offset: row.get(3)?, bytes: row.get(4)? })
}

fn row_sum(id: LayerId, segment: u32, offset: u64, bytes: u64) -> i64 {
    sum(Table::Layers, &[id.0.into(), segment.into(), offset.into(), bytes.into()])
}

/// Fails if a reference to a layer is damaged, so that the layer seems not to be needed. Only asked when one seems so, which at rest
/// none does: references go together with their layers.
fn check_references(connection: &Connection) -> rusqlite::Result<()> {
    let unused: bool = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM layers \
             WHERE id NOT IN (SELECT layer FROM snapshot_layers UNION SELECT layer FROM module_layers))",
        )?
        .query_row([], |row| row.get(0))?;
    if !unused {
        return Ok(());
    }
    for table in [Table::SnapshotLayers, Table::ModuleLayers] {
        let mut statement = connection.prepare(&table.select("NOT INDEXED"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            check(row, table, 0)?;
        }
    }
    Ok(())
}
