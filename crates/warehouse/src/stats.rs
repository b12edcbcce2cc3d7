//! What a warehouse counts. Node-local: no count may influence anything.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::warehouse::Inner;

/// The counters of a warehouse.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) deliveries: Counter,
    pub(crate) faults: Counter,
    pub(crate) page_ins: Counter,
    pub(crate) replayed: Counter,
    pub(crate) prefetched: Counter,
    pub(crate) evictions: Counter,
    pub(crate) captures: Counter,
    pub(crate) deferred: Counter,
    pub(crate) pages_written: Counter,
    pub(crate) bytes_written: Counter,
    pub(crate) fallbacks: Counter,
    pub(crate) disagreements: Counter,
    pub(crate) quarantined: Counter,
    pub(crate) upgrades: Counter,
    pub(crate) converted: Counter,
    pub(crate) merges: Counter,
    pub(crate) compacted: Counter,
    pub(crate) syncs: Counter,
}

/// A count that several threads add to.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds, and answers the count before.
    pub(crate) fn add(&self, n: u64) -> u64 {
        self.0.fetch_add(n, Ordering::Relaxed)
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A warehouse's counts since it was opened, and what is in memory now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Vats in memory.
    pub resident_vats: usize,
    /// Bytes of memory that resident vats have for themselves: pages that differ from their images.
    pub resident_bytes: u64,
    /// Modules whose code is in memory.
    pub modules_in_memory: usize,
    /// Bytes of that code.
    pub code_bytes: usize,
    /// Deliveries made, replays not counted.
    pub deliveries: u64,
    /// Those among them that faulted.
    pub faults: u64,
    /// Vats brought into memory.
    pub page_ins: u64,
    /// Deliveries replayed for them.
    pub replayed: u64,
    /// Pages of recorded working sets that were asked of the disk before they were touched.
    pub prefetched: u64,
    /// Vats evicted.
    pub evictions: u64,
    /// States captured, at eviction or in between.
    pub captures: u64,
    /// Evictions that captured nothing, since replaying is cheaper.
    pub deferred: u64,
    /// Pages written to the page store by captures.
    pub pages_written: u64,
    /// Bytes that these captures added to it.
    pub bytes_written: u64,
    /// Snapshots that could not be read, so that an older one, or birth, was used.
    pub fallbacks: u64,
    /// Captures in which a check found the tracker to have missed a page.
    pub disagreements: u64,
    /// Vats quarantined.
    pub quarantined: u64,
    /// Vats whose code was replaced.
    pub upgrades: u64,
    /// Vats whose transcripts were turned into snapshots in the background.
    pub converted: u64,
    /// Images merged in the background.
    pub merges: u64,
    /// Segments of the page store whose live layers were moved, so that they could be removed.
    pub compacted: u64,
    /// Times the page store was synced to disk.
    pub syncs: u64,
}

impl Inner {
    pub(crate) fn stats(&self) -> Stats {
        let occupancy = self.residency.occupancy();
        let (code_bytes, modules_in_memory) = self.engine.code_in_memory();
        let mut resident_bytes = 0;
        for vat in self.residency.resident() {
            if let Some(cell) = self.residency.try_lock_resident(vat) {
                resident_bytes += cell.as_ref().map_or(0, |resident| self.own_bytes(resident));
            }
            self.residency.tidy(vat);
        }
        let count = &self.counters;
        Stats {
            resident_vats: occupancy.vats,
            resident_bytes,
            modules_in_memory,
            code_bytes,
            deliveries: count.deliveries.get(),
            faults: count.faults.get(),
            page_ins: count.page_ins.get(),
            replayed: count.replayed.get(),
            prefetched: count.prefetched.get(),
            evictions: count.evictions.get(),
            captures: count.captures.get(),
            deferred: count.deferred.get(),
            pages_written: count.pages_written.get(),
            bytes_written: count.bytes_written.get(),
            fallbacks: count.fallbacks.get(),
            disagreements: count.disagreements.get(),
            quarantined: count.quarantined.get(),
            upgrades: count.upgrades.get(),
            converted: count.converted.get(),
            merges: count.merges.get(),
            compacted: count.compacted.get(),
            syncs: count.syncs.get(),
        }
    }
}
