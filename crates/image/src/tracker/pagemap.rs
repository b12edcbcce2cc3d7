//! `/proc/self/pagemap`, for Linux before 6.7: eight bytes for each page of the heap are read and looked at.

use std::{fs::File, os::unix::fs::FileExt};

use super::{
    DirtyTracker,
    pagemap_scan::{finds_written_pages, open_pagemap},
};
use crate::{
    Error, Image, PageSet,
    page::{PAGE_BYTES, pages_in},
    page_set::PageRun,
};

/// Entries read at once: 2 MiB of heap.
const ENTRIES: u32 = 512;
const ENTRY_BYTES: usize = 8;

const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
/// A page of a file or of shared memory, not a private copy.
const FILE: u64 = 1 << 61;

/// Reads the page tables entry by entry. Names pages of fresh memory that were only read, too: the zero page
/// is not told apart.
#[derive(Debug)]
pub struct Pagemap {
    pagemap: File,
}

impl Pagemap {
    /// A tracker, if this system shows its page tables and they tell the truth of a small heap.
    pub fn probe() -> Option<Pagemap> {
        let tracker = Pagemap { pagemap: open_pagemap()? };
        finds_written_pages(&tracker).then_some(tracker)
    }
}

impl DirtyTracker for Pagemap {
    fn dirty(&self, heap: &[u8], _image: &Image) -> Result<PageSet, Error> {
        let base = heap.as_ptr().addr();
        assert!(base.is_multiple_of(PAGE_BYTES), "a heap begins at a page");
        let base = (base / PAGE_BYTES) as u64;
        let pages = pages_in(heap);
        let mut dirty = PageSet::new();
        let mut buffer = [0; ENTRIES as usize * ENTRY_BYTES];
        for first in (0..pages).step_by(ENTRIES as usize) {
            let count = ENTRIES.min(pages - first);
            let entries = &mut buffer[..count as usize * ENTRY_BYTES];
            self.pagemap
                .read_exact_at(entries, (base + u64::from(first)) * ENTRY_BYTES as u64)
                .map_err(|source| Error::Tracker { tracker: self.name(), source })?;
            let entries = entries.as_chunks().0.iter().copied().map(u64::from_ne_bytes);
            for (page, _) in (first..).zip(entries).filter(|(_, entry)| is_own(*entry)) {
                dirty.push(PageRun { first: page, count: 1 });
            }
        }
        Ok(dirty)
    }

    fn name(&self) -> &'static str {
        "pagemap"
    }
}

/// Whether a page is the process's own, in memory or swapped out.
fn is_own(entry: u64) -> bool {
    entry & (PRESENT | SWAPPED) != 0 && entry & FILE == 0
}
