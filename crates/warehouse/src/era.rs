//! Eras: which code answered which of a vat's deliveries.
//!
//! ```text
//!   positions    0 ─────────── 7 ─────────── 19 ───────── now
//!   incarnation  0             1             2
//!   module       counter v1    counter v2    counter v2 (again)
//! ```
//!
//! A replay never crosses from one era into the next: each begins with the birth of its own module.

use vat_storage::{Incarnation, ModuleHash, VatRow};

use crate::options::KeptOptions;

/// The deliveries that one incarnation answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Era {
    pub(crate) incarnation: u32,
    pub(crate) module: ModuleHash,
    /// Position of its first delivery.
    pub(crate) from: u64,
    /// The position after its last.
    pub(crate) to: u64,
}

impl Era {
    /// Those of a vat up to `end`, oldest first; the last is the living one.
    pub(crate) fn all(row: &VatRow, kept: &KeptOptions, end: u64) -> Vec<Era> {
        let past = kept.past.iter().map(|past| (past.since, past.module));
        let begun: Vec<(u64, ModuleHash)> = past.chain([(kept.since, row.module)]).collect();
        let ends = begun.iter().skip(1).map(|(since, _)| *since).chain([end]);
        let eras = (0..).zip(begun.iter().zip(ends));
        eras.map(|(incarnation, (&(from, module), to))| Era { incarnation, module, from, to }).collect()
    }

    /// The one in which the delivery at `position` was answered.
    pub(crate) fn of(row: &VatRow, kept: &KeptOptions, position: u64) -> Era {
        let eras = Era::all(row, kept, row.next_position.0);
        *eras.iter().rev().find(|era| era.from <= position).unwrap_or(&eras[0])
    }

    /// The vat's row as it was at the end of this era.
    pub(crate) fn row(&self, row: &VatRow) -> VatRow {
        let incarnation = Incarnation(self.incarnation);
        VatRow { incarnation, module: self.module, ..row.clone() }
    }
}
