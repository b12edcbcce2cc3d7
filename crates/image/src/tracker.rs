//! Which pages of a heap differ from the image it was restored from.
//!
//! A tracker may name pages that do not differ; it must never miss one that does. Pages that were mapped and
//! not written are still pages of the file; a page that was written, or copied into place, is the process's
//! own, in memory *or swapped out*. So two trackers ask the page tables for pages that are present or swapped
//! and not of a file, and the third compares bytes.
//!
//! Trackers keep no state about heaps: they can be asked at any time between deliveries, and a heap that is
//! dropped needs no farewell. A process that forks must not use a tracker in the child.

mod compare;
#[cfg(target_os = "linux")]
mod pagemap;
#[cfg(target_os = "linux")]
mod pagemap_scan;

use std::{fmt::Debug, sync::Arc};

pub use compare::Compare;
#[cfg(target_os = "linux")]
pub use pagemap::Pagemap;
#[cfg(target_os = "linux")]
pub use pagemap_scan::PagemapScan;

use crate::{Error, Image, PageSet};

/// Finds the pages of a heap that may differ from its image.
pub trait DirtyTracker: Send + Sync + Debug {
    /// All pages that differ from the image, and perhaps others. `heap` is what a
    /// [`HeapRange`](crate::HeapRange) that was filled from the image makes accessible now.
    ///
    /// # Errors
    ///
    /// [`Error::Tracker`] if the system refuses, [`Error::Missing`] or [`Error::Io`] if the image cannot be
    /// read.
    ///
    /// # Panics
    ///
    /// If the heap is not a whole number of pages, at an address that is one.
    fn dirty(&self, heap: &[u8], image: &Image) -> Result<PageSet, Error>;

    /// All pages that differ from an image that was captured since the heap was filled, and perhaps others. What the page tables
    /// say is about the image that is mapped, and holds for every later one: a page that was written stays the process's own.
    ///
    /// # Errors
    ///
    /// As [`DirtyTracker::dirty`].
    ///
    /// # Panics
    ///
    /// As [`DirtyTracker::dirty`].
    fn dirty_since(&self, heap: &[u8], mapped: &Image, _captured: &Image) -> Result<PageSet, Error> {
        self.dirty(heap, mapped)
    }

    /// What is in memory behind a heap; `None` if this tracker cannot tell.
    ///
    /// # Errors
    ///
    /// [`Error::Tracker`] if the system refuses.
    fn residency(&self, _heap: &[u8]) -> Result<Option<Residency>, Error> {
        Ok(None)
    }

    /// The tracker's name, for people.
    fn name(&self) -> &'static str;
}

/// What is in memory behind a heap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Residency {
    /// Pages of the heap's own, in memory: written, or copied into place.
    pub own_pages: u32,
    /// Pages of the heap's own that are swapped out.
    pub swapped_pages: u32,
    /// Pages of the image's files that the heap shares with the page cache and with other heaps.
    pub shared_pages: u32,
    /// Bytes of the lowest level of page tables for these pages, at most: 4 KiB for each 2 MiB with a page.
    pub page_table_bytes: u64,
    /// All of these pages: what the heap has touched, and the pages around that the kernel mapped with them.
    pub touched: PageSet,
}

/// The fastest tracker that works here: tried on a small mapping, not guessed from version numbers.
pub fn best_tracker() -> Arc<dyn DirtyTracker> {
    #[cfg(target_os = "linux")]
    {
        if let Some(tracker) = PagemapScan::probe() {
            return Arc::new(tracker);
        }
        if let Some(tracker) = Pagemap::probe() {
            return Arc::new(tracker);
        }
    }
    Arc::new(Compare)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::{PAGE_BYTES, PageNo, mapping::Range, page::count_u32};

    /// Whether this machine has anywhere to swap to.
    fn has_swap() -> bool {
        std::fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1)
    }

    #[test]
    fn swapped_pages_are_dirty() {
        const PAGES: usize = 64;
        let trackers: [Arc<dyn DirtyTracker>; 2] =
            [Arc::new(PagemapScan::probe().unwrap()), Arc::new(Pagemap::probe().unwrap())];
        let written: PageSet = (0..PAGES).step_by(3).map(|page| PageNo(count_u32(page))).collect();
        let mut range = Range::reserve(PAGES * PAGE_BYTES).unwrap();
        range.open(PAGES * PAGE_BYTES, &[]).unwrap();
        for page in written.pages() {
            range.accessible_mut()[page.offset()] = 7;
        }
        range.page_out().unwrap();
        let residency = trackers[0].residency(range.accessible()).unwrap().unwrap();
        // Without swap nothing leaves memory, and the rest of the test is about pages that stayed.
        assert!(has_swap() || residency.swapped_pages == 0);
        for tracker in trackers {
            let found = tracker.dirty(range.accessible(), &Image::empty(count_u32(PAGES))).unwrap();
            assert_eq!(found, written, "{} with {} pages swapped", tracker.name(), residency.swapped_pages);
        }
    }
}
