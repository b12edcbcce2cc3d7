//! Many vats of one module, at rest, to be opened with more or less room in memory.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use vat_abi::CapData;
use vat_warehouse::{VatName, VatOptions, Warehouse, WarehouseConfig};

use crate::vat::{HeapSize, Quiet, Syscalls, module};

/// Vats that are made durable together.
const PER_COMMIT: usize = 500;
/// Vats in memory while they are made.
const RESIDENT_MAX: usize = 200;

/// A store with vats.
pub(crate) struct Fleet {
    data: PathBuf,
    vats: Vec<VatName>,
}

impl Fleet {
    /// Makes the vats.
    pub(crate) fn new(dir: &Path, vats: usize, heap: HeapSize) -> Result<Fleet> {
        let data = dir.join("data");
        let warehouse = Warehouse::open(&data, config(RESIDENT_MAX)?)?;
        warehouse.install("vat", &module(heap, Syscalls::Resolve))?;
        let names = (0..vats).map(|n| format!("vat-{n}").parse()).collect::<Result<Vec<VatName>, _>>()?;
        for (made, name) in names.iter().enumerate() {
            let args = CapData::undefined();
            let (started, Quiet) = warehouse.create(name, "vat", VatOptions::default(), args, 0, Quiet);
            started?;
            if made % PER_COMMIT == PER_COMMIT - 1 {
                warehouse.commit()?;
            }
        }
        warehouse.evict_all()?;
        warehouse.checkpoint()?;
        Ok(Fleet { data, vats: names })
    }

    /// Opens the store with room for this many in memory, none of which is there yet.
    pub(crate) fn open(&self, resident: usize) -> Result<Warehouse> {
        Ok(Warehouse::open_existing(&self.data, config(resident)?)?)
    }

    /// The vats.
    pub(crate) fn vats(&self) -> &[VatName] {
        &self.vats
    }
}

fn config(resident: usize) -> Result<WarehouseConfig> {
    let resident_max = NonZeroUsize::new(resident).context("a warehouse has room for a vat")?;
    Ok(WarehouseConfig { resident_max, ..WarehouseConfig::default() })
}
