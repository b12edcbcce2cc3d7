//! One module in an engine of its own, with a page store to capture into: what these proofs run vats on, without a warehouse.

use vat_abi::{CapData, Delivery, Syscall, SyscallResult};
use vat_engine::{
    CrankContext, Engine, EngineConfig, Error, HeapState, Report, SyscallHandler, SyscallVerdict,
    VatInstance, VatModule,
};
use vat_image::{Check, PageStore, StoreOptions, best_tracker};

/// Computrons that each delivery may use.
pub(crate) const COMPUTRONS_MAX: u64 = 1_000_000;
const CONTEXT: CrankContext = CrankContext { time_ns: 1, seed: [7; 32], computrons_max: COMPUTRONS_MAX };
const PAGES_MAX: u32 = 64;

/// Answers every syscall with nothing.
struct Silent;

impl SyscallHandler for Silent {
    fn syscall(&mut self, _syscall: &Syscall) -> SyscallVerdict {
        SyscallVerdict::Answer(SyscallResult::Ok(None))
    }
}

pub(crate) struct Bench {
    _dir: tempfile::TempDir,
    engine: Engine,
    module: VatModule,
    pages: PageStore,
}

impl Bench {
    pub(crate) fn new(wat: &str) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::new(EngineConfig::default()).unwrap();
        let module = engine.module(&wat::parse_str(wat).unwrap()).unwrap();
        let (pages, _) = PageStore::open(dir.path(), &[], StoreOptions::default()).unwrap();
        Bench { _dir: dir, engine, module, pages }
    }

    pub(crate) fn birth(&self) -> VatInstance {
        self.birth_within(PAGES_MAX).unwrap()
    }

    /// The birth of a vat that may have so many wasm pages.
    pub(crate) fn birth_within(&self, pages_max: u32) -> Result<VatInstance, Error> {
        VatInstance::birth(&self.engine, &self.module, pages_max)
    }

    /// A vat that may have so many wasm pages, from a captured state.
    pub(crate) fn restore_within(&self, pages_max: u32, state: &HeapState) -> Result<VatInstance, Error> {
        VatInstance::restore(&self.engine, &self.module, pages_max, state)
    }

    pub(crate) fn capture(&self, instance: &mut VatInstance) -> HeapState {
        instance.capture(&self.pages, best_tracker().as_ref(), Check::Always).unwrap().state
    }

    /// Captures the instance, and makes another from what was captured.
    pub(crate) fn again(&self, instance: &mut VatInstance) -> VatInstance {
        let state = self.capture(instance);
        self.restore_within(PAGES_MAX, &state).unwrap()
    }
}

/// Delivers a start whose parameters have `bytes` bytes.
pub(crate) fn deliver(instance: &mut VatInstance, bytes: usize) -> Report {
    let parameters = CapData { body: format!("#\"{}\"", "x".repeat(bytes)), ..CapData::undefined() };
    instance.deliver(&Delivery::StartVat(parameters), &CONTEXT, Silent).0.unwrap()
}
