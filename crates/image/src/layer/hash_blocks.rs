//! Page hashes of a large layer that were asked for before, in blocks, so that evicting the same heap again does not
//! read its old hashes again.
//!
//! ```text
//!   data page    0 … 127   128 … 255   256 … 383
//!   block        kept      –           kept             128 hashes of 32 bytes: one read, 4 KiB in memory
//! ```
//!
//! Invariant: the blocks of all layers of the process together take at most [`KEPT_BYTES_MAX`]. Whoever finds the budget spent
//! reads single hashes from the file, as if there were no blocks; a layer that is dropped gives its share back. There is
//! no order of eviction: layers come and go with the vats that are in use.

use std::{
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{Error, page::PageHash};

/// Hashes in a block.
const BLOCK_PAGES: u32 = 128;

/// Bytes of a full block.
const BLOCK_BYTES: usize = BLOCK_PAGES as usize * PageHash::BYTES;

/// Bytes that all blocks of the process take at most: the hashes of 8 GiB of heaps.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// What the blocks of the process share.
static BUDGET: Budget = Budget(AtomicUsize::new(0));

/// Bytes that blocks take, at most [`KEPT_BYTES_MAX`].
#[derive(Debug)]
struct Budget(AtomicUsize);

impl Budget {
    /// Takes so much, if it is left.
    fn take(&self, bytes: usize) -> bool {
        let more = |kept: usize| kept.checked_add(bytes).filter(|kept| *kept <= KEPT_BYTES_MAX);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A block, once it was read.
type Block = OnceLock<Box<[PageHash]>>;

/// The hashes of one layer.
#[derive(Debug)]
pub(super) struct HashBlocks {
    data_pages: u32,
    blocks: OnceLock<Box<[Block]>>,
    budget: &'static Budget,
}

impl HashBlocks {
    pub(super) fn new(data_pages: u32) -> HashBlocks {
        HashBlocks { data_pages, blocks: OnceLock::new(), budget: &BUDGET }
    }

    /// The hash of a data page; `read` reads hashes from the file.
    pub(super) fn hash(
        &self,
        data_page: u32,
        read: impl Fn(Range<u32>) -> Result<Vec<PageHash>, Error>,
    ) -> Result<PageHash, Error> {
        let number = data_page / BLOCK_PAGES;
        let first = number * BLOCK_PAGES;
        let count = self.data_pages.div_ceil(BLOCK_PAGES) as usize;
        let block = &self.blocks.get_or_init(|| (0..count).map(|_| Block::new()).collect())[number as usize];
        if let Some(hashes) = block.get() {
            return Ok(hashes[(data_page - first) as usize]);
        }
        if !self.budget.take(BLOCK_BYTES) {
            return Ok(read(data_page..data_page + 1)?[0]);
        }
        let hashes = read(first..self.data_pages.min(first + BLOCK_PAGES))
            .inspect_err(|_| self.budget.give_back(BLOCK_BYTES))?;
        let hash = hashes[(data_page - first) as usize];
        if block.set(hashes.into_boxed_slice()).is_err() {
            self.budget.give_back(BLOCK_BYTES); // Another thread was faster.
        }
        Ok(hash)
    }
}

impl Drop for HashBlocks {
    fn drop(&mut self) {
        let kept = self.blocks.get().map_or(0, |blocks| blocks.iter().filter(|b| b.get().is_some()).count());
        self.budget.give_back(kept * BLOCK_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_block_is_read_once_within_a_budget_that_comes_back() {
        let hash = |page: u32| PageHash([u8::try_from(page % 251).unwrap(); 32]);
        let reads = Cell::new(0);
        let read = |pages: Range<u32>| {
            reads.set(reads.get() + 1);
            Ok(pages.map(hash).collect())
        };
        static ROOMY: Budget = Budget(AtomicUsize::new(KEPT_BYTES_MAX - 3 * BLOCK_BYTES));
        static SPENT: Budget = Budget(AtomicUsize::new(KEPT_BYTES_MAX - BLOCK_BYTES + 1));
        let blocks = |budget| HashBlocks { data_pages: 300, blocks: OnceLock::new(), budget };
        for _ in 0..2 {
            reads.set(0);
            let kept = blocks(&ROOMY);
            for page in (0..300).chain(0..300) {
                assert_eq!(kept.hash(page, read).unwrap(), hash(page));
            }
            assert_eq!(reads.get(), 3, "one read for each block");
            assert!(!ROOMY.take(1), "all of the budget is in use until the blocks are dropped");
        }
        reads.set(0);
        let single = blocks(&SPENT);
        for page in 0..300 {
            assert_eq!(single.hash(page, read).unwrap(), hash(page));
        }
        assert_eq!(reads.get(), 300, "without a budget, one read for each hash");
    }
}
