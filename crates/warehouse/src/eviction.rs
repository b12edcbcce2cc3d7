//! Letting vats go: capturing what changed, and choosing whom to evict.
//!
//! Evicting writes the changed pages and syncs nothing. A vat that cannot be captured stays in memory.

use vat_image::PageSet;
use vat_storage::{ModuleHash, VatId};

use crate::canary::Canary;
use crate::error::Error;
use crate::policy::Decision;
use crate::residency::{CellGuard, Resident};
use crate::snapshots::{Parked, Saved};
use crate::warehouse::Inner;

/// Runs of pages in a working set; a more ragged one is not kept.
const TOUCHED_RUNS_MAX: usize = 256;

impl Inner {
    /// Evicts the least recently used vats while there are more in memory than there may be. Leased ones are passed over, and those
    /// that a hint keeps.
    pub(crate) fn make_room(&self) {
        let mut batch = 4;
        loop {
            let victims = self.residency.victims(batch);
            let all = victims.len() < batch;
            let mut evicted = 0;
            for vat in victims {
                if !self.residency.is_over() {
                    return;
                }
                let Some(cell) = self.residency.try_lock_resident(vat) else { continue };
                match self.evict(vat, cell) {
                    Ok(()) => evicted += 1,
                    Err(error) => {
                        tracing::error!(%vat, %error, "the vat could not be evicted and stays in memory")
                    }
                }
                self.residency.tidy(vat);
            }
            if evicted == 0 && all {
                return; // All that is left is leased, or cannot be captured.
            }
            if evicted == 0 {
                batch *= 4;
            }
        }
    }

    /// Captures what changed, unless the policy would rather replay it, then drops the instance.
    pub(crate) fn evict(&self, vat: VatId, mut cell: CellGuard) -> Result<(), Error> {
        let Some(resident) = cell.as_mut() else { return Ok(()) };
        let decision =
            self.config.snapshot_policy.at_eviction(resident.unsaved(), || self.own_bytes(resident));
        match decision {
            Decision::Now => self.capture(vat, resident)?,
            Decision::Later if resident.captured == resident.next => {}
            Decision::Later => {
                // Cheaper to replay than to write; the next page-in takes the newest state that there is.
                self.counters.deferred.add(1);
            }
        }
        let parked = Parked {
            label: std::mem::take(&mut resident.label),
            kept: resident.kept.clone(),
            incarnation: resident.incarnation,
            next: resident.next,
            module: ModuleHash(resident.instance.module().hash()),
        };
        self.snapshots.park(vat, parked);
        *cell = None;
        self.residency.left(vat);
        self.counters.evictions.add(1);
        if self.has(Canary::CommitsWhenEvicting) {
            self.storage.commit()?;
        }
        Ok(())
    }

    /// Captures the state between two deliveries.
    pub(crate) fn capture(&self, vat: VatId, resident: &mut Resident) -> Result<(), Error> {
        // What became of the image since (merged) has the same content and fewer layers: the next one goes on top of it.
        if let Some(newest) = self.snapshots.newest(vat)
            && (newest.incarnation, newest.position) == (resident.incarnation, resident.captured)
        {
            resident.instance.adopt(newest.state.image);
        }
        let nth = self.counters.captures.add(1);
        let captured =
            resident.instance.capture(&self.pages, self.tracker.as_ref(), self.config.check(nth + 1))?;
        self.counters.pages_written.add(captured.stats.written.into());
        self.counters.bytes_written.add(captured.stats.bytes);
        if captured.stats.disagreement {
            self.counters.disagreements.add(1);
            tracing::error!(%vat, tracker = self.tracker.name(), "the dirty-page tracker missed a page; the heap was saved whole");
        }
        let touched = self.touched(resident);
        let saved = Saved {
            position: resident.next,
            incarnation: resident.incarnation,
            state: captured.state,
            touched,
        };
        resident.captured = resident.next;
        resident.unsaved = 0;
        self.snapshots.save(vat, saved);
        Ok(())
    }

    /// The vat's working set: recorded once after each page-in from the store, and carried along otherwise.
    fn touched(&self, resident: &mut Resident) -> PageSet {
        if let Some(known) = &resident.touched {
            return known.clone();
        }
        let touched = match self.tracker.residency(resident.instance.heap()) {
            Ok(Some(residency)) if residency.touched.runs().len() <= TOUCHED_RUNS_MAX => residency.touched,
            _ => PageSet::new(), // A hint that is missing, or too long to be worth keeping.
        };
        resident.touched = Some(touched.clone());
        touched
    }

    /// Captures a vat that stays resident, so that a crash replays a bounded number of deliveries.
    pub(crate) fn capture_if_due(&self, vat: VatId, resident: &mut Resident) {
        let (policy, interval) = (self.config.snapshot_policy, self.config.snapshot_interval);
        let hint = || self.residency.hint(vat);
        if policy.while_resident(resident.unsaved(), interval, hint) == Decision::Later {
            return;
        }
        match self.capture(vat, resident) {
            Ok(()) => self.snapshots.want_root(vat),
            // The delivery itself is recorded; only the replay after a crash is longer.
            Err(error) => tracing::error!(%vat, %error, "the vat could not be snapshotted"),
        }
    }

    /// Bytes that a resident vat has for itself. Measured only where a limit needs it.
    pub(crate) fn measure(&self, resident: Option<&Resident>) -> u64 {
        let (Some(resident), Some(_)) = (resident, self.config.resident_bytes_max) else { return 0 };
        self.own_bytes(resident)
    }

    pub(crate) fn own_bytes(&self, resident: &Resident) -> u64 {
        let heap = resident.instance.heap();
        match self.tracker.dirty(heap, resident.instance.mapped()) {
            Ok(dirty) => u64::from(dirty.len()) * vat_image::PAGE_BYTES as u64,
            Err(_) => heap.len() as u64, // The cautious answer.
        }
    }
}
