//! Writing a layer: its shape first, then its pages, then its index and footer.
//!
//! The place of a layer is taken under the store's lock and written outside it, so that vats are evicted in
//! parallel.

use std::{
    io::{self, IoSlice},
    path::Path,
    sync::Arc,
};

use super::{Handles, PageStore, Segment, SegmentFile, State, segment};
use crate::{
    Error,
    layer::{IndexBuilder, Layer, LayerLocation, Run, RunContent, Tail},
    page::{PAGE_BYTES, PageBytes, PageHash, PageNo, count_u32},
};

/// Buffers that one write takes (`IOV_MAX` on Linux and the BSDs).
const SLICES_PER_WRITE: usize = 1024;

/// Zero gaps of at most this many pages in a base layer are bridged by a hole in the file, so that a heap
/// with small zero gaps is still one run, mapped by one call. A bridged page costs its hash, 32 bytes.
const BRIDGED_GAP_PAGES: u32 = 16;

/// A base layer with more runs than this bridges longer gaps too …
const BASE_RUNS_MAX: usize = 32;

/// … as long as there are at most this many bridged pages for each page of data.
const BRIDGED_PAGES_PER_DATA_PAGE: u32 = 16;

/// Whether pages that a layer does not mention may be assumed to be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// The lowest layer: what it does not mention is zero.
    Base,
    /// A layer above others.
    Delta,
}

/// A page to be written.
#[derive(Clone, Copy, Debug)]
pub struct PageWrite<'a> {
    /// Its place in the heap.
    pub page: PageNo,
    /// Its content.
    pub content: PageContent<'a>,
}

/// The content of a page to be written.
#[derive(Clone, Copy, Debug)]
pub enum PageContent<'a> {
    /// Zeros.
    Zero,
    /// Bytes with their hash, which is believed.
    Data {
        /// Hash of the bytes.
        hash: PageHash,
        /// The bytes.
        bytes: &'a PageBytes,
    },
}

impl PageStore {
    /// Appends a layer with these pages, which are sorted by place. It can be read and mapped at once; it is
    /// durable after a [`sync`](PageStore::sync).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the disk refuses; nothing else in the store is touched then.
    pub fn append(&self, kind: LayerKind, pages: &[PageWrite<'_>]) -> Result<Layer, Error> {
        let mut shape = LayerShape::new(kind, pages.iter().map(|write| (write.page, write.hash())));
        let mut data = pages.iter().filter_map(|write| match write.content {
            PageContent::Zero => None,
            PageContent::Data { bytes, .. } => Some(IoSlice::new(bytes)),
        });
        let stretches = shape.take_stretches();
        let mut writer = self.begin(shape)?;
        let mut slices = Vec::with_capacity(SLICES_PER_WRITE.min(pages.len() + 1));
        let mut at = 0;
        for (place, stretch) in stretches.iter().enumerate() {
            let mut data_page = stretch.data_page;
            while data_page < stretch.end() {
                let count = (stretch.end() - data_page).min(count_u32(SLICES_PER_WRITE - 1));
                slices.clear();
                slices.extend(data.by_ref().take(count as usize));
                at = data_page;
                data_page += count;
                let is_last = place + 1 == stretches.len() && data_page == stretch.end();
                if !is_last {
                    writer.write(at, &mut slices)?;
                }
            }
        }
        writer.finish(at, slices)
    }

    /// Takes the place of a layer.
    pub(crate) fn begin(&self, shape: LayerShape) -> Result<LayerWriter<'_>, Error> {
        let bytes = shape.index.layer_bytes();
        let mut state = self.running()?;
        let number = self.segment_for(&mut state, bytes)?;
        let segment = state.segments.get_mut(&number).expect("the open segment exists");
        let at = LayerLocation { segment: number, offset: segment.bytes, bytes };
        segment.bytes += bytes;
        segment.writers += 1;
        Ok(LayerWriter { store: self, file: Arc::clone(&segment.file), at, shape })
    }

    /// The segment for a layer of so many bytes, a new one if the open one would become too long.
    fn segment_for(&self, state: &mut State, bytes: u64) -> Result<u32, Error> {
        let fits = |segment: &Segment| {
            segment.bytes == 0 || segment.bytes.saturating_add(bytes) <= self.shared.options.segment_bytes
        };
        match state.open {
            Some(number) if state.segments.get(&number).is_some_and(fits) => Ok(number),
            _ => self.create_segment(state),
        }
    }

    fn create_segment(&self, state: &mut State) -> Result<u32, Error> {
        let number = state.next_segment;
        let path = segment::path_of(&self.shared.dir, number);
        let file = self.shared.options.disk.create(&path);
        let file = file.map_err(|source| segment::io_error("create", &path, source))?;
        state.segments.insert(
            number,
            Segment {
                file: Arc::new(SegmentFile::new(path, file)),
                bytes: 0,
                writers: 0,
                handles: Handles::default(),
            },
        );
        state.next_segment += 1;
        state.open = Some(number);
        state.unsynced_names = true;
        Ok(number)
    }
}

impl PageWrite<'_> {
    fn hash(&self) -> Option<PageHash> {
        match self.content {
            PageContent::Zero => None,
            PageContent::Data { hash, .. } => Some(hash),
        }
    }
}

/// Consecutive data pages of a layer that are written; between stretches are holes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub(crate) data_page: u32,
    pub(crate) count: u32,
}

impl Stretch {
    pub(crate) fn end(self) -> u32 {
        self.data_page + self.count
    }
}

/// Everything about a layer but its pages' bytes.
#[derive(Debug)]
pub(crate) struct LayerShape {
    index: IndexBuilder,
    /// One hash per data page; a data page with the zero hash is a hole.
    hashes: Vec<PageHash>,
    stretches: Vec<Stretch>,
}

impl LayerShape {
    /// The shape of a layer with these pages; those without a hash are zero.
    pub(crate) fn new(
        kind: LayerKind,
        pages: impl Iterator<Item = (PageNo, Option<PageHash>)> + Clone,
    ) -> LayerShape {
        match kind {
            LayerKind::Base => LayerShape::base(pages.filter_map(|(page, hash)| Some((page.0, hash?)))),
            LayerKind::Delta => LayerShape::delta(pages),
        }
    }

    fn empty() -> LayerShape {
        LayerShape { index: IndexBuilder::default(), hashes: Vec::new(), stretches: Vec::new() }
    }

    fn delta(pages: impl Iterator<Item = (PageNo, Option<PageHash>)>) -> LayerShape {
        pages.fold(LayerShape::empty(), |mut shape, (page, hash)| {
            match hash {
                None => shape.index.push_zero(page.0, 1),
                Some(hash) => shape.push_page(page.0, hash),
            }
            shape
        })
    }

    fn base(pages: impl Iterator<Item = (u32, PageHash)> + Clone) -> LayerShape {
        let bridged = bridged_gap(pages.clone().map(|(page, _)| page));
        pages.fold(LayerShape::empty(), |mut shape, (page, hash)| {
            let end = shape.index.end();
            if end > 0 && page - end <= bridged {
                shape.push_hole(end, page - end);
            }
            shape.push_page(page, hash);
            shape
        })
    }

    /// The shape of a layer that exists, to be written once more.
    pub(crate) fn of(runs: &[Run], hashes: &[PageHash]) -> LayerShape {
        let mut shape = LayerShape::empty();
        for run in runs {
            match run.content {
                RunContent::Zero => shape.index.push_zero(run.first, run.count),
                RunContent::Data { data_page } => {
                    let hashes = &hashes[data_page as usize..(data_page + run.count) as usize];
                    for (page, hash) in (run.first..).zip(hashes) {
                        match *hash {
                            PageHash::ZERO => shape.push_hole(page, 1),
                            hash => shape.push_page(page, hash),
                        }
                    }
                }
            }
        }
        shape
    }

    fn push_page(&mut self, page: u32, hash: PageHash) {
        let data_page = self.index.data_pages();
        match self.stretches.last_mut() {
            Some(last) if last.end() == data_page => last.count += 1,
            _ => self.stretches.push(Stretch { data_page, count: 1 }),
        }
        self.index.push_data(page, 1);
        self.hashes.push(hash);
    }

    fn push_hole(&mut self, first: u32, count: u32) {
        if count > 0 {
            self.index.push_data(first, count);
            self.hashes.resize(self.hashes.len() + count as usize, PageHash::ZERO);
        }
    }

    pub(crate) fn take_stretches(&mut self) -> Vec<Stretch> {
        std::mem::take(&mut self.stretches)
    }
}

/// The longest zero gap that a base layer with data on these pages bridges.
fn bridged_gap(pages: impl Iterator<Item = u32> + Clone) -> u32 {
    let next = pages.clone().skip(1);
    let mut data_pages = 0;
    let gaps = pages.zip(next).map(|(page, next)| next - page - 1).inspect(|_| data_pages += 1);
    let mut gaps: Vec<u32> = gaps.filter(|&gap| gap > BRIDGED_GAP_PAGES).collect();
    gaps.sort_unstable();
    let mut budget = BRIDGED_PAGES_PER_DATA_PAGE.saturating_mul(data_pages);
    let mut bridged = BRIDGED_GAP_PAGES;
    let too_many = (gaps.len() + 1).saturating_sub(BASE_RUNS_MAX);
    for gap in gaps.into_iter().take(too_many) {
        match budget.checked_sub(gap) {
            Some(rest) => (budget, bridged) = (rest, gap),
            None => break,
        }
    }
    bridged
}

/// A layer being written.
#[derive(Debug)]
pub(crate) struct LayerWriter<'s> {
    store: &'s PageStore,
    file: Arc<SegmentFile>,
    at: LayerLocation,
    shape: LayerShape,
}

impl LayerWriter<'_> {
    /// Writes consecutive data pages.
    pub(crate) fn write(&mut self, data_page: u32, slices: &mut [IoSlice<'_>]) -> Result<(), Error> {
        self.write_at(self.at.offset + u64::from(data_page) * PAGE_BYTES as u64, slices)
    }

    /// Writes the last data pages, from `data_page` on, and then what ends the layer.
    pub(crate) fn finish(mut self, data_page: u32, slices: Vec<IoSlice<'_>>) -> Result<Layer, Error> {
        let index = std::mem::take(&mut self.shape.index);
        let hashes = std::mem::take(&mut self.shape.hashes);
        let end = data_page + count_u32(slices.len());
        let data_pages = index.data_pages();
        let Tail { index, bytes } = index.finish(self.at, &hashes);
        let mut slices = slices;
        if end < data_pages && !slices.is_empty() {
            self.write(data_page, &mut slices)?;
            slices.clear();
        }
        let at = data_pages - count_u32(slices.len());
        slices.push(IoSlice::new(&bytes));
        self.write(at, &mut slices)?;
        let mut state = self.store.state();
        state.appended += 1;
        state.unsynced.insert(self.at.segment);
        let layer = Layer::written(Arc::clone(&self.file), self.at, state.appended, index, hashes);
        if let Some(segment) = state.segments.get_mut(&self.at.segment) {
            segment.handles.hold(&layer);
        }
        drop(state); // Dropping the writer takes the lock again.
        Ok(layer)
    }

    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> Result<(), Error> {
        let (path, file) = (self.file.path(), self.file.file());
        self.write_all(path, offset, slices, |slices, offset| {
            self.store.shared.options.disk.write_at(path, file, slices, offset)
        })
    }

    fn write_all(
        &self,
        path: &Path,
        mut offset: u64,
        mut slices: &mut [IoSlice<'_>],
        write: impl Fn(&[IoSlice<'_>], u64) -> io::Result<usize>,
    ) -> Result<(), Error> {
        while !slices.is_empty() {
            let written = match write(slices, offset) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                other => other,
            };
            let written = written.map_err(|source| segment::io_error("write", path, source))?;
            offset += written as u64;
            IoSlice::advance_slices(&mut slices, written);
        }
        Ok(())
    }
}

impl Drop for LayerWriter<'_> {
    fn drop(&mut self) {
        if let Some(segment) = self.store.state().segments.get_mut(&self.at.segment) {
            segment.writers -= 1;
        }
    }
}
