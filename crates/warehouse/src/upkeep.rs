//! Upkeep of what is at rest: the heap root, scrubbing, compaction.
//!
//! None of it changes what a vat is. Scrubbing reads every page there is and compares it with its hash. Compaction gives disk
//! space back: the live layers of a segment that is mostly garbage are written again elsewhere, and it is removed:
//!
//! ```text
//!   rewrite live layers ─► sync ─► move their rows ─► commit ─► remove the segment
//! ```
//!
//! A crash between any two of these steps leaves garbage, never a pointer to nothing.

use std::collections::BTreeSet;

use vat_image::{HeapRoot, LayerLocation, PageNo, PageStore, SegmentUsage};
use vat_storage::LayerRow;

use crate::error::Error;
use crate::name::VatName;
use crate::warehouse::Warehouse;

/// A segment is compacted when at least this part of it is garbage: one in two bytes.
const GARBAGE_DIVISOR: u64 = 2;

/// What scrubbing found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Layers that were read.
    pub layers: u64,
    /// Pages that were read and compared with their hashes.
    pub pages: u64,
    /// What cannot be used any more.
    pub damaged: Vec<DamagedLayer>,
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

/// What compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that were removed.
    pub segments: u64,
    /// Layers that were written again.
    pub layers: u64,
    /// Bytes of disk that were given back, less what was written again.
    pub freed_bytes: u64,
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

    /// Reads everything at rest and compares it with its hashes. `progress` hears of layers read so far, of how many.
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
        Ok(scrubbed)
    }

    fn damaged_layer(&self, row: &LayerRow, pages: Vec<PageNo>, what: String) -> Result<DamagedLayer, Error> {
        let mut vats = Vec::new();
        for vat in self.inner.storage.vats_of_layer(row.id)? {
            vats.push(self.inner.storage.vat(vat)?.name);
        }
        Ok(DamagedLayer { at: location(row), pages, what, vats })
    }

    /// Gives disk space back that no vat needs any more, in a store at rest: the warehouse is closed by it, and must be nobody
    /// else's. (What is in memory names layers by where they lie, so nothing may be in memory while they move.)
    ///
    /// # Errors
    /// [`Error::InUse`] if there are leases or clones of the warehouse; or if the disk refuses, or a layer that is to be moved
    /// is damaged. Nothing is lost: what was not moved is where it was.
    pub fn compact(self) -> Result<Compacted, Error> {
        self.evict_all()?;
        self.checkpoint()?;
        let inner = self.close().map_err(|_| Error::InUse)?;
        let live = inner.storage.live_layers()?;
        inner.pages.close_segment();
        let is_worth_it =
            |usage: &SegmentUsage| usage.bytes > 0 && usage.garbage_bytes() >= usage.bytes / GARBAGE_DIVISOR;
        let mut targets = inner.pages.usage(live.iter().map(location));
        targets.retain(is_worth_it);
        let segments: BTreeSet<u32> = targets.iter().map(|target| target.segment).collect();
        let mut moved = Vec::new();
        for row in live.iter().filter(|row| segments.contains(&row.segment)) {
            moved.push((row.id, inner.pages.rewrite(&inner.pages.load(location(row))?)?.location()));
        }
        inner.pages.sync()?;
        for (layer, to) in &moved {
            inner.storage.move_layer(*layer, to.segment, to.offset, to.bytes)?;
        }
        inner.storage.commit()?;
        for segment in &segments {
            inner.pages.remove_segment(*segment)?;
        }
        let removed: u64 = targets.iter().map(|target| target.bytes).sum();
        let rewritten: u64 = moved.iter().map(|(_, to)| to.bytes).sum();
        let freed_bytes = removed.saturating_sub(rewritten);
        Ok(Compacted { segments: segments.len() as u64, layers: moved.len() as u64, freed_bytes })
    }
}

pub(crate) fn location(row: &LayerRow) -> LayerLocation {
    LayerLocation { segment: row.segment, offset: row.offset, bytes: row.bytes }
}
