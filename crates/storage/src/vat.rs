//! Vats: their names, code, options and standing.
//!
//! ```text
//!              create_vat                         terminate
//!   (no row) ─────────────▶ alive ──────────────────────────────▶ terminated: the row stays, for its id and reason;
//!                           │   ▲                    ▲             the name is free, everything else is deleted
//!                 quarantine│   │release             │
//!                           ▼   │                    │
//!                        quarantined ────────────────┘
//! ```

use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::Result;
use crate::error::{Error, Fault, Kind};
use crate::gap::check_vat_name;
use crate::id::{Incarnation, ModuleHash, Position, VatId};
use crate::module;
use crate::repair::DamagedRow;
use crate::row_sum::{RowDamage, Table, check, sum};
use crate::session::Session;
use crate::storage::Storage;

/// Whether a vat may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VatStatus {
    /// It may.
    Alive,
    /// It never will again.
    Terminated {
        /// Why.
        reason: String,
    },
    /// Not until someone has looked into it.
    Quarantined {
        /// Why.
        reason: String,
    },
}

/// A vat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VatRow {
    /// Its id.
    pub id: VatId,
    /// Its name; unique among the vats that are not terminated.
    pub name: String,
    /// Its code.
    pub module: ModuleHash,
    /// Whether it may run.
    pub status: VatStatus,
    /// Options of the layer above, opaque.
    pub options: String,
    /// How often its code was replaced.
    pub incarnation: Incarnation,
    /// Position of its next delivery; 0 once it is terminated.
    pub next_position: Position,
}

/// Everything of a [`VatRow`] but the condition; in the order of [`vat_row`].
macro_rules! select_vats {
    ($condition:literal) => {
        concat!(
            "SELECT vats.sum, id, name, module, status, reason, options, vats.incarnation, ",
            "spans.sum, spans.vat, start_position, end_position, hash, spans.incarnation, open, bytes, content ",
            "FROM vats LEFT JOIN spans ON spans.vat = vats.id AND spans.open = 1 ",
            $condition
        )
    };
}
/// Where [`select_vats`] has the open span.
const SPAN_SUM: usize = 8;
const SPAN_END: usize = 11;

impl Storage {
    /// Makes a vat of a module, with an empty transcript.
    ///
    /// # Errors
    ///
    /// [`Error::Duplicate`] if a vat that is not terminated has the name; [`Error::Unknown`] for the module; [`Error::Full`],
    /// [`Error::Io`], [`Error::Poisoned`].
    pub fn create_vat(&self, name: &str, module: ModuleHash, options: &str) -> Result<VatId> {
        self.write("create a vat", |session| {
            let connection = &session.connection;
            module::require(connection, module)?;
            if by_name(connection, name)?.is_some() {
                return Err(Error::duplicate(Kind::Vat, name).into());
            }
            let vat = insert(connection, name, module, options, Incarnation(0))?;
            session.insert_open_span(vat, Position::START, Incarnation(0))?;
            Ok(vat)
        })
    }

    /// The vat with this id, terminated ones too.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`]; [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn vat(&self, id: VatId) -> Result<VatRow> {
        self.read_beside("look up a vat", |session| {
            let row = session
                .connection
                .prepare_cached(select_vats!("WHERE id = ?"))?
                .query_row([id.0], vat_row)
                .optional()?;
            let row = row.ok_or_else(|| Error::unknown(Kind::Vat, id))?;
            Ok(with_buffered(session, row))
        })
    }

    /// The vat that has this name and is not terminated, or `None`.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn vat_by_name(&self, name: &str) -> Result<Option<VatRow>> {
        self.read_beside("look up a vat", |session| {
            Ok(by_name(&session.connection, name)?.map(|row| with_buffered(session, row)))
        })
    }

    /// At most `limit` vats with ids above `after`, in the order of their ids, terminated ones too. Start with `VatId(0)`.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn vats_after(&self, after: VatId, limit: usize) -> Result<Vec<VatRow>> {
        self.read_beside("list vats", |session| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut statement =
                session.connection.prepare_cached(select_vats!("WHERE id > ? ORDER BY id LIMIT ?"))?;
            let rows = statement.query_map(params![after.0, limit], vat_row)?;
            Ok(rows.map(|row| row.map(|row| with_buffered(session, row))).collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The ids of all vats that are not terminated, in order, as they stand in the table: for who wants to know which rows can be
    /// read.
    ///
    /// # Errors
    ///
    /// As [`vats_after`](Storage::vats_after), but not because of one row.
    pub fn vat_ids(&self) -> Result<Vec<VatId>> {
        self.read_beside("list vats", |session| {
            let mut statement =
                session.connection.prepare_cached("SELECT id FROM vats WHERE status <> 1 ORDER BY id")?;
            Ok(statement.query_map([], |row| row.get(0).map(VatId))?.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// All vats, in the order of their ids, terminated ones too.
    ///
    /// # Errors
    ///
    /// As [`vats_after`](Storage::vats_after).
    pub fn vats(&self) -> Result<Vec<VatRow>> {
        self.vats_after(VatId(0), usize::MAX)
    }

    /// The same, but for those whose rows are damaged: these are named beside them.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if the table cannot be read at all; [`Error::Io`], [`Error::Poisoned`].
    pub fn vats_and_damaged(&self) -> Result<(Vec<VatRow>, Vec<DamagedRow>)> {
        self.read_beside("list vats", |session| {
            let mut statement = session.connection.prepare_cached(select_vats!("ORDER BY id"))?;
            let (mut vats, mut damaged) = (Vec::new(), Vec::new());
            for row in statement.query_map([], vat_row)? {
                match row.map_err(RowDamage::of) {
                    Ok(row) => vats.push(with_buffered(session, row)),
                    Err(Ok(damage)) => damaged.push(damage.into()),
                    Err(Err(error)) => return Err(error.into()),
                }
            }
            Ok((vats, damaged))
        })
    }

    /// Sets the standing of a vat. To terminate one, see [`terminate`](Storage::terminate), which also deletes what it had.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for a vat that is unknown or terminated; [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn set_status(&self, vat: VatId, status: &VatStatus) -> Result<()> {
        self.write("set a vat's status", |session| set_status(session, vat, status))
    }

    /// Replaces the options of a vat.
    ///
    /// # Errors
    ///
    /// As [`set_status`](Storage::set_status).
    pub fn set_options(&self, vat: VatId, options: &str) -> Result<()> {
        self.write("set a vat's options", |session| {
            let row = not_terminated(&session.connection, vat)?;
            Ok(rewrite(&session.connection, &VatRow { options: options.to_owned(), ..row })?)
        })
    }

    /// Replaces the code of a vat: closes its span and opens one of the next incarnation. Vat storage and old snapshots stay.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for the module, or a vat that is unknown or terminated; [`Error::Full`], [`Error::Io`],
    /// [`Error::Poisoned`].
    pub fn begin_incarnation(&self, vat: VatId, module: ModuleHash) -> Result<Incarnation> {
        self.write("begin an incarnation", |session| {
            module::require(&session.connection, module)?;
            let span = session.open_span(vat)?;
            let row = not_terminated(&session.connection, vat)?;
            let incarnation = Incarnation(row.incarnation.0 + 1);
            rewrite(&session.connection, &VatRow { module, incarnation, ..row })?;
            session.turn_span(vat, span, Some(incarnation))?;
            Ok(incarnation)
        })
    }
}

/// The row as it will be when the buffered cranks are written.
fn with_buffered(session: &Session, row: VatRow) -> VatRow {
    let next_position = session.buffer.next_position(row.id).unwrap_or(row.next_position);
    VatRow { next_position, ..row }
}

pub(crate) fn set_status(
    session: &mut Session,
    vat: VatId,
    status: &VatStatus,
) -> std::result::Result<(), Fault> {
    let row = not_terminated(&session.connection, vat)?;
    rewrite(&session.connection, &VatRow { status: status.clone(), ..row })?;
    if matches!(status, VatStatus::Terminated { .. }) {
        session.close_last_span(vat)?;
    }
    Ok(())
}

/// Keeps a new vat, alive; its id.
pub(crate) fn insert(
    connection: &Connection,
    name: &str,
    module: ModuleHash,
    options: &str,
    incarnation: Incarnation,
) -> rusqlite::Result<VatId> {
    let id = connection
        .prepare_cached(
            "INSERT INTO vats (name, module, status, options, incarnation, sum) VALUES (?, ?, 0, ?, ?, 0) RETURNING id",
        )?
        .query_row(params![name, module.0, options, incarnation.0], |row| row.get(0).map(VatId))?;
    let (status, next_position) = (VatStatus::Alive, Position::START);
    let (name, options) = (name.to_owned(), options.to_owned());
    rewrite(connection, &VatRow { id, name, module, status, options, incarnation, next_position })?;
    Ok(id)
}

/// Writes all columns of a vat's row.
fn rewrite(connection: &Connection, row: &VatRow) -> rusqlite::Result<()> {
    let (status, reason) = match &row.status {
        VatStatus::Alive => (0u64, None),
        VatStatus::Terminated { reason } => (1, Some(reason.as_str())),
        VatStatus::Quarantined { reason } => (2, Some(reason.as_str())),
    };
    let VatRow { id, name, module, options, incarnation, .. } = row;
    let cells = [
        id.0.into(),
        name.as_str().into(),
        (&module.0).into(),
        status.into(),
        reason.into(),
        options.as_str().into(),
        incarnation.0.into(),
    ];
    connection
        .prepare_cached(
            "UPDATE vats SET name = ?, module = ?, status = ?, reason = ?, options = ?, incarnation = ?, sum = ? \
             WHERE id = ?",
        )?
        .execute(params![
            name,
            module.0,
            status,
            reason,
            options,
            incarnation.0,
            sum(Table::Vats, &cells),
            id.0
        ])?;
    Ok(())
}

pub(crate) fn by_name(connection: &Connection, name: &str) -> std::result::Result<Option<VatRow>, Fault> {
    let found = connection
        .prepare_cached(select_vats!("WHERE name = ? AND status <> 1"))?
        .query_row([name], vat_row)
        .optional()?;
    if found.is_none() {
        check_vat_name(connection, name)?;
    }
    Ok(found)
}

/// The vat's row without its position, unless it is unknown or terminated.
fn not_terminated(connection: &Connection, vat: VatId) -> std::result::Result<VatRow, Fault> {
    let row = connection
        .prepare_cached(
            "SELECT sum, id, name, module, status, reason, options, incarnation FROM vats WHERE id = ?",
        )?
        .query_row([vat.0], |row| row_at(row, Position::START))
        .optional()?;
    let row = row.filter(|row| !matches!(row.status, VatStatus::Terminated { .. }));
    row.ok_or_else(|| Error::unknown(Kind::Vat, vat).into())
}

/// The vat, unless it is unknown or terminated.
pub(crate) fn alive(connection: &Connection, vat: VatId) -> std::result::Result<VatRow, Fault> {
    let row = connection
        .prepare_cached(select_vats!("WHERE id = ? AND status <> 1"))?
        .query_row([vat.0], vat_row)
        .optional()?;
    row.ok_or_else(|| Error::unknown(Kind::Vat, vat).into())
}

fn vat_row(row: &Row<'_>) -> rusqlite::Result<VatRow> {
    let has_span = row.get_ref(SPAN_SUM)? != ValueRef::Null;
    let next_position = if has_span {
        check(row, Table::Spans, SPAN_SUM)?;
        Position(row.get(SPAN_END)?)
    } else {
        Position::START
    };
    let found = row_at(row, next_position)?;
    if !has_span && !matches!(found.status, VatStatus::Terminated { .. }) {
        let row = format!("of the open span of vat {} is not there, or", found.id);
        return Err(RowDamage { table: Table::Spans.name(), row }.into());
    }
    Ok(found)
}

/// The vat of a row that begins with its columns.
fn row_at(row: &Row<'_>, next_position: Position) -> rusqlite::Result<VatRow> {
    check(row, Table::Vats, 0)?;
    Ok(VatRow {
        id: VatId(row.get(1)?),
        name: row.get(2)?,
        module: ModuleHash(row.get(3)?),
        status: vat_status(row)?,
        options: row.get(6)?,
        incarnation: Incarnation(row.get(7)?),
        next_position,
    })
}

fn vat_status(row: &Row<'_>) -> rusqlite::Result<VatStatus> {
    match row.get(4)? {
        0 => Ok(VatStatus::Alive),
        1 => Ok(VatStatus::Terminated { reason: row.get(5)? }),
        2 => Ok(VatStatus::Quarantined { reason: row.get(5)? }),
        other => {
            let reason = format!("{other} is not a vat status").into();
            Err(rusqlite::Error::FromSqlConversionFailure(4, Type::Integer, reason))
        }
    }
}
