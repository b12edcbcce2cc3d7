//! Transcripts at rest: compressing them, and pruning what the retention level does not keep.
//!
//! ```text
//!   deliver … deliver ── span full ──► commit ──► background: compress a pack ──► … ──► durable with the next commit
//!                       snapshot durable ──► commit: prune what it covers, a bounded number of rows
//! ```
//!
//! Before entries go, what they hash to is kept, so that a host that prunes can still say what a vat's whole past is
//! ([`anchor`](crate::anchor)).
//!
//! Invariant: neither commits. Pruning becomes durable together with the row of the snapshot that allows it. Not here: what
//! may be pruned, and checking what comes back (vat-storage's).

use vat_storage::{Compressed, Retention, VatId, VatRow};

use crate::anchor::keep_anchor_for;
use crate::canary::Canary;
use crate::error::Error;
use crate::name::VatName;
use crate::warehouse::{Inner, Warehouse};

/// Rows that one commit prunes for each vat that has a new durable snapshot: more than come in between two of them.
const PRUNE_ROWS_PER_SNAPSHOT: usize = 1_024;
/// Rows that pruning by hand deletes while others wait.
const PRUNE_ROWS_PER_STEP: usize = 10_000;

/// What closes a span of a transcript.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SpanClosing {
    /// The policy alone: two hosts that have the same one have equal spans.
    #[default]
    Policy,
    /// A durable snapshot, too, so that what it covers can soon be pruned.
    PolicyAndSnapshots,
}

impl Warehouse {
    /// Compresses the entries of all closed spans now; durable after the next commit. Otherwise it happens in the background.
    ///
    /// # Errors
    /// If the store fails.
    pub fn compress_transcripts(&self) -> Result<Compressed, Error> {
        let mut sum = Compressed::default();
        while !sum.done {
            let step = self.inner.storage.compress()?;
            sum.entries += step.entries;
            sum.bytes_before += step.bytes_before;
            sum.bytes_after += step.bytes_after;
            sum.done = step.done;
        }
        Ok(sum)
    }

    /// Prunes all that the warehouse's retention level does not keep of the vat's transcript; durable after the next commit.
    /// Answers how many rows were deleted. Where a snapshot is to take the place of entries, it is read whole before they go.
    ///
    /// # Errors
    /// [`Error::UnknownVat`]; [`Error::Uncovered`], and then nothing was pruned; if the level keeps everything, or the store fails.
    pub fn prune(&self, name: &VatName) -> Result<u64, Error> {
        let row = self.vat(name)?;
        self.inner.check_covered(&row)?;
        let mut rows = 0;
        loop {
            let steps = self.inner.steps();
            keep_anchor_for(&self.inner.storage, row.id, self.inner.retention)?;
            let level = match self.inner.has(Canary::PrunesTooMuch) {
                true => Retention::Operational,
                false => self.inner.retention,
            };
            let step = self.inner.storage.prune(row.id, level, PRUNE_ROWS_PER_STEP)?;
            drop(steps);
            rows += step.rows as u64;
            if step.done {
                return Ok(rows);
            }
        }
    }

    /// What the warehouse keeps of transcripts.
    pub fn retention(&self) -> Retention {
        self.inner.retention
    }
}

impl Inner {
    /// Fails if the vat needs entries that the level would have pruned, since the snapshots that should stand for them cannot be used.
    fn check_covered(&self, row: &VatRow) -> Result<(), Error> {
        if self.retention > Retention::Operational {
            return Ok(()); // Nothing goes that the current incarnation needs.
        }
        let Some(before) = self.storage.prunable_before(row.id, self.retention)? else { return Ok(()) };
        match self.needed_from(row)? >= before {
            true => Ok(()),
            false => Err(Error::Uncovered { vat: row.name.clone(), before: before.0 }),
        }
    }

    /// Prunes what snapshots cover that become durable with the open transaction: they were made of what was in memory a moment ago, and are
    /// not read again.
    pub(crate) fn prune_behind(&self, vats: &[VatId]) -> Result<(), Error> {
        if self.retention > Retention::Replay {
            return Ok(());
        }
        for vat in vats {
            keep_anchor_for(&self.storage, *vat, self.retention)?;
            self.storage.prune(*vat, self.retention, PRUNE_ROWS_PER_SNAPSHOT)?;
        }
        Ok(())
    }

    /// One step in the background.
    pub(crate) fn compress_step(&self) -> Result<(), Error> {
        if !self.storage.compress()?.done {
            self.snapshots.compress_soon();
        }
        Ok(())
    }
}
