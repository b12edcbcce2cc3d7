//! A module of the specification as a vat that never stays in memory.
//!
//! ```text
//!   birth ─ capture ─┬► restore ─ call ─ returned ─ capture ─┐
//!                    │               └── faulted             │      a faulted call leaves no trace:
//!                    └──────────────────────◄────────────────┘      the next one begins where it began
//! ```
//!
//! The instance that a call finds was made for it and is dropped after it. At birth and at every few calls another
//! instance is restored and compared, byte by byte; at the others it is not, since reading a page may be what makes it right.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use vat_abi::VatFault;
use vat_engine::{CallValue, Engine, EngineConfig, Error, HeapState, Refusal, VatInstance, VatModule};
use vat_image::{
    Check, DirtyTracker, MergePolicy, PageStore, RestoreMethod, StoreOptions, best_tracker, merge,
};

/// Computrons of one call: enough to pay for any length that an instruction can name, before it is found out of bounds.
const COMPUTRONS_MAX: u64 = 1 << 40;
/// Wasm pages that a memory may have: all that there are, since the tests ask for them.
const PAGES_MAX: u32 = 65_536;
/// Every so many calls, the instance before and the instance after are compared.
const COMPARED_EVERY: u64 = 4;
/// Larger heaps are not compared.
const COMPARED_BYTES_MAX: usize = 1 << 20;

/// What runs the modules of one script.
pub(crate) struct Host {
    engine: Engine,
    pages: PageStore,
    tracker: Arc<dyn DirtyTracker>,
    _dir: tempfile::TempDir,
}

/// How an instantiation ended that reached the module's own code.
pub(crate) enum Born {
    Alive(Box<Subject>),
    /// With the fault's text.
    Failed(String),
}

impl Host {
    /// With one of the two ways in which a heap comes back.
    pub(crate) fn new(restore: RestoreMethod) -> Result<Host> {
        let dir = tempfile::tempdir()?;
        let (pages, _) = PageStore::open(dir.path(), &[], StoreOptions::default())?;
        let engine = Engine::new(EngineConfig { restore, code_bytes_max: 0, ..EngineConfig::default() })?;
        Ok(Host { engine, pages, tracker: best_tracker(), _dir: dir })
    }

    /// Makes a vat of an accepted module, and evicts it.
    pub(crate) fn bear(&self, wasm: &[u8]) -> Result<Born> {
        let module = self.engine.module(wasm)?;
        let mut instance = match VatInstance::birth(&self.engine, &module, PAGES_MAX) {
            Ok(instance) => instance,
            Err(Error::Refused(Refusal::Birth(fault))) => return Ok(Born::Failed(fault)),
            Err(error) => return Err(error.into()),
        };
        let state = self.capture(&mut instance)?;
        let mut subject = Subject { module, state, calls: 0, captures: 1, restores: 0, compared: 0 };
        subject.compare(self, instance)?;
        Ok(Born::Alive(Box::new(subject)))
    }

    fn capture(&self, instance: &mut VatInstance) -> Result<HeapState> {
        let mut state = instance.capture(&self.pages, self.tracker.as_ref(), Check::Never)?.state;
        if let Some(merged) = merge(&self.pages, &state.image, &MergePolicy::default())? {
            state.image = merged;
        }
        Ok(state)
    }
}

/// One vat between two calls.
pub(crate) struct Subject {
    module: VatModule,
    state: HeapState,
    calls: u64,
    pub(crate) captures: u64,
    pub(crate) restores: u64,
    pub(crate) compared: u64,
}

impl Subject {
    /// Restores the vat, calls it, and captures it if it returned.
    pub(crate) fn call(
        &mut self,
        host: &Host,
        export: &str,
        arguments: &[CallValue],
    ) -> Result<Result<Vec<CallValue>, VatFault>> {
        let mut instance = self.restore(host)?;
        let result = instance.call(export, arguments, COMPUTRONS_MAX)?;
        self.calls += 1;
        if result.is_ok() {
            self.state = host.capture(&mut instance)?;
            self.captures += 1;
            if self.calls.is_multiple_of(COMPARED_EVERY) {
                self.compare(host, instance)?;
            }
        }
        Ok(result)
    }

    /// Restores the vat to read a global.
    pub(crate) fn global(&mut self, host: &Host, export: &str) -> Result<CallValue> {
        let mut instance = self.restore(host)?;
        instance.exported_global(export).with_context(|| format!("no global is exported as `{export}`"))
    }

    fn restore(&mut self, host: &Host) -> Result<VatInstance> {
        self.restores += 1;
        Ok(VatInstance::restore(&host.engine, &self.module, PAGES_MAX, &self.state)?)
    }

    fn compare(&mut self, host: &Host, mut before: VatInstance) -> Result<()> {
        let mut after = self.restore(host)?;
        ensure!(after.globals() == before.globals(), "a global was lost");
        ensure!(after.memory_pages() == before.memory_pages(), "the memory has another size");
        if before.heap().len() <= COMPARED_BYTES_MAX {
            ensure!(after.heap() == before.heap(), "the heap has other bytes");
        }
        self.compared += 1;
        Ok(())
    }
}
