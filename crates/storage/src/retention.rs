//! What a store keeps of transcripts, and pruning what it need not keep.
//!
//! ```text
//!   incarnation 0           │ incarnation 1
//!   [0,40)  [40,80)  [80,95)│[95,140)  [140,180)  [180,220)  [220, … open
//!                                            older ▲ snapshots  ▲ newest
//!   debug, archival   everything
//!   replay                   from 95 on
//!   operational                         from 140 on: the span that the oldest kept snapshot is in
//! ```
//!
//! Invariants: only entries go, never a span's row with its hash, so that what comes back can be checked ([`restore_span`]). Only
//! closed spans are pruned, whole, and only if every state that could need them again is behind a kept snapshot of the current
//! incarnation or belongs to an earlier one, and no fork shares them. (Where the caller knows an archive that has them, the newest
//! snapshot alone decides: [`prune_archived_span`](Storage::prune_archived_span).) Rows of snapshots and the pruning of what they cover
//! become durable with the same commit. Deleting takes bounded steps; a span is marked with its first.
//!
//! [`restore_span`]: Storage::restore_span

use std::fmt;
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension};

use crate::Result;
use crate::error::{Error, Fault, Kind};
use crate::fork;
use crate::id::{Position, VatId};
use crate::pack;
use crate::snapshot;
use crate::span::{self, SpanContent, SpanHash, SpanRow, SpanState};
use crate::storage::Storage;
use crate::vat::alive;

const PRUNE: &str = "prune";
const RESTORE: &str = "restore a span";
/// Where the level is kept among the host's metadata.
const KEY: &str = "retention";

/// How much of the transcripts a store keeps, least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Retention {
    /// What a restart needs: all entries that a replay from the oldest kept snapshot begins with.
    Operational,
    /// All entries of the current incarnation: a replay from its birth.
    Replay,
    /// All entries.
    #[default]
    Archival,
    /// All entries, and all snapshots, used or not.
    Debug,
}

impl Retention {
    /// All levels, least first.
    pub const ALL: [Retention; 4] =
        [Retention::Operational, Retention::Replay, Retention::Archival, Retention::Debug];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Retention::Operational => "operational",
            Retention::Replay => "replay",
            Retention::Archival => "archival",
            Retention::Debug => "debug",
        }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Retention, String> {
        let found = Retention::ALL.into_iter().find(|level| level.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is not one of operational, replay, archival, debug"))
    }
}

/// What one step of pruning did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Rows that were deleted: entries, or compressed runs of them.
    pub rows: usize,
    /// Whether nothing is left that the level allows to prune.
    pub done: bool,
}

impl Storage {
    /// The level that this store keeps to; archival if none was set.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn retention(&self) -> Result<Retention> {
        let Some(bytes) = self.host_get(KEY)? else { return Ok(Retention::default()) };
        let level = String::from_utf8_lossy(&bytes).parse();
        level.map_err(|what| Error::Damaged { what: format!("the retention level {what}") })
    }

    /// Sets the level. What was pruned under a lower one stays pruned.
    ///
    /// # Errors
    ///
    /// [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn set_retention(&self, level: Retention) -> Result<()> {
        self.host_put(KEY, Some(level.as_str().as_bytes()))
    }

    /// Deletes at most `rows_max` rows of entries of `vat` that `level` does not keep, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for a level that keeps all entries; [`Error::Unknown`] for a vat that is unknown or terminated;
    /// [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn prune(&self, vat: VatId, level: Retention, rows_max: usize) -> Result<Pruned> {
        self.write(PRUNE, |session| {
            let connection = &session.connection;
            let before = kept_from(connection, vat, level)?;
            let mut left = rows_max;
            while let Some((start, end)) = next_prunable(connection, vat, before)? {
                if left == 0 {
                    return Ok(Pruned { rows: rows_max, done: false });
                }
                left -= delete_entries(connection, vat, start, end, left)?;
            }
            Ok(Pruned { rows: rows_max - left, done: true })
        })
    }

    /// The end of the newest span whose entries [`prune`](Storage::prune) would delete now; `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`prune`](Storage::prune).
    pub fn prunable_before(&self, vat: VatId, level: Retention) -> Result<Option<Position>> {
        self.read_vat("look for spans to prune", vat, |session| {
            let connection = &session.connection;
            let (before, shared) = (kept_from(connection, vat, level)?, fork::needed_before(connection, vat)?);
            Ok(connection
                .prepare_cached(
                    "SELECT max(end_position) FROM spans \
                     WHERE vat = ? AND open = 0 AND end_position <= ? AND start_position >= ? AND content <> 2",
                )?
                .query_row([vat.0, before.0, shared.0], |row| row.get::<_, Option<u64>>(0))?
                .map(Position))
        })
    }

    /// Deletes at most `rows_max` rows of entries of the span of `vat` that begins at `start`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] says what still needs them: the span is open, no snapshot covers it, or a fork shares it.
    /// [`Error::Unknown`] for the vat; [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn prune_span(&self, vat: VatId, start: Position, rows_max: usize) -> Result<Pruned> {
        self.write(PRUNE, |session| {
            let connection = &session.connection;
            let covered = covered_before(connection, vat)?;
            prune_one(connection, vat, start, (covered, "the oldest snapshot"), rows_max)
        })
    }

    /// As [`prune_span`](Storage::prune_span), for a span that the caller has seen elsewhere: the newest snapshot of the current
    /// incarnation is enough to cover it, since what an older one needs can be restored.
    ///
    /// # Errors
    ///
    /// As [`prune_span`](Storage::prune_span).
    pub fn prune_archived_span(&self, vat: VatId, start: Position, rows_max: usize) -> Result<Pruned> {
        self.write(PRUNE, |session| {
            let connection = &session.connection;
            let covered = newest_covers(connection, vat)?;
            prune_one(connection, vat, start, (covered, "the newest snapshot"), rows_max)
        })
    }

    /// The position before which entries of `vat` are some fork's, too, and stay.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Poisoned`].
    pub fn shared_before(&self, vat: VatId) -> Result<Position> {
        self.read_vat("look for forks", vat, |session| Ok(fork::needed_before(&session.connection, vat)?))
    }

    /// Puts the entries of a closed span back, wherever they come from: they are kept only if they have the span's hash. Entries
    /// that are there, damaged perhaps, are replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the entries do not have the hash, or the vat has no closed span that begins at `start`;
    /// [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn restore_span(&self, vat: VatId, start: Position, entries: &[Vec<u8>]) -> Result<SpanRow> {
        let hash = entries.iter().fold(SpanHash::seed(), |hash, entry| hash.extended(entry));
        self.write(RESTORE, |session| {
            let connection = &session.connection;
            let span = closed_span(connection, vat, start, RESTORE)?;
            let end = span.end;
            if entries.len() as u64 != end.0 - start.0 || hash != span.hash {
                let reason = format!(
                    "the {} entries given do not have the hash that was kept of the entries {start}..{end} of vat {vat}",
                    entries.len()
                );
                return Err(Error::Refused { attempt: RESTORE, reason }.into());
            }
            delete_entries(connection, vat, start, end, usize::MAX)?;
            pack::insert_span(connection, vat, start, entries)?;
            span::set_content(connection, vat, start, SpanContent::Compressed)?;
            closed_span(connection, vat, start, RESTORE)
        })
    }
}

/// Prunes one span, if it ends where `covered` says that something covers it, and no fork shares it.
fn prune_one(
    connection: &Connection,
    vat: VatId,
    start: Position,
    covered: (Position, &str),
    rows_max: usize,
) -> std::result::Result<Pruned, Fault> {
    let span = closed_span(connection, vat, start, PRUNE)?;
    let refuse = |why: String| {
        let reason = format!("the entries {start}..{} of vat {vat} are needed: {why}", span.end);
        Err(Fault::from(Error::Refused { attempt: PRUNE, reason }))
    };
    let (before, by) = covered;
    if span.end > before {
        return refuse(format!("{by}, or the incarnation, covers what is before {before}"));
    }
    if start < fork::needed_before(connection, vat)? {
        return refuse("a fork shares them".to_owned());
    }
    let rows = delete_entries(connection, vat, start, span.end, rows_max)?;
    let done = rows < rows_max || !has_entries(connection, vat, start, span.end)?;
    Ok(Pruned { rows, done })
}

/// Entries before this position are not kept by `level`.
fn kept_from(connection: &Connection, vat: VatId, level: Retention) -> std::result::Result<Position, Fault> {
    match level {
        Retention::Operational => covered_before(connection, vat),
        Retention::Replay => incarnation_start(connection, vat),
        Retention::Archival | Retention::Debug => {
            let reason =
                format!("the retention level {level} keeps all entries; choose operational or replay");
            Err(Error::Refused { attempt: PRUNE, reason }.into())
        }
    }
}

/// Entries before this position are not needed to bring the vat back, from any kept snapshot of its current incarnation.
fn covered_before(connection: &Connection, vat: VatId) -> std::result::Result<Position, Fault> {
    Ok(covers(connection, vat)?.0)
}

/// Entries before this position are not needed to bring the vat back from the newest snapshot of its current incarnation.
fn newest_covers(connection: &Connection, vat: VatId) -> std::result::Result<Position, Fault> {
    Ok(covers(connection, vat)?.1)
}

/// What the oldest and the newest snapshot of the current incarnation cover; without any, its start.
fn covers(connection: &Connection, vat: VatId) -> std::result::Result<(Position, Position), Fault> {
    let incarnation = alive(connection, vat)?.incarnation;
    let (oldest, newest) = snapshot::oldest_and_newest(connection, vat, incarnation)?;
    let start = incarnation_start(connection, vat)?;
    let at = |position: Option<Position>| position.map_or(start, |position| start.max(position));
    Ok((at(oldest), at(newest)))
}

/// Position of the first delivery of the current incarnation, or of the vat's own if it is a fork.
fn incarnation_start(connection: &Connection, vat: VatId) -> std::result::Result<Position, Fault> {
    let incarnation = alive(connection, vat)?.incarnation;
    let first = span::one(connection, vat, span::Which::FirstOf(incarnation))?;
    Ok(first.ok_or_else(|| Error::unknown(Kind::Vat, vat))?.start)
}

/// The oldest closed span that ends before `before`, has entries, and shares none with a fork.
fn next_prunable(
    connection: &Connection,
    vat: VatId,
    before: Position,
) -> std::result::Result<Option<(Position, Position)>, Fault> {
    let shared = fork::needed_before(connection, vat)?;
    Ok(connection
        .prepare_cached(
            "SELECT start_position, end_position FROM spans AS span \
             WHERE vat = ?1 AND open = 0 AND end_position <= ?2 AND start_position >= ?3 AND (content <> 2 \
             OR EXISTS (SELECT 1 FROM transcript WHERE vat = ?1 AND position >= span.start_position AND position < span.end_position) \
             OR EXISTS (SELECT 1 FROM packs WHERE vat = ?1 AND start_position >= span.start_position AND start_position < span.end_position)) \
             ORDER BY start_position LIMIT 1",
        )?
        .query_row([vat.0, before.0, shared.0], |row| Ok((Position(row.get(0)?), Position(row.get(1)?))))
        .optional()?)
}

/// Marks the span as pruned, and deletes at most `rows_max` of its rows, oldest first.
fn delete_entries(
    connection: &Connection,
    vat: VatId,
    start: Position,
    end: Position,
    rows_max: usize,
) -> std::result::Result<usize, Fault> {
    span::set_content(connection, vat, start, SpanContent::Pruned)?;
    let limit = |rows: usize| i64::try_from(rows).unwrap_or(i64::MAX);
    let packs = connection
        .prepare_cached(
            "DELETE FROM packs WHERE vat = ?1 AND start_position IN (SELECT start_position FROM packs \
             WHERE vat = ?1 AND start_position >= ?2 AND start_position < ?3 ORDER BY start_position LIMIT ?4)",
        )?
        .execute((vat.0, start.0, end.0, limit(rows_max)))?;
    let entries = connection
        .prepare_cached(
            "DELETE FROM transcript WHERE vat = ?1 AND position IN (SELECT position FROM transcript \
             WHERE vat = ?1 AND position >= ?2 AND position < ?3 ORDER BY position LIMIT ?4)",
        )?
        .execute((vat.0, start.0, end.0, limit(rows_max - packs)))?;
    Ok(packs + entries)
}

fn has_entries(
    connection: &Connection,
    vat: VatId,
    start: Position,
    end: Position,
) -> std::result::Result<bool, Fault> {
    let mut found = false;
    for sql in [
        "SELECT 1 FROM transcript WHERE vat = ? AND position >= ? AND position < ? LIMIT 1",
        "SELECT 1 FROM packs WHERE vat = ? AND start_position >= ? AND start_position < ? LIMIT 1",
    ] {
        found |= connection.prepare_cached(sql)?.exists([vat.0, start.0, end.0])?;
    }
    Ok(found)
}

fn closed_span(
    connection: &Connection,
    vat: VatId,
    start: Position,
    attempt: &'static str,
) -> std::result::Result<SpanRow, Fault> {
    let spans = span::spans(connection, vat)?;
    let found = spans.into_iter().find(|span| span.start == start && span.state == SpanState::Closed);
    found.ok_or_else(|| {
        let reason = format!("vat {vat} has no closed span that begins at {start}");
        Error::Refused { attempt, reason }.into()
    })
}
