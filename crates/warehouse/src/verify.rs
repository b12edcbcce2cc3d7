//! Verification: a vat's whole transcript is replayed from birth beside its stored state, and the two are compared.
//!
//! Each incarnation is replayed from the birth of its own module. Of those that upgrades ended, only the transcript is left to be
//! compared; their deliveries are passed over, and counted, if their module was deleted or their entries were pruned. What vat
//! storage should hold is known only if no entry was pruned. The replay starts from the module's own code, not from its birth image, and runs every delivery, the faulted ones too (on
//! a copy, since a fault leaves an instance that cannot go on). Equal means: every syscall, outcome and computron count is as
//! recorded, and the heap's bytes and globals at the end are those of the vat as the warehouse would page it in. Nothing is
//! changed by it.

use std::fmt;

use vat_engine::VatInstance;
use vat_storage::{ModuleHash, Position, SpanContent, SpanRow, VatId, VatRow};

use crate::era::Era;
use crate::error::Error;
use crate::options::KeptOptions;
use crate::page_in::{check_alive, crank_context, kept_options};
use crate::replay::{Divergence, recorded, replay_delivery};
use crate::residency::Resident;
use crate::warehouse::Inner;

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Deliveries that were replayed.
    pub deliveries: u64,
    /// Computrons they used.
    pub computrons: u64,
    /// Deliveries of older incarnations that were not replayed, since their modules or their entries are gone.
    pub passed_over: u64,
    /// Bytes of heap that were compared.
    pub heap_bytes: u64,
    /// What was found.
    pub verdict: Verdict,
}

/// Whether replay and stored state are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// They are.
    Identical,
    /// The replay differs from the transcript.
    Diverged(Divergence),
    /// The replay went as recorded, but led to another state.
    StateDiffers(StateDifference),
}

/// The first difference between two states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateDifference {
    /// The memories have different sizes.
    Size {
        /// Bytes of the stored one.
        stored: usize,
        /// Bytes of the replayed one.
        replayed: usize,
    },
    /// A byte differs.
    Byte {
        /// Its address.
        address: usize,
        /// In the stored state.
        stored: u8,
        /// In the replayed state.
        replayed: u8,
        /// 4 KiB pages that differ, this one included.
        pages: usize,
    },
    /// A mutable global differs.
    Globals,
    /// Vat storage does not hold what the recorded syscalls wrote.
    Storage {
        /// The first key that differs.
        key: String,
        /// Keys that differ, this one included.
        keys: usize,
    },
}

impl Verdict {
    /// Whether it is [`Verdict::Identical`].
    pub fn is_identical(&self) -> bool {
        matches!(self, Verdict::Identical)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Identical => f.write_str("identical"),
            Verdict::Diverged(divergence) => write!(f, "different at {divergence}"),
            Verdict::StateDiffers(StateDifference::Size { stored, replayed }) => {
                write!(f, "different: the stored heap has {stored} bytes, the replayed one {replayed}")
            }
            Verdict::StateDiffers(StateDifference::Byte { address, stored, replayed, pages }) => write!(
                f,
                "different: {pages} pages, first at address {address:#x} (stored {stored:#04x}, replayed {replayed:#04x})"
            ),
            Verdict::StateDiffers(StateDifference::Globals) => f.write_str("different: globals"),
            Verdict::StateDiffers(StateDifference::Storage { key, keys }) => {
                write!(f, "different: {keys} keys of vat storage, first {key:?}")
            }
        }
    }
}

impl Inner {
    /// See [`Warehouse::verify`](crate::Warehouse::verify).
    pub(crate) fn verify(&self, vat: VatId, resident: &mut Resident) -> Result<Verification, Error> {
        let row = self.storage.vat(vat)?;
        check_alive(&row)?;
        let kept = kept_options(&row)?;
        let mut verification = Verification {
            deliveries: 0,
            computrons: 0,
            passed_over: 0,
            heap_bytes: 0,
            verdict: Verdict::Identical,
        };
        let mut eras = Era::all(&row, &kept, resident.next);
        let now = eras.pop().expect("a vat has an incarnation");
        let mut has_holes = false;
        for era in eras {
            let is_pruned = self.is_pruned(&row, &era)?;
            has_holes |= is_pruned;
            if is_pruned || self.is_gone(era.module)? {
                verification.passed_over += era.to - era.from;
            } else if let Err(divergence) = self.replay_era(&row, &kept, &era, &mut verification)? {
                verification.verdict = Verdict::Diverged(divergence);
                return Ok(verification);
            }
        }
        match self.replay_era(&row, &kept, &now, &mut verification)? {
            Ok(mut replayed) => {
                verification.heap_bytes = resident.instance.heap().len() as u64;
                verification.verdict = compare(&mut resident.instance, &mut replayed);
            }
            Err(divergence) => verification.verdict = Verdict::Diverged(divergence),
        }
        if verification.verdict.is_identical() {
            let has_holes = self.storage.verify_spans(vat)?.pruned > 0 || has_holes;
            // The keys that only pruned entries tell of cannot be told from wrong ones.
            let keys = if has_holes { Vec::new() } else { self.differing_keys(&row)? };
            if let Some(key) = keys.first() {
                let difference = StateDifference::Storage { key: key.clone(), keys: keys.len() };
                verification.verdict = Verdict::StateDiffers(difference);
            }
        }
        Ok(verification)
    }

    /// Whether entries of an incarnation are gone on purpose: the vat's own, or those of a past that it shares as a fork.
    pub(crate) fn is_pruned(&self, row: &VatRow, era: &Era) -> Result<bool, Error> {
        let is_of = |span: &SpanRow| span.start.0 < era.to && span.end.0 > era.from;
        let spans = self.storage.spans(row.id)?;
        if spans.iter().any(|span| is_of(span) && span.content == SpanContent::Pruned) {
            return Ok(true);
        }
        match self.storage.entries(row.id, Position(era.from), Position(era.to)).next() {
            Some(Err(vat_storage::Error::Pruned { .. })) => Ok(true),
            // An ancestor that was terminated has no spans left that could tell of it.
            Some(Err(vat_storage::Error::MissingEntry { .. })) => Ok(self.storage.origin(row.id)?.is_some()),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(_)) | None => Ok(false),
        }
    }

    /// Whether a module was deleted: what an older incarnation ran may be.
    pub(crate) fn is_gone(&self, module: ModuleHash) -> Result<bool, Error> {
        match self.storage.module_row(module) {
            Ok(_) => Ok(false),
            Err(vat_storage::Error::Unknown { .. }) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Replays one incarnation from the birth of its module: the instance at its end, or how it differed.
    fn replay_era(
        &self,
        row: &VatRow,
        kept: &KeptOptions,
        era: &Era,
        verification: &mut Verification,
    ) -> Result<Result<VatInstance, Divergence>, Error> {
        let module = self.module(era.module)?;
        let mut replayed = VatInstance::birth(&self.engine, &module, kept.options.memory_pages_max)?;
        for read in self.storage.entries(row.id, Position(era.from), Position(era.to)) {
            let (position, entry) = read?;
            let entry = recorded(&row.name, position.0, entry)?;
            let computrons = entry.computrons().0;
            let context = crank_context(&replayed, kept, era.incarnation, position.0, entry.time_ns());
            let divergence = if entry.outcome().fault().is_some() {
                let mut copy = replayed.duplicate(&self.engine)?;
                replay_delivery(&mut copy, &row.name, position.0, entry, &context)?
            } else {
                replay_delivery(&mut replayed, &row.name, position.0, entry, &context)?
            };
            verification.deliveries += 1;
            verification.computrons = verification.computrons.saturating_add(computrons);
            if let Some(divergence) = divergence {
                return Ok(Err(divergence));
            }
        }
        Ok(Ok(replayed))
    }
}

/// Compares all state there is.
fn compare(stored: &mut VatInstance, replayed: &mut VatInstance) -> Verdict {
    let (a, b) = (stored.heap(), replayed.heap());
    if a.len() != b.len() {
        return Verdict::StateDiffers(StateDifference::Size { stored: a.len(), replayed: b.len() });
    }
    if a != b {
        return Verdict::StateDiffers(first_difference(a, b));
    }
    if stored.globals() != replayed.globals() {
        return Verdict::StateDiffers(StateDifference::Globals);
    }
    Verdict::Identical
}

fn first_difference(a: &[u8], b: &[u8]) -> StateDifference {
    let pages = a.chunks(4096).zip(b.chunks(4096)).filter(|(x, y)| x != y).count();
    let address = a.iter().zip(b).position(|(x, y)| x != y).expect("the slices differ");
    StateDifference::Byte { address, stored: a[address], replayed: b[address], pages }
}
