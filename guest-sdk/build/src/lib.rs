//! Compiles vats to WebAssembly, wherever it is asked to: in a build script, in a test, in a command.
//!
//! ```text
//!   Toolchain::find ──► which rustc can do it?       rustc itself, rustup, Debian's packages
//!         │
//!   VatBuild::run   ──► a nested cargo, on its own   ──► Built { wasm, inputs }
//!         │
//!   CCompiler::find ──► the same for vats in C       ──► Built { wasm, inputs }
//! ```
//!
//! Invariants:
//! - The bytes of a vat depend on its sources, its lock file and the compiler's version; not on where the
//!   workspace lies, who runs the build, or what the cargo around it was told (`RUSTFLAGS`, clippy's wrapper,
//!   a target directory).
//! - A nested cargo never waits for the one that started it: it has a target directory of its own.
//! - A machine that cannot build a vat gets one message that says what to do; see [`Error`].
//!
//! It deliberately has no dependencies, so that a build script which uses it starts at once, and it decides
//! nothing about the vats: no rewriting, no validation, no caching but cargo's own.

mod c;
mod cargo;
mod depfile;
mod environment;
mod error;
mod target;
mod toolchain;

pub use c::CCompiler;
pub use cargo::{Built, VatBuild, workspace_root};
pub use error::Error;
pub use target::GuestTarget;
pub use toolchain::Toolchain;

/// How much stack a vat gets, in bytes. Rust's own default is a mebibyte, of which each delivery would touch
/// one page and each new vat would own sixteen.
pub const STACK_BYTES: u32 = 64 * 1024;
