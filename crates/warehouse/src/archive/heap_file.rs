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
    HEAP_PAGES_MAX, Image, LayerKind, PAGE_BYTES, PageBytes, PageContent, PageHash, PageNo, PageStore,
    PageWrite,
};

use super::ArchiveError;
use super::container::Hashing;

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
    let wrong = |what: &str| ArchiveError::artifact(name, what);
    let cut = |_: io::Error| wrong("it ends too early");
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic).map_err(cut)?;
    if magic != *MAGIC {
        return Err(wrong("it is not a snapshot"));
    }
    let mut number = || -> Result<u32, io::Error> {
        let mut bytes = [0; 4];
        input.read_exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    };
    let (size_pages, globals_bytes) = (number().map_err(cut)?, number().map_err(cut)?);
    if size_pages > HEAP_PAGES_MAX || globals_bytes > GLOBALS_BYTES_MAX {
        return Err(wrong("it is larger than a heap can be"));
    }
    let mut globals = vec![0; globals_bytes as usize];
    input.read_exact(&mut globals).map_err(cut)?;
    let globals = Globals::decode(&globals).ok_or_else(|| wrong("its globals cannot be read"))?;
    let layers = read_pages(input, name, size_pages, pages)?;
    if input.read(&mut [0]).map_err(cut)? != 0 {
        return Err(wrong("something follows its end"));
    }
    Ok(HeapState { image: Image::new(layers, size_pages), globals })
}

fn read_pages(
    input: &mut impl Read,
    name: &str,
    size_pages: u32,
    pages: &PageStore,
) -> Result<Vec<vat_image::Layer>, ArchiveError> {
    let wrong = |what: &str| ArchiveError::artifact(name, what);
    let cut = |_: io::Error| wrong("it ends too early");
    let mut four = [0; 4];
    input.read_exact(&mut four).map_err(cut)?;
    let mut left = u32::from_le_bytes(four) as usize;
    let mut layers = Vec::new();
    let mut next = 0;
    while left > 0 {
        let mut chunk: Vec<(PageNo, PageBytes)> = Vec::with_capacity(left.min(LAYER_PAGES));
        while left > 0 && chunk.len() < LAYER_PAGES {
            input.read_exact(&mut four).map_err(cut)?;
            let page = u32::from_le_bytes(four);
            if page < next || page >= size_pages {
                return Err(wrong("its pages are not in order, or beyond its end"));
            }
            let mut bytes = [0; PAGE_BYTES];
            input.read_exact(&mut bytes).map_err(cut)?;
            chunk.push((PageNo(page), bytes));
            next = page + 1;
            left -= 1;
        }
        let writes: Vec<PageWrite<'_>> = chunk
            .iter()
            .map(|(page, bytes)| PageWrite {
                page: *page,
                content: PageContent::Data { hash: PageHash::of(bytes), bytes },
            })
            .collect();
        let kind = if layers.is_empty() { LayerKind::Base } else { LayerKind::Delta };
        let layer = pages.append(kind, &writes).map_err(|error| ArchiveError::Warehouse(error.into()))?;
        layers.push(layer);
    }
    Ok(layers)
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("a heap has at most 2^20 pages").to_le_bytes()
}
