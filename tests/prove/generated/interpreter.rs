//! The same vat in an interpreter that shares no code with our engine: wasmi, in its deterministic profile.
//!
//! It knows nothing of images, captures or computrons. What faulted is undone in the plainest way there is: the vat is born again
//! and told everything that did not fault. It runs the module as it was installed, or as it was rewritten; the
//! names of exports tell which state to look at.

use vat_abi::limits::{LOG_BYTES_MAX, OUTPUT_BYTES_PER_DELIVERY_MAX};
use vat_abi::{Delivery, LogLevel, Outcome, Syscall, SyscallRecord, TrapKind, VatFault};
use vat_engine::{GlobalValue, Globals};
use wasmi::errors::{ErrorKind, InstantiationError};
use wasmi::{
    Caller, Config, Engine, Error, Instance, Linker, Memory, Module, Store, StoreLimits, StoreLimitsBuilder,
    TrapCode, Val,
};

use super::answers::{Answers, PAGES_MAX};
use super::spared::spared;

/// More than any delivery takes that our engine lets through.
const FUEL: u64 = 10_000_000_000;
/// Wasm pages that birth may make: fewer than our engine lets it, but more than any vat here may then have.
const BIRTH_PAGES_MAX: u32 = 256;
/// More frames, and bytes of stack, than the logical stack has room for.
const FRAMES_MAX: usize = 200_000;
const STACK_BYTES_MAX: usize = 512 << 20;

/// Which of the two modules is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// As installed.
    Installed,
    /// As rewritten, its state under reserved names.
    Rewritten,
    /// The same, with active data and start function left out: a bug on purpose.
    Uninitialised,
}

/// What a delivery did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    pub(crate) syscalls: Vec<SyscallRecord>,
    pub(crate) log: Vec<(LogLevel, String)>,
}

/// A vat in the interpreter.
pub(crate) struct Interpreter {
    module: Module,
    linker: Linker<World>,
    version: Version,
    life: Life,
    /// What was delivered and did not fault.
    history: Vec<Delivery>,
}

struct Life {
    store: Store<World>,
    instance: Instance,
    memory: Memory,
}

/// The host's side.
struct World {
    limits: StoreLimits,
    answers: Answers,
    delivery: Option<Vec<u8>>,
    reply: Vec<u8>,
    syscalls: Vec<SyscallRecord>,
    log_bytes: usize,
    stopped: Option<VatFault>,
    failed: Option<VatFault>,
}

impl Interpreter {
    /// The vat after its birth, or what stopped that.
    pub(crate) fn birth(wasm: &[u8], version: Version) -> Result<Interpreter, VatFault> {
        let mut config = Config::default();
        config.consume_fuel(true).set_max_recursion_depth(FRAMES_MAX).set_max_stack_height(STACK_BYTES_MAX);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, spared(wasm)).expect("the interpreter accepts what we accept");
        let linker = linker(&engine);
        let life = Life::new(&module, &linker, version)?;
        Ok(Interpreter { module, linker, version, life, history: Vec::new() })
    }

    /// Delivers; what faulted leaves nothing behind.
    pub(crate) fn deliver(&mut self, delivery: &Delivery) -> Done {
        let done = self.life.deliver(delivery, self.version);
        match done.outcome {
            Outcome::Delivered => self.history.push(delivery.clone()),
            Outcome::Faulted(_) => self.again(),
        }
        done
    }

    fn again(&mut self) {
        self.life = Life::new(&self.module, &self.linker, self.version).expect("it was born before");
        for delivery in &self.history {
            let done = self.life.deliver(delivery, self.version);
            assert_eq!(done.outcome, Outcome::Delivered, "the interpreter is deterministic");
        }
    }

    /// The linear memory.
    pub(crate) fn heap(&self) -> &[u8] {
        self.life.memory.data(&self.life.store)
    }

    /// The mutable globals.
    pub(crate) fn globals(&self) -> Globals {
        let prefix = match self.version {
            Version::Installed => "g",
            Version::Rewritten | Version::Uninitialised => "vat:global:",
        };
        let Life { store, instance, .. } = &self.life;
        let global = |nth: usize| instance.get_global(store, &format!("{prefix}{nth}"));
        Globals::new((0..).map_while(global).map(|global| value(global.get(store))).collect())
    }

    /// What was delivered to it and did not fault.
    pub(crate) fn history(&self) -> &[Delivery] {
        &self.history
    }

    /// Vat storage.
    pub(crate) fn answers(&self) -> &Answers {
        &self.life.store.data().answers
    }
}

fn value(value: Val) -> GlobalValue {
    match value {
        Val::I32(v) => GlobalValue::I32(v),
        Val::I64(v) => GlobalValue::I64(v),
        Val::F32(v) => GlobalValue::F32(v.to_bits()),
        Val::F64(v) => GlobalValue::F64(v.to_bits()),
        Val::V128(v) => GlobalValue::V128(v.as_u128()),
        Val::FuncRef(_) | Val::ExternRef(_) => panic!("a mutable reference global was accepted"),
    }
}

impl Life {
    fn new(module: &Module, linker: &Linker<World>, version: Version) -> Result<Life, VatFault> {
        let world = World {
            limits: limits(BIRTH_PAGES_MAX),
            answers: Answers::default(),
            delivery: None,
            reply: Vec::new(),
            syscalls: Vec::new(),
            log_bytes: 0,
            stopped: None,
            failed: None,
        };
        let mut store = Store::new(module.engine(), world);
        store.limiter(|world| &mut world.limits);
        store.set_fuel(FUEL).expect("fuel is on");
        let instance = linker
            .instantiate_and_start(&mut store, module)
            .map_err(|error| fault(&error, &mut store, None, version))?;
        let memory = instance.get_memory(&store, "memory").expect("a vat has a memory");
        let mut life = Life { store, instance, memory };
        let names = match version {
            Version::Installed => &["_initialize"][..],
            Version::Rewritten => &["vat:init", "_initialize"],
            Version::Uninitialised => &[],
        };
        for name in names {
            if let Ok(function) = life.instance.get_typed_func::<(), ()>(&life.store, name) {
                let called = function.call(&mut life.store, ());
                called.map_err(|error| fault(&error, &mut life.store, Some(life.instance), version))?;
            }
        }
        life.store.data_mut().limits = limits(PAGES_MAX);
        Ok(life)
    }

    fn deliver(&mut self, delivery: &Delivery, version: Version) -> Done {
        let bytes = delivery.to_json().into_bytes();
        let length = i32::try_from(bytes.len()).expect("a short delivery");
        let store = &mut self.store;
        store.set_fuel(FUEL).expect("fuel is on");
        let world = store.data_mut();
        world.delivery = Some(bytes);
        world.syscalls.clear();
        world.answers.log.clear();
        world.log_bytes = 0;
        world.reply.clear();
        let function =
            self.instance.get_typed_func::<i32, i32>(&*store, "vat_deliver").expect("a vat has it");
        let outcome = match function.call(&mut *store, length) {
            Ok(0) => Outcome::Delivered,
            Ok(_) => {
                Outcome::Faulted(store.data_mut().failed.take().unwrap_or_else(|| VatFault::failed(&[])))
            }
            Err(error) => Outcome::Faulted(fault(&error, store, Some(self.instance), version)),
        };
        let world = store.data_mut();
        world.delivery = None;
        world.failed = None;
        Done { outcome, syscalls: world.syscalls.clone(), log: world.answers.log.clone() }
    }
}

fn limits(pages: u32) -> StoreLimits {
    StoreLimitsBuilder::new().memory_size(pages as usize * 65_536).build()
}

/// What our engine calls the same thing.
fn fault(error: &Error, store: &mut Store<World>, instance: Option<Instance>, version: Version) -> VatFault {
    if let Some(stopped) = store.data_mut().stopped.take() {
        return stopped;
    }
    let code = match error.kind() {
        ErrorKind::Instantiation(InstantiationError::ElementSegmentDoesNotFit { .. }) => {
            TrapCode::TableOutOfBounds
        }
        _ => error.as_trap_code().unwrap_or_else(|| panic!("the interpreter failed: {error}")),
    };
    VatFault::Trap(match code {
        TrapCode::UnreachableCodeReached => {
            let stack = instance.and_then(|instance| instance.get_global(&*store, "vat:stack"));
            if version != Version::Installed
                && stack.is_some_and(|stack| matches!(stack.get(&*store), Val::I32(-1)))
            {
                return VatFault::StackOverflow;
            }
            if let Some(failed) = store.data_mut().failed.take() {
                return failed;
            }
            TrapKind::Unreachable
        }
        TrapCode::MemoryOutOfBounds => TrapKind::OutOfBoundsMemory,
        TrapCode::TableOutOfBounds => TrapKind::OutOfBoundsTable,
        TrapCode::IndirectCallToNull => TrapKind::IndirectCallToNull,
        TrapCode::BadSignature => TrapKind::BadSignature,
        TrapCode::IntegerOverflow => TrapKind::IntegerOverflow,
        TrapCode::IntegerDivisionByZero => TrapKind::DivisionByZero,
        TrapCode::BadConversionToInteger => TrapKind::BadConversion,
        TrapCode::StackOverflow => return VatFault::StackOverflow,
        TrapCode::OutOfFuel => return VatFault::OutOfComputrons,
        _ => TrapKind::Other,
    })
}

fn linker(engine: &Engine) -> Linker<World> {
    let mut linker = Linker::new(engine);
    let defined = linker
        .func_wrap("vat", "delivery_read", |caller: Caller<'_, World>, dst: i32| {
            copy_out(caller, dst, |world| world.delivery.clone())
        })
        .and_then(|linker| {
            linker.func_wrap("vat", "result_read", |caller: Caller<'_, World>, dst: i32| {
                copy_out(caller, dst, |world| world.delivery.is_some().then(|| world.reply.clone()))
            })
        })
        .and_then(|linker| linker.func_wrap("vat", "syscall", syscall))
        .and_then(|linker| linker.func_wrap("vat", "log", log))
        .and_then(|linker| linker.func_wrap("vat", "fail", fail));
    defined.expect("names are not defined twice");
    linker
}

/// The bytes that a guest means, if they are in its memory.
fn bytes(caller: &mut Caller<'_, World>, ptr: i32, len: i32) -> Result<Vec<u8>, Error> {
    let memory = memory(caller);
    let start = ptr.cast_unsigned() as usize;
    let range = start..start + len.cast_unsigned() as usize;
    match memory.data(&*caller).get(range) {
        Some(bytes) => Ok(bytes.to_vec()),
        None => Err(stop(caller, VatFault::BadPointer)),
    }
}

fn memory(caller: &Caller<'_, World>) -> Memory {
    caller.get_export("memory").and_then(wasmi::Extern::into_memory).expect("a vat has a memory")
}

fn stop(caller: &mut Caller<'_, World>, fault: VatFault) -> Error {
    caller.data_mut().stopped = Some(fault);
    Error::new("stopped")
}

/// A vat may not ask anything of the host while it is born.
fn in_delivery(caller: &mut Caller<'_, World>) -> Result<(), Error> {
    match caller.data().delivery {
        Some(_) => Ok(()),
        None => Err(stop(caller, VatFault::IllegalSyscall)),
    }
}

fn copy_out(
    mut caller: Caller<'_, World>,
    dst: i32,
    buffer: fn(&World) -> Option<Vec<u8>>,
) -> Result<(), Error> {
    in_delivery(&mut caller)?;
    let buffer = buffer(caller.data()).unwrap_or_default();
    let memory = memory(&caller);
    match memory.write(&mut caller, dst.cast_unsigned() as usize, &buffer) {
        Ok(()) => Ok(()),
        Err(_) => Err(stop(&mut caller, VatFault::BadPointer)),
    }
}

fn syscall(mut caller: Caller<'_, World>, ptr: i32, len: i32) -> Result<i32, Error> {
    in_delivery(&mut caller)?;
    let bytes = bytes(&mut caller, ptr, len)?;
    let Ok(syscall) = Syscall::from_json(&bytes) else {
        return Err(stop(&mut caller, VatFault::BadSyscallBytes));
    };
    let world = caller.data_mut();
    let result = world.answers.answer(&syscall);
    world.reply = result.to_json().into_bytes();
    world.syscalls.push(SyscallRecord { syscall, result });
    Ok(i32::try_from(world.reply.len()).expect("a short reply"))
}

fn log(mut caller: Caller<'_, World>, level: i32, ptr: i32, len: i32) -> Result<(), Error> {
    let bytes = bytes(&mut caller, ptr, len)?;
    let world = caller.data_mut();
    if world.delivery.is_none() {
        return Ok(());
    }
    world.log_bytes += bytes.len();
    if world.log_bytes > OUTPUT_BYTES_PER_DELIVERY_MAX {
        return Err(stop(&mut caller, VatFault::OutputLimit));
    }
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LOG_BYTES_MAX)]).into_owned();
    world.answers.log.push((LogLevel::from_code(level), text));
    Ok(())
}

fn fail(mut caller: Caller<'_, World>, ptr: i32, len: i32) -> Result<(), Error> {
    in_delivery(&mut caller)?;
    let bytes = bytes(&mut caller, ptr, len)?;
    caller.data_mut().failed = Some(VatFault::failed(&bytes));
    Ok(())
}
