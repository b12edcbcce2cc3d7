//! The spans of a vat's whole past, also of what it shares with the vats that it was forked from.
//!
//! ```text
//!   grandparent  [0,40) [40,95)│[95,…          a span that a fork begins in is cut there,
//!   parent                     └[60,80)│[80,…  and the cut one has a hash of its own
//!   vat                                └[80,97) open
//!   flattened    [0,40) [40,60) [60,80) [80,97)
//! ```

use vat_storage::{Incarnation, Position, SpanHash, SpanRow, SpanState, Storage, VatId, VatRow};

/// A span as an archive has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PastSpan {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) incarnation: u32,
    /// `None` for one that a fork cut: nobody kept its hash.
    pub(crate) hash: Option<SpanHash>,
    pub(crate) state: SpanState,
}

impl From<SpanRow> for PastSpan {
    fn from(row: SpanRow) -> PastSpan {
        PastSpan {
            start: row.start.0,
            end: row.end.0,
            incarnation: row.incarnation.0,
            hash: Some(row.hash),
            state: row.state,
        }
    }
}

/// All spans of a vat from position 0 on, oldest first.
pub(crate) fn past(storage: &Storage, row: &VatRow) -> Result<Vec<PastSpan>, vat_storage::Error> {
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
            let incarnation = row.incarnation.0;
            own = vec![PastSpan { start, end, incarnation, hash: None, state: SpanState::Closed }];
        }
        past.splice(0..0, own);
        match origin {
            Some(origin) => (vat, end) = (origin.parent, origin.position.0),
            None => return Ok(past),
        }
    }
}

/// Where the vat's present incarnation began.
pub(crate) fn first_of_incarnation(spans: &[PastSpan], incarnation: Incarnation) -> u64 {
    spans.iter().find(|span| span.incarnation == incarnation.0).map_or(0, |span| span.start)
}

/// The hash of entries as one span, read anew.
pub(crate) fn hash_of(
    storage: &Storage,
    vat: VatId,
    start: u64,
    end: u64,
) -> Result<SpanHash, vat_storage::Error> {
    let mut entries = storage.entries(vat, Position(start), Position(end));
    entries.try_fold(SpanHash::seed(), |hash, entry| entry.map(|(_, bytes)| hash.extended(&bytes)))
}
