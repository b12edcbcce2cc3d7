//! Heaps in memory: a pool of reserved address ranges, into which images are restored.
//!
//! ```text
//!   0            size                          reserve      guard
//!   │ image │ zeros │ no access …                  │ no access  │
//! ```
//!
//! A range is taken with its content already in place: the image's long runs mapped copy-on-write, its short
//! runs copied, zeros elsewhere ([`RestorePlan`](crate::RestorePlan)). The cost depends on the number of
//! runs, not on the size. When it is dropped, everything that was accessible is replaced by fresh memory
//! before the addresses go back to the pool: no byte of one vat's heap reaches another.
//!
//! Where mapping is not possible (another system, pages that are not 4 KiB, a refusal at run time) the image
//! is copied: same content, more time. The pool installs no page-fault handler.

use std::{
    collections::BTreeMap,
    io,
    ptr::NonNull,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    Error, Image,
    mapping::{FileMap, Range},
    page::{PAGE_BYTES, PageNo},
};

/// How heaps are restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestoreMethod {
    /// Map what can be mapped; copy where the system cannot map.
    #[default]
    Map,
    /// Copy everything: the safe fallback.
    Copy,
}

impl RestoreMethod {
    /// The method this system is capable of: mapping needs pages of [`PAGE_BYTES`].
    pub fn supported(self) -> RestoreMethod {
        let can_map = cfg!(target_os = "linux") && rustix::param::page_size() == PAGE_BYTES;
        if can_map { self } else { RestoreMethod::Copy }
    }
}

/// How a pool works.
#[derive(Clone, Copy, Debug, Default)]
pub struct PoolOptions {
    /// How heaps are restored.
    pub restore: RestoreMethod,
}

/// Reserved address ranges. Cheap to clone; all clones are the same pool.
#[derive(Clone, Debug)]
pub struct AddressPool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    restore: RestoreMethod,
    /// Ranges that are not in use, by their length. The one used last is taken first: its page tables are
    /// warm.
    free: Mutex<BTreeMap<usize, Vec<Range>>>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    in_use: AtomicU64,
    free: AtomicU64,
    mapped: AtomicU64,
    copied: AtomicU64,
    fallbacks: AtomicU64,
    lost: AtomicU64,
}

/// Counts of a pool since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Ranges in use now.
    pub in_use: u64,
    /// Ranges kept for reuse now.
    pub free: u64,
    /// Heaps restored by mapping.
    pub mapped: u64,
    /// Heaps restored by copying, fallbacks included.
    pub copied: u64,
    /// Heaps that should have been mapped and were copied, because the system refused.
    pub fallbacks: u64,
    /// Ranges that could not be cleaned and were given back to the system.
    pub lost: u64,
}

impl AddressPool {
    /// An empty pool; ranges are reserved as they are needed and kept.
    pub fn new(options: PoolOptions) -> AddressPool {
        let restore = options.restore.supported();
        AddressPool {
            shared: Arc::new(Shared { restore, free: Mutex::default(), counters: Counters::default() }),
        }
    }

    /// How this pool restores heaps.
    pub fn restore_method(&self) -> RestoreMethod {
        self.shared.restore
    }

    /// Takes a range of `reserve_bytes` with a guard behind it, of which the first `size_bytes` are readable
    /// and writable and hold the image, then zeros. Sizes are rounded up to whole pages of the system,
    /// `size_bytes` excepted, which must be one of [`PAGE_BYTES`].
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the image does not fit `size_bytes` or those do not fit the reservation,
    /// [`Error::AddressSpace`] if the system refuses, [`Error::Missing`] or [`Error::Io`] if the image cannot
    /// be read.
    ///
    /// # Panics
    ///
    /// If `size_bytes` is not a whole number of pages.
    pub fn take(
        &self,
        reserve_bytes: usize,
        guard_bytes: usize,
        size_bytes: usize,
        image: Option<&Image>,
    ) -> Result<HeapRange, Error> {
        assert!(size_bytes.is_multiple_of(PAGE_BYTES), "a heap is a whole number of pages");
        let image_bytes = image.map_or(0, Image::size_bytes);
        for (heap_bytes, range_bytes) in [(image_bytes, size_bytes), (size_bytes, reserve_bytes)] {
            if heap_bytes > range_bytes {
                return Err(Error::TooLarge { heap_bytes, range_bytes });
            }
        }
        let total = reserve_bytes
            .checked_add(guard_bytes)
            .and_then(|bytes| bytes.checked_next_multiple_of(rustix::param::page_size()))
            .ok_or(Error::TooLarge { heap_bytes: size_bytes, range_bytes: usize::MAX })?;
        let range = self.range(total)?;
        self.shared.counters.in_use.fetch_add(1, Ordering::Relaxed);
        // From here on dropping `heap` gives the range back.
        let mut heap = HeapRange { range: Some(range), reserve_bytes, pool: self.clone() };
        heap.fill(size_bytes, image)?;
        Ok(heap)
    }

    /// Counts so far.
    pub fn stats(&self) -> PoolStats {
        let counters = &self.shared.counters;
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PoolStats {
            in_use: value(&counters.in_use),
            free: value(&counters.free),
            mapped: value(&counters.mapped),
            copied: value(&counters.copied),
            fallbacks: value(&counters.fallbacks),
            lost: value(&counters.lost),
        }
    }

    /// A range without accessible bytes, reused if there is one of that length.
    fn range(&self, bytes: usize) -> Result<Range, Error> {
        let mut free = self.shared.free.lock().expect("no panic while the pool is locked");
        if let Some(range) = free.get_mut(&bytes).and_then(Vec::pop) {
            self.shared.counters.free.fetch_sub(1, Ordering::Relaxed);
            return Ok(range);
        }
        drop(free);
        Range::reserve(bytes).map_err(|source| Error::AddressSpace { action: "reserve", bytes, source })
    }

    fn give_back(&self, mut range: Range) {
        let counters = &self.shared.counters;
        counters.in_use.fetch_sub(1, Ordering::Relaxed);
        // A range that cannot be cleaned is not reused: its addresses go back to the system, content and all.
        if range.close().is_err() {
            counters.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        counters.free.fetch_add(1, Ordering::Relaxed);
        let mut free = self.shared.free.lock().expect("no panic while the pool is locked");
        free.entry(range.reserved()).or_default().push(range);
    }
}

/// A heap in memory. Dropping it gives its addresses back to the pool, without its content.
#[derive(Debug)]
pub struct HeapRange {
    /// Invariant: present until dropped.
    range: Option<Range>,
    reserve_bytes: usize,
    pool: AddressPool,
}

impl HeapRange {
    /// The first byte. The accessible bytes behind it may be read and written through this pointer while no
    /// reference from [`bytes`](Self::bytes) or [`bytes_mut`](Self::bytes_mut) is in use.
    pub fn ptr(&self) -> NonNull<u8> {
        self.range().base()
    }

    /// Bytes that are readable and writable, from the first.
    pub fn accessible_bytes(&self) -> usize {
        self.range().accessible().len()
    }

    /// Bytes that the heap may grow to.
    pub fn reserved_bytes(&self) -> usize {
        self.reserve_bytes
    }

    /// The accessible bytes.
    pub fn bytes(&self) -> &[u8] {
        self.range().accessible()
    }

    /// The accessible bytes, for writing.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.range_mut().accessible_mut()
    }

    /// Makes more bytes accessible; the new ones are zero. Never moves, never shrinks: fewer bytes than
    /// before change nothing.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] beyond the reservation, [`Error::AddressSpace`] if the system refuses.
    ///
    /// # Panics
    ///
    /// If `bytes` is not a whole number of pages.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Error> {
        assert!(bytes.is_multiple_of(PAGE_BYTES), "a heap is a whole number of pages");
        if bytes > self.reserve_bytes {
            return Err(Error::TooLarge { heap_bytes: bytes, range_bytes: self.reserve_bytes });
        }
        let bytes = bytes.max(self.accessible_bytes());
        self.range_mut().grow(bytes).map_err(|source| Error::AddressSpace {
            action: "grow a heap to",
            bytes,
            source,
        })
    }

    fn range(&self) -> &Range {
        self.range.as_ref().expect("present until dropped")
    }

    fn range_mut(&mut self) -> &mut Range {
        self.range.as_mut().expect("present until dropped")
    }

    fn fill(&mut self, size_bytes: usize, image: Option<&Image>) -> Result<(), Error> {
        let pool = self.pool.clone();
        let counters = &pool.shared.counters;
        let Some(image) = image else { return self.open(size_bytes, &[]) };
        if pool.shared.restore == RestoreMethod::Map {
            if self.open_mapped(size_bytes, image).is_ok() {
                counters.mapped.fetch_add(1, Ordering::Relaxed);
                return image.plan().lay_over(image.layers(), self.bytes_mut());
            }
            counters.fallbacks.fetch_add(1, Ordering::Relaxed);
        }
        counters.copied.fetch_add(1, Ordering::Relaxed);
        self.open(size_bytes, &[])?;
        image.read_all(self.bytes_mut())
    }

    fn open(&mut self, bytes: usize, maps: &[FileMap<'_>]) -> Result<(), Error> {
        self.range_mut().open(bytes, maps).map_err(|source| Error::AddressSpace {
            action: "map",
            bytes,
            source,
        })
    }

    fn open_mapped(&mut self, bytes: usize, image: &Image) -> io::Result<()> {
        let map = |map: &crate::MapRun| {
            let layer = &image.layers()[map.layer];
            FileMap {
                at: PageNo(map.pages.first).offset(),
                bytes: PageNo(map.pages.count).offset(),
                file: layer.file().file(),
                file_offset: layer.file_offset(map.data_page),
            }
        };
        let maps: Vec<_> = image.plan().maps().iter().map(map).collect();
        self.range_mut().open(bytes, &maps)
    }
}

impl Drop for HeapRange {
    fn drop(&mut self) {
        if let Some(range) = self.range.take() {
            self.pool.give_back(range);
        }
    }
}
