//! Packs: runs of entries of closed spans, compressed together.
//!
//! ```text
//!   a closed span's rows in `transcript`         packs: one row each, about 1 MiB of entries at most
//!   40 41 42 43 … 94                      ──►    [40,80) length ‖ zstd(len 40 ‖ entry 40 ‖ len 41 ‖ entry 41 …)
//!                                                [80,95) …
//! ```
//!
//! Invariants: an entry is in `transcript` or in one pack, never in both; a pack lies within one span; its checksum covers its
//! vat, its positions and its bytes, and is compared at every reading, before anything is decompressed. Whoever reads entries
//! cannot tell where they were.
//!
//! Compression is local and takes time: it is done in steps of one pack, in nobody's delivery, and commits nothing. Not here:
//! when to do it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, OptionalExtension, params};

use crate::Result;
use crate::error::{Error, Fault};
use crate::id::{Position, VatId};
use crate::row_sum::{Table, check};
use crate::span::{self, SpanContent};
use crate::storage::Storage;

/// Entries of one pack at most.
const PACK_ENTRIES: usize = 4_096;
/// Bytes of entries after which a pack takes no more.
const PACK_BYTES: usize = 1 << 20;
/// What zstd's authors chose as its default: beyond it, little is gained for much time.
const LEVEL: i32 = 3;
/// Bytes of the length before the compressed data.
const LENGTH_BYTES: usize = 8;

/// What one step of compression did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compressed {
    /// Entries that were compressed.
    pub entries: u64,
    /// Their bytes before.
    pub bytes_before: u64,
    /// Their bytes now.
    pub bytes_after: u64,
    /// Whether nothing is left to compress.
    pub done: bool,
}

/// Entries that stand in `transcript`, one after the other.
#[derive(Debug)]
struct Run {
    vat: VatId,
    start: Position,
    end: Position,
    entries: Vec<Vec<u8>>,
}

/// A span whose entries are not all in packs.
type Loose = (VatId, Position, Position);

impl Storage {
    /// Compresses entries of closed spans: one pack, the oldest first. The storage serves others while it compresses. Call it
    /// until it is done, and commit.
    ///
    /// # Errors
    ///
    /// [`Error::Full`], [`Error::Io`], [`Error::ReadOnly`], [`Error::Poisoned`].
    pub fn compress(&self) -> Result<Compressed> {
        self.may_have_loose_spans.store(false, Ordering::Relaxed);
        let found = self.read("look for closed spans", |session| find_loose(&session.connection))?;
        let Some(span) = found else { return Ok(Compressed { done: true, ..Compressed::default() }) };
        self.may_have_loose_spans.store(true, Ordering::Relaxed);
        let run = self.read("read a closed span", |session| Ok(loose_run(&session.connection, span)?))?;
        let packed = pack(&run.entries).map_err(|source| Error::Io {
            attempt: "compress a span",
            path: self.path().to_owned(),
            source: Box::new(source),
        })?;
        let mut step = Compressed {
            entries: run.entries.len() as u64,
            bytes_before: run.entries.iter().map(|entry| entry.len() as u64).sum(),
            bytes_after: packed.len() as u64,
            done: false,
        };
        let replaced =
            self.write("compress a span", |session| replace(&session.connection, span, &run, &packed))?;
        if !replaced {
            step = Compressed::default(); // Somebody else was faster; whatever is left is found by the next step.
        }
        Ok(step)
    }

    /// Whether a call of [`compress`](Storage::compress) may find something: without a look into the store.
    #[must_use]
    pub fn may_have_loose_spans(&self) -> bool {
        self.may_have_loose_spans.load(Ordering::Relaxed)
    }
}

fn find_loose(connection: &Connection) -> std::result::Result<Option<Loose>, Fault> {
    Ok(connection
        .prepare_cached(
            "SELECT sum, vat, start_position, end_position, hash, incarnation, open, bytes, content \
             FROM spans WHERE open = 0 AND content = 0 ORDER BY vat, start_position LIMIT 1",
        )?
        .query_row([], |row| {
            check(row, Table::Spans, 0)?;
            Ok((VatId(row.get(1)?), Position(row.get(2)?), Position(row.get(3)?)))
        })
        .optional()?)
}

/// The first run of a span that still stands in `transcript`; empty if none does.
fn loose_run(connection: &Connection, (vat, start, end): Loose) -> rusqlite::Result<Run> {
    let mut statement = connection.prepare_cached(
        "SELECT sum, vat, position, entry FROM transcript WHERE vat = ? AND position >= ? AND position < ? ORDER BY position",
    )?;
    let mut rows = statement.query([vat.0, start.0, end.0])?;
    let mut run = Run { vat, start, end: start, entries: Vec::new() };
    let mut bytes = 0;
    while run.entries.len() < PACK_ENTRIES && bytes < PACK_BYTES {
        let Some(row) = rows.next()? else { break };
        check(row, Table::Transcript, 0)?;
        let (position, entry): (u64, Vec<u8>) = (row.get(2)?, row.get(3)?);
        if run.entries.is_empty() {
            (run.start, run.end) = (Position(position), Position(position));
        } else if Position(position) != run.end {
            break;
        }
        bytes += entry.len();
        run.end = run.end.next();
        run.entries.push(entry);
    }
    Ok(run)
}

/// Puts the pack where the run was, unless one of both is no longer there; marks a span that has no more of them.
fn replace(
    connection: &Connection,
    (vat, start, end): Loose,
    run: &Run,
    packed: &[u8],
) -> std::result::Result<bool, Fault> {
    let is_loose = connection
        .prepare_cached("SELECT 1 FROM spans WHERE vat = ? AND start_position = ? AND content = 0")?
        .exists([vat.0, start.0])?;
    if !is_loose {
        return Ok(false);
    }
    if !run.entries.is_empty() {
        let gone = connection
            .prepare_cached("DELETE FROM transcript WHERE vat = ? AND position >= ? AND position < ?")?
            .execute([vat.0, run.start.0, run.end.0])?;
        if gone != run.entries.len() {
            let reason = format!("the entries {}..{} of vat {vat} changed meanwhile", run.start, run.end);
            return Err(Error::Refused { attempt: "compress a span", reason }.into());
        }
        insert(connection, run.vat, run.start, run.end, packed)?;
    }
    let is_done = !connection
        .prepare_cached("SELECT 1 FROM transcript WHERE vat = ? AND position >= ? AND position < ? LIMIT 1")?
        .exists([vat.0, start.0, end.0])?;
    if is_done {
        span::set_content(connection, vat, start, SpanContent::Compressed)?;
    }
    Ok(true)
}

fn insert(
    connection: &Connection,
    vat: VatId,
    start: Position,
    end: Position,
    packed: &[u8],
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO packs (vat, start_position, end_position, checksum, entries) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![vat.0, start.0, end.0, checksum(vat, start, end, packed), packed])?;
    Ok(())
}

/// Keeps the entries of a span from `start` on, as packs.
pub(crate) fn insert_span(
    connection: &Connection,
    vat: VatId,
    mut start: Position,
    entries: &[Vec<u8>],
) -> std::result::Result<(), Fault> {
    let mut rest = entries;
    while !rest.is_empty() {
        let mut bytes = 0;
        let is_room = |entry: &&Vec<u8>| {
            let is_room = bytes < PACK_BYTES;
            bytes += entry.len();
            is_room
        };
        let count = rest.iter().take(PACK_ENTRIES).take_while(is_room).count();
        let (run, more) = rest.split_at(count);
        let packed = pack(run)
            .map_err(|error| Error::Refused { attempt: "compress a span", reason: error.to_string() })?;
        let end = Position(start.0 + count as u64);
        insert(connection, vat, start, end, &packed)?;
        (start, rest) = (end, more);
    }
    Ok(())
}

/// The entries of the pack that holds `from`, from there on and before `end`; empty if there is no such pack.
pub(crate) fn chunk(
    connection: &Connection,
    vat: VatId,
    from: Position,
    end: Position,
) -> std::result::Result<VecDeque<(Position, Vec<u8>)>, Fault> {
    let found = connection
        .prepare_cached(
            "SELECT start_position, end_position, checksum, entries FROM packs \
             WHERE vat = ? AND start_position <= ? ORDER BY start_position DESC LIMIT 1",
        )?
        .query_row([vat.0, from.0], |row| {
            Ok((
                Position(row.get(0)?),
                Position(row.get(1)?),
                row.get::<_, [u8; 32]>(2)?,
                row.get::<_, Vec<u8>>(3)?,
            ))
        })
        .optional()?;
    let Some((start, pack_end, kept, packed)) = found.filter(|(_, pack_end, ..)| from < *pack_end) else {
        return Ok(VecDeque::new());
    };
    let damaged = || Error::Damaged {
        what: format!("the compressed entries {start}..{pack_end} of vat {vat} are not what was written"),
    };
    if checksum(vat, start, pack_end, &packed) != kept {
        return Err(damaged().into());
    }
    let entries = unpack(&packed).filter(|entries| entries.len() as u64 == pack_end.0 - start.0);
    let entries = entries.ok_or_else(damaged)?;
    let positioned = (start.0..).map(Position).zip(entries);
    Ok(positioned.filter(|(position, _)| (from..end).contains(position)).collect())
}

fn checksum(vat: VatId, start: Position, end: Position, packed: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for number in [vat.0, start.0, end.0] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(packed).finalize().into()
}

fn pack(entries: &[Vec<u8>]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    for entry in entries {
        plain.extend_from_slice(&(entry.len() as u64).to_le_bytes());
        plain.extend_from_slice(entry);
    }
    let mut packed = (plain.len() as u64).to_le_bytes().to_vec();
    packed.extend_from_slice(&zstd::bulk::compress(&plain, LEVEL)?);
    Ok(packed)
}

/// The entries of a pack whose checksum was right; `None` if it is not one that we made.
fn unpack(packed: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (length, data) = packed.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let plain = zstd::bulk::decompress(data, length).ok()?;
    let mut rest = plain.as_slice();
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (length, more) = rest.split_first_chunk::<LENGTH_BYTES>()?;
        let (entry, more) = more.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        entries.push(entry.to_vec());
        rest = more;
    }
    Some(entries)
}
