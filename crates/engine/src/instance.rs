//! A vat in memory: one wasmtime `Store` with one instance, between deliveries or in one.
//!
//! ```text
//!             birth                      restore
//!   module ──────────► VatInstance ◄────────────── HeapState ◄─┐
//!                       │  deliver ⟲                            │ capture
//!                       └───────────────────────────────────────┘
//! ```
//!
//! Invariants: guest code runs only in [`VatInstance::birth`] and [`VatInstance::run`] (and, in proofs only, in `call`),
//! so that between deliveries no wasm frame is on the stack. After a fault or an error the instance is *spent*: its heap ran ahead of what is
//! recorded, and nothing but dropping it is possible. An instance knows neither its vat nor its transcript.

#[cfg(feature = "prove")]
mod call;

use std::any::Any;
use std::fmt;

use vat_abi::limits::{DELIVERY_BYTES_MAX, OUTPUT_BYTES_PER_DELIVERY_MAX};
use vat_abi::{Computrons, Delivery, LogLevel, Outcome, SyscallRecord, VatFault};
use vat_image::{Check, DirtyTracker, Image, PageStore};
use wasmtime::{CallHook, Global, Instance, Memory, Store, TypedFunc, Val};

use crate::error::{Error, Refusal};
use crate::fault::Ending;
use crate::globals::{GlobalValue, Globals};
use crate::host::{Counterpart, Crank, CrankContext, HostState, Randomness, SyscallHandler};
use crate::imports::HOST_CALL_COMPUTRONS;
use crate::limits::{BIRTH_COMPUTRONS_MAX, MEMORY_PAGES_MAX, THREAD_STACK_NEEDED};
use crate::live::Live;
use crate::module::{Engine, VatModule};
use crate::native::{take_failure, with_image};
use crate::prepare::STACK_OVERFLOWED;
use crate::wasi::WasiCrank;

#[cfg(feature = "prove")]
pub use call::CallValue;

/// Everything that makes up a vat between two deliveries. Two vats with equal state of one module behave equally for ever.
#[derive(Debug, Clone)]
pub struct HeapState {
    /// The linear memory.
    pub image: Image,
    /// The mutable globals.
    pub globals: Globals,
}

/// How a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Done, or why not.
    pub outcome: Outcome,
    /// What it is charged. A faulted delivery is charged its whole allowance: an engine's count after a trap is not
    /// reliable (wasmtime #13802).
    pub computrons: Computrons,
}

/// What a new delivery did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What it is charged; see [`Ended::computrons`].
    pub computrons: Computrons,
    /// Its syscalls with their results, in order, up to the end or the fault.
    pub syscalls: Vec<SyscallRecord>,
    /// All of this and the delivery: canonical JSON of the [`vat_abi::TranscriptEntry`].
    pub entry: Vec<u8>,
}

/// What a capture cost and found.
#[derive(Debug, Clone)]
pub struct Capture {
    /// The state.
    pub state: HeapState,
    /// What it cost.
    pub stats: vat_image::CaptureStats,
}

/// One vat in memory.
pub struct VatInstance {
    store: Store<HostState>,
    instance: Instance,
    module: VatModule,
    memory: Memory,
    stack: Global,
    deliver: TypedFunc<i32, i32>,
    globals: Vec<Global>,
    memory_pages_max: u32,
    /// What the memory was mapped from: dirty pages are those that differ from it.
    mapped: Image,
    /// The newest captured image; a capture adds a layer to it.
    captured: Image,
    spent: bool,
}

impl VatInstance {
    /// Makes the first instance of a module and runs its birth: active data, start function, `_initialize`.
    ///
    /// All vats of a module share its birth, so it depends on nothing but the module: it may grow the memory to all that
    /// addresses reach, and a vat that may not have as much is refused afterwards.
    ///
    /// # Errors
    /// [`Refusal::Birth`] if the module's own code does not get through it, [`Error::MemoryLimitTooLow`] if its memory is larger then
    /// than the vat's may be.
    pub fn birth(engine: &Engine, module: &VatModule, memory_pages_max: u32) -> Result<VatInstance, Error> {
        let mut instance = VatInstance::new(engine, module, memory_pages_max, None)?;
        let context = CrankContext { time_ns: 0, seed: [0; 32], computrons_max: BIRTH_COMPUTRONS_MAX };
        instance.enter(&context)?;
        instance.store.data_mut().limiter.limit(MEMORY_PAGES_MAX);
        let exports = &module.inner().exports;
        for export in [Some(exports.init), exports.initialize].into_iter().flatten() {
            let function = instance.function::<(), ()>(&export)?;
            let ran = with_native_stack(|| function.call(&mut instance.store, ()));
            if let Err(error) = ran {
                let ending = instance.ending(&error, None);
                return Err(match ending.classify() {
                    Ok(fault) => Refusal::Birth(fault.to_string()).into(),
                    Err(_) if error.is::<crate::imports::Stopped>() => {
                        Refusal::Birth(format!("{error}")).into()
                    }
                    Err(host) => host,
                });
            }
        }
        let host = instance.store.data_mut();
        host.wasi = None;
        host.limiter.limit(memory_pages_max);
        instance.check_memory()?;
        Ok(instance)
    }

    /// Makes an instance that continues from a captured state. Its cost does not depend on the heap's size.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] if the state is not one of this module; [`Error::Image`] if the image cannot be read or mapped;
    /// [`Error::MemoryLimitTooLow`] if it is larger than the vat may be.
    pub fn restore(
        engine: &Engine,
        module: &VatModule,
        memory_pages_max: u32,
        state: &HeapState,
    ) -> Result<VatInstance, Error> {
        let mut instance = VatInstance::new(engine, module, memory_pages_max, Some(state.image.clone()))?;
        let bytes = instance.memory.data_size(&instance.store);
        if bytes != state.image.size_bytes() {
            return Err(Error::StateMismatch(format!(
                "the image has {} bytes, the memory {bytes}",
                state.image.size_bytes()
            )));
        }
        instance.check_memory()?;
        instance.set_globals(&state.globals)?;
        Ok(instance)
    }

    /// What birth made larger than the vat may be is no vat, whether birth was run or restored.
    fn check_memory(&self) -> Result<(), Error> {
        let (needed, limit) = (self.memory_pages(), u64::from(self.memory_pages_max));
        if needed > limit { Err(Error::MemoryLimitTooLow { needed, limit }) } else { Ok(()) }
    }

    fn new(
        engine: &Engine,
        module: &VatModule,
        memory_pages_max: u32,
        image: Option<Image>,
    ) -> Result<VatInstance, Error> {
        let inner = module.inner();
        if inner.memory_pages_min > u64::from(memory_pages_max) {
            return Err(Error::MemoryLimitTooLow {
                needed: inner.memory_pages_min,
                limit: memory_pages_max.into(),
            });
        }
        let mut store = Store::new(engine.wasmtime(), HostState::new(memory_pages_max));
        store.limiter(|host| &mut host.limiter);
        // Instantiation fills tables, and the code that does it takes computrons like any other. They are nobody's: each
        // entry into the vat sets its own. What a module can ask for here is bounded by its size.
        set_computrons(&mut store, BIRTH_COMPUTRONS_MAX)?;
        if inner.wasi {
            store.call_hook(charge_wasi_call);
        }
        let made = with_image(image.clone(), || inner.instance.instantiate(&mut store));
        let instance = made.map_err(|error| not_instantiated(&error))?;
        let mut parts = Parts { store: &mut store, instance: &instance };
        let memory = parts.memory(module)?;
        let (stack, globals) = parts.globals(module)?;
        let deliver = parts.function(&inner.exports.deliver)?;
        store.data_mut().set_memory(memory);
        // A memory that was not mapped from an image is all zeros: every page that is not differs from the empty image.
        let mapped = image.unwrap_or_else(|| Image::empty(0));
        Ok(VatInstance {
            captured: mapped.clone(),
            mapped,
            store,
            instance,
            module: module.clone(),
            memory,
            stack,
            deliver,
            globals,
            memory_pages_max,
            spent: false,
        })
    }

    /// Runs one new delivery to its end. The handler comes back with the result, whatever that is.
    ///
    /// # Errors
    /// A host error: nothing may be recorded, and the instance is spent. A guest's fault is not an error but an outcome;
    /// the instance is then spent as well.
    pub fn deliver<H: SyscallHandler>(
        &mut self,
        delivery: &Delivery,
        context: &CrankContext,
        handler: H,
    ) -> (Result<Report, Error>, H) {
        if self.spent {
            return (Err(Error::Spent), handler);
        }
        let live = match Live::new(delivery, context.time_ns, handler) {
            Ok(live) => live,
            Err((violation, handler)) => return (Err(Error::Delivery(violation)), handler),
        };
        let (ran, Live { handler, entry, syscalls }) = self.run(context, live);
        let report = ran.and_then(|Ended { outcome, computrons }| {
            let entry = entry.end(&outcome, computrons).map_err(|violation| {
                self.spent = true;
                Error::Unrecordable(violation)
            })?;
            Ok(Report { outcome, computrons, syscalls, entry })
        });
        (report, handler)
    }

    /// Runs one delivery, new or not, to its end: what the vat reads and who answers it is the counterpart's, which comes back
    /// with the result.
    ///
    /// # Errors
    /// As [`VatInstance::deliver`].
    ///
    /// # Panics
    /// If the counterpart's delivery is longer than [`vat_abi::limits::DELIVERY_BYTES_MAX`].
    pub fn run<C: Counterpart>(
        &mut self,
        context: &CrankContext,
        counterpart: C,
    ) -> (Result<Ended, Error>, C) {
        if self.spent {
            return (Err(Error::Spent), counterpart);
        }
        let len = counterpart.delivery().len();
        assert!(len <= DELIVERY_BYTES_MAX, "a delivery of {len} bytes was recorded or begun");
        let len = i32::try_from(len).expect("the limit is far below");
        self.spent = true; // Until it is known that the vat and what is recorded agree.
        self.store.data_mut().crank = Some(Crank::new(counterpart));
        let ran = self.enter(context).map(|()| with_native_stack(|| self.deliver.call(&mut self.store, len)));
        let mut crank = self.store.data_mut().crank.take().expect("the crank was put there above");
        self.report_printed(&mut crank);
        let result = ran.and_then(|ran| self.conclude(ran, &mut crank, context));
        self.spent = !matches!(&result, Ok(ended) if ended.outcome == Outcome::Delivered);
        let counterpart: Box<dyn Any> = crank.counterpart;
        let counterpart = counterpart.downcast().expect("the counterpart that was put in");
        (result, *counterpart)
    }

    /// Saves what changed since the last capture as one layer of `pages`, and answers the whole state.
    ///
    /// # Errors
    /// If the pages cannot be found or written, or the instance is spent.
    pub fn capture(
        &mut self,
        pages: &PageStore,
        tracker: &dyn DirtyTracker,
        check: Check,
    ) -> Result<Capture, Error> {
        if self.spent {
            return Err(Error::Spent);
        }
        let globals = self.globals();
        assert_eq!(self.stack_height(), 0, "no wasm frame between deliveries");
        let heap = self.memory.data(&self.store);
        let failed = |what| move |source| Error::Image { what, source };
        let dirty = tracker
            .dirty_since(heap, &self.mapped, &self.captured)
            .map_err(failed("find the pages that changed"))?;
        let captured = vat_image::capture(pages, heap, &self.captured, &dirty, check)
            .map_err(failed("save the pages that changed"))?;
        self.captured = captured.image.clone();
        Ok(Capture { state: HeapState { image: captured.image, globals }, stats: captured.stats })
    }

    /// Takes another image of the same content, made of other layers, as the one that the next capture adds to.
    ///
    /// # Panics
    /// If it has another size than the image that was captured last.
    pub fn adopt(&mut self, image: Image) {
        assert_eq!(image.size_pages(), self.captured.size_pages(), "an image of the same content");
        self.captured = image;
    }

    /// Another instance in the same state, by copying the whole heap: for trying out what leaves an instance spent.
    ///
    /// # Errors
    /// If memory for it cannot be had, or this instance is spent.
    pub fn duplicate(&mut self, engine: &Engine) -> Result<VatInstance, Error> {
        if self.spent {
            return Err(Error::Spent);
        }
        let mut copy = VatInstance::new(engine, &self.module, self.memory_pages_max, None)?;
        let missing = self.memory.size(&self.store) - copy.memory.size(&copy.store);
        copy.memory
            .grow(&mut copy.store, missing)
            .map_err(|e| Error::Engine { what: "grow the copy of a memory", reason: format!("{e:#}") })?;
        copy.memory.data_mut(&mut copy.store).copy_from_slice(self.memory.data(&self.store));
        copy.set_globals(&self.globals())?;
        Ok(copy)
    }

    /// The linear memory's bytes.
    pub fn heap(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    /// The mutable globals.
    pub fn globals(&mut self) -> Globals {
        let VatInstance { store, globals, .. } = self;
        let value = |global: &Global| {
            GlobalValue::from_val(&global.get(&mut *store)).expect("the survey lets no other type pass")
        };
        Globals::new(globals.iter().map(value).collect())
    }

    /// Wasm pages of the memory now.
    pub fn memory_pages(&self) -> u64 {
        self.memory.size(&self.store)
    }

    /// What the memory was mapped from.
    pub fn mapped(&self) -> &Image {
        &self.mapped
    }

    /// The module it is an instance of.
    pub fn module(&self) -> &VatModule {
        &self.module
    }

    /// Whether it faulted or failed and can only be dropped.
    pub fn is_spent(&self) -> bool {
        self.spent
    }

    fn set_globals(&mut self, globals: &Globals) -> Result<(), Error> {
        if globals.values().len() != self.globals.len() {
            return Err(Error::StateMismatch(format!(
                "it has {} globals, the module {}",
                globals.values().len(),
                self.globals.len()
            )));
        }
        for (global, value) in self.globals.iter().zip(globals.values()) {
            global
                .set(&mut self.store, value.to_val())
                .map_err(|e| Error::StateMismatch(format!("a global cannot be set: {e}")))?;
        }
        Ok(())
    }

    /// Gives the guest its computrons and its view of the world.
    fn enter(&mut self, context: &CrankContext) -> Result<(), Error> {
        set_computrons(&mut self.store, context.computrons_max)?;
        if self.module.inner().wasi {
            let host = self.store.data_mut();
            host.randomness = Randomness::new(context.seed);
            host.wasi = Some(WasiCrank::new(context));
        }
        Ok(())
    }

    fn conclude(
        &mut self,
        ran: wasmtime::Result<i32>,
        crank: &mut Crank,
        context: &CrankContext,
    ) -> Result<Ended, Error> {
        if let Some(error) = crank.error.take() {
            return Err(error);
        }
        let fault = match (crank.fault.take(), ran) {
            (Some(fault), _) => fault,
            (None, Ok(0)) => {
                let left = self
                    .store
                    .get_fuel()
                    .map_err(|e| Error::Engine { what: "read the computrons", reason: format!("{e:#}") })?;
                let used = Computrons(context.computrons_max - left);
                return Ok(Ended { outcome: Outcome::Delivered, computrons: used });
            }
            (None, Ok(_)) => crank.failed.take().unwrap_or_else(|| VatFault::failed(&[])),
            (None, Err(error)) => {
                let fault = self.ending(&error, crank.failed.take()).classify()?;
                crank.counterpart.log(LogLevel::Debug, &format!("the delivery faulted: {error:#}"));
                fault
            }
        };
        Ok(Ended { outcome: Outcome::Faulted(fault), computrons: Computrons(context.computrons_max) })
    }

    fn ending<'a>(&mut self, error: &'a wasmtime::Error, failed: Option<VatFault>) -> Ending<'a> {
        Ending {
            error,
            stack_overflowed: self.stack_height() == STACK_OVERFLOWED,
            growth_failed: self.store.data_mut().limiter.failed.take(),
            failed,
            wasi: self.module.inner().wasi,
        }
    }

    /// What a WASI vat printed goes to its log, and the context that held it is dropped.
    fn report_printed(&mut self, crank: &mut Crank) {
        if let Some(wasi) = self.store.data_mut().wasi.take() {
            let printed = wasi.printed();
            crank.log_bytes = crank.log_bytes.saturating_add(printed.len());
            if crank.log_bytes > OUTPUT_BYTES_PER_DELIVERY_MAX {
                crank.fault.get_or_insert(VatFault::OutputLimit);
            }
            for line in printed.lines() {
                crank.counterpart.log(LogLevel::Info, line);
            }
        }
    }

    fn stack_height(&mut self) -> i32 {
        match self.stack.get(&mut self.store) {
            Val::I32(height) => height,
            other => unreachable!("the generated stack counter is an i32, not {other:?}"),
        }
    }

    fn function<P, R>(&mut self, export: &wasmtime::ModuleExport) -> Result<TypedFunc<P, R>, Error>
    where
        P: wasmtime::WasmParams,
        R: wasmtime::WasmResults,
    {
        let instance = self.instance;
        Parts { store: &mut self.store, instance: &instance }.function(export)
    }
}

impl fmt::Debug for VatInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VatInstance")
            .field("module", &self.module)
            .field("spent", &self.spent)
            .finish_non_exhaustive()
    }
}

/// A fresh instance whose parts are looked up.
struct Parts<'a> {
    store: &'a mut Store<HostState>,
    instance: &'a Instance,
}

impl Parts<'_> {
    fn get(&mut self, export: &wasmtime::ModuleExport) -> Result<wasmtime::Extern, Error> {
        self.instance.get_module_export(&mut *self.store, export).ok_or_else(|| missing("an export"))
    }

    fn memory(&mut self, module: &VatModule) -> Result<Memory, Error> {
        self.get(&module.inner().exports.memory)?.into_memory().ok_or_else(|| missing("the memory"))
    }

    fn globals(&mut self, module: &VatModule) -> Result<(Global, Vec<Global>), Error> {
        let mut global = |export| self.get(export)?.into_global().ok_or_else(|| missing("a global"));
        let exports = &module.inner().exports;
        Ok((global(&exports.stack)?, exports.globals.iter().map(global).collect::<Result<_, _>>()?))
    }

    fn function<P, R>(&mut self, export: &wasmtime::ModuleExport) -> Result<TypedFunc<P, R>, Error>
    where
        P: wasmtime::WasmParams,
        R: wasmtime::WasmResults,
    {
        let function = self.get(export)?.into_func().ok_or_else(|| missing("a function"))?;
        function
            .typed(&*self.store)
            .map_err(|e| Error::Engine { what: "find a function", reason: format!("{e:#}") })
    }
}

fn set_computrons(store: &mut Store<HostState>, computrons: u64) -> Result<(), Error> {
    store
        .set_fuel(computrons)
        .map_err(|e| Error::Engine { what: "set the computrons", reason: format!("{e:#}") })
}

/// Why there is no instance. An element segment that does not fit its table is the module's own doing, as if the start
/// function had trapped; it can only show at the first instantiation.
fn not_instantiated(error: &wasmtime::Error) -> Error {
    if let Some(source) = take_failure() {
        return Error::Image { what: "give the vat its memory", source };
    }
    let ending = Ending { error, stack_overflowed: false, growth_failed: None, failed: None, wasi: false };
    match ending.classify() {
        Ok(fault) => Refusal::Birth(fault.to_string()).into(),
        Err(_) => Error::Engine { what: "instantiate the module", reason: format!("{error:#}") },
    }
}

fn missing(what: &str) -> Error {
    Error::Engine { what: "find what preparation exported", reason: format!("the instance lacks {what}") }
}

/// Prices every call that a WASI vat makes to the host; `vat.*` functions take theirs besides.
fn charge_wasi_call(
    mut context: wasmtime::StoreContextMut<'_, HostState>,
    hook: CallHook,
) -> wasmtime::Result<()> {
    if matches!(hook, CallHook::CallingHost) {
        let left = context.get_fuel()?;
        if left < HOST_CALL_COMPUTRONS {
            context.set_fuel(0)?;
            return Err(wasmtime::Trap::OutOfFuel.into());
        }
        context.set_fuel(left - HOST_CALL_COMPUTRONS)?;
    }
    Ok(())
}

/// Runs guest code where the native stack is deep enough for all that the logical count lets through.
///
/// On a thread made with [`thread_stack_bytes`] this costs nothing; elsewhere a stack is mapped for the call.
fn with_native_stack<T>(call: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(THREAD_STACK_NEEDED, thread_stack_bytes(), call)
}

/// Calls where the stack is deep enough for vats, on a stack of its own if this thread's is not.
///
/// A delivery does this by itself, and maps a stack each time, which takes longer than most deliveries. Who delivers more than one
/// from a thread of the usual size (tokio's, the standard library's) does it once around all of them, or makes threads of
/// [`thread_stack_bytes`].
pub fn on_deep_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(THREAD_STACK_NEEDED + (1 << 20), thread_stack_bytes(), work)
}

/// The stack size for threads that deliver to vats; only touched pages take memory.
pub const fn thread_stack_bytes() -> usize {
    THREAD_STACK_NEEDED + (4 << 20)
}
