//! Spans: stretches of a vat's transcript, each under one running hash.
//!
//! ```text
//!   h0 = sha256hex("start of transcript span")
//!   h(n+1) = sha256hex( h(n) ‖ sha256hex(entry) )        both as 64 lower-case characters
//! ```
//!
//! The hash restarts with each span: spans do not depend on one another, their order follows from their positions. Two hosts
//! that processed the same deliveries have the same hash for the same span. A span belongs to one incarnation.

use std::fmt;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use crate::Result;
use crate::error::{Error, Fault, Kind};
use crate::id::{Incarnation, Position, VatId};
use crate::row_sum::{RowDamage, Table, check, sum};
use crate::session::Session;
use crate::storage::Storage;

/// Running hash of a span's entries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanHash([u8; 64]);

impl SpanHash {
    /// The hash of a span without entries.
    #[must_use]
    pub fn seed() -> SpanHash {
        SpanHash::of(b"start of transcript span")
    }

    /// The hash of this span with `entry` added.
    #[must_use]
    pub fn extended(self, entry: &[u8]) -> SpanHash {
        let mut both = [0; 128];
        both[..64].copy_from_slice(&self.0);
        both[64..].copy_from_slice(&SpanHash::of(entry).0);
        SpanHash::of(&both)
    }

    /// The hash as 64 lower-case hexadecimal characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal characters are ASCII")
    }

    fn of(bytes: &[u8]) -> SpanHash {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(Sha256::digest(bytes)) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        SpanHash(text)
    }

    /// From 64 lower-case hexadecimal characters; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<SpanHash> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let bytes: [u8; 64] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(is_digit).then_some(SpanHash(bytes))
    }
}

impl fmt::Display for SpanHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SpanHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanHash({self})")
    }
}

/// Whether a span still grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanState {
    /// The newest span of its vat.
    Open,
    /// Complete; its hash is final.
    Closed,
}

/// Where a span's entries are. [`Storage::entries`] finds them in either place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanContent {
    /// As they were appended, or on the way to being compressed.
    Plain,
    /// Compressed.
    Compressed,
    /// Nowhere: only the hash is left.
    Pruned,
}

impl SpanContent {
    /// As the column has it.
    pub(crate) fn number(self) -> u64 {
        match self {
            SpanContent::Plain => 0,
            SpanContent::Compressed => 1,
            SpanContent::Pruned => 2,
        }
    }

    fn of_number(number: u64) -> Option<SpanContent> {
        [SpanContent::Plain, SpanContent::Compressed, SpanContent::Pruned]
            .into_iter()
            .find(|content| content.number() == number)
    }
}

/// One span of one vat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanRow {
    /// Position of its first entry.
    pub start: Position,
    /// The position after its last entry.
    pub end: Position,
    /// Running hash of its entries.
    pub hash: SpanHash,
    /// The incarnation that all its entries belong to.
    pub incarnation: Incarnation,
    /// Whether it still grows.
    pub state: SpanState,
    /// Bytes of its entries as they were appended, whether they are still there or not.
    pub bytes: u64,
    /// Bytes of its compressed entries in the store; 0 if there are none.
    pub compressed_bytes: u64,
    /// Where its entries are.
    pub content: SpanContent,
}

/// How many spans could be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpansVerified {
    /// Spans whose entries give their hash.
    pub spans: u64,
    /// Spans of which only the hash is left: whether it is right, nobody can say here.
    pub pruned: u64,
}

/// All columns of spans, in the order of [`span_row`].
macro_rules! select_spans {
    () => {
        "SELECT sum, vat, start_position, end_position, hash, incarnation, open, bytes, content FROM spans"
    };
}

/// The part of an open span that appending needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenSpan {
    pub(crate) start: Position,
    pub(crate) end: Position,
    pub(crate) hash: SpanHash,
    pub(crate) incarnation: Incarnation,
    pub(crate) bytes: u64,
    /// Where its entries are: one that comes from an archive may lack its first.
    pub(crate) content: SpanContent,
}

impl OpenSpan {
    /// The sum of its row.
    pub(crate) fn sum(&self, vat: VatId) -> i64 {
        row_sum(vat, &self.row(SpanState::Open))
    }

    /// As a row.
    fn row(&self, state: SpanState) -> SpanRow {
        let OpenSpan { start, end, hash, incarnation, bytes, content } = *self;
        SpanRow { start, end, hash, incarnation, state, bytes, compressed_bytes: 0, content }
    }
}

/// One of a vat's spans.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    /// The one that ends last.
    Newest,
    /// The first of an incarnation.
    FirstOf(Incarnation),
    /// The one that begins here.
    At(Position),
}

impl Storage {
    /// All spans of `vat`, oldest first; empty for a vat that is unknown or gone.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn spans(&self, vat: VatId) -> Result<Vec<SpanRow>> {
        self.read_vat("list spans", vat, |session| Ok(spans(&session.connection, vat)?))
    }

    /// Closes the open span of `vat` and opens the next one; `None` if the open span is empty, and stays open.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for a vat that is unknown or terminated; [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn close_span(&self, vat: VatId) -> Result<Option<SpanRow>> {
        self.write("close a span", |session| {
            let closed = session.open_span(vat)?;
            if closed.start == closed.end {
                return Ok(None);
            }
            session.turn_span(vat, closed, None)?;
            self.may_have_loose_spans.store(true, Ordering::Relaxed);
            Ok(Some(closed.row(SpanState::Closed)))
        })
    }

    /// Recomputes the hashes of all spans of `vat` from its entries. Of a pruned span there is nothing to be verified, and it is
    /// counted as such.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] names the first span whose hash differs; [`Error::MissingEntry`] the first hole.
    pub fn verify_spans(&self, vat: VatId) -> Result<SpansVerified> {
        let mut verified = SpansVerified { spans: 0, pruned: 0 };
        for span in self.spans(vat)? {
            if span.content == SpanContent::Pruned {
                verified.pruned += 1;
                continue;
            }
            let hash = self
                .entries(vat, span.start, span.end)
                .try_fold(SpanHash::seed(), |hash, entry| entry.map(|(_, bytes)| hash.extended(&bytes)))?;
            if hash != span.hash {
                let (start, end) = (span.start, span.end);
                let what =
                    format!("the entries {start}..{end} of vat {vat} do not give the hash of their span");
                return Err(Error::Damaged { what });
            }
            verified.spans += 1;
        }
        Ok(verified)
    }
}

impl Session {
    /// The open span of `vat` without buffered cranks, from memory or from its row.
    pub(crate) fn open_span(&mut self, vat: VatId) -> std::result::Result<OpenSpan, Fault> {
        if let Some(span) = self.open_spans.get(&vat) {
            return Ok(*span);
        }
        let span = self
            .connection
            .prepare_cached(concat!(select_spans!(), " WHERE vat = ? AND open = 1"))?
            .query_row([vat.0], span_row)
            .optional()?
            .ok_or_else(|| Error::unknown(Kind::Vat, vat))?;
        let SpanRow { start, end, hash, incarnation, bytes, content, .. } = span;
        let span = OpenSpan { start, end, hash, incarnation, bytes, content };
        self.open_spans.put(vat, span);
        Ok(span)
    }

    /// Position of the next crank of `vat`, buffered ones included.
    pub(crate) fn next_position(&mut self, vat: VatId) -> std::result::Result<Position, Fault> {
        match self.buffer.next_position(vat) {
            Some(next) => Ok(next),
            None => Ok(self.open_span(vat)?.end),
        }
    }

    /// Closes `span`, the open one of `vat`, and opens the next.
    ///
    /// The next span has `incarnation`, or the same as before. An empty span is replaced, not closed: two spans cannot begin
    /// at one position.
    pub(crate) fn turn_span(
        &mut self,
        vat: VatId,
        span: OpenSpan,
        incarnation: Option<Incarnation>,
    ) -> std::result::Result<(), Fault> {
        if span.start == span.end {
            self.connection
                .prepare_cached("DELETE FROM spans WHERE vat = ? AND start_position = ?")?
                .execute([vat.0, span.start.0])?;
        } else {
            rewrite(&self.connection, vat, &span.row(SpanState::Closed))?;
        }
        self.insert_open_span(vat, span.end, incarnation.unwrap_or(span.incarnation))
    }

    /// Closes the open span of a vat that ends here: nothing can be appended any more.
    pub(crate) fn close_last_span(&mut self, vat: VatId) -> std::result::Result<(), Fault> {
        match self.open_span(vat) {
            Ok(span) => rewrite(&self.connection, vat, &span.row(SpanState::Closed))?,
            // An imported vat that is terminated has no span yet.
            Err(Fault::Ours(Error::Unknown { .. })) => {}
            Err(error) => return Err(error),
        }
        self.open_spans.pop(&vat);
        Ok(())
    }

    /// Opens an empty span at `start`.
    pub(crate) fn insert_open_span(
        &mut self,
        vat: VatId,
        start: Position,
        incarnation: Incarnation,
    ) -> std::result::Result<(), Fault> {
        self.open_spans.pop(&vat);
        let (hash, content) = (SpanHash::seed(), SpanContent::Plain);
        let span = OpenSpan { start, end: start, hash, incarnation, bytes: 0, content };
        Ok(insert(&self.connection, vat, &span.row(SpanState::Open))?)
    }
}

/// Keeps a new span.
pub(crate) fn insert(connection: &Connection, vat: VatId, span: &SpanRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO spans (vat, start_position, end_position, hash, incarnation, open, bytes, content, sum) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            vat.0,
            span.start.0,
            span.end.0,
            span.hash.as_str(),
            span.incarnation.0,
            span.state == SpanState::Open,
            span.bytes,
            span.content.number(),
            row_sum(vat, span)
        ])?;
    Ok(())
}

/// Writes what can change of a span that no longer grows: whether it is open, and where its entries are.
fn rewrite(connection: &Connection, vat: VatId, span: &SpanRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE spans SET open = ?, content = ?, sum = ? WHERE vat = ? AND start_position = ?",
        )?
        .execute(params![
            span.state == SpanState::Open,
            span.content.number(),
            row_sum(vat, span),
            vat.0,
            span.start.0
        ])?;
    Ok(())
}

/// Notes where the entries of a span are.
pub(crate) fn set_content(
    connection: &Connection,
    vat: VatId,
    start: Position,
    content: SpanContent,
) -> rusqlite::Result<()> {
    match one(connection, vat, Which::At(start))? {
        Some(span) if span.content != content => rewrite(connection, vat, &SpanRow { content, ..span }),
        _ => Ok(()),
    }
}

fn row_sum(vat: VatId, span: &SpanRow) -> i64 {
    let cells = [
        vat.0.into(),
        span.start.0.into(),
        span.end.0.into(),
        span.hash.as_str().into(),
        span.incarnation.0.into(),
        u64::from(span.state == SpanState::Open).into(),
        span.bytes.into(),
        span.content.number().into(),
    ];
    sum(Table::Spans, &cells)
}

/// One span of a vat, if it is there.
pub(crate) fn one(connection: &Connection, vat: VatId, which: Which) -> rusqlite::Result<Option<SpanRow>> {
    let (sql, parameter) = match which {
        Which::Newest => (
            concat!(
                select_spans!(),
                " WHERE vat = ? AND start_position >= ? ORDER BY start_position DESC LIMIT 1"
            ),
            0,
        ),
        Which::FirstOf(incarnation) => (
            concat!(select_spans!(), " WHERE vat = ? AND incarnation = ? ORDER BY start_position LIMIT 1"),
            incarnation.0.into(),
        ),
        Which::At(start) => (concat!(select_spans!(), " WHERE vat = ? AND start_position = ?"), start.0),
    };
    connection.prepare_cached(sql)?.query_row([vat.0, parameter], span_row).optional()
}

/// All spans of a vat, oldest first: each verified, and without a gap between them.
pub(crate) fn spans(connection: &Connection, vat: VatId) -> rusqlite::Result<Vec<SpanRow>> {
    let mut packed = connection.prepare_cached(
        "SELECT coalesce(sum(length(entries)), 0) FROM packs \
         WHERE vat = ? AND start_position >= ? AND start_position < ?",
    )?;
    let mut select =
        connection.prepare_cached(concat!(select_spans!(), " WHERE vat = ? ORDER BY start_position"))?;
    let mut spans: Vec<SpanRow> = Vec::new();
    for span in select.query_map([vat.0], span_row)? {
        let span = span?;
        if let Some(before) = spans.last().filter(|before| before.end != span.start) {
            let row = format!("of vat {vat} that begins at {} is not there, or", before.end);
            return Err(RowDamage { table: Table::Spans.name(), row }.into());
        }
        let compressed_bytes = packed.query_row([vat.0, span.start.0, span.end.0], |row| row.get(0))?;
        spans.push(SpanRow { compressed_bytes, ..span });
    }
    Ok(spans)
}

/// A row of [`select_spans`], verified; without the bytes of its packs.
fn span_row(row: &Row<'_>) -> rusqlite::Result<SpanRow> {
    check(row, Table::Spans, 0)?;
    Ok(SpanRow {
        start: Position(row.get(2)?),
        end: Position(row.get(3)?),
        hash: hash(row, 4)?,
        incarnation: Incarnation(row.get(5)?),
        state: if row.get(6)? { SpanState::Open } else { SpanState::Closed },
        bytes: row.get(7)?,
        compressed_bytes: 0,
        content: content(row, 8)?,
    })
}

fn content(row: &Row<'_>, column: usize) -> rusqlite::Result<SpanContent> {
    let number = row.get(column)?;
    SpanContent::of_number(number).ok_or_else(|| {
        let reason = format!("{number} is not a place of entries").into();
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Integer, reason)
    })
}

fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<SpanHash> {
    let text = row.get_ref(column)?.as_str()?;
    SpanHash::parse(text).ok_or_else(|| {
        let reason = format!("`{text}` is not a span hash").into();
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, reason)
    })
}
