//! How an image is brought into a fresh range of addresses: which runs are mapped, which pages are copied.
//!
//! ```text
//!   heap      b b b b b b b 1 b b b b b b 2 2 2 2 2 2 2 2 2 . . . b b
//!   maps      └──────── base ───────────┘ └──── delta 2 ────┘
//!   copies                  1                                     b b
//! ```
//!
//! Mapping a run costs a system call and an entry of `vm.max_map_count`; copying costs per page, and the page
//! counts as dirty. So long runs are mapped and short ones copied. A run is mapped straight over pieces that
//! a higher layer covers, which are then laid on top; also over those at its ends, for a piece beside a mapping
//! costs a system call to make it accessible. At most [`MAPPED_RUNS_MAX`] runs are mapped, whatever
//! the image looks like: the longest.
//!
//! Order matters: maps from the lowest layer to the highest, then copies and zeros. A map of a layer covers
//! only pages that the layer itself covers, so all that it hides wrongly belongs to a higher layer and is
//! laid on top afterwards.

use std::io::IoSliceMut;

use crate::{
    Error,
    image::{Extent, Image},
    layer::{Layer, RunContent},
    page::{PAGE_BYTES, PageNo},
    page_set::PageRun,
};

/// Shorter runs are copied. Measured on a 64 MiB heap with 32 scattered runs, page cache warm, restore and
/// drop together: a mapping costs 7 µs, a copied page 3 µs, and 2 µs more at the next capture.
pub const MAP_RUN_PAGES_MIN: u32 = 4;

/// A run is mapped over at most this many pages that have become zero since, and have to be set to zero one
/// by one.
const BRIDGED_ZERO_PAGES_MAX: u32 = 4;

/// Most runs that one image maps. A run can split another in two, so an image has at most twice as many
/// mappings, and one: its share of `vm.max_map_count`.
pub const MAPPED_RUNS_MAX: usize = 32;

/// Buffers that one read fills (`IOV_MAX` on Linux and the BSDs).
const SLICES_PER_READ: usize = 1024;

/// Pages that one mapping brings into the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRun {
    /// Which pages.
    pub pages: PageRun,
    /// Which of the image's layers, from 0, the base.
    pub layer: usize,
    /// The run's first data page in that layer.
    pub data_page: u32,
}

/// Consecutive data pages of a layer that are read into places of the heap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyRun {
    /// Where they go, in the order in which they are stored.
    pub pages: Vec<PageRun>,
    /// Which of the image's layers, from 0, the base.
    pub layer: usize,
    /// The first data page in that layer.
    pub data_page: u32,
}

/// The steps of a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestorePlan {
    maps: Vec<MapRun>,
    copies: Vec<CopyRun>,
    zeros: Vec<PageRun>,
}

impl RestorePlan {
    pub(crate) fn new(image: &Image) -> RestorePlan {
        let extents = image.extents(0);
        let mut maps = map_runs(&extents);
        for map in &mut maps {
            map.widen(&extents, &image.layers()[map.layer]);
        }
        RestorePlan::with_maps(&extents, maps)
    }

    fn with_maps(extents: &[Extent], maps: Vec<MapRun>) -> RestorePlan {
        let mut plan = RestorePlan::default();
        let mapped = mapped_pages(&maps);
        let mut copies: Vec<Extent> = Vec::new();
        for extent in extents {
            match extent.content {
                RunContent::Data { .. } if !maps.iter().any(|map| map.holds(extent)) => copies.push(*extent),
                RunContent::Data { .. } => {}
                RunContent::Zero => plan.zeros.extend(overlap(&mapped, extent)),
            }
        }
        copies.sort_by_key(|extent| (extent.layer, extent.first));
        for extent in copies {
            plan.push_copy(extent);
        }
        plan.maps = maps;
        plan
    }

    fn push_copy(&mut self, extent: Extent) {
        let RunContent::Data { data_page } = extent.content else { return };
        let pages = extent.pages();
        match self.copies.last_mut() {
            Some(last) if last.layer == extent.layer && last.data_page + last.count() == data_page => {
                last.pages.push(pages);
            }
            _ => self.copies.push(CopyRun { pages: vec![pages], layer: extent.layer, data_page }),
        }
    }

    /// What is mapped, lowest layer first. Runs of different layers may overlap; the later one counts.
    pub fn maps(&self) -> &[MapRun] {
        &self.maps
    }

    /// What is copied, over what is mapped.
    pub fn copies(&self) -> &[CopyRun] {
        &self.copies
    }

    /// What is set to zero, over what is mapped. The rest of a fresh range is zero.
    pub fn zeros(&self) -> &[PageRun] {
        &self.zeros
    }

    /// How many pages are copied or set to zero: what a restore costs beyond its mappings.
    pub fn copied_pages(&self) -> u32 {
        let zeros: u32 = self.zeros.iter().map(|run| run.count).sum();
        self.copies.iter().map(CopyRun::count).sum::<u32>() + zeros
    }

    /// Lays copies and zeros over the mapped runs.
    pub(crate) fn lay_over(&self, layers: &[Layer], heap: &mut [u8]) -> Result<(), Error> {
        for copy in &self.copies {
            copy.read(&layers[copy.layer], heap)?;
        }
        for zeros in &self.zeros {
            heap[PageNo(zeros.first).offset()..PageNo(zeros.end()).offset()].fill(0);
        }
        Ok(())
    }
}

impl MapRun {
    /// Whether the mapping shows this extent's bytes at its place.
    fn holds(&self, extent: &Extent) -> bool {
        let RunContent::Data { data_page } = extent.content else { return false };
        let inside = self.pages.first <= extent.first && extent.end() <= self.pages.end();
        inside && self.layer == extent.layer && data_page - self.data_page == extent.first - self.pages.first
    }
}

impl CopyRun {
    /// How many pages.
    pub fn count(&self) -> u32 {
        self.pages.iter().map(|run| run.count).sum()
    }

    /// Reads the pages into their places, with one call for many places.
    fn read(&self, layer: &Layer, heap: &mut [u8]) -> Result<(), Error> {
        let mut data_page = self.data_page;
        for places in self.pages.chunks(SLICES_PER_READ) {
            let (mut rest, mut at) = (&mut *heap, 0);
            let mut slices = Vec::with_capacity(places.len());
            for place in places {
                let (_, from) = std::mem::take(&mut rest).split_at_mut(PageNo(place.first).offset() - at);
                let (bytes, behind) = from.split_at_mut(place.count as usize * PAGE_BYTES);
                slices.push(IoSliceMut::new(bytes));
                (rest, at) = (behind, PageNo(place.end()).offset());
            }
            layer.read_scattered(&mut slices, layer.data_offset(data_page))?;
            data_page += places.iter().map(|place| place.count).sum::<u32>();
        }
        Ok(())
    }
}

/// The runs that are mapped: the longest, lowest layer first.
fn map_runs(extents: &[Extent]) -> Vec<MapRun> {
    // The runs in the making, at most one per layer: extents of other layers lie between those of one run.
    let mut growing: Vec<Option<(MapRun, u32)>> = Vec::new();
    let mut maps = Vec::new();
    let mut zero_pages = 0;
    for extent in extents {
        let RunContent::Data { data_page } = extent.content else {
            zero_pages += extent.count;
            continue;
        };
        if growing.len() <= extent.layer {
            growing.resize(extent.layer + 1, None);
        }
        let run = MapRun { pages: extent.pages(), layer: extent.layer, data_page };
        let slot = &mut growing[extent.layer];
        match slot {
            Some((last, zeros))
                if last.continues_in(&run) && zero_pages - *zeros <= BRIDGED_ZERO_PAGES_MAX =>
            {
                last.pages.count = extent.end() - last.pages.first;
                *zeros = zero_pages;
            }
            _ => maps.extend(slot.replace((run, zero_pages)).map(|(finished, _)| finished)),
        }
    }
    maps.extend(growing.into_iter().flatten().map(|(run, _)| run));
    maps.retain(|map| map.pages.count >= MAP_RUN_PAGES_MIN);
    maps.sort_by_key(|map| std::cmp::Reverse(map.pages.count));
    maps.truncate(MAPPED_RUNS_MAX);
    maps.sort_by_key(|map| (map.layer, map.pages.first));
    maps
}

impl MapRun {
    /// Extends the run over the data of higher layers around it, as far as the run of its layer goes.
    fn widen(&mut self, extents: &[Extent], layer: &Layer) {
        let runs = layer.runs();
        let run = runs[runs.partition_point(|run| run.first <= self.pages.first) - 1];
        let is_data = |extent: &&Extent| extent.content != RunContent::Zero;
        let from = extents.partition_point(|extent| extent.end() <= self.pages.first);
        let mut first = self.pages.first;
        for extent in extents[..from].iter().rev().take_while(is_data) {
            if extent.end() != first || first <= run.first {
                break;
            }
            first = extent.first.max(run.first);
        }
        let mut end = self.pages.end();
        let from = extents.partition_point(|extent| extent.end() <= end);
        for extent in extents[from..].iter().take_while(is_data) {
            if extent.first > end || end >= run.end() {
                break;
            }
            end = extent.end().min(run.end());
        }
        self.data_page -= self.pages.first - first;
        self.pages = PageRun { first, count: end - first };
    }

    /// Whether the next run of the same layer also follows in the file, so that the layer covers everything
    /// between.
    fn continues_in(&self, next: &MapRun) -> bool {
        let distance = next.pages.first - self.pages.first;
        next.data_page.checked_sub(self.data_page) == Some(distance)
    }
}

/// The pages that any of the runs maps, sorted and disjoint.
fn mapped_pages(maps: &[MapRun]) -> Vec<PageRun> {
    let mut pages: Vec<PageRun> = maps.iter().map(|map| map.pages).collect();
    pages.sort_unstable();
    pages.dedup_by(|next, last| {
        let joined = next.first <= last.end();
        if joined {
            last.count = last.end().max(next.end()) - last.first;
        }
        joined
    });
    pages
}

/// The parts of an extent that lie in the runs.
fn overlap<'a>(runs: &'a [PageRun], extent: &'a Extent) -> impl Iterator<Item = PageRun> + 'a {
    let from = runs.partition_point(|run| run.end() <= extent.first);
    runs[from..].iter().take_while(|run| run.first < extent.end()).map(|run| {
        let first = run.first.max(extent.first);
        PageRun { first, count: run.end().min(extent.end()) - first }
    })
}
