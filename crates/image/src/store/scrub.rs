//! Reading layers at rest: every page re-hashed, and layers written once more for compaction.

use std::{io::IoSlice, sync::Arc};

use super::{LayerShape, PageStore};
use crate::{
    DamagedPart, Error,
    layer::{Layer, Run, RunContent},
    page::{PAGE_BYTES, PageBytes, PageHash, PageNo, ZERO_PAGE, count_u32},
};

/// Pages read at once.
const CHUNK_PAGES: u32 = 256;

/// How far a scrub of a layer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubProgress {
    /// Pages read and hashed.
    pub pages: u32,
    /// Pages to be read.
    pub pages_total: u32,
}

/// What a scrub of a layer found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Pages read and hashed.
    pub pages: u32,
    /// Bytes read.
    pub bytes: u64,
    /// Pages whose bytes do not match their hash.
    pub damaged: Vec<PageNo>,
}

impl PageStore {
    /// Reads every page of a layer and compares it with its hash. Reads through the page cache: what the
    /// kernel holds in memory is what a restore would use.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if the index or the hashes themselves are damaged, [`Error::Missing`] if the file is too short,
    /// [`Error::Io`].
    pub fn scrub(layer: &Layer, mut progress: impl FnMut(ScrubProgress)) -> Result<ScrubReport, Error> {
        // What a handle remembers of the index is not what the disk has.
        let layer = &Layer::load(Arc::clone(layer.file()), layer.location())?;
        let hashes = layer.all_hashes()?;
        let mut report = ScrubReport::default();
        for_each_chunk(layer.runs(), |first, data_page, count| {
            let mut pages = vec![ZERO_PAGE; count as usize];
            layer.read(pages.as_flattened_mut(), layer.data_offset(data_page))?;
            let hashes = &hashes[data_page as usize..];
            let pairs = (first.0..).zip(pages.iter().zip(hashes));
            report.damaged.extend(
                pairs.filter(|(_, (page, hash))| PageHash::of(page) != **hash).map(|(page, _)| PageNo(page)),
            );
            report.pages += count;
            report.bytes += u64::from(count) * PAGE_BYTES as u64;
            progress(ScrubProgress { pages: report.pages, pages_total: layer.data_pages() });
            Ok(())
        })?;
        Ok(report)
    }

    /// Appends a layer with the same content, so that the segment it is in can be removed. Every page is
    /// verified.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if the layer does not match its hashes, [`Error::Io`]; the layer is untouched then.
    pub fn rewrite(&self, layer: &Layer) -> Result<Layer, Error> {
        let hashes = layer.all_hashes()?;
        let mut shape = LayerShape::of(layer.runs(), &hashes);
        let stretches = shape.take_stretches();
        let mut writer = self.begin(shape)?;
        for stretch in stretches {
            for data_page in (stretch.data_page..stretch.end()).step_by(CHUNK_PAGES as usize) {
                let count = CHUNK_PAGES.min(stretch.end() - data_page);
                let mut pages = vec![ZERO_PAGE; count as usize];
                layer.read(pages.as_flattened_mut(), layer.data_offset(data_page))?;
                verify(layer, data_page, &pages, &hashes)?;
                writer.write(data_page, &mut [IoSlice::new(pages.as_flattened())])?;
            }
        }
        writer.finish(0, Vec::new())
    }
}

/// Compares pages with the hashes of a layer, of which they are the data pages from `data_page` on.
fn verify(layer: &Layer, data_page: u32, pages: &[PageBytes], hashes: &[PageHash]) -> Result<(), Error> {
    let wrong = (data_page..).zip(pages).find(|(at, page)| PageHash::of(page) != hashes[*at as usize]);
    match wrong {
        None => Ok(()),
        Some((at, _)) => Err(layer.damaged(DamagedPart::Page(layer.page_of_data(at)))),
    }
}

/// Calls for every run of data, in pieces: first page, its data page, how many.
fn for_each_chunk(
    runs: &[Run],
    mut visit: impl FnMut(PageNo, u32, u32) -> Result<(), Error>,
) -> Result<(), Error> {
    for run in runs {
        let RunContent::Data { data_page } = run.content else { continue };
        for skip in (0..run.count).step_by(CHUNK_PAGES as usize) {
            visit(
                PageNo(run.first + skip),
                data_page + skip,
                count_u32((CHUNK_PAGES.min(run.count - skip)) as usize),
            )?;
        }
    }
    Ok(())
}
