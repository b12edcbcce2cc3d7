//! What a vat costs: in memory, at rest, in its own eyes.
//!
//! Measured, not estimated: resident bytes come from the page tables of the process. Nothing is paged in to be measured.

use vat_engine::limits::WASM_PAGE_BYTES;
use vat_image::{PAGE_BYTES, SegmentUsage};
use vat_storage::VatId;

use crate::error::Error;
use crate::name::VatName;
use crate::page_in::kept_options;
use crate::residency::Resident;
use crate::upkeep::location;
use crate::warehouse::{Inner, Warehouse};

/// What one vat costs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VatFigures {
    /// In memory; `None` if it is not there, or somebody has it just now.
    pub resident: Option<ResidentFigures>,
    /// Bytes of its heap as the vat sees it, as of its newest captured state (or in memory).
    pub logical_bytes: u64,
    /// Bytes of the page store that its newest captured state uses, those it shares with others included.
    pub stored_bytes: u64,
    /// Layers of that state.
    pub layers: usize,
    /// Pages that a restore of it copies rather than maps.
    pub copied_pages: u32,
    /// Position of that state; deliveries after it are replayed if the vat is lost from memory.
    pub captured: u64,
    /// Snapshots in the store.
    pub snapshots: usize,
    /// Keys in its vat storage.
    pub storage_keys: u64,
    /// Bytes of memory it may have at most.
    pub memory_bytes_max: u64,
}

/// What one vat costs in memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResidentFigures {
    /// Pages of its own: written, or copied into place.
    pub own_bytes: u64,
    /// Pages of its own that are swapped out.
    pub swapped_bytes: u64,
    /// Pages of its image that it shares with the page cache and with other vats.
    pub shared_bytes: u64,
    /// Page tables for all of these, at most.
    pub page_table_bytes: u64,
}

/// What the page store costs, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskFigures {
    /// Segment files.
    pub segments: usize,
    /// Their bytes, holes included.
    pub bytes: u64,
    /// Bytes that no snapshot or birth image needs: the compaction debt.
    pub garbage_bytes: u64,
}

impl Warehouse {
    /// What the page store costs.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn disk_figures(&self) -> Result<DiskFigures, Error> {
        let usage = self.inner.pages.usage(self.inner.storage.live_layers()?.iter().map(location));
        Ok(DiskFigures {
            segments: usage.len(),
            bytes: usage.iter().map(|segment| segment.bytes).sum(),
            garbage_bytes: usage.iter().map(SegmentUsage::garbage_bytes).sum(),
        })
    }

    /// What the vat costs.
    ///
    /// # Errors
    /// [`Error::UnknownVat`]; or if the store or the page tables cannot be read.
    pub fn figures(&self, name: &VatName) -> Result<VatFigures, Error> {
        let inner = &self.inner;
        let row = self.vat(name)?;
        let kept = kept_options(&row)?;
        let mut figures = VatFigures {
            snapshots: inner.storage.snapshots(row.id)?.len(),
            storage_keys: inner.storage.vatstore_len(row.id)?,
            memory_bytes_max: u64::from(kept.options.memory_pages_max) * WASM_PAGE_BYTES,
            captured: kept.since,
            ..VatFigures::default()
        };
        inner.add_captured(row.id, &mut figures)?;
        if let Some(cell) = inner.residency.try_lock_resident(row.id)
            && let Some(resident) = cell.as_ref()
        {
            figures.logical_bytes = resident.instance.heap().len() as u64;
            figures.resident = Some(inner.resident_figures(resident)?);
        }
        inner.residency.tidy(row.id);
        Ok(figures)
    }
}

impl Inner {
    /// Figures of the newest captured state, or of birth if there is none.
    fn add_captured(&self, vat: VatId, figures: &mut VatFigures) -> Result<(), Error> {
        let newest = match self.snapshots.newest(vat) {
            Some(saved) => Some(saved),
            None => {
                self.storage.newest_snapshots(vat, 1)?.first().and_then(|row| self.snapshots.load(row).ok())
            }
        };
        if let Some(saved) = newest {
            let image = &saved.state.image;
            figures.logical_bytes = image.size_bytes() as u64;
            figures.stored_bytes = image.stored_bytes();
            figures.layers = image.layers().len();
            figures.copied_pages = image.plan().copied_pages();
            figures.captured = saved.position;
        }
        Ok(())
    }

    /// What the page tables say of a resident vat; where they cannot be asked, what differs from its image.
    pub(crate) fn resident_figures(&self, resident: &Resident) -> Result<ResidentFigures, Error> {
        let pages = |count: u32| u64::from(count) * PAGE_BYTES as u64;
        Ok(match self.tracker.residency(resident.instance.heap())? {
            Some(residency) => ResidentFigures {
                own_bytes: pages(residency.own_pages),
                swapped_bytes: pages(residency.swapped_pages),
                shared_bytes: pages(residency.shared_pages),
                page_table_bytes: residency.page_table_bytes,
            },
            None => ResidentFigures { own_bytes: self.own_bytes(resident), ..ResidentFigures::default() },
        })
    }
}
