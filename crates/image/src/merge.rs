//! Merging: fewer layers and fewer copied pages, for a bounded amount of writing.
//!
//! Every eviction adds a layer, and a page that was written here and there is copied at every restore. Two
//! rules keep both in bounds; a caller applies them in the background, as often as [`merge`] returns a new
//! image:
//!
//! * **Deltas** (size-tiered): with more than [`layers_max`](MergePolicy::layers_max) layers, the newest are
//!   merged into one, and with them every older one that is at most twice as large as what is merged so far.
//!   A page is then written again only when it is in a layer of at most two thirds of the result: about
//!   `log₁·₅(D / d)` times until the base is rewritten, where `D` is the size of all deltas then and `d` that
//!   of `layers_max` evictions. Evictions that write the same pages again merge to nothing more than those
//!   pages. A gap of at most `FILLED_GAP_PAGES` pages between merged pages is filled from below, so that the
//!   part of a heap that is written most becomes one run, which is mapped instead of copied. Each merged page
//!   pays for at most so many others.
//! * **Base**: everything is merged into a new base when a restore would copy more than
//!   1/[`base_divisor`](MergePolicy::base_divisor) of the base's pages, or when the deltas have grown to half
//!   the base. The `B` pages of the base are then paid by at least `B / base_divisor` evicted pages: at most
//!   `base_divisor` writes for each.
//!
//! So with the default policy a page that is evicted is written at most 1 + log + 8 times, and a restore
//! copies at most `B / 8` pages beside its [`MAPPED_RUNS_MAX`](crate::MAPPED_RUNS_MAX) mappings. That product
//! is a law for pages written at random: a smaller divisor writes less and copies more. Heaps that write
//! where they wrote before stay far below both. A 64 MiB heap, 500 evictions of 16 pages anywhere, 2 µs or more
//! for each page copied (`cargo bench -- worn`):
//!
//! | divisor | bytes written for each changed | copied at the end | restore | 10,000 evictions |
//! |---|---|---|---|---|
//! | 8 | 10.0 | 1,224 pages | 3.6 to 7.8 ms | 11.5 bytes |
//! | 32 | 31.7 | 61 pages | 0.18 ms | |
//!
//! What is copied at the end depends on where the last rewrite was; at most it is 2,048 and 512 pages. The default writes
//! little, for merging is in the background but wears the disk; to restore such a heap at twice the cost of a whole one,
//! with some three pages copied, every eviction would have to write the base. Rewriting the base part by part instead
//! of all at once would even out the cost of restores, at most halving the worst one, and would not change the law.
//!
//! Every page is verified against its hash on the way: a merge does not carry damage into a new layer.

use std::io::IoSlice;

use crate::{
    DamagedPart, Error, Image, Layer, LayerKind, PageSet, PageStore, RunContent,
    layer::Found,
    page::{PageBytes, PageHash, PageNo, ZERO_PAGE, count_u32},
    store::LayerShape,
};

/// Longest gap in a merged delta that is filled with the pages below it.
const FILLED_GAP_PAGES: u32 = 2;

/// Pages read and written at once.
const CHUNK_PAGES: u32 = 256;

/// When layers are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergePolicy {
    /// More layers than this are merged. At least 2.
    pub layers_max: usize,
    /// The base is rewritten when a restore copies more than this part of its pages. At least 1.
    pub base_divisor: u32,
    /// Restores that copy no more pages than this are left alone. A small heap is not worth rewriting for
    /// less.
    pub copied_pages_min: u32,
}

impl Default for MergePolicy {
    fn default() -> MergePolicy {
        MergePolicy { layers_max: 8, base_divisor: 8, copied_pages_min: 64 }
    }
}

impl MergePolicy {
    /// The lowest layer that is merged with all above it.
    fn lowest(&self, image: &Image) -> Option<usize> {
        let layers = image.layers();
        let [base, deltas @ ..] = layers else { return None };
        if deltas.is_empty() {
            return None;
        }
        let delta_pages: u32 = deltas.iter().map(pages_of).sum();
        let copied_max = (pages_of(base) / self.base_divisor.max(1)).max(self.copied_pages_min);
        if image.plan().copied_pages() > copied_max || delta_pages > (pages_of(base) / 2).max(copied_max) {
            return Some(0);
        }
        (layers.len() > self.layers_max.max(2)).then(|| lowest_of_tier(layers))
    }
}

/// The lowest delta that is at most twice as large as all above it, and so on up to the last.
fn lowest_of_tier(layers: &[Layer]) -> usize {
    let mut lowest = layers.len() - 2;
    let mut pages: u32 = layers[lowest..].iter().map(pages_of).sum();
    while lowest > 1 && pages_of(&layers[lowest - 1]) <= pages.saturating_mul(2) {
        lowest -= 1;
        pages = pages.saturating_add(pages_of(&layers[lowest]));
    }
    lowest
}

fn pages_of(layer: &Layer) -> u32 {
    layer.data_pages() + layer.zero_pages()
}

/// Merges layers of an image if the policy asks for it: `None` if the image is good as it is. The content is
/// the same, and the image's own layers are untouched; the new layer is not durable yet, see
/// [`PageStore::sync`].
///
/// # Errors
///
/// [`Error::Damaged`] or [`Error::Missing`] if a layer cannot be read, [`Error::Io`] if the disk refuses; the
/// image is still good for what it was good for.
pub fn merge(store: &PageStore, image: &Image, policy: &MergePolicy) -> Result<Option<Image>, Error> {
    policy.lowest(image).map(|lowest| merge_from(store, image, lowest)).transpose()
}

/// A page of the merged layer.
#[derive(Clone, Copy, Debug)]
struct MergedPage {
    page: PageNo,
    /// `None` if it is zero.
    hash: Option<PageHash>,
    /// Where its bytes are now.
    layer: usize,
    data_page: u32,
}

impl MergedPage {
    /// Whether the other page's bytes follow this one's in the same layer.
    fn is_before(&self, next: &MergedPage) -> bool {
        self.layer == next.layer && self.data_page + 1 == next.data_page
    }
}

/// Merges the layers from `lowest` on into one.
fn merge_from(store: &PageStore, image: &Image, lowest: usize) -> Result<Image, Error> {
    let pages = fill_gaps(image, lowest, merged_pages(image, lowest)?)?;
    let kind = if lowest == 0 { LayerKind::Base } else { LayerKind::Delta };
    let mut layers = image.layers()[..lowest].to_vec();
    let is_needed = kind == LayerKind::Delta || pages.iter().any(|page| page.hash.is_some());
    if is_needed {
        layers.push(write(store, image.layers(), kind, &pages)?);
    }
    Ok(image.succeeded_by(layers, image.size_pages(), &PageSet::new()))
}

/// The pages that the layers from `lowest` on cover, as the topmost of them says.
fn merged_pages(image: &Image, lowest: usize) -> Result<Vec<MergedPage>, Error> {
    let hashes = image.layers().iter().skip(lowest).map(Layer::all_hashes).collect::<Result<Vec<_>, _>>()?;
    let mut pages = Vec::new();
    for extent in image.extents(lowest) {
        for (skip, page) in (extent.first..extent.end()).enumerate() {
            let (data_page, hash) = match extent.content {
                RunContent::Zero => (0, PageHash::ZERO),
                RunContent::Data { data_page } => {
                    let data_page = data_page + count_u32(skip);
                    (data_page, hashes[extent.layer - lowest][data_page as usize])
                }
            };
            let hash = (hash != PageHash::ZERO).then_some(hash);
            pages.push(MergedPage { page: PageNo(page), hash, layer: extent.layer, data_page });
        }
    }
    Ok(pages)
}

/// Adds the pages in short gaps between pages of data, if they are data too.
fn fill_gaps(image: &Image, lowest: usize, pages: Vec<MergedPage>) -> Result<Vec<MergedPage>, Error> {
    let mut filled: Vec<MergedPage> = Vec::with_capacity(pages.len());
    for next in pages {
        if let Some(last) = filled.last().copied()
            && (1..=FILLED_GAP_PAGES).contains(&(next.page.0 - last.page.0 - 1))
            && last.hash.is_some()
            && next.hash.is_some()
        {
            for page in (last.page.0 + 1..next.page.0).map(PageNo) {
                filled.extend(page_below(image, lowest, page)?);
            }
        }
        filled.push(next);
    }
    Ok(filled)
}

/// A page of the layers below `lowest`; `None` if it is zero.
fn page_below(image: &Image, lowest: usize, page: PageNo) -> Result<Option<MergedPage>, Error> {
    let below = image.layers()[..lowest].iter().enumerate().rev();
    let found = below.filter_map(|(layer, found)| Some((layer, found.find(page)?))).next();
    let Some((layer, Found::Data { data_page })) = found else { return Ok(None) };
    let hash = image.layers()[layer].hash(data_page)?;
    let is_data = hash != PageHash::ZERO;
    Ok(is_data.then_some(MergedPage { page, hash: Some(hash), layer, data_page }))
}

/// Writes the pages as one layer, in pieces.
fn write(store: &PageStore, layers: &[Layer], kind: LayerKind, pages: &[MergedPage]) -> Result<Layer, Error> {
    let mut shape = LayerShape::new(kind, pages.iter().map(|page| (page.page, page.hash)));
    let stretches = shape.take_stretches();
    let mut writer = store.begin(shape)?;
    let data: Vec<MergedPage> = pages.iter().filter(|page| page.hash.is_some()).copied().collect();
    let mut rest = data.as_slice();
    let mut buffer = vec![ZERO_PAGE; CHUNK_PAGES as usize];
    for stretch in stretches {
        for data_page in (stretch.data_page..stretch.end()).step_by(CHUNK_PAGES as usize) {
            let count = CHUNK_PAGES.min(stretch.end() - data_page) as usize;
            let (now, later) = rest.split_at(count);
            read(layers, now, &mut buffer[..count])?;
            writer.write(data_page, &mut [IoSlice::new(buffer[..count].as_flattened())])?;
            rest = later;
        }
    }
    writer.finish(0, Vec::new())
}

/// Reads pages from where they are now, and verifies them.
fn read(layers: &[Layer], pages: &[MergedPage], mut buffer: &mut [PageBytes]) -> Result<(), Error> {
    for piece in pages.chunk_by(MergedPage::is_before) {
        let (bytes, rest) = buffer.split_at_mut(piece.len());
        let layer = &layers[piece[0].layer];
        layer.read(bytes.as_flattened_mut(), layer.data_offset(piece[0].data_page))?;
        let wrong = piece.iter().zip(bytes).find(|(page, bytes)| page.hash != Some(PageHash::of(bytes)));
        if let Some((page, _)) = wrong {
            return Err(layer.damaged(DamagedPart::Page(page.page)));
        }
        buffer = rest;
    }
    Ok(())
}
