//! Upkeep of what is at rest: the heap root, merging, scrubbing.
//!
//! None of it changes what a vat is. Scrubbing reads every page there is and compares it with its hash. (Giving disk space back is
//! [`compaction`](crate::compaction).)

use vat_image::{HeapRoot, LayerLocation, PageNo, PageStore};
use vat_storage::LayerRow;

use crate::error::Error;
use crate::name::VatName;
use crate::records::DamagedRecord;
use crate::warehouse::Warehouse;

/// What scrubbing found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Layers that were read.
    pub layers: u64,
    /// Pages that were read and compared with their hashes.
    pub pages: u64,
    /// Vats whose records were checked.
    pub vats: u64,
    /// Spans of transcripts of which only the hash is left: there is nothing that could be compared with it.
    pub pruned_spans: u64,
    /// Layers that cannot be used any more.
    pub damaged: Vec<DamagedLayer>,
    /// Records that are not what was written.
    pub records: Vec<DamagedRecord>,
}

impl Scrubbed {
    /// Whether everything is as it was written.
    pub fn is_clean(&self) -> bool {
        self.damaged.is_empty() && self.records.is_empty()
    }
}

/// A layer that cannot be read, or whose bytes are not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedLayer {
    /// Where it lies.
    pub at: LayerLocation,
    /// Its pages that differ; empty if the layer as a whole cannot be read.
    pub pages: Vec<PageNo>,
    /// What was found.
    pub what: String,
    /// Names of the vats whose snapshots need it. They come back from an older snapshot or from birth.
    pub vats: Vec<String>,
}

impl Warehouse {
    /// The vat's heap root: 32 bytes that name its heap, globals, size and module, whatever its history and layers. Two
    /// hosts whose vats have the same root have the same vat.
    ///
    /// # Errors
    /// If the vat cannot be brought into memory or captured.
    pub fn root(&self, name: &VatName) -> Result<(u64, HeapRoot), Error> {
        let mut lease = self.provide_blocking(name)?;
        lease.with_resident(|inner, vat, resident| {
            if resident.captured != resident.next || inner.snapshots.newest(vat).is_none() {
                inner.capture(vat, resident)?;
            }
            let newest = inner.snapshots.newest(vat).expect("just captured, under the vat's lock");
            let globals = newest.state.globals.encode();
            let module = resident.instance.module().hash();
            Ok((newest.position, newest.state.image.root(&globals, &module)?))
        })
    }

    /// Merges layers of the vat's newest captured state now, if there is something to gain. Otherwise that happens in the
    /// background.
    ///
    /// # Errors
    /// If a layer cannot be read or written; the state is as good as before.
    pub fn merge(&self, name: &VatName) -> Result<(), Error> {
        let vat = self.inner.find(name)?;
        Ok(self.inner.snapshots.merge(vat)?)
    }

    /// Reads everything at rest and compares it with its hashes: heap images, modules, transcripts, vat storage. `progress` hears of
    /// layers read so far, of how many.
    ///
    /// # Errors
    /// If the store itself cannot be read. What is damaged is reported, not an error.
    pub fn scrub(&self, mut progress: impl FnMut(u64, u64)) -> Result<Scrubbed, Error> {
        let inner = &self.inner;
        let live = inner.storage.live_layers()?;
        let mut scrubbed = Scrubbed::default();
        for row in &live {
            let report = inner.pages.load(location(row)).and_then(|layer| PageStore::scrub(&layer, |_| {}));
            let damage = match report {
                Ok(report) => {
                    scrubbed.pages += u64::from(report.pages);
                    let what = "its bytes are not those that were written".to_owned();
                    (!report.damaged.is_empty()).then_some((report.damaged, what))
                }
                Err(error) => Some((Vec::new(), error.to_string())),
            };
            if let Some((pages, what)) = damage {
                scrubbed.damaged.push(self.damaged_layer(row, pages, what)?);
            }
            scrubbed.layers += 1;
            progress(scrubbed.layers, live.len() as u64);
        }
        inner.scrub_records(&mut scrubbed)?;
        Ok(scrubbed)
    }

    fn damaged_layer(&self, row: &LayerRow, pages: Vec<PageNo>, what: String) -> Result<DamagedLayer, Error> {
        let mut vats = Vec::new();
        for vat in self.inner.storage.vats_of_layer(row.id)? {
            vats.push(self.inner.storage.vat(vat)?.name);
        }
        Ok(DamagedLayer { at: location(row), pages, what, vats })
    }
}

pub(crate) fn location(row: &LayerRow) -> LayerLocation {
    LayerLocation { segment: row.segment, offset: row.offset, bytes: row.bytes }
}
