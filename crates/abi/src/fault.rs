//! Why a delivery failed, when it is the vat's own doing: a few words, the same on every host.
//!
//! ```text
//!   {"kind":"stack-overflow"}
//!   {"kind":"trap","trap":"unreachable"}
//!   {"kind":"failed","message":"no such account"}
//! ```
//!
//! Invariant: a [`VatFault`] follows from the vat's code and what it was told, and from nothing else. What
//! goes wrong with the *host* has no word here: such a delivery is abandoned and never recorded. No
//! engine's error text comes in either; it would change with the engine.

use alloc::string::String;
use core::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};

use crate::codec::{Fields, required};
use crate::elide::{Elided, prefix};
use crate::limits::FAIL_BYTES_MAX;
use crate::violation::Violation;

/// Why a delivery failed, when it is the vat's own doing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VatFault {
    /// `out-of-computrons`: the delivery used up its allowance.
    OutOfComputrons,
    /// `stack-overflow`: calls went deeper than the ABI's logical stack.
    StackOverflow,
    /// `memory-limit`: the vat needs more memory than it may have.
    MemoryLimit,
    /// `trap`: a WebAssembly trap, or a WASI exit.
    Trap(TrapKind),
    /// `illegal-syscall`: a well-formed syscall that this vat may not make now.
    IllegalSyscall,
    /// `bad-syscall-bytes`: the bytes of a syscall are not a syscall within the limits.
    BadSyscallBytes,
    /// `bad-pointer`: a pointer and length that do not lie in the vat's memory.
    BadPointer,
    /// `syscall-limit`: more syscalls, or more bytes of them, than one delivery may make.
    SyscallLimit,
    /// `failed`: the vat said so, by a status that is not 0, or by `fail` and then `unreachable`.
    Failed {
        /// What the vat passed to `fail`, at most [`FAIL_BYTES_MAX`] bytes; empty if it did not call it.
        message: String,
    },
    /// `output-limit`: more log output than one delivery may write.
    OutputLimit,
}

/// Which trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrapKind {
    /// `unreachable`: the instruction, without `fail` before it.
    Unreachable,
    /// `out-of-bounds-memory`: an access outside linear memory.
    OutOfBoundsMemory,
    /// `out-of-bounds-table`: an access outside a table.
    OutOfBoundsTable,
    /// `indirect-call-to-null`: a call through an empty table element.
    IndirectCallToNull,
    /// `bad-signature`: a call through a table element of another type.
    BadSignature,
    /// `integer-overflow`: a division whose result cannot be represented.
    IntegerOverflow,
    /// `division-by-zero`: an integer division or remainder by zero.
    DivisionByZero,
    /// `bad-conversion`: a float that is no integer of the wanted type.
    BadConversion,
    /// `exit`: WASI's `proc_exit`, whatever the status.
    Exit,
    /// `other`: any other trap.
    Other,
}

impl VatFault {
    /// The fault of a vat that passed these bytes to `fail`: what is not UTF-8 is replaced by U+FFFD, then
    /// the text is cut to [`FAIL_BYTES_MAX`] bytes, at the end of a character.
    pub fn failed(message: &[u8]) -> VatFault {
        // Replacing never shortens the text, so nothing behind these bytes can come to be within the limit;
        // the few more are for a character that would be cut in two, and look like bad UTF-8.
        let message = &message[..message.len().min(FAIL_BYTES_MAX + 4)];
        VatFault::Failed { message: prefix(&String::from_utf8_lossy(message), FAIL_BYTES_MAX).into() }
    }

    /// Its word in the transcript.
    pub fn kind(&self) -> &'static str {
        match self {
            VatFault::OutOfComputrons => "out-of-computrons",
            VatFault::StackOverflow => "stack-overflow",
            VatFault::MemoryLimit => "memory-limit",
            VatFault::Trap(_) => "trap",
            VatFault::IllegalSyscall => "illegal-syscall",
            VatFault::BadSyscallBytes => "bad-syscall-bytes",
            VatFault::BadPointer => "bad-pointer",
            VatFault::SyscallLimit => "syscall-limit",
            VatFault::Failed { .. } => "failed",
            VatFault::OutputLimit => "output-limit",
        }
    }

    /// Whether it can be recorded.
    ///
    /// # Errors
    ///
    /// A message of more than [`FAIL_BYTES_MAX`] bytes; [`VatFault::failed`] makes none such.
    pub fn check(&self) -> Result<(), Violation> {
        match self {
            VatFault::Failed { message } => {
                Violation::check_bytes("a fault's message", message.len(), FAIL_BYTES_MAX)
            }
            _ => Ok(()),
        }
    }
}

impl TrapKind {
    /// Every kind, in the order of their declaration.
    pub const ALL: [TrapKind; 10] = [
        TrapKind::Unreachable,
        TrapKind::OutOfBoundsMemory,
        TrapKind::OutOfBoundsTable,
        TrapKind::IndirectCallToNull,
        TrapKind::BadSignature,
        TrapKind::IntegerOverflow,
        TrapKind::DivisionByZero,
        TrapKind::BadConversion,
        TrapKind::Exit,
        TrapKind::Other,
    ];

    const NAMES: [&'static str; TrapKind::ALL.len()] = {
        let mut names = [""; TrapKind::ALL.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = TrapKind::ALL[index].name();
            index += 1;
        }
        names
    };

    fn from_name(name: &str) -> Option<TrapKind> {
        TrapKind::ALL.into_iter().find(|trap| trap.name() == name)
    }

    /// Its word in the transcript.
    pub const fn name(self) -> &'static str {
        match self {
            TrapKind::Unreachable => "unreachable",
            TrapKind::OutOfBoundsMemory => "out-of-bounds-memory",
            TrapKind::OutOfBoundsTable => "out-of-bounds-table",
            TrapKind::IndirectCallToNull => "indirect-call-to-null",
            TrapKind::BadSignature => "bad-signature",
            TrapKind::IntegerOverflow => "integer-overflow",
            TrapKind::DivisionByZero => "division-by-zero",
            TrapKind::BadConversion => "bad-conversion",
            TrapKind::Exit => "exit",
            TrapKind::Other => "other",
        }
    }
}

impl fmt::Display for VatFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VatFault::OutOfComputrons => f.write_str("out of computrons"),
            VatFault::StackOverflow => f.write_str("stack overflow"),
            VatFault::MemoryLimit => f.write_str("memory limit"),
            VatFault::Trap(trap) => write!(f, "trap: {trap}"),
            VatFault::IllegalSyscall => f.write_str("illegal syscall"),
            VatFault::BadSyscallBytes => f.write_str("bad syscall bytes"),
            VatFault::BadPointer => f.write_str("bad pointer"),
            VatFault::SyscallLimit => f.write_str("syscall limit"),
            VatFault::Failed { message } if message.is_empty() => f.write_str("failed"),
            VatFault::Failed { message } => write!(f, "failed: {}", Elided(message)),
            VatFault::OutputLimit => f.write_str("output limit"),
        }
    }
}

impl fmt::Display for TrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrapKind::Unreachable => "unreachable",
            TrapKind::OutOfBoundsMemory => "out of bounds memory access",
            TrapKind::OutOfBoundsTable => "out of bounds table access",
            TrapKind::IndirectCallToNull => "indirect call to null",
            TrapKind::BadSignature => "indirect call with the wrong signature",
            TrapKind::IntegerOverflow => "integer overflow",
            TrapKind::DivisionByZero => "division by zero",
            TrapKind::BadConversion => "float that does not fit the integer",
            TrapKind::Exit => "the program exited",
            TrapKind::Other => "other",
        })
    }
}

impl Serialize for VatFault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fault = serializer.serialize_map(None)?;
        fault.serialize_entry("kind", self.kind())?;
        match self {
            VatFault::Trap(trap) => fault.serialize_entry("trap", trap.name())?,
            VatFault::Failed { message } => fault.serialize_entry("message", message)?,
            _ => {}
        }
        fault.end()
    }
}

const FIELDS: &[&str] = &["kind", "trap", "message"];
const KINDS: &[&str] = &[
    "out-of-computrons",
    "stack-overflow",
    "memory-limit",
    "trap",
    "illegal-syscall",
    "bad-syscall-bytes",
    "bad-pointer",
    "syscall-limit",
    "failed",
    "output-limit",
];
impl<'de> Deserialize<'de> for VatFault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<VatFault, D::Error> {
        deserializer.deserialize_map(FaultVisitor)
    }
}

struct FaultVisitor;

impl<'de> Visitor<'de> for FaultVisitor {
    type Value = VatFault;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fault: an object with kind, and trap or message where the kind has one")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<VatFault, A::Error> {
        let (mut kind, mut trap, mut message) = (None, None, None::<String>);
        let mut fields = Fields(map);
        while let Some(name) = fields.name(FIELDS)? {
            match name {
                "kind" => fields.fill_one_of(&mut kind, name, KINDS)?,
                "trap" => fields.fill_one_of(&mut trap, name, &TrapKind::NAMES)?,
                _ => fields.fill(&mut message, name)?,
            }
        }
        let kind = required(kind, "kind")?;
        let fault = assemble(kind, trap.and_then(TrapKind::from_name), message).ok_or_else(|| {
            A::Error::custom(format_args!("a fault {kind:?} with the wrong fields beside it"))
        })?;
        fault.check().map_err(A::Error::custom)?;
        Ok(fault)
    }
}

/// The fault of this kind, if exactly the fields that belong to it are there.
fn assemble(kind: &str, trap: Option<TrapKind>, message: Option<String>) -> Option<VatFault> {
    let fault = match (kind, trap, message) {
        ("trap", Some(trap), None) => VatFault::Trap(trap),
        ("failed", None, Some(message)) => VatFault::Failed { message },
        ("out-of-computrons", None, None) => VatFault::OutOfComputrons,
        ("stack-overflow", None, None) => VatFault::StackOverflow,
        ("memory-limit", None, None) => VatFault::MemoryLimit,
        ("illegal-syscall", None, None) => VatFault::IllegalSyscall,
        ("bad-syscall-bytes", None, None) => VatFault::BadSyscallBytes,
        ("bad-pointer", None, None) => VatFault::BadPointer,
        ("syscall-limit", None, None) => VatFault::SyscallLimit,
        ("output-limit", None, None) => VatFault::OutputLimit,
        _ => return None,
    };
    Some(fault)
}
