//! Saving a heap: the pages that changed since its image become one new layer.

use crate::{
    Compare, DirtyTracker, Error, Image, LayerKind, PageContent, PageSet, PageStore, PageWrite,
    page::{PAGE_BYTES, PageHash, is_zero, page_of, pages_in},
};

/// Whether a capture verifies its dirty pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Believes the tracker.
    Never,
    /// Compares the whole heap with its image: for tests, and for a sample of evictions that the caller
    /// draws.
    Always,
}

/// A saved heap.
#[derive(Clone, Debug)]
pub struct Captured {
    /// The heap at rest. The image that was given, if nothing changed.
    pub image: Image,
    /// What was done.
    pub stats: CaptureStats,
}

/// Counts of a capture, in pages if nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureStats {
    /// Named dirty, and therefore hashed.
    pub scanned: u32,
    /// Written with their bytes.
    pub written: u32,
    /// Became zero, and take no space.
    pub zero: u32,
    /// Named dirty but equal to the image.
    pub unchanged: u32,
    /// Bytes appended to the store.
    pub bytes: u64,
    /// The tracker missed pages that differ. The heap was saved whole, so nothing is lost; but the tracker
    /// must not be trusted on this machine, and the caller says so loudly.
    pub disagreement: bool,
}

/// Saves a heap that was restored from `image`, given the pages that may differ from it. A heap without an
/// image is saved against [`Image::empty`].
///
/// The new layer is not durable yet; see [`PageStore::sync`].
///
/// # Errors
///
/// [`Error::Io`] if the disk refuses, [`Error::Missing`] if the image's hashes cannot be read; the heap and
/// the image are untouched then.
///
/// # Panics
///
/// If the heap is not a whole number of pages, or is smaller than the image.
pub fn capture(
    store: &PageStore,
    heap: &[u8],
    image: &Image,
    dirty: &PageSet,
    check: Check,
) -> Result<Captured, Error> {
    let missed = match check {
        Check::Never => PageSet::new(),
        Check::Always => Compare.dirty(heap, image)?.difference(dirty),
    };
    if missed.is_empty() {
        return capture_pages(store, heap, image, dirty);
    }
    let mut captured = capture_pages(store, heap, &Image::empty(0), &PageSet::first(pages_in(heap)))?;
    captured.stats.disagreement = true;
    Ok(captured)
}

fn capture_pages(store: &PageStore, heap: &[u8], image: &Image, dirty: &PageSet) -> Result<Captured, Error> {
    let size_pages = pages_in(heap);
    assert!(size_pages >= image.size_pages(), "a heap does not shrink");
    let mut stats = CaptureStats { scanned: dirty.len(), ..CaptureStats::default() };
    let mut writes = Vec::with_capacity(dirty.len() as usize);
    for page in dirty.pages() {
        let bytes = page_of(heap, page.0);
        let content = match is_zero(bytes) {
            true => PageContent::Zero,
            false => PageContent::Data { hash: PageHash::of(bytes), bytes },
        };
        let before = image.page_hash(page)?;
        match content {
            PageContent::Zero if before == PageHash::ZERO => stats.unchanged += 1,
            PageContent::Data { hash, .. } if before == hash => stats.unchanged += 1,
            _ => writes.push(PageWrite { page, content }),
        }
        match writes.last() {
            Some(PageWrite { page: last, content: PageContent::Zero }) if *last == page => stats.zero += 1,
            Some(PageWrite { page: last, .. }) if *last == page => stats.written += 1,
            _ => {}
        }
    }
    let grown = image.grown_to(size_pages);
    if writes.is_empty() {
        return Ok(Captured { image: grown, stats });
    }
    let kind = if image.layers().is_empty() { LayerKind::Base } else { LayerKind::Delta };
    let layer = store.append(kind, &writes)?;
    stats.bytes = layer.location().bytes;
    debug_assert!(stats.bytes >= u64::from(stats.written) * PAGE_BYTES as u64);
    let layers = image.layers().iter().cloned().chain([layer]).collect();
    let changed = writes.iter().map(|write| write.page).collect();
    Ok(Captured { image: image.succeeded_by(layers, size_pages, &changed), stats })
}
