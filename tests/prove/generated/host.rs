//! Our engine with a page store to capture into, kept for many modules; and what it can be told to lose.

use std::sync::Arc;

use vat_engine::{
    Engine, EngineConfig, Error, Globals, HeapState, Prepared, Refusal, VatInstance, VatModule, prepare,
};
use vat_image::{Check, DirtyTracker, Image, PageSet, PageStore, RestoreMethod, StoreOptions, best_tracker};

use super::answers::PAGES_MAX;

/// Compiled code that is kept: that of one module and its like.
const CODE_BYTES_MAX: usize = 4 << 20;

/// A bug on purpose, to show that it would be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// None.
    Nothing,
    /// A restore leaves one global as it was at birth.
    Global,
    /// A capture misses one page that was written.
    Page,
    /// What faulted is undone to one delivery too early.
    Undo,
    /// The rewritten module's active data and start function are left out.
    Init,
}

/// An engine and a page store.
pub(crate) struct Host {
    _dir: tempfile::TempDir,
    engine: Engine,
    pages: PageStore,
    tracker: Arc<dyn DirtyTracker>,
    loss: Loss,
}

impl Host {
    pub(crate) fn new(restore: RestoreMethod, loss: Loss) -> Host {
        let dir = tempfile::tempdir().expect("a directory");
        let config = EngineConfig { restore, code_bytes_max: CODE_BYTES_MAX, ..EngineConfig::default() };
        let engine = Engine::new(config).expect("the engine works here");
        let (pages, _) = PageStore::open(dir.path(), &[], StoreOptions::default()).expect("a page store");
        Host { _dir: dir, engine, pages, tracker: best_tracker(), loss }
    }

    pub(crate) fn loss(&self) -> Loss {
        self.loss
    }

    pub(crate) fn module(&self, wasm: &[u8]) -> Result<VatModule, Error> {
        self.engine.module(wasm)
    }

    pub(crate) fn birth(&self, module: &VatModule) -> Result<VatInstance, Error> {
        VatInstance::birth(&self.engine, module, PAGES_MAX)
    }

    /// Captures, with every page compared, and passes the globals through their encoding.
    pub(crate) fn capture(&self, instance: &mut VatInstance, born: &Globals) -> Result<HeapState, Error> {
        let capture = match self.loss {
            Loss::Page => {
                instance.capture(&self.pages, &Forgetful(Arc::clone(&self.tracker)), Check::Never)?
            }
            _ => instance.capture(&self.pages, self.tracker.as_ref(), Check::Always)?,
        };
        assert!(!capture.stats.disagreement, "the tracker missed a page");
        let globals = Globals::decode(&capture.state.globals.encode()).expect("what was encoded");
        let globals = match self.loss {
            Loss::Global => without_one(&globals, born),
            _ => globals,
        };
        Ok(HeapState { image: capture.state.image, globals })
    }

    pub(crate) fn restore(&self, module: &VatModule, state: &HeapState) -> Result<VatInstance, Error> {
        VatInstance::restore(&self.engine, module, PAGES_MAX, state)
    }
}

/// The globals, with the first that changed since birth set back.
fn without_one(globals: &Globals, born: &Globals) -> Globals {
    let mut values = globals.values().to_vec();
    let changed = values.iter_mut().zip(born.values()).find(|(value, born)| *value != *born);
    if let Some((value, born)) = changed {
        *value = *born;
    }
    Globals::new(values)
}

/// A tracker that misses the last page.
#[derive(Debug)]
struct Forgetful(Arc<dyn DirtyTracker>);

impl DirtyTracker for Forgetful {
    fn dirty(&self, heap: &[u8], image: &Image) -> Result<PageSet, vat_image::Error> {
        let found = self.0.dirty(heap, image)?;
        let last = found.pages().last().into_iter().collect();
        Ok(found.difference(&last))
    }

    fn name(&self) -> &'static str {
        "forgetful"
    }
}

/// Prepares twice, and once more what came out.
///
/// # Errors
/// The refusal; or, as text, what is not as it must be.
pub(crate) fn prepared(wasm: &[u8]) -> anyhow::Result<Result<Prepared, Refusal>> {
    let prepared = match (prepare(wasm), prepare(wasm)) {
        (Ok(one), Ok(two)) => {
            anyhow::ensure!(one.wasm() == two.wasm(), "preparing the same bytes twice gives other bytes");
            one
        }
        (Err(one), Err(two)) => {
            anyhow::ensure!(one == two, "the same bytes are refused as {one}, and as {two}");
            return Ok(Err(one));
        }
        (one, two) => anyhow::bail!("accepted and refused: {:?}, {:?}", one.err(), two.err()),
    };
    match prepare(prepared.wasm()) {
        Err(Refusal::Export { what, .. }) if what.contains("vat:") => Ok(Ok(prepared)),
        Err(other) => anyhow::bail!("the rewritten module is refused, but as: {other}"),
        Ok(_) => anyhow::bail!("the rewritten module, with its reserved names, is accepted"),
    }
}
