//! Statements held against an archive, without a store: what a validator does who was handed both.
//!
//! ```text
//!   statement   incarnation, module, rules  = the manifest's
//!               transcript                  = the hash of the entries, if the archive has them from the beginning
//!               root                        = that of the snapshot at the position, if there is one; or what a replay leads to
//! ```

use std::io::Read;

use vat_abi::TranscriptEntry;
use vat_image::HeapRoot;
use vat_storage::{Incarnation, ModuleHash, Position, VatId, VatRow, VatStatus};

use super::manifest::VatRecord;
use super::{Archive, ArchiveError, heap_file};
use crate::attest::{Claim, ClaimDifference, TranscriptHash, hex, unhex};
use crate::era::Era;
use crate::error::Error;
use crate::page_in::kept_options;
use crate::rerun::Rerun;
use crate::warehouse::Warehouse;

/// What the heap root of a statement is compared with.
#[derive(Debug, Clone, Copy)]
pub enum RootSource<'a> {
    /// A snapshot in the archive, if there is one at the position.
    Snapshot,
    /// What a replay leads to. The warehouse lends its engine, and gets the module installed; no vat of it is touched.
    Replay(&'a Warehouse),
}

/// What was found about a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedClaim {
    /// The first way in which the claim is not so; `None` if all that was compared is.
    pub difference: Option<ClaimDifference>,
    /// Whether the heap root was compared; it is not if the archive has no snapshot at the position and nothing was replayed.
    pub root_compared: bool,
}

impl Archive {
    /// Compares what a statement claims with this archive. The signature is another matter.
    ///
    /// # Errors
    /// [`ArchiveError::Absent`]; [`Error::NoSuchPosition`] if the archive does not reach so far, [`Error::PastUnknown`] if it lacks
    /// entries before the position, [`Error::CodeGone`] if it lacks the module to be replayed; [`Error::ReplayDiffers`];
    /// whatever is wrong with an artifact.
    pub fn check_claim(&self, claim: &Claim, root: RootSource<'_>) -> Result<CheckedClaim, ArchiveError> {
        let record = self.vat(&claim.vat)?;
        let row = row_of(record);
        let kept = kept_options(&row)?;
        let (era, mut found) = claim.as_lived(&row, &kept)?;
        if let Some(difference) = claim.difference(&found) {
            return Ok(CheckedClaim { difference: Some(difference), root_compared: false });
        }
        let mut rerun = match root {
            RootSource::Snapshot => None,
            RootSource::Replay(scratch) => {
                self.lend_module(scratch, record, &era)?;
                Some(Rerun::new(&scratch.inner, &row.name, era.module, era.incarnation, kept)?)
            }
        };
        found.transcript = self.live(record, claim.position, |position, entry| match &mut rerun {
            Some(rerun) if position >= era.from => Ok(rerun.step(position, entry.to_vec())?),
            _ => Ok(()),
        })?;
        let reached = match &mut rerun {
            Some(rerun) => Some(rerun.root()),
            None => self.snapshot_root(record, &era, claim.position)?,
        };
        if let Some(root) = reached {
            found.root = root.0;
        }
        Ok(CheckedClaim { difference: claim.difference(&found), root_compared: reached.is_some() })
    }

    fn lend_module(&self, scratch: &Warehouse, record: &VatRecord, era: &Era) -> Result<(), ArchiveError> {
        let hash = era.module.to_string();
        let wasm = self
            .module(&hash)?
            .ok_or_else(|| Error::CodeGone { vat: record.name.clone(), incarnation: era.incarnation })?;
        match scratch.install(&hash, &wasm) {
            Ok(_) => Ok(()),
            Err(source) => Err(ArchiveError::Module { hash, source }),
        }
    }

    /// Hands over the entries before `to` in order; answers what they hash to.
    fn live(
        &self,
        record: &VatRecord,
        to: u64,
        mut entry: impl FnMut(u64, &[u8]) -> Result<(), ArchiveError>,
    ) -> Result<TranscriptHash, ArchiveError> {
        let (mut hash, mut next) = (TranscriptHash::seed(), 0);
        for span in record.spans.iter().filter(|span| span.start < to && span.start < span.end) {
            let Some(artifact) = &span.artifact else {
                let (vat, start, end) = (record.name.clone(), span.start, span.end);
                return Err(Error::PastUnknown { vat, start, end }.into());
            };
            self.entries(span, artifact, |line| {
                if next < to {
                    TranscriptEntry::from_canonical_json(&line).map_err(|error| {
                        let what = format!("the entry at position {next}: {error}");
                        ArchiveError::artifact(&artifact.name, what)
                    })?;
                    entry(next, &line)?;
                    hash = hash.extended(&line);
                }
                next += 1;
                Ok(())
            })?;
        }
        Ok(hash)
    }

    /// The heap root of the snapshot at a position, computed from its pages.
    fn snapshot_root(
        &self,
        record: &VatRecord,
        era: &Era,
        position: u64,
    ) -> Result<Option<HeapRoot>, ArchiveError> {
        let is_it = |at: u64, incarnation: u32| (at, incarnation) == (position, era.incarnation);
        let found = record.snapshots.iter().find(|it| is_it(it.position, it.incarnation));
        let Some(snapshot) = found else { return Ok(None) };
        let artifact = &snapshot.artifact;
        let mut input = self.verified(artifact)?.open(artifact)?;
        let root = heap_file::root(&mut input as &mut dyn Read, &artifact.name, &era.module.0)?;
        if hex(&root.0) != snapshot.root {
            let what = format!("its heap root is {root}, the manifest says {}", snapshot.root);
            return Err(ArchiveError::artifact(&artifact.name, what));
        }
        Ok(Some(root))
    }
}

/// A record as the row that it was.
fn row_of(record: &VatRecord) -> VatRow {
    VatRow {
        id: VatId(0), // Of no store.
        name: record.name.clone(),
        module: ModuleHash(unhex(&record.module).expect("checked with the manifest")),
        status: VatStatus::Alive,
        options: record.options.clone(),
        incarnation: Incarnation(record.incarnation),
        next_position: Position(record.next_position),
    }
}
