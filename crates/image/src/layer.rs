//! A layer: an immutable set of pages in the page store, and the unit in which heaps are written.
//!
//! A layer says of each page that it covers what the page holds: stored bytes, or zeros. It says nothing of
//! the others; they come from the layers below, and a page that no layer covers is zero.
//!
//! A `Layer` is cheap to clone and keeps its segment file open: reads and mappings stay valid after the
//! file's name is removed. It holds the runs of its index in memory, and page hashes if they are few
//! ([`HASHES_IN_MEMORY_MAX`]); the others are read when they are asked for, and kept within a budget.

mod format;
mod hash_blocks;

use std::{
    fmt,
    io::{self, IoSliceMut},
    ops::Range,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

pub use format::{FORMAT_VERSION, Run, RunContent};
pub(crate) use format::{Index, IndexBuilder, Tail};

use hash_blocks::HashBlocks;

use crate::{
    DamagedPart, Error,
    page::{PAGE_BYTES, PageBytes, PageHash, PageNo, ZERO_PAGE},
    store::SegmentFile,
};

/// Layers of at most this many data pages keep their hashes in memory (32 bytes each).
pub(crate) const HASHES_IN_MEMORY_MAX: usize = 64;

/// Where a layer is: what a caller stores as its durable pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerLocation {
    /// Number of the segment file.
    pub segment: u32,
    /// Byte offset in it, a multiple of [`PAGE_BYTES`].
    pub offset: u64,
    /// Bytes of the whole layer, data, index and footer; a multiple of [`PAGE_BYTES`].
    pub bytes: u64,
}

impl LayerLocation {
    /// The byte after the last.
    pub const fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }
}

impl fmt::Display for LayerLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}+{}", self.segment, self.offset, self.bytes)
    }
}

/// An immutable set of pages in the page store.
#[derive(Clone)]
pub struct Layer(Arc<LayerInner>);

#[derive(Debug)]
pub(crate) struct LayerInner {
    file: Arc<SegmentFile>,
    at: LayerLocation,
    sequence: u64,
    index: Index,
    /// All hashes, if they are few.
    hashes: OnceLock<Box<[PageHash]>>,
    /// Its copy, once compaction has moved it.
    moved: OnceLock<Layer>,
    /// Some of the hashes, if they are many.
    blocks: HashBlocks,
    /// Whether all hashes were compared with their checksum in this process.
    are_hashes_verified: AtomicBool,
}

/// What a layer holds for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Zero,
    Data { data_page: u32 },
}

impl Layer {
    /// A layer that was just written; `hashes` has one entry per data page.
    pub(crate) fn written(
        file: Arc<SegmentFile>,
        at: LayerLocation,
        sequence: u64,
        index: Index,
        hashes: Vec<PageHash>,
    ) -> Layer {
        debug_assert_eq!(hashes.len(), index.data_pages() as usize);
        let layer = Layer::new(file, at, sequence, index);
        if hashes.len() <= HASHES_IN_MEMORY_MAX {
            let _ = layer.0.hashes.set(hashes.into_boxed_slice());
        }
        layer
    }

    fn new(file: Arc<SegmentFile>, at: LayerLocation, sequence: u64, index: Index) -> Layer {
        Layer(Arc::new(LayerInner {
            file,
            at,
            sequence,
            blocks: HashBlocks::new(index.data_pages()),
            index,
            hashes: OnceLock::new(),
            are_hashes_verified: AtomicBool::new(false),
            moved: OnceLock::new(),
        }))
    }

    /// Reads the index of a layer and verifies it; its pages and their hashes are verified when they are
    /// read.
    pub(crate) fn load(file: Arc<SegmentFile>, at: LayerLocation) -> Result<Layer, Error> {
        let index = Index::read(at, |bytes, offset| read_layer(&file, at, bytes, offset))?;
        let layer = Layer::new(file, at, 0, index);
        if layer.data_pages() as usize <= HASHES_IN_MEMORY_MAX {
            let _ = layer.0.hashes.set(layer.all_hashes()?.into_boxed_slice());
        }
        Ok(layer)
    }

    pub(crate) fn from_inner(inner: Arc<LayerInner>) -> Layer {
        Layer(inner)
    }

    pub(crate) fn downgrade(&self) -> Weak<LayerInner> {
        Arc::downgrade(&self.0)
    }

    /// The copy that compaction made of it.
    pub(crate) fn moved_to(&self) -> Option<&Layer> {
        self.0.moved.get()
    }

    /// Says that there is a copy. The first one stays.
    pub(crate) fn supersede(&self, copy: &Layer) {
        let _ = self.0.moved.set(copy.clone());
    }

    /// Where the layer is.
    pub fn location(&self) -> LayerLocation {
        self.0.at
    }

    /// The layer's number in the order of appending since the store was opened, from 1; 0 if it was loaded,
    /// for then it was durable before.
    pub fn sequence(&self) -> u64 {
        self.0.sequence
    }

    /// The runs of pages that the layer covers, sorted and disjoint.
    pub fn runs(&self) -> &[Run] {
        self.0.index.runs()
    }

    /// Pages that take space in the file.
    pub fn data_pages(&self) -> u32 {
        self.0.index.data_pages()
    }

    /// Pages that the layer says are zero, without space in the file.
    pub fn zero_pages(&self) -> u32 {
        self.0.index.zero_pages()
    }

    /// The hash of a page, if the layer covers it.
    ///
    /// # Errors
    ///
    /// If the index cannot be read from the file.
    pub fn page_hash(&self, page: PageNo) -> Result<Option<PageHash>, Error> {
        match self.find(page) {
            None => Ok(None),
            Some(Found::Zero) => Ok(Some(PageHash::ZERO)),
            Some(Found::Data { data_page }) => Ok(Some(self.hash(data_page)?)),
        }
    }

    /// Reads a page, if the layer covers it, and verifies it against its hash.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if the page's bytes are not those that were written.
    pub fn read_page(&self, page: PageNo) -> Result<Option<PageBytes>, Error> {
        match self.find(page) {
            None => Ok(None),
            Some(Found::Zero) => Ok(Some(ZERO_PAGE)),
            Some(Found::Data { data_page }) => {
                let mut bytes = ZERO_PAGE;
                self.read_verified(page, data_page, std::slice::from_mut(&mut bytes))?;
                Ok(Some(bytes))
            }
        }
    }

    /// What the layer says of a page.
    pub(crate) fn find(&self, page: PageNo) -> Option<Found> {
        self.0.index.find(page)
    }

    pub(crate) fn file(&self) -> &Arc<SegmentFile> {
        &self.0.file
    }

    /// Offset of a data page in the layer.
    pub(crate) fn data_offset(&self, data_page: u32) -> u64 {
        u64::from(data_page) * PAGE_BYTES as u64
    }

    /// Offset of a data page in the segment file.
    pub(crate) fn file_offset(&self, data_page: u32) -> u64 {
        self.0.at.offset + self.data_offset(data_page)
    }

    /// Fills a buffer from an offset in the layer.
    pub(crate) fn read(&self, bytes: &mut [u8], offset: u64) -> Result<(), Error> {
        read_layer(&self.0.file, self.0.at, bytes, offset)
    }

    /// Fills several buffers, one after another, from an offset in the layer.
    pub(crate) fn read_scattered(&self, slices: &mut [IoSliceMut<'_>], offset: u64) -> Result<(), Error> {
        let (file, at) = (&self.0.file, self.0.at);
        file.read_scattered(slices, at.offset + offset).map_err(|source| read_error(file, at, source))
    }

    /// The place in the heap of a data page.
    pub(crate) fn page_of_data(&self, data_page: u32) -> PageNo {
        let data = self.runs().iter().filter_map(|run| match run.content {
            RunContent::Data { data_page } => Some((data_page, run.first)),
            RunContent::Zero => None,
        });
        let last = data.take_while(|(first, _)| *first <= data_page).last();
        last.map_or(PageNo(0), |(first, page)| PageNo(page + (data_page - first)))
    }

    /// The hash of a data page. One read from the file is not verified: see [`verify_hashes`](Self::verify_hashes).
    pub(crate) fn hash(&self, data_page: u32) -> Result<PageHash, Error> {
        match self.0.hashes.get() {
            Some(hashes) => Ok(hashes[data_page as usize]),
            None => self.0.blocks.hash(data_page, |pages| self.hashes(pages)),
        }
    }

    /// Hashes of consecutive data pages. Those read from the file are not verified: a damaged hash equals no
    /// page's.
    pub(crate) fn hashes(&self, data_pages: Range<u32>) -> Result<Vec<PageHash>, Error> {
        if let Some(hashes) = self.0.hashes.get() {
            return Ok(hashes[data_pages.start as usize..data_pages.end as usize].to_vec());
        }
        let mut bytes = vec![0; data_pages.len() * PageHash::BYTES];
        self.read(&mut bytes, self.0.index.hash_offset(data_pages.start))?;
        Ok(bytes.as_chunks().0.iter().copied().map(PageHash).collect())
    }

    /// All hashes, verified against their checksum.
    pub(crate) fn all_hashes(&self) -> Result<Vec<PageHash>, Error> {
        let hashes = self.hashes(0..self.data_pages())?;
        if !self.0.index.hashes_match(&hashes) {
            return Err(self.damaged(DamagedPart::Hashes));
        }
        self.0.are_hashes_verified.store(true, Ordering::Relaxed);
        Ok(hashes)
    }

    /// Compares all hashes with their checksum, unless that was done before.
    pub(crate) fn verify_hashes(&self) -> Result<(), Error> {
        if self.0.hashes.get().is_some() || self.0.are_hashes_verified.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.all_hashes().map(|_| ())
    }

    /// Reads consecutive data pages, of which `first` is the place of the first one, and verifies each.
    pub(crate) fn read_verified(
        &self,
        first: PageNo,
        data_page: u32,
        pages: &mut [PageBytes],
    ) -> Result<Vec<PageHash>, Error> {
        self.read(pages.as_flattened_mut(), self.data_offset(data_page))?;
        let hashes = self.hashes(data_page..data_page + crate::page::count_u32(pages.len()))?;
        for ((page, bytes), hash) in (first.0..).zip(pages.iter()).zip(&hashes) {
            if PageHash::of(bytes) != *hash {
                return Err(self.damaged(DamagedPart::Page(PageNo(page))));
            }
        }
        Ok(hashes)
    }

    pub(crate) fn damaged(&self, part: DamagedPart) -> Error {
        Error::Damaged { at: self.0.at, part }
    }
}

/// Fills a buffer from an offset in a layer.
fn read_layer(file: &SegmentFile, at: LayerLocation, bytes: &mut [u8], offset: u64) -> Result<(), Error> {
    file.read(bytes, at.offset + offset).map_err(|source| read_error(file, at, source))
}

/// A file that ends too early is a missing layer; anything else is the disk's doing.
fn read_error(file: &SegmentFile, at: LayerLocation, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => Error::Missing { at, segment_bytes: file.len().unwrap_or_default() },
        _ => Error::Io { action: "read", path: file.path().to_owned(), source },
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer")
            .field("at", &format_args!("{}", self.0.at))
            .field("data_pages", &self.data_pages())
            .field("zero_pages", &self.zero_pages())
            .finish_non_exhaustive()
    }
}
