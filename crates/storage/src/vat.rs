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

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::Result;
use crate::error::{Error, Fault, Kind};
use crate::id::{Incarnation, ModuleHash, Position, VatId};
use crate::module;
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
            "SELECT id, name, module, status, reason, options, vats.incarnation, coalesce(end_position, 0) ",
            "FROM vats LEFT JOIN spans ON spans.vat = vats.id AND spans.open = 1 ",
            $condition
        )
    };
}

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
            let vat = connection
                .prepare_cached(
                    "INSERT INTO vats (name, module, status, options, incarnation) VALUES (?, ?, 0, ?, 0) RETURNING id",
                )?
                .query_row(params![name, module.0, options], |row| row.get(0).map(VatId))?;
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

    /// All vats, in the order of their ids, terminated ones too.
    ///
    /// # Errors
    ///
    /// As [`vats_after`](Storage::vats_after).
    pub fn vats(&self) -> Result<Vec<VatRow>> {
        self.vats_after(VatId(0), usize::MAX)
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
            let found = session
                .connection
                .prepare_cached("UPDATE vats SET options = ? WHERE id = ? AND status <> 1")?
                .execute(params![options, vat.0])?;
            require_found(found, vat)
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
            let incarnation = session
                .connection
                .prepare_cached("UPDATE vats SET module = ?, incarnation = incarnation + 1 WHERE id = ? RETURNING incarnation")?
                .query_row(params![module.0, vat.0], |row| row.get(0).map(Incarnation))?;
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
    let (number, reason) = match status {
        VatStatus::Alive => (0, None),
        VatStatus::Terminated { reason } => (1, Some(reason)),
        VatStatus::Quarantined { reason } => (2, Some(reason)),
    };
    let found = session
        .connection
        .prepare_cached("UPDATE vats SET status = ?, reason = ? WHERE id = ? AND status <> 1")?
        .execute(params![number, reason, vat.0])?;
    require_found(found, vat)?;
    if matches!(status, VatStatus::Terminated { .. }) {
        session.close_last_span(vat)?;
    }
    Ok(())
}

fn require_found(found: usize, vat: VatId) -> std::result::Result<(), Fault> {
    if found == 0 { Err(Error::unknown(Kind::Vat, vat).into()) } else { Ok(()) }
}

pub(crate) fn by_name(connection: &Connection, name: &str) -> rusqlite::Result<Option<VatRow>> {
    connection
        .prepare_cached(select_vats!("WHERE name = ? AND status <> 1"))?
        .query_row([name], vat_row)
        .optional()
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
    Ok(VatRow {
        id: VatId(row.get(0)?),
        name: row.get(1)?,
        module: ModuleHash(row.get(2)?),
        status: vat_status(row)?,
        options: row.get(5)?,
        incarnation: Incarnation(row.get(6)?),
        next_position: Position(row.get(7)?),
    })
}

fn vat_status(row: &Row<'_>) -> rusqlite::Result<VatStatus> {
    match row.get(3)? {
        0 => Ok(VatStatus::Alive),
        1 => Ok(VatStatus::Terminated { reason: row.get(4)? }),
        2 => Ok(VatStatus::Quarantined { reason: row.get(4)? }),
        other => {
            let reason = format!("{other} is not a vat status").into();
            Err(rusqlite::Error::FromSqlConversionFailure(3, Type::Integer, reason))
        }
    }
}
