//! Bringing a vat into memory: the newest usable state, then a replay of the transcript written since.
//!
//! ```text
//!   state in memory ─ unreadable ► newest snapshot ─ unreadable ► older one ─ … ► birth image ─ … ► birth
//!        │                              │
//!        └── restore ── replay position.. ── resident
//! ```
//!
//! Each step down is logged and counted and costs a longer replay, never a wrong answer. A delivery that was recorded as
//! faulted had no effect on the heap and is passed over. *Birth* is that of the vat's incarnation: nothing before its
//! `startVat` is replayed, and no snapshot of an older one is used.

use std::ops::Range;

use vat_abi::TranscriptEntry;
use vat_engine::{CrankContext, HeapState, VatInstance, VatModule};
use vat_image::{FaultContext, PageNo};
use vat_storage::{ModuleHash, Position, VatId, VatRow, VatStatus};

use crate::canary::Canary;
use crate::config::Verify;
use crate::error::Error;
use crate::options::KeptOptions;
use crate::replay::{Divergence, recorded, replay_delivery};
use crate::residency::Resident;
use crate::snapshots::{Parked, Saved};
use crate::warehouse::Inner;

/// Whether a replay goes on after a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Next,
    /// It ends here.
    Leave,
}

/// A vat that was brought into memory step by step.
#[derive(Debug)]
pub(crate) enum PagedIn {
    /// As it is now.
    Whole(Resident),
    /// As it was before the delivery at which the replay was left, which is its `next`. Good for a snapshot, not for a delivery.
    Until(Resident),
}

impl Inner {
    /// Brings the vat into memory. The caller holds its cell.
    pub(crate) fn page_in(&self, vat: VatId) -> Result<Resident, Error> {
        if let Some(resident) = self.page_in_parked(vat) {
            self.counters.page_ins.add(1);
            return Ok(resident);
        }
        match self.page_in_stepwise(vat, &mut |_| Step::Next)? {
            PagedIn::Whole(resident) => {
                self.counters.page_ins.add(1);
                Ok(resident)
            }
            PagedIn::Until(_) => unreachable!("every step was to go on"),
        }
    }

    /// Brings the vat into memory, asking `step` after every replayed delivery, which is told the delivery's computrons.
    pub(crate) fn page_in_stepwise(
        &self,
        vat: VatId,
        step: &mut dyn FnMut(u64) -> Step,
    ) -> Result<PagedIn, Error> {
        let row = self.storage.vat(vat)?;
        if !self.has(Canary::ServesTheQuarantined) {
            check_alive(&row)?;
        }
        let kept = kept_options(&row)?;
        let _touching = FaultContext::enter(&label(&row.name));
        let module = self.module(row.module)?;
        let (mut instance, from) = self.restore_newest(&row, &kept, &module)?;
        let (next, unsaved) =
            match self.replay_stepwise(&row, &kept, &mut instance, from..row.next_position.0, step)? {
                Ok(replayed) => replayed,
                Err(divergence) => return Err(self.quarantine(&row, divergence)),
            };
        let label = label(&row.name);
        let incarnation = row.incarnation.0;
        let resident =
            Resident { label, instance, kept, incarnation, next, captured: from, unsaved, touched: None };
        Ok(if next == row.next_position.0 { PagedIn::Whole(resident) } else { PagedIn::Until(resident) })
    }

    /// Goes on with a vat that was brought into memory up to a delivery, as long as nobody upgraded it since. The caller holds its
    /// cell.
    pub(crate) fn page_in_further(
        &self,
        vat: VatId,
        mut resident: Resident,
        step: &mut dyn FnMut(u64) -> Step,
    ) -> Result<PagedIn, Error> {
        let row = self.storage.vat(vat)?;
        check_alive(&row)?;
        if row.incarnation.0 != resident.incarnation {
            return self.page_in_stepwise(vat, step);
        }
        let _touching = FaultContext::enter(&resident.label);
        let kept = resident.kept.clone();
        let deliveries = resident.next..row.next_position.0;
        match self.replay_stepwise(&row, &kept, &mut resident.instance, deliveries, step)? {
            Ok((next, computrons)) => {
                resident.next = next;
                resident.unsaved = resident.unsaved.saturating_add(computrons);
            }
            Err(divergence) => return Err(self.quarantine(&row, divergence)),
        }
        let is_whole = resident.next == row.next_position.0;
        Ok(if is_whole { PagedIn::Whole(resident) } else { PagedIn::Until(resident) })
    }

    /// The vat as it was when it was evicted, if that is still known and there is nothing to replay: without a look into the
    /// store. Whatever goes wrong here goes the long way.
    fn page_in_parked(&self, vat: VatId) -> Option<Resident> {
        let (parked, saved) = self.snapshots.unpark(vat)?;
        let Parked { label, kept, incarnation, next, module } = parked;
        let _touching = FaultContext::enter(&label);
        let module = self.module(module).ok()?;
        let instance = self.restore(&kept, &module, &saved.state).ok()?;
        let touched = Some(saved.touched);
        Some(Resident { label, instance, kept, incarnation, next, captured: next, unsaved: 0, touched })
    }

    /// An instance from the newest state that can be used, and the position up to which it has lived.
    fn restore_newest(
        &self,
        row: &VatRow,
        kept: &KeptOptions,
        module: &VatModule,
    ) -> Result<(VatInstance, u64), Error> {
        let fits =
            |saved: &Saved| saved.incarnation == row.incarnation.0 && saved.position <= row.next_position.0;
        if let Some(saved) = self.snapshots.newest(row.id).filter(fits) {
            match self.restore(kept, module, &saved.state) {
                Ok(instance) => return Ok((instance, saved.position)),
                Err(error) => self.fall_back(row, saved.position, &error),
            }
            self.snapshots.forget(row.id);
        }
        let (snapshots, damaged) = self.storage.snapshots_and_damaged(row.id)?;
        self.counters.fallbacks.add(damaged);
        for snapshot in snapshots {
            if snapshot.incarnation != row.incarnation {
                continue; // A heap of code that was replaced.
            }
            let loaded = self.snapshots.load(&snapshot).map_err(|error| error.to_string());
            let restored = loaded.and_then(|saved| match fits(&saved) {
                true => {
                    self.restore_cold(kept, module, &saved).map(|i| (i, saved)).map_err(|e| e.to_string())
                }
                false => Err("it is ahead of the transcript".to_owned()),
            });
            match restored {
                Ok((instance, saved)) => {
                    let position = saved.position;
                    self.snapshots.remember(row.id, saved);
                    return Ok((instance, position));
                }
                Err(error) => self.fall_back(row, snapshot.position.0, &error),
            }
        }
        Ok((self.born(row.module, kept, module)?, kept.since))
    }

    /// A new instance of a module, as it is after birth.
    pub(crate) fn born(
        &self,
        hash: ModuleHash,
        kept: &KeptOptions,
        module: &VatModule,
    ) -> Result<VatInstance, Error> {
        if let Some(state) = self.birth_state(hash)? {
            match self.restore(kept, module, &state) {
                Ok(instance) => return Ok(instance),
                Err(Error::Engine(vat_engine::Error::MemoryLimitTooLow { needed, limit })) => {
                    return Err(vat_engine::Error::MemoryLimitTooLow { needed, limit }.into());
                }
                Err(error) => tracing::warn!(module = %hash, %error, "the birth image cannot be used"),
            }
            self.counters.fallbacks.add(1);
        }
        Ok(VatInstance::birth(&self.engine, module, kept.options.memory_pages_max)?)
    }

    /// The module's state after birth, if it can be read.
    fn birth_state(&self, hash: ModuleHash) -> Result<Option<HeapState>, Error> {
        if let Some(state) = self.births().get(&hash) {
            return Ok(Some(state.clone()));
        }
        let Some(descriptor) = self.storage.module_row(hash)?.birth else {
            return Ok(None);
        };
        match self.snapshots.state(&descriptor) {
            Ok(state) => {
                self.births().put(hash, state.clone());
                Ok(Some(state))
            }
            Err(error) => {
                tracing::warn!(module = %hash, %error, "the birth image cannot be used");
                self.counters.fallbacks.add(1);
                Ok(None)
            }
        }
    }

    /// Restores what was just read from the store: its pages may be on disk only. Those that the vat will touch are asked for at
    /// once, and verified: what is mapped is not compared with anything later.
    pub(crate) fn restore_cold(
        &self,
        kept: &KeptOptions,
        module: &VatModule,
        saved: &Saved,
    ) -> Result<VatInstance, Error> {
        let image = &saved.state.image;
        image.prefetch(&saved.touched);
        self.counters.prefetched.add(saved.touched.len().into());
        match self.config.verify {
            Verify::Nothing => {}
            Verify::WorkingSet => image.verify(saved.touched.pages())?,
            Verify::Everything => image.verify((0..image.size_pages()).map(PageNo))?,
        }
        self.restore(kept, module, &saved.state)
    }

    fn restore(
        &self,
        kept: &KeptOptions,
        module: &VatModule,
        state: &HeapState,
    ) -> Result<VatInstance, Error> {
        Ok(VatInstance::restore(&self.engine, module, kept.options.memory_pages_max, state)?)
    }

    pub(crate) fn fall_back(&self, row: &VatRow, position: u64, error: &dyn std::fmt::Display) {
        self.counters.fallbacks.add(1);
        tracing::warn!(vat = %row.name, position, %error, "a snapshot cannot be used; falling back to an older state");
    }

    /// Replays deliveries: how that differed from the record, if it did.
    pub(crate) fn replay(
        &self,
        row: &VatRow,
        kept: &KeptOptions,
        instance: &mut VatInstance,
        deliveries: Range<u64>,
    ) -> Result<Option<Divergence>, Error> {
        Ok(self.replay_stepwise(row, kept, instance, deliveries, &mut |_| Step::Next)?.err())
    }

    /// Replays deliveries until `step` leaves: the position reached and the computrons of what was run, or how the replay
    /// differed.
    fn replay_stepwise(
        &self,
        row: &VatRow,
        kept: &KeptOptions,
        instance: &mut VatInstance,
        deliveries: Range<u64>,
        step: &mut dyn FnMut(u64) -> Step,
    ) -> Result<Result<(u64, u64), Divergence>, Error> {
        let (mut reached, mut computrons) = (deliveries.start, 0u64);
        for read in self.storage.entries(row.id, Position(deliveries.start), Position(deliveries.end)) {
            let (position, entry) = read?;
            let entry = recorded(&row.name, position.0, entry)?;
            self.counters.replayed.add(1);
            reached = position.0 + 1;
            if entry.outcome().fault().is_some() || self.has(Canary::SkipsADelivery) {
                continue;
            }
            let used = entry.computrons().0;
            let context = crank_context(instance, kept, row.incarnation.0, position.0, entry.time_ns());
            if let Some(divergence) = replay_delivery(instance, &row.name, position.0, entry, &context)? {
                return Ok(Err(divergence));
            }
            computrons = computrons.saturating_add(used);
            if step(used) == Step::Leave {
                break;
            }
        }
        Ok(Ok((reached, computrons)))
    }

    /// Takes a diverging vat out of service, with its evidence.
    fn quarantine(&self, row: &VatRow, divergence: Divergence) -> Error {
        self.counters.quarantined.add(1);
        tracing::error!(vat = %row.name, %divergence, "the replay differs from the transcript; the vat is quarantined");
        let status = VatStatus::Quarantined { reason: divergence.to_string() };
        // Not committed here: when a block of cranks becomes durable is the caller's to say, also when one vat fails.
        match self.storage.set_status(row.id, &status) {
            Ok(()) => Error::Diverged { vat: row.name.clone(), divergence: Box::new(divergence) },
            Err(error) => error.into(),
        }
    }
}

/// How a vat is called where only a short text can be kept.
pub(crate) fn label(name: &str) -> String {
    format!("vat {name}")
}

/// What a delivery is given of the world. Only a WASI vat can see its randomness, and a seed costs a hash.
pub(crate) fn crank_context(
    instance: &VatInstance,
    kept: &KeptOptions,
    incarnation: u32,
    position: u64,
    time_ns: u64,
) -> CrankContext {
    CrankContext {
        time_ns,
        seed: match instance.module().is_wasi() {
            true => kept.crank_seed(incarnation, position),
            false => [0; 32],
        },
        computrons_max: kept.options.computrons_per_delivery,
    }
}

/// The vat's options, which name as many past incarnations as there were.
pub(crate) fn kept_options(row: &VatRow) -> Result<KeptOptions, Error> {
    let damaged = |what: &str| Error::Damaged { vat: row.name.clone(), what: what.to_owned() };
    let kept = KeptOptions::decode(&row.options).ok_or_else(|| damaged("its options cannot be read"))?;
    if kept.past.len() as u64 != u64::from(row.incarnation.0) {
        return Err(damaged("its options tell of another number of upgrades than it had"));
    }
    Ok(kept)
}

pub(crate) fn decode_entry(row: &VatRow, position: Position, entry: &[u8]) -> Result<TranscriptEntry, Error> {
    TranscriptEntry::from_json(entry).map_err(|error| Error::Damaged {
        vat: row.name.clone(),
        what: format!("transcript entry {}: {error}", position.0),
    })
}

pub(crate) fn check_alive(row: &VatRow) -> Result<(), Error> {
    match &row.status {
        VatStatus::Alive => Ok(()),
        VatStatus::Terminated { .. } => Err(Error::UnknownVat(row.name.clone())),
        VatStatus::Quarantined { reason } => {
            Err(Error::Quarantined { vat: row.name.clone(), reason: reason.clone() })
        }
    }
}
