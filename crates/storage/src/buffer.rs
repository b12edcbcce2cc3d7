//! The crank buffer: what cranks wrote since the last flush, in memory.
//!
//! ```text
//!   append_crank ──► vat 3: entries 40 41 42, keys {a: "1", b: deleted} ─┐ flush, in the order of the vats:
//!                    vat 7: entries 9,        keys {a: "5"}              ├─► entries, span row once, keys once
//!                                                                        ┘
//! ```
//!
//! Invariants: what is in here was checked and can only fail for the host's reasons; a vat in here is alive, and its span is
//! the open one; an open transaction is under it, so that a flush never waits for the file's lock. A flush writes all of it or
//! stops the storage. The buffer is bounded: a crank that fills it flushes it.
//!
//! Not here: when to flush ([`Session`]), and any write to SQLite that is not a crank's.

use std::collections::BTreeMap;
use std::ops::Bound;

use rusqlite::{Connection, params};

use crate::error::{Error, Fault};
use crate::id::{Position, VatId};
use crate::session::Session;
use crate::span::OpenSpan;
use crate::span_policy::SpanPolicy;
use crate::transcript::{CrankRecord, entry_sum};
use crate::vatstore::row_sum;

/// Cranks after which the buffer is flushed.
const CRANKS_MAX: usize = 4_096;
/// Bytes of entries, keys and values after which the buffer is flushed.
const BYTES_MAX: usize = 4 << 20;

/// What a vat's cranks wrote to a key: a value, or `None` if they deleted it.
type Written = Option<String>;

/// The cranks that SQLite does not have yet.
#[derive(Debug, Default)]
pub(crate) struct CrankBuffer {
    vats: BTreeMap<VatId, VatCranks>,
    cranks: usize,
    bytes: usize,
}

/// The buffered cranks of one vat.
#[derive(Debug)]
struct VatCranks {
    /// The open span as its row has it: before the entries below.
    span: OpenSpan,
    /// All entries, one after the other, and where each ends.
    entries: Vec<u8>,
    ends: Vec<usize>,
    keys: BTreeMap<String, Written>,
}

impl CrankBuffer {
    pub(crate) fn is_empty(&self) -> bool {
        self.vats.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.cranks >= CRANKS_MAX || self.bytes >= BYTES_MAX
    }

    pub(crate) fn holds(&self, vat: VatId) -> bool {
        self.vats.contains_key(&vat)
    }

    pub(crate) fn clear(&mut self) {
        *self = CrankBuffer::default();
    }

    /// Position of the next crank of `vat`, if it has cranks in here.
    pub(crate) fn next_position(&self, vat: VatId) -> Option<Position> {
        self.vats.get(&vat).map(VatCranks::next)
    }

    /// Whether the open span of `vat` is full with what is in here.
    pub(crate) fn fills_span(&self, vat: VatId, policy: SpanPolicy) -> bool {
        self.vats.get(&vat).is_some_and(|cranks| {
            let bytes = cranks.span.bytes + cranks.entries.len() as u64;
            policy.is_full(cranks.next().0 - cranks.span.start.0, bytes)
        })
    }

    /// What was written to `key`; `None` if nothing was.
    pub(crate) fn written(&self, vat: VatId, key: &str) -> Option<&Written> {
        self.vats.get(&vat)?.keys.get(key)
    }

    /// The first key after `prior` that has a value in here.
    pub(crate) fn next_key(&self, vat: VatId, prior: &str) -> Option<&str> {
        let after = (Bound::Excluded(prior), Bound::Unbounded);
        let mut keys = self.vats.get(&vat)?.keys.range::<str, _>(after);
        keys.find(|(_, value)| value.is_some()).map(|(key, _)| key.as_str())
    }

    /// Takes a crank of a vat whose open span is `span` without what is in here; returns its position.
    pub(crate) fn add(&mut self, crank: &CrankRecord<'_>, span: OpenSpan) -> Position {
        let cranks = self.vats.entry(crank.vat).or_insert_with(|| VatCranks::new(span));
        let position = cranks.next();
        cranks.entries.extend_from_slice(crank.entry);
        cranks.ends.push(cranks.entries.len());
        self.bytes += crank.entry.len();
        for (key, value) in crank.vatstore {
            self.bytes += key.len() + value.map_or(0, str::len);
            let value = value.map(str::to_owned);
            match cranks.keys.get_mut(*key) {
                Some(written) => *written = value,
                None => drop(cranks.keys.insert((*key).to_owned(), value)),
            }
        }
        self.cranks += 1;
        position
    }
}

impl VatCranks {
    fn new(span: OpenSpan) -> VatCranks {
        VatCranks { span, entries: Vec::new(), ends: Vec::new(), keys: BTreeMap::new() }
    }

    fn next(&self) -> Position {
        Position(self.span.end.0 + self.ends.len() as u64)
    }

    /// Writes everything; the span as it is then.
    fn write(&self, connection: &Connection, vat: VatId) -> Result<OpenSpan, Fault> {
        let mut span = self.span;
        let mut insert = connection
            .prepare_cached("INSERT INTO transcript (vat, position, entry, sum) VALUES (?, ?, ?, ?)")?;
        let mut start = 0;
        for end in &self.ends {
            let entry = &self.entries[start..*end];
            insert.execute(params![vat.0, span.end.0, entry, entry_sum(vat, span.end, entry)])?;
            span.hash = span.hash.extended(entry);
            span.end = span.end.next();
            start = *end;
        }
        span.bytes += self.entries.len() as u64;
        let found = connection
            .prepare_cached(
                "UPDATE spans SET end_position = ?, hash = ?, bytes = ?, sum = ? WHERE vat = ? AND start_position = ?",
            )?
            .execute(params![
                span.end.0,
                span.hash.as_str(),
                span.bytes,
                span.sum(vat),
                vat.0,
                span.start.0
            ])?;
        if found == 0 {
            let what = format!("the open span of vat {vat}, from position {}, is not there", span.start);
            return Err(Error::Damaged { what }.into());
        }
        self.write_keys(connection, vat)?;
        Ok(span)
    }

    fn write_keys(&self, connection: &Connection, vat: VatId) -> rusqlite::Result<()> {
        let mut set = connection.prepare_cached(
            "INSERT INTO vatstore (vat, key, value, sum) VALUES (?, ?, ?, ?) \
             ON CONFLICT DO UPDATE SET value = excluded.value, sum = excluded.sum",
        )?;
        let mut delete = connection.prepare_cached("DELETE FROM vatstore WHERE vat = ? AND key = ?")?;
        for (key, value) in &self.keys {
            match value {
                Some(value) => set.execute(params![vat.0, key, value, row_sum(vat, key, value)])?,
                None => delete.execute(params![vat.0, key])?,
            };
        }
        Ok(())
    }
}

impl Session {
    /// Writes the buffered cranks into the open transaction. If that fails, some of them may be written: the caller stops the
    /// storage.
    pub(crate) fn write_buffer(&mut self) -> Result<(), Fault> {
        let buffer = std::mem::take(&mut self.buffer);
        for (vat, cranks) in &buffer.vats {
            let span = cranks.write(&self.connection, *vat)?;
            self.open_spans.put(*vat, span);
        }
        Ok(())
    }
}
