//! Who a vat's syscalls go to: a caller who waits for one answer.
//!
//! | syscall | what becomes of it |
//! |---|---|
//! | `vatstore*` | answered by the warehouse; it never comes here |
//! | `resolve` | kept, for the caller to find the answer in |
//! | `exit` | kept; the vat is terminated after the delivery |
//! | `send` | counted, so that the caller can be told that it went nowhere |
//! | `subscribe`, and those about garbage | answered `ok` |
//!
//! All of them are in the transcript. None is refused: who may name what is a kernel's business.

use vat_abi::{Allocator, CapData, Delivery, LogLevel, Message, Resolution, Syscall, SyscallResult, Vref};
use vat_warehouse::{SyscallHandler, SyscallVerdict, VatName};

use crate::logging::GUEST;
use crate::terminal::one_line;

/// The first promise that a vat is given, as SwingSet's kernel numbers them.
const FIRST_PROMISE: u64 = 60;

/// A message to a vat's root object, and the promise for its result. Each position has its own promise.
pub(crate) fn root_message(methargs: CapData, position: u64) -> (Delivery, Vref) {
    let result = Vref::promise(Allocator::Kernel, FIRST_PROMISE + position);
    let message = Message { methargs, result: Some(result.clone()) };
    (Delivery::Message { target: Vref::root(), message }, result)
}

/// What becomes of a vat's log.
#[derive(Debug)]
pub(crate) enum Log {
    /// It is shown as this vat's.
    Shown(VatName),
    /// Nobody hears it.
    Dropped,
}

/// A vat's wish to end.
#[derive(Debug)]
pub(crate) struct Exit {
    /// Whether it says that it failed.
    pub(crate) failure: bool,
    /// What it says.
    pub(crate) info: CapData,
}

/// The handler of one delivery.
#[derive(Debug)]
pub(crate) struct Caller {
    log: Log,
    pub(crate) resolutions: Vec<Resolution>,
    pub(crate) exit: Option<Exit>,
    /// Messages that the vat sent to others.
    pub(crate) sends: usize,
}

impl Caller {
    pub(crate) fn new(log: Log) -> Caller {
        Caller { log, resolutions: Vec::new(), exit: None, sends: 0 }
    }

    /// How the vat resolved this promise, if it did.
    pub(crate) fn resolution(&self, promise: &Vref) -> Option<&Resolution> {
        self.resolutions.iter().find(|resolution| resolution.promise == *promise)
    }
}

impl SyscallHandler for Caller {
    fn syscall(&mut self, syscall: &Syscall) -> SyscallVerdict {
        match syscall {
            Syscall::Resolve(resolutions) => self.resolutions.extend_from_slice(resolutions),
            Syscall::Exit { failure, info } => {
                self.exit = Some(Exit { failure: *failure, info: info.clone() })
            }
            Syscall::Send { .. } => self.sends += 1,
            _ => {}
        }
        SyscallVerdict::Answer(SyscallResult::Ok(None))
    }

    fn log(&mut self, level: LogLevel, text: &str) {
        let Log::Shown(vat) = &self.log else { return };
        let text = one_line(text);
        match level {
            LogLevel::Error => tracing::error!(target: GUEST, %vat, "{text}"),
            LogLevel::Warn => tracing::warn!(target: GUEST, %vat, "{text}"),
            LogLevel::Info => tracing::info!(target: GUEST, %vat, "{text}"),
            LogLevel::Debug => tracing::debug!(target: GUEST, %vat, "{text}"),
            LogLevel::Trace => tracing::trace!(target: GUEST, %vat, "{text}"),
        }
    }
}
