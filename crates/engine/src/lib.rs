//! Runs one vat's code deterministically: the only crate that names wasmtime.
//!
//! ```text
//!   wasm bytes ── prepare ──► Engine::module ──► VatModule ── birth/restore ──► VatInstance ── deliver ──► Report
//!                                                                 ▲                  │
//!                                                                 └──── HeapState ◄──┘ capture
//! ```
//!
//! Invariants: the result of a delivery (syscalls, outcome, computrons, heap bytes) is a function of the module, the state
//! before, the delivery, its [`CrankContext`] and the handler's answers, and of nothing else; capturing and restoring at any
//! point between deliveries changes none of it. The crate does not know which vat it runs, keeps no transcript, and
//! touches no disk but its cache of compiled code.

mod code_cache;
mod config;
mod error;
mod fault;
mod file_state;
mod globals;
mod guest_memory;
mod host;
mod imports;
mod instance;
pub mod limits;
mod live;
mod module;
mod native;
mod prepare;
mod wasi;

pub use config::{EngineConfig, RULES_VERSION};
pub use error::{Error, Refusal};
pub use globals::{GlobalValue, Globals};
pub use host::{Counterpart, CrankContext, Refused, SyscallHandler, SyscallVerdict};
#[cfg(feature = "prove")]
pub use instance::CallValue;
pub use instance::{Capture, Ended, HeapState, Report, VatInstance, on_deep_stack, thread_stack_bytes};
pub use module::{Engine, VatModule};
pub use prepare::{Prepared, prepare};

/// Reads a module in either format: text (`.wat`) is made binary, binary is passed through.
///
/// # Errors
/// [`Refusal::Invalid`] with the line and column of what is wrong in the text.
pub fn module_bytes(source: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, Refusal> {
    let invalid = |reason: String| Refusal::Invalid { function: None, reason, offset: 0, hint: None };
    if source.starts_with(b"\0asm") || std::str::from_utf8(source).is_err() {
        return Ok(source.into());
    }
    let binary = wat::parse_bytes(source).map_err(|e| invalid(e.to_string()))?;
    Ok(binary.into_owned().into())
}
