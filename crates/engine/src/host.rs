//! The host's side of a vat: what wasmtime's `Store` holds beside the instance.
//!
//! A [`Crank`] is there only while a delivery runs. Nothing of it outlives the delivery, so nothing on the host's side
//! has to be captured. The caller's syscall handler is moved in for the delivery and given back after it.

use std::any::Any;

use vat_abi::{LogLevel, Syscall, SyscallResult, VatFault};
use wasmtime::{Memory, ResourceLimiter};

use crate::error::Error;
use crate::limits::WASM_PAGE_BYTES;
use crate::wasi::WasiCrank;

/// What a delivery is given besides its own content: all that a vat can observe of the world.
#[derive(Debug, Clone, Copy)]
pub struct CrankContext {
    /// The crank's recorded time, nanoseconds since the Unix epoch. WASI's clocks show it.
    pub time_ns: u64,
    /// The seed of this crank's randomness, derived by the caller from vat, incarnation and position.
    pub seed: [u8; 32],
    /// Computrons the delivery may use.
    pub computrons_max: u64,
}

/// What a handler answers to a syscall.
#[derive(Debug)]
pub enum SyscallVerdict {
    /// The vat is given this result, and it is recorded.
    Answer(SyscallResult),
    /// The vat may not do this: the delivery faults as `IllegalSyscall`. The text goes to the log, never to the record.
    Illegal(String),
    /// The host cannot go on: the crank is abandoned and nothing is recorded.
    Abandon(Box<dyn std::error::Error + Send + Sync>),
}

/// The caller's side of a delivery: everything that a vat asks for arrives here, in order.
///
/// A handler is moved into the delivery and given back, so it may own whatever it needs.
pub trait SyscallHandler: Send + 'static {
    /// Answers one syscall. The vat waits; whatever happens here is the host's time.
    fn syscall(&mut self, syscall: &Syscall) -> SyscallVerdict;

    /// Hears one log line. Lines of a replayed delivery come again; a handler that replays drops them.
    fn log(&mut self, level: LogLevel, text: &str) {
        let _ = (level, text);
    }
}

/// The vat's counterpart for the length of one delivery: what it reads, and who answers it.
///
/// [`VatInstance::deliver`](crate::VatInstance::deliver) has one that decodes syscalls and asks a [`SyscallHandler`]; one that
/// answers from a record need not decode what is the same.
pub trait Counterpart: Send + 'static {
    /// JSON of the delivery. It stays the same.
    fn delivery(&self) -> &[u8];

    /// Answers a syscall, given as the vat wrote it.
    ///
    /// # Errors
    /// Why the delivery ends here.
    fn syscall(&mut self, bytes: &[u8]) -> Result<(), Refused>;

    /// JSON of the result of the last syscall; empty if there was none.
    fn reply(&self) -> &[u8];

    /// Takes the last syscall back: its answer was more than the vat may have, and was not given.
    fn retract(&mut self) {}

    /// Hears one log line.
    fn log(&mut self, level: LogLevel, text: &str) {
        let _ = (level, text);
    }
}

/// Why a syscall is not answered.
#[derive(Debug)]
pub enum Refused {
    /// The delivery faults.
    Fault(VatFault),
    /// The host cannot go on: the crank is abandoned.
    Abandon(Box<dyn std::error::Error + Send + Sync>),
}

/// A counterpart whose type is forgotten for the length of a delivery.
pub(crate) trait ErasedCounterpart: Counterpart + Any {}
impl<C: Counterpart> ErasedCounterpart for C {}

/// One delivery in progress.
pub(crate) struct Crank {
    pub(crate) counterpart: Box<dyn ErasedCounterpart>,
    /// Syscalls made so far.
    pub(crate) syscalls: usize,
    /// Bytes of these syscalls and their results.
    pub(crate) syscall_bytes: usize,
    /// The guest's fault, set by the host function that then stops the guest.
    pub(crate) fault: Option<VatFault>,
    /// The fault that what the guest said by `fail` stands for, should it then fail.
    pub(crate) failed: Option<VatFault>,
    /// The host's failure, likewise.
    pub(crate) error: Option<Error>,
    pub(crate) log_bytes: usize,
}

impl Crank {
    pub(crate) fn new(counterpart: impl Counterpart) -> Crank {
        Crank {
            counterpart: Box::new(counterpart),
            syscalls: 0,
            syscall_bytes: 0,
            fault: None,
            failed: None,
            error: None,
            log_bytes: 0,
        }
    }
}

/// What the `Store` holds.
pub(crate) struct HostState {
    memory: Option<Memory>,
    pub(crate) limiter: MemoryLimiter,
    pub(crate) crank: Option<Crank>,
    pub(crate) wasi: Option<WasiCrank>,
    pub(crate) randomness: Randomness,
}

impl HostState {
    pub(crate) fn new(memory_pages_max: u32) -> HostState {
        HostState {
            memory: None,
            limiter: MemoryLimiter::new(memory_pages_max),
            crank: None,
            wasi: None,
            randomness: Randomness::new([0; 32]),
        }
    }

    /// The vat's memory. Set right after instantiation, which runs no guest code.
    pub(crate) fn memory(&self) -> Memory {
        self.memory.expect("the memory is set before any guest code runs")
    }

    pub(crate) fn set_memory(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }
}

/// Lets a memory grow up to the vat's limit: a pure function of the vat's options and its own requests.
///
/// Growth beyond the limit is answered with -1, as wasm has it. Growth that the *host* cannot grant must never be
/// answered so, since another host could: it ends the crank.
pub(crate) struct MemoryLimiter {
    bytes_max: u64,
    /// Why the host could not grant what the limit allows.
    pub(crate) failed: Option<String>,
}

impl MemoryLimiter {
    fn new(memory_pages_max: u32) -> MemoryLimiter {
        let mut limiter = MemoryLimiter { bytes_max: 0, failed: None };
        limiter.limit(memory_pages_max);
        limiter
    }

    /// Lets the memory grow to this many wasm pages from now on.
    pub(crate) fn limit(&mut self, memory_pages_max: u32) {
        self.bytes_max = u64::from(memory_pages_max) * WASM_PAGE_BYTES;
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired as u64 <= self.bytes_max && maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed = Some(format!("{error:#}"));
        Err(error)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        _desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(true) // Only instantiation gets here: `table.grow` is refused, table sizes are limited at install.
    }
}

/// The randomness of one crank: BLAKE3's output stream for the crank's seed.
pub(crate) struct Randomness(blake3::OutputReader);

impl Randomness {
    pub(crate) fn new(seed: [u8; 32]) -> Randomness {
        Randomness(blake3::Hasher::new_keyed(&seed).update(b"vat randomness").finalize_xof())
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}
