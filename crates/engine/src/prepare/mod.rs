//! Preparing a module: accept or refuse it, then rewrite it once so that an instance can be captured and restored.
//!
//! ```text
//!   bytes ── survey ──► refuse, with the instruction, import or declaration named
//!              │
//!              ▼
//!           rewrite:  active data ──► passive, copied by the generated export `vat:init`
//!                     start       ──► called by `vat:init`
//!                     mutable globals, memory ──► exported as `vat:global:N`, `vat:memory`
//!                     functions   ──► count their logical stack (see `stack`)
//! ```
//!
//! Without the rewrite an engine would write active data over a restored heap at every instantiation, run `start` again,
//! and keep globals to itself. Tables need nothing: every instruction that could change one is refused, so that
//! instantiation rebuilds them exactly.
//!
//! Preparation is deterministic and depends on nothing but the bytes. It knows no vats and compiles nothing.

mod flow;
mod names;
mod rewrite;
mod stack;
mod survey;

use wasmparser::ValType;

use crate::error::Refusal;

/// The prefix that a module's own exports may not have.
pub(crate) const RESERVED_PREFIX: &str = "vat:";
pub(crate) use survey::WASI_MODULE;

/// The generated export that makes an instance's first state.
pub(crate) const EXPORT_INIT: &str = "vat:init";
/// The memory, under a name that does not depend on the module.
pub(crate) const EXPORT_MEMORY: &str = "vat:memory";
/// The counter of logical stack bytes.
pub(crate) const EXPORT_STACK: &str = "vat:stack";
/// What the counter holds after the limit was passed.
pub(crate) const STACK_OVERFLOWED: i32 = -1;

/// The name under which mutable global `index` is exported.
pub(crate) fn global_export(index: usize) -> String {
    format!("{RESERVED_PREFIX}global:{index}")
}

/// A module that was accepted and rewritten.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The rewritten module.
    pub(crate) wasm: Vec<u8>,
    /// BLAKE3 of the module as it was installed: its identity.
    pub(crate) hash: [u8; 32],
    /// Wasm pages the memory has at least.
    pub(crate) memory_pages_min: u64,
    /// Types of the mutable globals, in index order.
    pub(crate) globals: Vec<ValType>,
    /// Whether it was built for WASI.
    pub(crate) wasi: bool,
    /// Whether birth calls `_initialize` after `vat:init`.
    pub(crate) initialize: bool,
}

impl Prepared {
    /// The module's identity: BLAKE3 of the installed bytes.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The rewritten module, for tools and tests.
    pub fn wasm(&self) -> &[u8] {
        &self.wasm
    }
}

/// Accepts and rewrites a module in the binary format.
///
/// # Errors
/// A [`Refusal`] that names what is refused and where, and says what to do.
pub fn prepare(bytes: &[u8]) -> Result<Prepared, Refusal> {
    let survey = survey::survey(bytes)?;
    Ok(Prepared {
        wasm: rewrite::rewrite(bytes, &survey),
        hash: *blake3::hash(bytes).as_bytes(),
        memory_pages_min: survey.memory_pages_min,
        globals: survey.mutable_globals().map(|(_, ty)| ty).collect(),
        wasi: survey.wasi,
        initialize: survey.initialize,
    })
}

#[cfg(test)]
mod tests;
