//! The `PAGEMAP_SCAN` ioctl, Linux 6.7 and later: one call names all dirty pages, and costs by populated page
//! tables, not by size.

use std::{fs::File, io, path::Path};

use super::{DirtyTracker, Residency};
use crate::{
    AddressPool, Error, Image, PageSet, PoolOptions,
    mapping::{Category, Query, Region, scan},
    page::{PAGE_BYTES, PageNo, count_u32, pages_in},
    page_set::PageRun,
};

/// Regions asked for at once. A scan that finds more goes on where it stopped.
const REGIONS: usize = 128;

/// Pages of the process's own: present or swapped, not of a file, and not the zero page, which stands where
/// fresh memory was only read.
const OWN: Query = Query {
    none_of: Category::FILE.or(Category::ZERO),
    any_of: Category::PRESENT.or(Category::SWAPPED),
    tell: Category::NONE,
};

/// Pages with anything behind them.
const POPULATED: Query = Query {
    none_of: Category::NONE,
    any_of: Category::PRESENT.or(Category::SWAPPED),
    tell: Category::FILE.or(Category::ZERO).or(Category::SWAPPED),
};

/// Asks the page tables by `PAGEMAP_SCAN`.
#[derive(Debug)]
pub struct PagemapScan {
    pagemap: File,
}

impl PagemapScan {
    /// A tracker, if this system has the call and it tells the truth of a small heap.
    pub fn probe() -> Option<PagemapScan> {
        let tracker = PagemapScan { pagemap: open_pagemap()? };
        finds_written_pages(&tracker).then_some(tracker)
    }

    fn scan(&self, heap: &[u8], query: Query, mut visit: impl FnMut(PageRun, &Region)) -> Result<(), Error> {
        let base = heap.as_ptr().addr() as u64;
        assert!(base.is_multiple_of(PAGE_BYTES as u64), "a heap begins at a page");
        let end = base + u64::from(pages_in(heap)) * PAGE_BYTES as u64;
        let mut regions = [Region::default(); REGIONS];
        let mut at = base;
        while at < end {
            let (filled, stopped) = self.scan_once(at..end, query, &mut regions)?;
            for region in &regions[..filled] {
                visit(pages_of(region, base), region);
            }
            at = stopped;
        }
        Ok(())
    }

    fn scan_once(
        &self,
        addresses: std::ops::Range<u64>,
        query: Query,
        regions: &mut [Region],
    ) -> Result<(usize, u64), Error> {
        let from = addresses.start;
        let error = |source| Error::Tracker { tracker: self.name(), source };
        let (filled, stopped) = scan(&self.pagemap, addresses, query, regions).map_err(error)?;
        // A scan that does not advance would go on for ever.
        if stopped <= from { Err(error(io::ErrorKind::InvalidData.into())) } else { Ok((filled, stopped)) }
    }
}

impl DirtyTracker for PagemapScan {
    fn dirty(&self, heap: &[u8], _image: &Image) -> Result<PageSet, Error> {
        let mut dirty = PageSet::new();
        self.scan(heap, OWN, |run, _| dirty.push(run))?;
        Ok(dirty)
    }

    fn residency(&self, heap: &[u8]) -> Result<Option<Residency>, Error> {
        let mut residency = Residency::default();
        self.scan(heap, POPULATED, |run, region| {
            let kind = match () {
                () if region.is(Category::SWAPPED) => &mut residency.swapped_pages,
                () if region.is(Category::FILE.or(Category::ZERO)) => &mut residency.shared_pages,
                () => &mut residency.own_pages,
            };
            *kind += run.count;
            residency.touched.push(run);
        })?;
        residency.page_table_bytes = page_table_bytes(heap, &residency.touched);
        Ok(Some(residency))
    }

    fn name(&self) -> &'static str {
        "PAGEMAP_SCAN"
    }
}

/// The pages of a heap at `base` that a region names.
fn pages_of(region: &Region, base: u64) -> PageRun {
    let page = |address: u64| u32::try_from((address - base) / PAGE_BYTES as u64).expect("inside the heap");
    let first = page(region.start);
    PageRun { first, count: page(region.end) - first }
}

/// Bytes of page tables that hold the entries of these pages.
fn page_table_bytes(heap: &[u8], pages: &PageSet) -> u64 {
    const TABLE_BYTES: usize = 512 * PAGE_BYTES;
    let base = heap.as_ptr().addr();
    let table = |page: u32| (base + PageNo(page).offset()) / TABLE_BYTES;
    let (mut tables, mut last) = (0, None);
    for run in pages.runs() {
        let (from, to) = (table(run.first), table(run.end() - 1));
        let from = if last == Some(from) { from + 1 } else { from };
        tables += (to + 1).saturating_sub(from) as u64;
        last = Some(to);
    }
    tables * PAGE_BYTES as u64
}

/// Opens the page tables of this process.
pub(super) fn open_pagemap() -> Option<File> {
    File::open(Path::new("/proc/self/pagemap")).ok()
}

/// Whether a tracker finds exactly the written pages of a small anonymous heap; a system that hides its page
/// tables does not.
pub(super) fn finds_written_pages(tracker: &dyn DirtyTracker) -> bool {
    const PAGES: usize = 16;
    let written = [1, 2, 7, 15];
    let pool = AddressPool::new(PoolOptions::default());
    let Ok(mut heap) = pool.take(PAGES * PAGE_BYTES, 0, PAGES * PAGE_BYTES, None) else { return false };
    for page in written {
        heap.bytes_mut()[page * PAGE_BYTES] = 1;
    }
    let expected: PageSet = written.iter().map(|page| PageNo(count_u32(*page))).collect();
    let image = Image::empty(count_u32(PAGES));
    rustix::param::page_size() == PAGE_BYTES
        && tracker.dirty(heap.bytes(), &image).is_ok_and(|found| found == expected)
}
