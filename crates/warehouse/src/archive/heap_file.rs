//! A snapshot as an artifact: independent of layers, segments and the machine.
//!
//! ```text
//!   "vat-heap 1\n"        11 bytes
//!   size: u32             pages of 4 KiB
//!   globals: u32          bytes, then the canonical encoding of the globals
//!   pages: u32            how many follow
//!   page                  index: u32, 4,096 bytes; only pages that are not zero, in order
//! ```
//!
//! Integers little-endian. What the heap is, its *root* says; this is only a way to carry it.

use std::io::{self, Read};

use vat_engine::{Globals, HeapState};
use vat_image::{
    HEAP_PAGES_MAX, HeapRoot, HeapTree, Image, Layer, LayerKind, PAGE_BYTES, PageBytes, PageContent,
    PageHash, PageNo, PageStore, PageWrite,
};

use super::ArchiveError;
use super::container::Hashing;
use crate::error::Error;

const MAGIC: &[u8; 11] = b"vat-heap 1\n";
/// Pages of one layer: how much is in memory at once (16 MiB).
const LAYER_PAGES: usize = 4_096;
/// Longer globals than any module can have.
const GLOBALS_BYTES_MAX: u32 = 1 << 20;

/// Fails if a page of the image cannot be read as it was written.
pub(super) fn check(image: &Image) -> Result<(), vat_image::Error> {
    let mut bytes: PageBytes = [0; PAGE_BYTES];
    image.pages_nonzero()?.try_for_each(|(page, _)| image.read(page, &mut bytes))
}

pub(super) fn write(state: &HeapState, out: &mut Hashing<'_>) -> Result<(), ArchiveError> {
    let globals = state.globals.encode();
    let image = &state.image;
    let failed = |error: vat_image::Error| ArchiveError::Warehouse(error.into());
    let pages: Vec<PageNo> = image.pages_nonzero().map_err(failed)?.map(|(page, _)| page).collect();
    out.put(MAGIC)?;
    out.put(&image.size_pages().to_le_bytes())?;
    out.put(&length(globals.len()))?;
    out.put(&globals)?;
    out.put(&length(pages.len()))?;
    let mut bytes: PageBytes = [0; PAGE_BYTES];
    for page in pages {
        image.read(page, &mut bytes).map_err(failed)?;
        out.put(&page.0.to_le_bytes())?;
        out.put(&bytes)?;
    }
    Ok(())
}

/// Reads a snapshot into a page store. It is durable after a sync.
pub(super) fn read(input: &mut impl Read, name: &str, pages: &PageStore) -> Result<HeapState, ArchiveError> {
    let Head { size_pages, globals } = Head::read(input, name)?;
    let layers = read_pages(input, name, size_pages, pages)?;
    require_end(input, name)?;
    Ok(HeapState { image: Image::new(layers, size_pages), globals })
}

/// The heap root of a snapshot of a vat of `module`.
pub(super) fn root(input: &mut dyn Read, name: &str, module: &[u8; 32]) -> Result<HeapRoot, ArchiveError> {
    let Head { size_pages, globals } = Head::read(input, name)?;
    let mut tree = Vec::new();
    each_page(input, name, size_pages, |page, bytes| {
        tree.push((page, PageHash::of(bytes)));
        Ok(())
    })?;
    require_end(input, name)?;
    let tree: HeapTree = tree.into_iter().filter(|(_, hash)| *hash != PageHash::ZERO).collect();
    Ok(tree.root(size_pages, &globals.encode(), module))
}

/// What is before the pages.
struct Head {
    size_pages: u32,
    globals: Globals,
}

impl Head {
    fn read(input: &mut (impl Read + ?Sized), name: &str) -> Result<Head, ArchiveError> {
        let wrong = |what: &str| ArchiveError::artifact(name, what);
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic).map_err(cut(name))?;
        if magic != *MAGIC {
            return Err(wrong("it is not a snapshot"));
        }
        let (size_pages, globals_bytes) = (number(input, name)?, number(input, name)?);
        if size_pages > HEAP_PAGES_MAX || globals_bytes > GLOBALS_BYTES_MAX {
            return Err(wrong("it is larger than a heap can be"));
        }
        let mut globals = vec![0; globals_bytes as usize];
        input.read_exact(&mut globals).map_err(cut(name))?;
        let globals = Globals::decode(&globals).ok_or_else(|| wrong("its globals cannot be read"))?;
        Ok(Head { size_pages, globals })
    }
}

fn number(input: &mut (impl Read + ?Sized), name: &str) -> Result<u32, ArchiveError> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes).map_err(cut(name))?;
    Ok(u32::from_le_bytes(bytes))
}

fn require_end(input: &mut (impl Read + ?Sized), name: &str) -> Result<(), ArchiveError> {
    match input.read(&mut [0]).map_err(cut(name))? {
        0 => Ok(()),
        _ => Err(ArchiveError::artifact(name, "something follows its end")),
    }
}

fn cut(name: &str) -> impl FnOnce(io::Error) -> ArchiveError + '_ {
    move |_| ArchiveError::artifact(name, "it ends too early")
}

/// Hands over the pages in order.
fn each_page(
    input: &mut (impl Read + ?Sized),
    name: &str,
    size_pages: u32,
    mut page: impl FnMut(PageNo, &PageBytes) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut next = 0;
    for _ in 0..number(input, name)? {
        let at = number(input, name)?;
        if at < next || at >= size_pages {
            return Err(ArchiveError::artifact(name, "its pages are not in order, or beyond its end"));
        }
        let mut bytes = [0; PAGE_BYTES];
        input.read_exact(&mut bytes).map_err(cut(name))?;
        page(PageNo(at), &bytes)?;
        next = at + 1;
    }
    Ok(())
}

fn read_pages(
    input: &mut (impl Read + ?Sized),
    name: &str,
    size_pages: u32,
    pages: &PageStore,
) -> Result<Vec<Layer>, ArchiveError> {
    let mut layers = Layers { pages, layers: Vec::new(), chunk: Vec::new() };
    each_page(input, name, size_pages, |page, bytes| Ok(layers.put(page, bytes)?))?;
    Ok(layers.finish()?)
}

/// Copies an image into another page store. It is durable after a sync.
pub(super) fn copy(image: &Image, pages: &PageStore) -> Result<Image, Error> {
    let mut layers = Layers { pages, layers: Vec::new(), chunk: Vec::new() };
    let mut bytes: PageBytes = [0; PAGE_BYTES];
    for (page, _) in image.pages_nonzero()? {
        image.read(page, &mut bytes)?;
        layers.put(page, &bytes)?;
    }
    Ok(Image::new(layers.finish()?, image.size_pages()))
}

/// Layers that are being made of pages in order.
struct Layers<'a> {
    pages: &'a PageStore,
    layers: Vec<Layer>,
    chunk: Vec<(PageNo, PageBytes)>,
}

impl Layers<'_> {
    fn put(&mut self, page: PageNo, bytes: &PageBytes) -> Result<(), Error> {
        self.chunk.push((page, *bytes));
        if self.chunk.len() == LAYER_PAGES { self.append() } else { Ok(()) }
    }

    fn append(&mut self) -> Result<(), Error> {
        let writes: Vec<PageWrite<'_>> = self
            .chunk
            .iter()
            .map(|(page, bytes)| {
                let content = PageContent::Data { hash: PageHash::of(bytes), bytes };
                PageWrite { page: *page, content }
            })
            .collect();
        let kind = if self.layers.is_empty() { LayerKind::Base } else { LayerKind::Delta };
        self.layers.push(self.pages.append(kind, &writes)?);
        self.chunk.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Layer>, Error> {
        if !self.chunk.is_empty() {
            self.append()?;
        }
        Ok(self.layers)
    }
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("a heap has at most 2^20 pages").to_le_bytes()
}
