//! The spans of a vat's whole past, also of what it shares with the vats that it was forked from.
//!
//! ```text
//!   grandparent  [0,40) [40,95)│[95,…          a span that a fork begins in is cut there,
//!   parent                     └[60,80)│[80,…  and the cut one has a hash of its own
//!   vat                                └[80,97) open
//!   flattened    [0,40) [40,60) [60,80) [80,97)
//! ```

use vat_storage::{Position, SpanHash, SpanRow, SpanState, Storage, VatId, VatRow};

use crate::era::Era;
use crate::options::KeptOptions;

/// A span as an archive has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PastSpan {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) incarnation: u32,
    /// `None` for one that a fork cut: nobody kept its hash.
    pub(crate) hash: Option<SpanHash>,
    /// Bytes of its entries, if it has a hash.
    pub(crate) bytes: u64,
    pub(crate) state: SpanState,
}

impl From<SpanRow> for PastSpan {
    fn from(row: SpanRow) -> PastSpan {
        PastSpan {
            start: row.start.0,
            end: row.end.0,
            incarnation: row.incarnation.0,
            hash: Some(row.hash),
            bytes: row.bytes,
            state: row.state,
        }
    }
}

/// All spans of a vat from position 0 on, oldest first.
pub(crate) fn past(
    storage: &Storage,
    row: &VatRow,
    kept: &KeptOptions,
) -> Result<Vec<PastSpan>, vat_storage::Error> {
    let eras = Era::all(row, kept, row.next_position.0);
    let mut past = Vec::new();
    let (mut vat, mut end) = (row.id, u64::MAX);
    loop {
        let spans = storage.spans(vat)?;
        let own = spans.into_iter().map(PastSpan::from).filter(|span| span.start < end || end == u64::MAX);
        let mut own: Vec<PastSpan> = own.collect();
        if let Some(last) = own.last_mut().filter(|last| last.end > end) {
            (last.end, last.hash) = (end, None);
        }
        own.iter_mut().filter(|_| end != u64::MAX).for_each(|span| span.state = SpanState::Closed);
        let origin = storage.origin(vat)?;
        let reaches = own.last().map_or(0, |span| span.end);
        if end != u64::MAX && reaches < end {
            // A terminated ancestor: its entries are kept for the fork, its spans are not.
            let start = origin.map_or(0, |origin| origin.position.0);
            own = eras.iter().filter_map(|era| lost(era, start, end)).collect();
        }
        past.splice(0..0, own);
        match origin {
            Some(origin) => (vat, end) = (origin.parent, origin.position.0),
            None => return Ok(past),
        }
    }
}

/// The part of an incarnation within a stretch whose spans are not known.
fn lost(era: &Era, start: u64, end: u64) -> Option<PastSpan> {
    let (start, end) = (era.from.max(start), era.to.min(end));
    let incarnation = era.incarnation;
    (start < end).then_some(PastSpan {
        start,
        end,
        incarnation,
        hash: None,
        bytes: 0,
        state: SpanState::Closed,
    })
}

/// The hash of entries as one span, and their bytes, read anew.
pub(crate) fn hash_of(
    storage: &Storage,
    vat: VatId,
    start: u64,
    end: u64,
) -> Result<(SpanHash, u64), vat_storage::Error> {
    let mut entries = storage.entries(vat, Position(start), Position(end));
    entries.try_fold((SpanHash::seed(), 0), |(hash, bytes), entry| {
        entry.map(|(_, entry)| (hash.extended(&entry), bytes + entry.len() as u64))
    })
}
