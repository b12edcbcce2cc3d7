//! A third opinion, for where the interpreter and our engine differ: wasmtime as it comes, without optimisation.
//!
//! The interpreter has bugs of its own, about one in ten thousand modules finds one. This tells them from ours. It shares the
//! code generator with our engine, and nothing else: no rewrite, no image, no capture, no computrons. A difference that it does not
//! confirm is counted as the interpreter's, and there may be few of them.

use std::thread;

use vat_abi::limits::LOG_BYTES_MAX;
use vat_abi::{Delivery, LogLevel, Outcome, Syscall, SyscallRecord, TrapKind, VatFault};
use vat_engine::{GlobalValue, Globals};
use wasmtime::{
    Caller, Config, Engine, Error, Extern, Instance, Linker, Module, OptLevel, Result, Store, StoreLimits,
    StoreLimitsBuilder, Trap, Val,
};

use super::answers::{Answers, PAGES_MAX};
use super::interpreter::{Done, Version};

/// As deep as the logical stack, and more.
const STACK_BYTES: usize = 64 << 20;

/// What it says: of the last delivery, if one was asked for, and of the vat after all that were.
#[derive(Debug)]
pub(crate) struct Ruling {
    pub(crate) done: Option<Done>,
    pub(crate) heap: Vec<u8>,
    pub(crate) globals: Globals,
    pub(crate) answers: Answers,
}

/// Makes the deliveries of `history`, which do not fault, and then `last`, which may.
pub(crate) fn judge(wasm: &[u8], version: Version, history: &[Delivery], last: Option<&Delivery>) -> Ruling {
    thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(2 * STACK_BYTES);
        let judged = builder.spawn_scoped(scope, || Court::new(wasm, version).hear(history, last));
        judged.expect("a thread").join().expect("the judge does not fail")
    })
}

struct Court {
    store: Store<World>,
    instance: Instance,
    version: Version,
}

struct World {
    limits: StoreLimits,
    answers: Answers,
    delivery: Vec<u8>,
    reply: Vec<u8>,
    syscalls: Vec<SyscallRecord>,
    stopped: Option<VatFault>,
    failed: Option<VatFault>,
}

impl Court {
    /// A vat after its birth, which the interpreter and our engine both went through.
    fn new(wasm: &[u8], version: Version) -> Court {
        let mut config = Config::new();
        config.cranelift_opt_level(OptLevel::None).cranelift_nan_canonicalization(true);
        config.max_wasm_stack(STACK_BYTES).async_stack_size(STACK_BYTES);
        let engine = Engine::new(&config).expect("the engine works here");
        let module = Module::new(&engine, wasm).expect("an accepted module");
        let world = World {
            limits: StoreLimitsBuilder::new().memory_size(PAGES_MAX as usize * 65_536).build(),
            answers: Answers::default(),
            delivery: Vec::new(),
            reply: Vec::new(),
            syscalls: Vec::new(),
            stopped: None,
            failed: None,
        };
        let mut store = Store::new(&engine, world);
        store.limiter(|world| &mut world.limits);
        let linker = linker(&engine).expect("names are not defined twice");
        let instance = linker.instantiate(&mut store, &module).expect("it was born before");
        let names = match version {
            Version::Installed => &["_initialize"][..],
            Version::Rewritten => &["vat:init", "_initialize"],
            Version::Uninitialised => &[],
        };
        for name in names {
            if let Ok(function) = instance.get_typed_func::<(), ()>(&mut store, name) {
                function.call(&mut store, ()).expect("it was born before");
            }
        }
        Court { store, instance, version }
    }

    fn hear(mut self, history: &[Delivery], last: Option<&Delivery>) -> Ruling {
        let done = history.iter().chain(last).map(|delivery| self.deliver(delivery)).last();
        let Court { mut store, instance, .. } = self;
        let memory = instance.get_memory(&mut store, "memory").expect("a vat has a memory");
        let heap = memory.data(&store).to_vec();
        let prefix = if self.version == Version::Installed { "g" } else { "vat:global:" };
        let mut globals = Vec::new();
        while let Some(global) = instance.get_global(&mut store, &format!("{prefix}{}", globals.len())) {
            globals.push(value(&global.get(&mut store)));
        }
        let done = done.filter(|_| last.is_some());
        Ruling { done, heap, globals: Globals::new(globals), answers: store.into_data().answers }
    }

    fn deliver(&mut self, delivery: &Delivery) -> Done {
        let Court { store, instance, .. } = self;
        let bytes = delivery.to_json().into_bytes();
        let length = i32::try_from(bytes.len()).expect("a short delivery");
        let world = store.data_mut();
        world.delivery = bytes;
        world.syscalls.clear();
        world.answers.log.clear();
        let function = instance.get_typed_func::<i32, i32>(&mut *store, "vat_deliver").expect("a vat has it");
        let outcome = match function.call(&mut *store, length) {
            Ok(0) => Outcome::Delivered,
            Ok(_) => {
                let failed = store.data_mut().failed.take();
                Outcome::Faulted(failed.unwrap_or_else(|| VatFault::failed(&[])))
            }
            Err(error) => Outcome::Faulted(self.fault(&error)),
        };
        let world = self.store.data_mut();
        world.failed = None;
        Done { outcome, syscalls: world.syscalls.clone(), log: world.answers.log.clone() }
    }

    fn fault(&mut self, error: &Error) -> VatFault {
        let Court { store, instance, .. } = self;
        if let Some(stopped) = store.data_mut().stopped.take() {
            return stopped;
        }
        VatFault::Trap(match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => return VatFault::StackOverflow,
            Some(Trap::UnreachableCodeReached) => {
                let stack = instance.get_global(&mut *store, "vat:stack").map(|stack| stack.get(&mut *store));
                if matches!(stack, Some(Val::I32(-1))) {
                    return VatFault::StackOverflow;
                }
                match store.data_mut().failed.take() {
                    Some(failed) => return failed,
                    None => TrapKind::Unreachable,
                }
            }
            Some(Trap::MemoryOutOfBounds) => TrapKind::OutOfBoundsMemory,
            Some(Trap::TableOutOfBounds) => TrapKind::OutOfBoundsTable,
            Some(Trap::IndirectCallToNull) => TrapKind::IndirectCallToNull,
            Some(Trap::BadSignature) => TrapKind::BadSignature,
            Some(Trap::IntegerOverflow) => TrapKind::IntegerOverflow,
            Some(Trap::IntegerDivisionByZero) => TrapKind::DivisionByZero,
            Some(Trap::BadConversionToInteger) => TrapKind::BadConversion,
            _ => TrapKind::Other,
        })
    }
}

fn value(value: &Val) -> GlobalValue {
    match value {
        Val::I32(v) => GlobalValue::I32(*v),
        Val::I64(v) => GlobalValue::I64(*v),
        Val::F32(v) => GlobalValue::F32(*v),
        Val::F64(v) => GlobalValue::F64(*v),
        Val::V128(v) => GlobalValue::V128(v.as_u128()),
        _ => panic!("a mutable reference global was accepted"),
    }
}

fn linker(engine: &Engine) -> Result<Linker<World>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("vat", "delivery_read", |mut caller: Caller<'_, World>, dst: i32| {
        let bytes = caller.data().delivery.clone();
        copy_out(&mut caller, dst, &bytes)
    })?;
    linker.func_wrap("vat", "result_read", |mut caller: Caller<'_, World>, dst: i32| {
        let bytes = caller.data().reply.clone();
        copy_out(&mut caller, dst, &bytes)
    })?;
    linker.func_wrap("vat", "syscall", |mut caller: Caller<'_, World>, ptr: i32, len: i32| {
        let bytes = bytes(&mut caller, ptr, len)?;
        let Ok(syscall) = Syscall::from_json(&bytes) else {
            return Err(stop(&mut caller, VatFault::BadSyscallBytes));
        };
        let world = caller.data_mut();
        let result = world.answers.answer(&syscall);
        world.reply = result.to_json().into_bytes();
        world.syscalls.push(SyscallRecord { syscall, result });
        Ok(i32::try_from(world.reply.len()).expect("a short reply"))
    })?;
    linker.func_wrap("vat", "log", |mut caller: Caller<'_, World>, level: i32, ptr: i32, len: i32| {
        let bytes = bytes(&mut caller, ptr, len)?;
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LOG_BYTES_MAX)]).into_owned();
        caller.data_mut().answers.log.push((LogLevel::from_code(level), text));
        Ok(())
    })?;
    linker.func_wrap("vat", "fail", |mut caller: Caller<'_, World>, ptr: i32, len: i32| {
        let bytes = bytes(&mut caller, ptr, len)?;
        caller.data_mut().failed = Some(VatFault::failed(&bytes));
        Ok(())
    })?;
    Ok(linker)
}

/// The bytes that a guest means, if they are in its memory.
fn bytes(caller: &mut Caller<'_, World>, ptr: i32, len: i32) -> Result<Vec<u8>> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory).expect("a vat has a memory");
    let start = ptr.cast_unsigned() as usize;
    match memory.data(&*caller).get(start..start + len.cast_unsigned() as usize) {
        Some(bytes) => Ok(bytes.to_vec()),
        None => Err(stop(caller, VatFault::BadPointer)),
    }
}

fn copy_out(caller: &mut Caller<'_, World>, dst: i32, bytes: &[u8]) -> Result<()> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory).expect("a vat has a memory");
    match memory.write(&mut *caller, dst.cast_unsigned() as usize, bytes) {
        Ok(()) => Ok(()),
        Err(_) => Err(stop(caller, VatFault::BadPointer)),
    }
}

fn stop(caller: &mut Caller<'_, World>, fault: VatFault) -> Error {
    caller.data_mut().stopped = Some(fault);
    Error::msg("stopped")
}
