//! The bytes of a layer, format version 1. Integers are little-endian.
//!
//! ```text
//! offset in the layer                          what
//! 0                                            data pages, 4096 bytes each          mapped as they are
//! D = data_pages · 4096                        page hashes, 32 bytes per data page
//! D + data_pages · 32                          zeros
//! bytes − 128 − run_count · 16                 runs, 16 bytes each
//! bytes − 128                                  footer, 128 bytes
//! bytes = D + roundup(data_pages·32 + run_count·16 + 128, 4096)
//! ```
//!
//! A **run** is consecutive pages of the heap: `first u32`, `count u32`, `kind u32` (0 zero, 1 data),
//! `data_page u32` (number of its first data page, 0 in a zero run). Runs are sorted and disjoint; data pages
//! are numbered in the order of the runs, without gaps, so that a run is also consecutive in the file. A data
//! page that is zero may be a hole in the file: it reads as zeros.
//!
//! The **footer** is the last thing written:
//!
//! | at | field | width | damage it catches |
//! |---|---|---|---|
//! | 0 | magic `VATLAYER` | 8 | a layer never finished, a wrong place |
//! | 8 | version | 4 | another program's layer; read before the checksum |
//! | 12 | page bytes, 4096 | 4 | |
//! | 16 | segment number | 4 | a write that went to the wrong file |
//! | 20 | run count | 4 | |
//! | 24 | data pages | 4 | |
//! | 28 | zero pages | 4 | |
//! | 32 | offset of the layer in its segment | 8 | a write that went to the wrong place |
//! | 40 | bytes of the layer | 8 | a pointer to a layer that another has replaced |
//! | 48 | zeros | 16 | |
//! | 64 | BLAKE3 of all page hashes, keyed | 32 | damaged hashes; verified when all are read |
//! | 96 | BLAKE3 of the runs and of the footer's first 96 bytes, keyed | 32 | damaged index; verified at load |
//!
//! Page data is verified by its hashes, when a page is read through
//! [`Layer::read_page`](super::Layer::read_page) and by a scrub.

use super::{Found, LayerLocation};
use crate::{
    DamagedPart, Error,
    page::{HEAP_PAGES_MAX, PAGE_BYTES, PageHash, PageNo, count_u32},
};

/// Version of the layer format that is written, and the only one read.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"VATLAYER";
const RUN_BYTES: usize = 16;
const FOOTER_BYTES: usize = 128;
const CHECKED_FOOTER_BYTES: usize = 96;
const KIND_ZERO: u32 = 0;
const KIND_DATA: u32 = 1;
const INDEX_KEY: &[u8; 32] = b"vat-image layer index v1        ";
const HASHES_KEY: &[u8; 32] = b"vat-image layer page hashes v1  ";

/// Consecutive pages of a heap that a layer covers in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first page.
    pub first: u32,
    /// How many pages, at least one.
    pub count: u32,
    /// What they hold.
    pub content: RunContent,
}

/// What the pages of a run hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunContent {
    /// Zeros, which take no space.
    Zero,
    /// The layer's data pages from this number on.
    Data {
        /// Number of the first page in the layer's data.
        data_page: u32,
    },
}

impl Run {
    /// The page after the last.
    pub const fn end(&self) -> u32 {
        self.first + self.count
    }

    fn encode(&self) -> [u8; RUN_BYTES] {
        let (kind, data_page) = match self.content {
            RunContent::Zero => (KIND_ZERO, 0),
            RunContent::Data { data_page } => (KIND_DATA, data_page),
        };
        let mut bytes = [0; RUN_BYTES];
        for (place, field) in
            bytes.as_chunks_mut().0.iter_mut().zip([self.first, self.count, kind, data_page])
        {
            *place = field.to_le_bytes();
        }
        bytes
    }

    fn decode(bytes: &[u8; RUN_BYTES]) -> Option<Run> {
        let field = |at| read_u32(bytes, at);
        let content = match (field(8), field(12)) {
            (KIND_ZERO, 0) => RunContent::Zero,
            (KIND_DATA, data_page) => RunContent::Data { data_page },
            _ => return None,
        };
        Some(Run { first: field(0), count: field(4), content })
    }
}

/// The decoded index of a layer.
#[derive(Debug)]
pub(crate) struct Index {
    runs: Box<[Run]>,
    data_pages: u32,
    zero_pages: u32,
    hashes_checksum: [u8; 32],
}

impl Index {
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    pub(crate) fn data_pages(&self) -> u32 {
        self.data_pages
    }

    pub(crate) fn zero_pages(&self) -> u32 {
        self.zero_pages
    }

    pub(crate) fn find(&self, page: PageNo) -> Option<Found> {
        let after = self.runs.partition_point(|run| run.first <= page.0);
        let run = self.runs[..after].last().filter(|run| page.0 < run.end())?;
        Some(match run.content {
            RunContent::Zero => Found::Zero,
            RunContent::Data { data_page } => Found::Data { data_page: data_page + (page.0 - run.first) },
        })
    }

    /// Offset of a data page's hash from the layer's beginning.
    pub(crate) fn hash_offset(&self, data_page: u32) -> u64 {
        u64::from(self.data_pages) * PAGE_BYTES as u64 + u64::from(data_page) * PageHash::BYTES as u64
    }

    pub(crate) fn hashes_match(&self, hashes: &[PageHash]) -> bool {
        checksum_of_hashes(hashes) == self.hashes_checksum
    }

    /// Reads and verifies an index; `read` fills a buffer from an offset in the layer.
    pub(crate) fn read(
        at: LayerLocation,
        read: impl Fn(&mut [u8], u64) -> Result<(), Error>,
    ) -> Result<Index, Error> {
        let damaged = |part| Error::Damaged { at, part };
        let whole_pages =
            at.offset.is_multiple_of(PAGE_BYTES as u64) && at.bytes.is_multiple_of(PAGE_BYTES as u64);
        let is_in_a_file = at.offset.checked_add(at.bytes).is_some_and(|end| i64::try_from(end).is_ok());
        if !whole_pages || at.bytes == 0 || !is_in_a_file {
            return Err(damaged(DamagedPart::Footer));
        }
        // One read serves the common case: a layer whose runs are in the same page as its footer.
        let mut last = vec![0; PAGE_BYTES];
        read(&mut last, at.bytes - PAGE_BYTES as u64)?;
        let footer = Footer::decode(&last[PAGE_BYTES - FOOTER_BYTES..], at)?;
        if !footer.describes(at) {
            return Err(damaged(DamagedPart::Index));
        }
        let tail = footer.run_count as usize * RUN_BYTES + FOOTER_BYTES;
        if tail > PAGE_BYTES {
            last = vec![0; tail];
            read(&mut last, at.bytes - tail as u64)?;
        }
        let checked = &last[last.len() - tail..last.len() - (FOOTER_BYTES - CHECKED_FOOTER_BYTES)];
        if *blake3::keyed_hash(INDEX_KEY, checked).as_bytes() != footer.index_checksum {
            return Err(damaged(DamagedPart::Index));
        }
        let runs = checked[..tail - FOOTER_BYTES].as_chunks().0;
        footer.index(runs).ok_or_else(|| damaged(DamagedPart::Index))
    }
}

/// The footer's fields, not yet verified.
struct Footer {
    segment: u32,
    run_count: u32,
    data_pages: u32,
    zero_pages: u32,
    offset: u64,
    bytes: u64,
    hashes_checksum: [u8; 32],
    index_checksum: [u8; 32],
}

impl Footer {
    fn decode(bytes: &[u8], at: LayerLocation) -> Result<Footer, Error> {
        if bytes[..8] != MAGIC {
            return Err(Error::Damaged { at, part: DamagedPart::Footer });
        }
        let found = read_u32(bytes, 8);
        if found != FORMAT_VERSION {
            return Err(Error::Version { at, found, supported: FORMAT_VERSION });
        }
        Ok(Footer {
            segment: read_u32(bytes, 16),
            run_count: read_u32(bytes, 20),
            data_pages: read_u32(bytes, 24),
            zero_pages: read_u32(bytes, 28),
            offset: read_u64(bytes, 32),
            bytes: read_u64(bytes, 40),
            hashes_checksum: bytes[64..96].try_into().expect("32 bytes"),
            index_checksum: bytes[96..128].try_into().expect("32 bytes"),
        })
    }

    /// Whether this is the footer of the layer at that place, with counts that fit its length.
    fn describes(&self, at: LayerLocation) -> bool {
        let place = LayerLocation { segment: self.segment, offset: self.offset, bytes: self.bytes };
        let counts_in_bounds = self.run_count <= HEAP_PAGES_MAX && self.data_pages <= HEAP_PAGES_MAX;
        place == at && counts_in_bounds && layer_bytes(self.run_count, self.data_pages) == at.bytes
    }

    /// The index, if its runs are as the format says.
    fn index(&self, encoded: &[[u8; RUN_BYTES]]) -> Option<Index> {
        let mut builder = IndexBuilder::default();
        for bytes in encoded {
            let run = Run::decode(bytes)?;
            let (pages, data_pages) = (run.first.checked_add(run.count)?, builder.data_pages);
            let numbered = match run.content {
                RunContent::Zero => true,
                RunContent::Data { data_page } => data_page == data_pages,
            };
            if !numbered || run.count == 0 || run.first < builder.end() || pages > HEAP_PAGES_MAX {
                return None;
            }
            builder.push_run(run);
        }
        let counted = (builder.data_pages, builder.zero_pages) == (self.data_pages, self.zero_pages);
        counted.then(|| builder.build(self.hashes_checksum))
    }
}

/// Collects runs, page by page or run by run.
#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    runs: Vec<Run>,
    data_pages: u32,
    zero_pages: u32,
}

impl IndexBuilder {
    /// The page after the last one added.
    pub(crate) fn end(&self) -> u32 {
        self.runs.last().map_or(0, Run::end)
    }

    pub(crate) fn data_pages(&self) -> u32 {
        self.data_pages
    }

    /// Adds pages with data; they get the next data page numbers.
    pub(crate) fn push_data(&mut self, first: u32, count: u32) {
        let next = self.data_pages;
        match self.runs.last_mut() {
            Some(last) if last.end() == first && last.content != RunContent::Zero => {
                last.count += count;
                self.data_pages += count;
            }
            _ => self.push_run(Run { first, count, content: RunContent::Data { data_page: next } }),
        }
    }

    /// Adds pages of zeros.
    pub(crate) fn push_zero(&mut self, first: u32, count: u32) {
        match self.runs.last_mut() {
            Some(last) if last.end() == first && last.content == RunContent::Zero => {
                last.count += count;
                self.zero_pages += count;
            }
            _ => self.push_run(Run { first, count, content: RunContent::Zero }),
        }
    }

    fn push_run(&mut self, run: Run) {
        debug_assert!(run.first >= self.end() && run.count > 0, "runs are added in order");
        match run.content {
            RunContent::Zero => self.zero_pages += run.count,
            RunContent::Data { .. } => self.data_pages += run.count,
        }
        self.runs.push(run);
    }

    /// Bytes that the layer will take.
    pub(crate) fn layer_bytes(&self) -> u64 {
        layer_bytes(count_u32(self.runs.len()), self.data_pages)
    }

    fn build(self, hashes_checksum: [u8; 32]) -> Index {
        let IndexBuilder { runs, data_pages, zero_pages } = self;
        Index { runs: runs.into_boxed_slice(), data_pages, zero_pages, hashes_checksum }
    }

    /// Finishes the index and encodes what follows the data pages.
    pub(crate) fn finish(self, at: LayerLocation, hashes: &[PageHash]) -> Tail {
        debug_assert_eq!(hashes.len(), self.data_pages as usize);
        let index = self.build(checksum_of_hashes(hashes));
        let data_bytes = index.hash_offset(0);
        let tail_bytes = usize::try_from(at.bytes - data_bytes).expect("an index fits memory");
        let mut bytes = vec![0; tail_bytes];
        for (place, hash) in bytes.chunks_exact_mut(PageHash::BYTES).zip(hashes) {
            place.copy_from_slice(&hash.0);
        }
        let footer_at = tail_bytes - FOOTER_BYTES;
        let runs_at = footer_at - index.runs.len() * RUN_BYTES;
        for (place, run) in bytes[runs_at..footer_at].as_chunks_mut().0.iter_mut().zip(&index.runs) {
            *place = run.encode();
        }
        index.encode_footer(at, &mut bytes[footer_at..]);
        let checked = &bytes[runs_at..footer_at + CHECKED_FOOTER_BYTES];
        let checksum = *blake3::keyed_hash(INDEX_KEY, checked).as_bytes();
        bytes[footer_at + CHECKED_FOOTER_BYTES..].copy_from_slice(&checksum);
        Tail { index, bytes }
    }
}

impl Index {
    /// Writes the footer's fields, all but the checksum.
    fn encode_footer(&self, at: LayerLocation, footer: &mut [u8]) {
        footer[..8].copy_from_slice(&MAGIC);
        let page_bytes = count_u32(PAGE_BYTES);
        let run_count = count_u32(self.runs.len());
        let fields = [FORMAT_VERSION, page_bytes, at.segment, run_count, self.data_pages, self.zero_pages];
        for (place, field) in footer[8..32].as_chunks_mut().0.iter_mut().zip(fields) {
            *place = field.to_le_bytes();
        }
        footer[32..40].copy_from_slice(&at.offset.to_le_bytes());
        footer[40..48].copy_from_slice(&at.bytes.to_le_bytes());
        footer[64..96].copy_from_slice(&self.hashes_checksum);
    }
}

/// An index, and the bytes that follow the data pages of its layer.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) index: Index,
    pub(crate) bytes: Vec<u8>,
}

/// Bytes of a layer with so many runs and data pages.
fn layer_bytes(run_count: u32, data_pages: u32) -> u64 {
    let tail = u64::from(data_pages) * PageHash::BYTES as u64
        + u64::from(run_count) * RUN_BYTES as u64
        + FOOTER_BYTES as u64;
    u64::from(data_pages) * PAGE_BYTES as u64 + tail.next_multiple_of(PAGE_BYTES as u64)
}

fn checksum_of_hashes(hashes: &[PageHash]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(HASHES_KEY);
    for hash in hashes {
        hasher.update(&hash.0);
    }
    *hasher.finalize().as_bytes()
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}
