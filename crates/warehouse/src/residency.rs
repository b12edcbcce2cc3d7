//! Which vats are in memory, and who holds them.
//!
//! ```text
//!               provide                      drop of the lease
//!   absent ───► cell, locked, empty ──► cell, locked, resident ◄──► cell, unlocked, resident
//!                 (one page-in)                 (a lease)                 (idle, in recency order)
//!      ▲                                                                        │
//!      └───────────────────────────── evict ◄───────────────────────────────────┘
//! ```
//!
//! A *cell* is a lock around what there is of a vat in memory. Whoever holds the lock may page the vat in, deliver to it or evict
//! it; a second caller who wants the same vat waits for the lock and then finds it paged in. Invariants: a vat has at most one
//! cell (a cell leaves the table only when nobody else has a hand on it, which the table's own lock decides); a cell that
//! holds a vat is counted, one that does not is not; a locked cell is never evicted.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};

use lru::LruCache;
use tokio::sync::OwnedMutexGuard;
use vat_engine::VatInstance;
use vat_image::PageSet;
use vat_storage::VatId;

use crate::options::KeptOptions;
use crate::policy::{Hint, Unsaved};

/// A vat in memory, as its holder sees it.
#[derive(Debug)]
pub(crate) struct Resident {
    /// What a report of a fatal disk error calls the vat.
    pub(crate) label: String,
    pub(crate) instance: VatInstance,
    pub(crate) kept: KeptOptions,
    pub(crate) incarnation: u32,
    /// Position of the next delivery.
    pub(crate) next: u64,
    /// Deliveries that the newest captured state covers.
    pub(crate) captured: u64,
    /// Computrons of the deliveries since that state.
    pub(crate) unsaved: u64,
    /// The working set, where it was recorded before; `None` if this stay in memory is the one that records it.
    pub(crate) touched: Option<PageSet>,
}

impl Resident {
    /// What is in no captured state yet.
    pub(crate) fn unsaved(&self) -> Unsaved {
        Unsaved { deliveries: self.next - self.captured, computrons: self.unsaved }
    }
}

/// The lock around what there is of a vat in memory.
type Cell = tokio::sync::Mutex<Option<Resident>>;

/// A locked cell.
pub(crate) type CellGuard = OwnedMutexGuard<Option<Resident>>;

/// The table of cells, and the recency of those that hold a vat.
#[derive(Debug)]
pub(crate) struct Residency {
    table: Mutex<Table>,
    resident_max: NonZeroUsize,
    bytes_max: Option<u64>,
}

#[derive(Debug)]
struct Table {
    cells: BTreeMap<VatId, Arc<Cell>>,
    /// Bytes of each resident vat, least recently used first.
    recency: LruCache<VatId, u64>,
    bytes: u64,
    /// What callers said about vats, where that is not [`Hint::Automatic`].
    hints: BTreeMap<VatId, Hint>,
    /// Page-ins under way: places that are taken but not yet counted above.
    loading: usize,
}

/// How many vats there are in memory, and how much of it they changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Occupancy {
    pub(crate) vats: usize,
    pub(crate) bytes: u64,
}

impl Residency {
    pub(crate) fn new(resident_max: NonZeroUsize, bytes_max: Option<u64>) -> Residency {
        let table = Table {
            cells: BTreeMap::new(),
            hints: BTreeMap::new(),
            recency: LruCache::unbounded(),
            bytes: 0,
            loading: 0,
        };
        Residency { table: Mutex::new(table), resident_max, bytes_max }
    }

    /// Locks the vat's cell if that needs no waiting.
    pub(crate) fn try_lock(&self, vat: VatId) -> Option<CellGuard> {
        self.cell(vat).try_lock_owned().ok()
    }

    /// Waits for the vat's cell.
    pub(crate) async fn lock(&self, vat: VatId) -> CellGuard {
        let cell = self.cell(vat);
        cell.lock_owned().await
    }

    /// Waits for the vat's cell, blocking the thread.
    pub(crate) fn lock_blocking(&self, vat: VatId) -> CellGuard {
        self.cell(vat).blocking_lock_owned()
    }

    /// Locks the cell of a resident vat if nobody else has it.
    pub(crate) fn try_lock_resident(&self, vat: VatId) -> Option<CellGuard> {
        let cell = self.lock_table().cells.get(&vat).cloned()?;
        cell.try_lock_owned().ok().filter(|guard| guard.is_some())
    }

    /// Takes a place for a page-in; it is given back by [`Residency::entered`] or [`Residency::not_entered`].
    pub(crate) fn reserve(&self) {
        self.lock_table().loading += 1;
    }

    /// The page-in succeeded: the vat is resident, most recently used.
    pub(crate) fn entered(&self, vat: VatId, bytes: u64) {
        let mut table = self.lock_table();
        table.loading -= 1;
        table.bytes += bytes;
        if let Some(before) = table.recency.put(vat, bytes) {
            table.bytes -= before;
        }
    }

    /// The page-in failed.
    pub(crate) fn not_entered(&self) {
        self.lock_table().loading -= 1;
    }

    /// The vat was used, and now has changed this many bytes. Whether there is then more in memory than there may be.
    pub(crate) fn used(&self, vat: VatId, bytes: u64) -> bool {
        let mut table = self.lock_table();
        if let Some(counted) = table.recency.get_mut(&vat) {
            let before = std::mem::replace(counted, bytes);
            table.bytes = table.bytes - before + bytes;
        }
        self.is_over_in(&table)
    }

    /// The vat is no longer in memory.
    pub(crate) fn left(&self, vat: VatId) {
        let mut table = self.lock_table();
        if let Some(bytes) = table.recency.pop(&vat) {
            table.bytes -= bytes;
        }
    }

    /// Whether somebody waits for the cell of a vat that the caller has locked.
    pub(crate) fn is_wanted(&self, vat: VatId) -> bool {
        // The table has one hand on it, the caller's guard another.
        self.lock_table().cells.get(&vat).is_some_and(|cell| Arc::strong_count(cell) > 2)
    }

    /// Removes the vat's cell if nobody has a hand on it and it holds nothing. Call after letting go of the guard.
    pub(crate) fn tidy(&self, vat: VatId) {
        let mut table = self.lock_table();
        let unused = table.cells.get(&vat).is_some_and(|cell| {
            Arc::strong_count(cell) == 1 && cell.try_lock().is_ok_and(|held| held.is_none())
        });
        if unused {
            table.cells.remove(&vat);
        }
    }

    /// Remembers what is known of a vat's future.
    pub(crate) fn set_hint(&self, vat: VatId, hint: Hint) {
        let mut table = self.lock_table();
        match hint {
            Hint::Automatic => table.hints.remove(&vat),
            Hint::Queued | Hint::Pinned => table.hints.insert(vat, hint),
        };
    }

    pub(crate) fn hint(&self, vat: VatId) -> Hint {
        self.lock_table().hints.get(&vat).copied().unwrap_or_default()
    }

    /// The least recently used vats of those that may go, at most `count`, if there is more in memory than there may be; else none.
    pub(crate) fn victims(&self, count: usize) -> Vec<VatId> {
        let table = self.lock_table();
        if !self.is_over_in(&table) {
            return Vec::new();
        }
        let may_go = |vat: &VatId| !table.hints.contains_key(vat);
        table.recency.iter().rev().map(|(vat, _)| *vat).filter(may_go).take(count).collect()
    }

    /// Whether there is more in memory than there may be.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over_in(&self.lock_table())
    }

    pub(crate) fn resident(&self) -> Vec<VatId> {
        self.lock_table().recency.iter().map(|(vat, _)| *vat).collect()
    }

    pub(crate) fn occupancy(&self) -> Occupancy {
        let table = self.lock_table();
        Occupancy { vats: table.recency.len(), bytes: table.bytes }
    }

    fn is_over_in(&self, table: &Table) -> bool {
        let vats = table.recency.len() + table.loading;
        vats > self.resident_max.get() || self.bytes_max.is_some_and(|max| table.bytes > max)
    }

    fn cell(&self, vat: VatId) -> Arc<Cell> {
        Arc::clone(self.lock_table().cells.entry(vat).or_default())
    }

    fn lock_table(&self) -> MutexGuard<'_, Table> {
        // A panic while this lock is held is our bug, and every later use of the table would build on it.
        self.table.lock().expect("no thread panicked while it held the table of resident vats")
    }
}
