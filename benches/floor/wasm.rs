//! Bare wasmtime: an instance of a module on a mapped heap, and one typed call.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use wasmtime::{
    AsContextMut, Caller, Config, Engine, InstanceAllocationStrategy, InstancePre, Linker, Memory, Module,
    ModuleExport, PoolingAllocationConfig, Store, TypedFunc,
};

use super::json::decode_syscall;
use super::native::{Memories, ReadAhead, deserialize_file};

/// Enough for any delivery.
const FUEL: u64 = 1_000_000_000;

/// The answer to every syscall.
const ANSWER: &[u8] = br#"["ok",null]"#;

/// wasmtime as it is set up for vats: metered, one NaN, memories of our own.
pub(crate) struct BareEngine {
    engine: Engine,
    memories: Arc<Memories>,
    linker: Linker<Host>,
}

/// What the five imports work on.
#[derive(Default)]
pub(crate) struct Host {
    memory: Option<Memory>,
    delivery: Vec<u8>,
}

/// A module, ready to be instantiated.
pub(crate) struct BareModule {
    instance: InstancePre<Host>,
    memory: ModuleExport,
    deliver: ModuleExport,
}

/// An instance.
pub(crate) struct BareInstance {
    store: Store<Host>,
    memory: Memory,
    deliver: TypedFunc<i32, i32>,
}

impl BareEngine {
    /// Memories are mapped from `image`, or begin as zeros.
    pub(crate) fn new(image: Option<File>) -> Result<BareEngine> {
        let memories = Arc::new(Memories::new(image));
        let mut config = Config::new();
        config.consume_fuel(true).cranelift_nan_canonicalization(true).wasm_relaxed_simd(false);
        config.memory_init_cow(false).memory_reservation(4 << 30).memory_guard_size(32 << 20);
        config.memory_may_move(false).native_unwind_info(false);
        config.with_host_memory(Arc::<Memories>::clone(&memories));
        let engine = plain(Engine::new(&config))?;
        let linker = plain(imports(&engine))?;
        Ok(BareEngine { engine, memories, linker })
    }

    /// wasmtime's own pool of instances, which gives each the module's data segments copy-on-write: the best that it has of
    /// itself for starting from a module, and no way to save what an instance became.
    pub(crate) fn pooled() -> Result<BareEngine> {
        let mut pool = PoolingAllocationConfig::default();
        pool.total_core_instances(4).total_memories(4).total_tables(16).table_elements(100_000);
        pool.max_core_instance_size(4 << 20).max_memory_size(1 << 30);
        let mut config = Config::new();
        config.consume_fuel(true).cranelift_nan_canonicalization(true).wasm_relaxed_simd(false);
        config.memory_init_cow(true).memory_reservation(4 << 30).memory_guard_size(32 << 20);
        config.memory_may_move(false).native_unwind_info(false);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = plain(Engine::new(&config))?;
        let linker = plain(imports(&engine))?;
        Ok(BareEngine { engine, memories: Arc::new(Memories::new(None)), linker })
    }

    /// How memories made from now on are read.
    pub(crate) fn set_read_ahead(&self, read_ahead: ReadAhead) {
        self.memories.set_read_ahead(read_ahead);
    }

    /// Compiles.
    pub(crate) fn compile(&self, wasm: &[u8]) -> Result<Module> {
        plain(Module::new(&self.engine, wasm))
    }

    /// Compiles, and gives the code as it is kept in a file.
    pub(crate) fn serialize(&self, wasm: &[u8]) -> Result<Vec<u8>> {
        plain(self.compile(wasm)?.serialize())
    }

    /// Compiles and links.
    pub(crate) fn module(&self, wasm: &[u8]) -> Result<BareModule> {
        self.link(&self.compile(wasm)?)
    }

    /// Loads what [`Module::serialize`] made, and links.
    pub(crate) fn load(&self, code: &Path) -> Result<BareModule> {
        self.link(&plain(deserialize_file(&self.engine, code))?)
    }

    /// A store and an instance; the memory is mapped on the way.
    pub(crate) fn instantiate(&self, module: &BareModule) -> Result<BareInstance> {
        let mut store = Store::new(&self.engine, Host::default());
        plain(store.set_fuel(FUEL))?;
        let instance = plain(module.instance.instantiate(&mut store))?;
        let memory = instance.get_module_export(&mut store, &module.memory).and_then(|e| e.into_memory());
        let deliver = instance.get_module_export(&mut store, &module.deliver).and_then(|e| e.into_func());
        let memory = memory.context("the module exports a memory")?;
        store.data_mut().memory = Some(memory);
        let deliver = plain(deliver.context("the module exports vat_deliver")?.typed(&store))?;
        Ok(BareInstance { store, memory, deliver })
    }

    fn link(&self, module: &Module) -> Result<BareModule> {
        let export = |name| module.get_export_index(name).with_context(|| format!("no export {name}"));
        Ok(BareModule {
            instance: plain(self.linker.instantiate_pre(module))?,
            memory: export("memory")?,
            deliver: export("vat_deliver")?,
        })
    }
}

impl BareInstance {
    /// One typed call.
    pub(crate) fn deliver(&mut self, delivery: Vec<u8>) -> Result<()> {
        let len = i32::try_from(delivery.len())?;
        self.store.data_mut().delivery = delivery;
        plain(self.store.set_fuel(FUEL))?;
        let status = plain(self.deliver.call(&mut self.store, len))?;
        ensure!(status == 0, "the vat failed with status {status}");
        Ok(())
    }

    /// The linear memory.
    pub(crate) fn heap(&self) -> &[u8] {
        self.memory.data(&self.store)
    }
}

/// The imports of a vat, doing no more than they must.
fn imports(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("vat", "delivery_read", |mut caller: Caller<'_, Host>, dst: u32| {
        let (bytes, host) = split(&mut caller)?;
        copy(bytes, dst, &host.delivery)
    })?;
    linker.func_wrap("vat", "syscall", |mut caller: Caller<'_, Host>, ptr: u32, len: u32| {
        let (bytes, _) = split(&mut caller)?;
        let end = ptr as usize + len as usize;
        let syscall = bytes.get(ptr as usize..end).ok_or_else(|| wasmtime::Error::msg("a bad pointer"))?;
        decode_syscall(syscall)?;
        Ok(u32::try_from(ANSWER.len())?)
    })?;
    linker.func_wrap("vat", "result_read", |mut caller: Caller<'_, Host>, dst: u32| {
        copy(split(&mut caller)?.0, dst, ANSWER)
    })?;
    linker.func_wrap("vat", "log", |_: i32, _: i32, _: i32| {})?;
    linker.func_wrap("vat", "fail", |_: i32, _: i32| {})?;
    Ok(linker)
}

fn split<'a>(caller: &'a mut Caller<'_, Host>) -> wasmtime::Result<(&'a mut [u8], &'a mut Host)> {
    let memory = caller.data().memory.ok_or_else(|| wasmtime::Error::msg("called before it was born"))?;
    Ok(memory.data_and_store_mut(caller.as_context_mut()))
}

fn copy(memory: &mut [u8], dst: u32, bytes: &[u8]) -> wasmtime::Result<()> {
    let room = memory.get_mut(dst as usize..dst as usize + bytes.len());
    room.ok_or_else(|| wasmtime::Error::msg("a bad pointer"))?.copy_from_slice(bytes);
    Ok(())
}

/// wasmtime's errors are of its own type.
fn plain<T>(result: wasmtime::Result<T>) -> Result<T> {
    result.map_err(|error| anyhow!("wasmtime: {error:#}"))
}
