//! The oracle: reads the image and compares every page. Works everywhere; costs the size of the heap.

use super::DirtyTracker;
use crate::{
    Error, Image, PageSet,
    image::Extent,
    layer::RunContent,
    page::{PageBytes, PageNo, ZERO_PAGE, page_of, pages_in},
    page_set::PageRun,
};

/// Pages compared at once.
const CHUNK_PAGES: u32 = 64;

/// Compares the whole heap with its image. Names exactly the pages that differ.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compare;

impl DirtyTracker for Compare {
    fn dirty(&self, heap: &[u8], image: &Image) -> Result<PageSet, Error> {
        let mut comparison =
            Comparison { heap, dirty: PageSet::new(), stored: vec![ZERO_PAGE; CHUNK_PAGES as usize] };
        let mut at = 0;
        for extent in image.extents(0) {
            comparison.with_zero(at, extent.first);
            comparison.with_extent(image, &extent)?;
            at = extent.end();
        }
        comparison.with_zero(at, pages_in(heap));
        Ok(comparison.dirty)
    }

    /// A page that was written, captured, and written back is what is mapped, and yet not what was captured.
    fn dirty_since(&self, heap: &[u8], _mapped: &Image, captured: &Image) -> Result<PageSet, Error> {
        self.dirty(heap, captured)
    }

    fn name(&self) -> &'static str {
        "comparison"
    }
}

struct Comparison<'h> {
    heap: &'h [u8],
    dirty: PageSet,
    stored: Vec<PageBytes>,
}

impl Comparison<'_> {
    fn with_extent(&mut self, image: &Image, extent: &Extent) -> Result<(), Error> {
        let RunContent::Data { data_page } = extent.content else {
            self.with_zero(extent.first, extent.end());
            return Ok(());
        };
        let layer = &image.layers()[extent.layer];
        for skip in (0..extent.count).step_by(CHUNK_PAGES as usize) {
            let (first, count) = (extent.first + skip, CHUNK_PAGES.min(extent.count - skip));
            let stored = &mut self.stored[..count as usize];
            layer.read(stored.as_flattened_mut(), layer.data_offset(data_page + skip))?;
            for (page, stored) in (first..).zip(&self.stored[..count as usize]) {
                if page_of(self.heap, page) != stored {
                    self.dirty.push(PageRun { first: page, count: 1 });
                }
            }
        }
        Ok(())
    }

    fn with_zero(&mut self, first: u32, end: u32) {
        for page in (first..end).filter(|page| *page_of(self.heap, PageNo(*page).0) != ZERO_PAGE) {
            self.dirty.push(PageRun { first: page, count: 1 });
        }
    }
}
