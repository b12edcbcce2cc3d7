//! Transcripts: one entry per delivery, appended with everything else that its crank changed.
//!
//! Invariant: the entries of a vat have the positions from 0 to the end of its open span, without gap, but for what pruning
//! removed from closed spans. Those of closed spans may be compressed ([`pack`]), which a reader does not notice.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, OptionalExtension};

use crate::Result;
use crate::error::{Error, Fault};
use crate::fork;
use crate::id::{Position, VatId};
use crate::pack;
use crate::row_sum::{Table, check, sum};
use crate::session::Session;
use crate::span;
use crate::storage::Storage;
use crate::vatstore::VatstoreWrite;

/// The longest entry, vat storage key or value, or image descriptor, in bytes: about half of what SQLite takes in one row.
pub const VALUE_BYTES_MAX: usize = 1 << 29;

const APPEND: &str = "append a crank";
/// Entries that [`Entries`] fetches at once.
const CHUNK_ENTRIES: usize = 256;
/// Bytes after which [`Entries`] stops a fetch early.
const CHUNK_BYTES: usize = 1 << 20;

/// What one crank changed.
#[derive(Clone, Copy, Debug)]
pub struct CrankRecord<'a> {
    /// The vat that the delivery went to.
    pub vat: VatId,
    /// The transcript entry, opaque.
    pub entry: &'a [u8],
    /// Changes to the vat's storage, applied in order.
    pub vatstore: &'a [VatstoreWrite<'a>],
}

impl Storage {
    /// Adds an entry to a vat's transcript and applies the crank's changes to the vat's storage; returns its position.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for a vat that is unknown or terminated; [`Error::TooLarge`] above [`VALUE_BYTES_MAX`];
    /// [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn append_crank(&self, crank: &CrankRecord<'_>) -> Result<Position> {
        self.with(|session| {
            let position = session.write_checked(APPEND, |session| append(session, crank))?;
            if session.buffer.fills_span(crank.vat, session.span_policy) {
                self.may_have_loose_spans.store(true, Ordering::Relaxed);
                session.write("close a full span", |session| {
                    let full = session.open_span(crank.vat)?;
                    session.turn_span(crank.vat, full, None)
                })?;
            }
            if session.buffer.is_full() {
                session.flush()?;
            }
            Ok(position)
        })
    }

    /// The entries of `vat` at `from` and after, before `to` or the newest, oldest first.
    ///
    /// They are fetched in chunks, between which the storage serves others; what the caller does with an entry blocks nobody.
    /// The first error ends the iteration; [`Error::Pruned`] tells of entries that were pruned, [`Error::MissingEntry`] of a hole.
    pub fn entries(&self, vat: VatId, from: Position, to: Position) -> Entries<'_> {
        Entries { storage: self, vat, next: from, to, chunk: VecDeque::new(), more: true }
    }

    /// The same entries, all in memory at once.
    ///
    /// # Errors
    ///
    /// [`Error::MissingEntry`], [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn transcript(&self, vat: VatId, from: Position, to: Position) -> Result<Vec<(Position, Vec<u8>)>> {
        self.entries(vat, from, to).collect()
    }
}

/// Finds the caller's mistakes, and buffers the rest. The transaction is open: see `Session::write_checked`.
fn append(session: &mut Session, crank: &CrankRecord<'_>) -> std::result::Result<Position, Fault> {
    let texts = crank.vatstore.iter().flat_map(|(key, value)| [key.len(), value.map_or(0, str::len)]);
    if texts.chain([crank.entry.len()]).any(|bytes| bytes > VALUE_BYTES_MAX) {
        return Err(Error::TooLarge { attempt: APPEND }.into());
    }
    let span = session.open_span(crank.vat)?;
    Ok(session.buffer.add(crank, span))
}

/// Iterator over a vat's entries; see [`Storage::entries`].
#[derive(Debug)]
pub struct Entries<'a> {
    storage: &'a Storage,
    vat: VatId,
    /// Position of the next entry to fetch.
    next: Position,
    to: Position,
    chunk: VecDeque<(Position, Vec<u8>)>,
    more: bool,
}

impl Iterator for Entries<'_> {
    type Item = Result<(Position, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.chunk.is_empty()
            && self.more
            && let Err(error) = self.fetch()
        {
            self.more = false;
            return Some(Err(error));
        }
        self.chunk.pop_front().map(Ok)
    }
}

impl Entries<'_> {
    fn fetch(&mut self) -> Result<()> {
        let (vat, from) = (self.vat, self.next);
        let (chunk, end) = self.storage.read_vat("read a transcript", vat, |session| {
            let end = end_position(&session.connection, vat)?.min(self.to);
            let (holder, holder_end) = fork::holder(&session.connection, vat, from, end)?;
            let mut found = chunk(&session.connection, holder, from, holder_end)?;
            if found.is_empty() && from < end {
                found = pack::chunk(&session.connection, holder, from, holder_end)?;
            }
            if found.is_empty() && from < end {
                return Err(missing(&session.connection, vat, holder, from)?.into());
            }
            Ok((found, end))
        })?;
        self.chunk = chunk;
        self.next = match self.chunk.back() {
            Some((last, _)) => last.next(),
            None => from,
        };
        self.more = self.next < end;
        Ok(())
    }
}

/// One chunk of entries without gap, from `from` and before `end`; empty if the first one is missing.
fn chunk(
    connection: &Connection,
    vat: VatId,
    from: Position,
    end: Position,
) -> rusqlite::Result<VecDeque<(Position, Vec<u8>)>> {
    let mut statement = connection.prepare_cached(
        "SELECT sum, vat, position, entry FROM transcript WHERE vat = ? AND position >= ? AND position < ? ORDER BY position",
    )?;
    let mut rows = statement.query([vat.0, from.0, end.0])?;
    let mut chunk = VecDeque::new();
    let mut bytes = 0;
    let mut expected = from;
    while chunk.len() < CHUNK_ENTRIES && bytes < CHUNK_BYTES {
        let Some(row) = rows.next()? else { break };
        check(row, Table::Transcript, 0)?;
        let (position, entry): (u64, Vec<u8>) = (row.get(2)?, row.get(3)?);
        if Position(position) != expected {
            break;
        }
        bytes += entry.len();
        chunk.push_back((expected, entry));
        expected = expected.next();
    }
    Ok(chunk)
}

/// Why the entry at `position` is not there.
fn missing(
    connection: &Connection,
    vat: VatId,
    holder: VatId,
    position: Position,
) -> std::result::Result<Error, Fault> {
    let pruned = connection
        .prepare_cached(
            "SELECT start_position, end_position FROM spans \
             WHERE vat = ? AND start_position <= ? AND end_position > ?2 AND content = 2",
        )?
        .query_row([holder.0, position.0], |row| Ok((Position(row.get(0)?), Position(row.get(1)?))))
        .optional()?;
    Ok(match pruned {
        Some((start, end)) => Error::Pruned { vat, start, end },
        None => Error::MissingEntry { vat, position },
    })
}

/// The position after the newest entry of `vat`, by its spans.
fn end_position(connection: &Connection, vat: VatId) -> rusqlite::Result<Position> {
    let newest = span::one(connection, vat, span::Which::Newest)?;
    Ok(newest.map_or(Position::START, |span| span.end))
}

/// The sum of an entry's row.
pub(crate) fn entry_sum(vat: VatId, position: Position, entry: &[u8]) -> i64 {
    sum(Table::Transcript, &[vat.0.into(), position.0.into(), entry.into()])
}
