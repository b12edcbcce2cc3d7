//! From how a call ended to the outcome that is recorded: the one gate between the guest's fault and the host's error.
//!
//! Only what is the same on every host may pass as a fault. Whatever cannot be shown to be the guest's doing is an error, and
//! the crank is abandoned.

use vat_abi::{TrapKind, VatFault};
use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use crate::error::Error;

/// How the guest's code ended, when it did not return.
pub(crate) struct Ending<'a> {
    /// What wasmtime says.
    pub(crate) error: &'a wasmtime::Error,
    /// Whether the count of logical stack bytes passed its limit.
    pub(crate) stack_overflowed: bool,
    /// Why the host could not grant memory, if it could not.
    pub(crate) growth_failed: Option<String>,
    /// The fault that what the guest said by `fail` stands for.
    pub(crate) failed: Option<VatFault>,
    /// Whether it runs under WASI, whose functions also stop a guest that passes bad arguments.
    pub(crate) wasi: bool,
}

impl Ending<'_> {
    /// Decides.
    pub(crate) fn classify(self) -> Result<VatFault, Error> {
        if let Some(reason) = self.growth_failed {
            return Err(Error::Engine {
                what: "the host could not grant memory that the vat may have",
                reason,
            });
        }
        if self.error.is::<I32Exit>() {
            return Ok(VatFault::Trap(TrapKind::Exit));
        }
        let Some(trap) = self.error.downcast_ref::<Trap>() else {
            return if self.wasi { Ok(VatFault::Trap(TrapKind::Other)) } else { Err(self.unexpected()) };
        };
        Ok(VatFault::Trap(match trap {
            Trap::OutOfFuel => return Ok(VatFault::OutOfComputrons),
            Trap::UnreachableCodeReached if self.stack_overflowed => return Ok(VatFault::StackOverflow),
            Trap::UnreachableCodeReached => match self.failed {
                Some(failed) => return Ok(failed),
                None => TrapKind::Unreachable,
            },
            Trap::MemoryOutOfBounds | Trap::HeapMisaligned => TrapKind::OutOfBoundsMemory,
            Trap::TableOutOfBounds => TrapKind::OutOfBoundsTable,
            Trap::IndirectCallToNull => TrapKind::IndirectCallToNull,
            Trap::BadSignature => TrapKind::BadSignature,
            Trap::IntegerOverflow => TrapKind::IntegerOverflow,
            Trap::IntegerDivisionByZero => TrapKind::DivisionByZero,
            Trap::BadConversionToInteger => TrapKind::BadConversion,
            _ => return Err(self.unexpected()),
        }))
    }

    fn unexpected(&self) -> Error {
        Error::Engine {
            what: "a delivery ended in a way that is not the vat's",
            reason: format!("{:#}", self.error),
        }
    }
}
