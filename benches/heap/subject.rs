//! One vat with a heap of a given size, ready to be restored: by our engine and bare, and hosted by a warehouse.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};
use vat_abi::{CapData, Delivery, Outcome};
use vat_engine::limits::MEMORY_PAGES_MAX;
use vat_engine::{Capture, CrankContext, Engine, EngineConfig, HeapState, VatInstance, VatModule};
use vat_image::{Check, DirtyTracker, PageStore, StoreOptions, best_tracker};
use vat_warehouse::{VatName, VatOptions, Warehouse, WarehouseConfig};

use crate::floor::{BareEngine, BareInstance, BareModule, sync_file};
use crate::vat::{HeapSize, Quiet, Syscalls, module};

/// Vats that take turns in being written.
const WRITERS: u32 = 64;

/// A module with its state after birth, as an image and as a flat file.
pub(super) struct Subject {
    pub(super) engine: Engine,
    pub(super) module: VatModule,
    pub(super) pages: PageStore,
    pub(super) birth: HeapState,
    pub(super) flat: PathBuf,
    pub(super) bare: BareEngine,
    tracker: Arc<dyn DirtyTracker>,
    bare_module: BareModule,
}

impl Subject {
    pub(super) fn new(dir: &Path, heap: HeapSize) -> Result<Subject> {
        fs::create_dir_all(dir)?;
        let wasm = module(heap, Syscalls::None);
        let engine = Engine::new(EngineConfig::default())?;
        let module = engine.module(&wasm)?;
        let tracker = best_tracker();
        let (pages, _) = PageStore::open(&dir.join("pages"), &[], StoreOptions::default())?;
        let mut instance = VatInstance::birth(&engine, &module, MEMORY_PAGES_MAX)?;
        let birth = instance.capture(&pages, tracker.as_ref(), Check::Never)?.state;
        let flat = dir.join("flat");
        fs::write(&flat, instance.heap())?;
        drop(instance);
        // Also so that no write-back runs while something is measured.
        pages.sync()?;
        sync_file(&flat)?;
        let bare = BareEngine::new(Some(File::open(&flat)?))?;
        let bare_module = bare.module(vat_engine::prepare(&wasm)?.wasm())?;
        Ok(Subject { engine, module, pages, birth, flat, bare, tracker, bare_module })
    }

    pub(super) fn restore(&self) -> Result<VatInstance> {
        self.restore_from(&self.birth)
    }

    pub(super) fn restore_from(&self, state: &HeapState) -> Result<VatInstance> {
        Ok(VatInstance::restore(&self.engine, &self.module, MEMORY_PAGES_MAX, state)?)
    }

    pub(super) fn bare_restore(&self) -> Result<BareInstance> {
        self.bare.instantiate(&self.bare_module)
    }

    pub(super) fn deliver(&self, instance: &mut VatInstance, delivery: &Delivery) -> Result<()> {
        let context = CrankContext { time_ns: 0, seed: [0; 32], computrons_max: 1_000_000_000 };
        let (report, Quiet) = instance.deliver(delivery, &context, Quiet);
        let outcome = report?.outcome;
        ensure!(outcome == Outcome::Delivered, "the delivery ended otherwise: {outcome:?}");
        Ok(())
    }

    pub(super) fn capture(&self, instance: &mut VatInstance) -> Result<Capture> {
        Ok(instance.capture(&self.pages, self.tracker.as_ref(), Check::Never)?)
    }
}

/// A warehouse with vats of one module.
pub(super) struct Warehoused {
    pub(super) warehouse: Warehouse,
    /// A vat that nobody writes to.
    pub(super) reader: VatName,
    writers: Vec<VatName>,
}

impl Warehoused {
    pub(super) fn new(dir: &Path, heap: HeapSize) -> Result<Warehoused> {
        let warehouse = Warehouse::open(dir, WarehouseConfig::default())?;
        warehouse.install("writer", &module(heap, Syscalls::None))?;
        let reader = create(&warehouse, "reader")?;
        let writers = (0..WRITERS).map(|n| create(&warehouse, &format!("writer-{n}")));
        let writers = writers.collect::<Result<_>>()?;
        warehouse.evict_all()?;
        warehouse.checkpoint()?;
        Ok(Warehoused { warehouse, reader, writers })
    }

    /// The vat whose turn it is, and the seed of its deliveries.
    pub(super) fn writer(&self, turn: u32) -> (&VatName, u32) {
        let n = turn % WRITERS;
        (&self.writers[n as usize], n)
    }
}

/// Makes a vat of the module `writer`.
pub(super) fn create(warehouse: &Warehouse, name: &str) -> Result<VatName> {
    let name: VatName = name.parse()?;
    let (started, Quiet) =
        warehouse.create(&name, "writer", VatOptions::default(), CapData::undefined(), 0, Quiet);
    started?;
    Ok(name)
}
