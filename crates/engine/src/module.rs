//! A module ready to be instantiated, and the engine that makes and keeps them.
//!
//! ```text
//!   wasm ── prepare ── compile ──►  InstancePre, in memory, least recently used go first
//!                         │  ▲
//!                         ▼  │ mapped back
//!                    code cache on disk
//! ```
//!
//! Invariant: of one module there is at most one compiled copy in use, whoever asks for it and how often. A module in use by
//! a vat is never dropped from memory. Refusals are remembered (they cannot change), failures of the host are not.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};

use lru::LruCache;
use vat_image::{AddressPool, PoolOptions};
use wasmtime::{InstancePre, Linker, ModuleExport};

use crate::code_cache::CodeCache;
use crate::config::{EngineConfig, wasmtime_config};
use crate::error::{Error, Refusal};
use crate::host::HostState;
use crate::native::Memories;
use crate::prepare::{EXPORT_INIT, EXPORT_MEMORY, EXPORT_STACK, Prepared, global_export, prepare};

/// Refusals that are remembered.
const REFUSALS_MAX: NonZeroUsize = NonZeroUsize::new(1_000).expect("not zero");

/// Compiles modules and makes instances of them. Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    engine: wasmtime::Engine,
    plain: Linker<HostState>,
    wasi: Linker<HostState>,
    pool: AddressPool,
    code: Option<CodeCache>,
    code_bytes_max: usize,
    modules: Mutex<Modules>,
    /// Held while compiling: compilation uses all processors itself, and whoever waits finds the result in memory.
    compiling: Mutex<()>,
}

struct Modules {
    compiled: LruCache<[u8; 32], VatModule>,
    compiled_bytes: usize,
    refused: LruCache<[u8; 32], Refusal>,
}

impl Engine {
    /// Sets the engine up.
    ///
    /// # Errors
    /// If the settings do not suit this machine, or the code cache's directory cannot be made.
    pub fn new(config: EngineConfig) -> Result<Engine, Error> {
        let pool = AddressPool::new(PoolOptions { restore: config.restore });
        let failed = |what| move |e: wasmtime::Error| Error::Engine { what, reason: format!("{e:#}") };
        let engine = wasmtime::Engine::new(&wasmtime_config(Arc::new(Memories(pool.clone()))))
            .map_err(failed("set up wasmtime"))?;
        let mut plain = Linker::new(&engine);
        crate::imports::add_to_linker(&mut plain).map_err(failed("define the imports of a vat"))?;
        let mut wasi = plain.clone();
        crate::wasi::add_to_linker(&mut wasi).map_err(failed("define the imports of WASI"))?;
        let code = config.code_cache.as_deref().map(|dir| CodeCache::open(dir, &engine)).transpose()?;
        let modules = Modules {
            compiled: LruCache::unbounded(),
            compiled_bytes: 0,
            refused: LruCache::new(REFUSALS_MAX),
        };
        Ok(Engine(Arc::new(Inner {
            engine,
            plain,
            wasi,
            pool,
            code,
            code_bytes_max: config.code_bytes_max,
            modules: Mutex::new(modules),
            compiling: Mutex::new(()),
        })))
    }

    /// The module of these bytes, compiled now if it never was.
    ///
    /// # Errors
    /// [`Error::Refused`] if a vat cannot be made of it; another error if the host cannot compile it.
    pub fn module(&self, wasm: &[u8]) -> Result<VatModule, Error> {
        let hash = *blake3::hash(wasm).as_bytes();
        self.module_by_hash(&hash, || Ok::<_, Error>(wasm.to_vec()))
    }

    /// The module with this hash; its bytes are asked for only if it was never compiled here.
    ///
    /// # Errors
    /// As [`Engine::module`], and whatever `load` fails with.
    pub fn module_by_hash<E: From<Error>>(
        &self,
        hash: &[u8; 32],
        load: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<VatModule, E> {
        if let Some(known) = self.known(hash) {
            return Ok(known?);
        }
        let _compiling = self.0.compiling.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = self.known(hash) {
            return Ok(known?);
        }
        let cached = self.0.code.as_ref().and_then(|code| code.load(&self.0.engine, hash));
        let module = match cached {
            Some(compiled) => VatModule::new(*hash, compiled, &self.0)?,
            None => self.compile(hash, &load()?)?,
        };
        self.keep(module.clone());
        Ok(module)
    }

    /// Bytes of compiled code in memory, and modules they belong to.
    pub fn code_in_memory(&self) -> (usize, usize) {
        let modules = self.modules();
        (modules.compiled_bytes, modules.compiled.len())
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.engine
    }

    /// The pool that the memories of all instances come from.
    pub fn address_pool(&self) -> &AddressPool {
        &self.0.pool
    }

    fn known(&self, hash: &[u8; 32]) -> Option<Result<VatModule, Error>> {
        let mut modules = self.modules();
        if let Some(module) = modules.compiled.get(hash) {
            return Some(Ok(module.clone()));
        }
        modules.refused.get(hash).map(|refusal| Err(Error::Refused(refusal.clone())))
    }

    fn compile(&self, hash: &[u8; 32], wasm: &[u8]) -> Result<VatModule, Error> {
        let prepared = prepare(wasm).inspect_err(|refusal| {
            self.modules().refused.put(*hash, refusal.clone());
        })?;
        let compiled = wasmtime::Module::new(&self.0.engine, prepared.wasm())
            .map_err(|e| Error::Engine { what: "compile the module", reason: format!("{e:#}") })?;
        if let Some(code) = &self.0.code {
            code.save(hash, &compiled);
        }
        VatModule::new(*hash, compiled, &self.0).inspect(|module| module.assert_as_prepared(&prepared))
    }

    /// Keeps a module, and lets go of the least recently used ones that no vat uses while there are too many bytes.
    fn keep(&self, module: VatModule) {
        let mut modules = self.modules();
        modules.compiled_bytes += module.code_bytes();
        modules.compiled.put(module.hash(), module);
        let unused: Vec<[u8; 32]> =
            modules.compiled.iter().rev().filter(|(_, m)| !m.is_in_use()).map(|(hash, _)| *hash).collect();
        for hash in unused {
            if modules.compiled_bytes <= self.0.code_bytes_max {
                break;
            }
            if let Some(dropped) = modules.compiled.pop(&hash) {
                modules.compiled_bytes -= dropped.code_bytes();
            }
        }
    }

    fn modules(&self) -> MutexGuard<'_, Modules> {
        self.0.modules.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("code_in_memory", &self.code_in_memory()).finish_non_exhaustive()
    }
}

/// An accepted, rewritten and compiled module. Cheap to clone.
#[derive(Clone)]
pub struct VatModule(Arc<ModuleInner>);

pub(crate) struct ModuleInner {
    hash: [u8; 32],
    pub(crate) instance: InstancePre<HostState>,
    pub(crate) exports: Exports,
    pub(crate) wasi: bool,
    pub(crate) memory_pages_min: u64,
    code_bytes: usize,
}

/// Where to find an instance's state and entry points, without looking names up.
pub(crate) struct Exports {
    pub(crate) memory: ModuleExport,
    pub(crate) stack: ModuleExport,
    pub(crate) init: ModuleExport,
    pub(crate) deliver: ModuleExport,
    pub(crate) initialize: Option<ModuleExport>,
    pub(crate) globals: Vec<ModuleExport>,
}

impl VatModule {
    fn new(hash: [u8; 32], compiled: wasmtime::Module, engine: &Inner) -> Result<VatModule, Error> {
        let wasi = compiled.imports().any(|import| import.module() == crate::prepare::WASI_MODULE);
        let linker = if wasi { &engine.wasi } else { &engine.plain };
        let instance = linker
            .instantiate_pre(&compiled)
            .map_err(|e| Error::Engine { what: "link the module", reason: format!("{e:#}") })?;
        let memory_pages_min = compiled
            .get_export(EXPORT_MEMORY)
            .and_then(|export| export.memory().map(wasmtime::MemoryType::minimum))
            .unwrap_or(0);
        Ok(VatModule(Arc::new(ModuleInner {
            hash,
            exports: Exports::of(&compiled)?,
            wasi,
            memory_pages_min,
            code_bytes: compiled.image_range().end.addr() - compiled.image_range().start.addr(),
            instance,
        })))
    }

    /// Whether it imports WASI: only then do its vats see time and randomness.
    pub fn is_wasi(&self) -> bool {
        self.0.wasi
    }

    /// The module's identity: BLAKE3 of the bytes that were installed.
    pub fn hash(&self) -> [u8; 32] {
        self.0.hash
    }

    /// Bytes of its compiled code.
    pub fn code_bytes(&self) -> usize {
        self.0.code_bytes
    }

    pub(crate) fn inner(&self) -> &ModuleInner {
        &self.0
    }

    /// Whether anything but the cache holds it.
    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// What is read from compiled code is what preparation saw: the pair to loading the same code from disk later.
    fn assert_as_prepared(&self, prepared: &Prepared) {
        assert_eq!(
            self.0.exports.globals.len(),
            prepared.globals.len(),
            "mutable globals of the rewritten module"
        );
        assert_eq!(
            self.0.exports.initialize.is_some(),
            prepared.initialize,
            "`_initialize` of the rewritten module"
        );
        assert_eq!(self.0.wasi, prepared.wasi, "WASI imports of the rewritten module");
        assert_eq!(self.0.memory_pages_min, prepared.memory_pages_min, "memory of the rewritten module");
    }
}

impl fmt::Debug for VatModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = blake3::Hash::from_bytes(self.0.hash).to_hex();
        f.debug_struct("VatModule").field("hash", &hash.as_str()).finish_non_exhaustive()
    }
}

impl Exports {
    fn of(module: &wasmtime::Module) -> Result<Exports, Error> {
        let find = |name: &str| {
            module.get_export_index(name).ok_or_else(|| Error::Engine {
                what: "find what preparation exported",
                reason: format!("compiled code lacks `{name}`"),
            })
        };
        Ok(Exports {
            memory: find(EXPORT_MEMORY)?,
            stack: find(EXPORT_STACK)?,
            init: find(EXPORT_INIT)?,
            deliver: find("vat_deliver")?,
            initialize: module
                .get_export("_initialize")
                .and_then(|ty| ty.func().and(find("_initialize").ok())),
            globals: (0..).map_while(|index| module.get_export_index(&global_export(index))).collect(),
        })
    }
}
