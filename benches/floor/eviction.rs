//! Saving a heap, bare: scan the page tables, hash every dirty page, append all of them with one write.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Result, ensure};

use super::native::{PAGE_BYTES, Region, scan};

/// Dirty runs of a heap at most.
const REGIONS: usize = 1024;

/// Where heaps are saved.
#[derive(Debug)]
pub(crate) struct Eviction {
    pagemap: File,
    log: File,
    at: u64,
    buffer: Vec<u8>,
}

impl Eviction {
    /// Appends to a new file.
    pub(crate) fn new(path: &Path) -> Result<Eviction> {
        let log = File::create(path)?;
        Ok(Eviction { pagemap: File::open("/proc/self/pagemap")?, log, at: 0, buffer: Vec::new() })
    }

    /// Saves the dirty pages, and answers how many there were.
    pub(crate) fn save(&mut self, heap: &[u8]) -> Result<usize> {
        let mut regions = [Region::default(); REGIONS];
        let found = scan(&self.pagemap, heap, &mut regions)?;
        ensure!(found < REGIONS, "more dirty runs than this floor is made for");
        let base = heap.as_ptr().addr() as u64;
        self.buffer.clear();
        let mut hashes = 0;
        for region in &regions[..found] {
            let start = usize::try_from(region.start - base)?;
            let end = usize::try_from(region.end - base)?;
            for page in heap[start..end].chunks_exact(PAGE_BYTES) {
                hashes ^= blake3::hash(page).as_bytes()[0];
                self.buffer.extend_from_slice(page);
            }
        }
        std::hint::black_box(hashes);
        self.log.write_all_at(&self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        Ok(self.buffer.len() / PAGE_BYTES)
    }
}
