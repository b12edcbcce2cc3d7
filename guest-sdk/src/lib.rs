//! What vat authors link against.
//!
//! A *vat* is an isolated, deterministic program that reacts to messages, one at a time. With this crate it
//! is a Rust type: its fields are the vat's state, its methods are what others may call.
//!
//! ```
//! use vat_sdk::{Result, ensure, vat};
//!
//! #[derive(Default)]
//! struct Counter {
//!     count: u64,
//! }
//!
//! #[vat]
//! impl Counter {
//!     /// Adds to the count and answers the new one.
//!     fn add(&mut self, by: u64) -> Result<u64> {
//!         ensure!(by < 1_000, "{by} is too much at once");
//!         self.count += by;
//!         Ok(self.count)
//!     }
//!
//!     fn peek(&self) -> u64 {
//!         self.count
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! # The attribute
//!
//! `#[vat]` on an impl block makes the type the vat's root object, `o+0`; a module has one.
//!
//! - Each function with `&self` or `&mut self` is a **method**. Its arguments are unmarshalled by serde: any
//!   `T: Deserialize`, or a `&T` of one (`&str`, `&[u64]`). A caller that passes too few, too many or
//!   unsuitable arguments gets a rejection, and the method does not run. A parameter of type `Option` may be
//!   left out.
//! - What it returns is marshalled (any `T: Serialize`) and resolves the promise for the answer. If the
//!   return type is spelled `Result<…>`, an `Err` rejects that promise; see [`Error`].
//! - `fn start(config: T) -> Self` (or `Result<Self>`), if there is one, makes the state from the parameters
//!   that the vat was created with; an `Err` fails the creation. Without one it is `Default::default()`.
//! - `#[vat(name = "…")]` gives a method another name than Rust's; `#[vat(settled)]` marks the method that
//!   hears of answers, see [`Promise`].
//! - Other functions without `self`, constants, and other impl blocks are the author's own.
//!
//! # The state
//!
//! It lives in the wasm heap, which the host saves and restores as it is: nothing is serialised between
//! deliveries, any Rust type will do, and there is no moment at which to save. What must outlive the code
//! itself (an upgrade) belongs in [`vatstore`].
//!
//! A method that returns `Err` has run: what it changed stays changed. A **panic** is different: it fails the
//! delivery, the host records `panicked at FILE:LINE: MESSAGE`, undoes everything the delivery did, and the
//! vat goes on from before.
//!
//! # Determinism
//!
//! The same deliveries must give the same syscalls and the same heap, on every host and for ever. On
//! `wasm32-unknown-unknown` nothing can break that: there is no clock and no randomness, and `HashMap` has
//! fixed keys.
//!
//! # Building
//!
//! A vat is a `cdylib`. `cargo build --target wasm32-unknown-unknown --release` makes one; `vat-sdk-build`
//! does it on machines without that target too, and gives it a smaller stack.
//!
//! # What is not here
//!
//! Objects other than the root, references that are collected when dropped, and `async` methods. A vat can
//! hold and pass references ([`Remote`]), send messages, and hear of their answers.

// What the attribute writes names this crate as its users do.
#[cfg(test)]
extern crate self as vat_sdk;

mod args;
mod error;
mod host;
pub mod log;
pub mod marshal;
#[cfg(not(target_family = "wasm"))]
mod native;
mod panic;
mod remote;
pub mod syscall;
mod vat;
pub mod vatstore;

pub use args::Args;
pub use error::{Error, Result};
pub use remote::{Promise, Remote, Settled};
pub use vat::Vat;
pub use vat_abi::{Allocator, CapData, Message, RefKind, Resolution, Vref};
pub use vat_sdk_macros::vat;

/// The module's entry point, for [`export_vat!`] only.
#[doc(hidden)]
pub use vat::enter;
