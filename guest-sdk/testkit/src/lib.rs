//! Runs a vat in the real engine, in-process, under `cargo test`.
//!
//! A vat's own tests compile the vat to wasm, create it in a warehouse in a temporary directory, and talk to
//! it in Rust's types. Nothing is mocked but the other vats:
//!
//! ```text
//!   tests/counter.rs ─► this_vat!() ─► cargo, for wasm ─► Warehouse ─► the vat
//!          ▲                                                 │
//!          └── answers, faults, logs, syscalls, sent ────────┘
//! ```
//!
//! Two things are tested with it. What the vat does, with a [`TestVat`]:
//!
//! ```no_run
//! use vat_testkit::{TestVat, json, this_vat};
//!
//! #[test]
//! fn it_counts_and_survives() -> vat_testkit::Result {
//!     let mut vat = TestVat::start(this_vat!(), json!({"start": 7}))?;
//!     assert_eq!(vat.call::<u64>("add", (5,))?, 12);
//!     assert_eq!(vat.rejects("add", (-100,))?.message(), "12 -100 is no count");
//!     vat.evict()?;
//!     assert_eq!(vat.call::<u64>("peek", ())?, 12);
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! and that nobody can tell where it was meanwhile, with a [`Scenario`], in one line:
//!
//! ```no_run
//! # use vat_testkit::{Scenario, this_vat};
//! #[test]
//! fn nobody_can_tell() {
//!     Scenario::of(this_vat!()).call("add", (5,)).call("peek", ()).assert_deterministic();
//! }
//! # fn main() {}
//! ```
//!
//! # Setting up
//!
//! The vat's package needs `vat-testkit` under `[dev-dependencies]`, and its tests lie in `tests/`. There is no
//! other step: the first test to run compiles the package (once per process; cargo notices when nothing
//! changed) into `guests` within the target directory, where compiled code is kept as well. On a machine that
//! cannot compile it the tests fail, and say what to install.
//!
//! # What is not here
//!
//! A kernel. There is one vat, and its messages to others go nowhere: the test sees them
//! ([`TestVat::sent`]) and plays the others' part ([`TestVat::notify_fulfilled`]). Of a kernel's rules only
//! this one is kept: a vat may resolve no promise but those it decides.

#![forbid(unsafe_code)]

mod compile;
mod error;
mod host;
mod listener;
mod message;
mod promises;
mod scenario;
mod schedule;
mod subject;
mod test_vat;
mod trace;

pub use error::{Error, Result};
pub use listener::LogLine;
pub use message::{Sent, object, promise};
pub use scenario::Scenario;
pub use serde_json::{Value, json};
pub use subject::Subject;
pub use test_vat::TestVat;
pub use trace::{Aspect, Difference, Observed, Trace};
pub use vat_abi::{
    CapData, Computrons, Delivery, LogLevel, Outcome, Syscall, SyscallRecord, SyscallResult, TrapKind,
    VatFault, Vref,
};
pub use vat_sdk::{Error as Rejection, Promise, Remote};
pub use vat_sdk_build::GuestTarget;
pub use vat_warehouse::VatOptions;

/// The vat whose package the test belongs to, as a [`Subject`]: `this_vat!()`, or `this_vat!(wasip1)` for a vat
/// that is compiled for `wasm32-wasip1`.
#[macro_export]
macro_rules! this_vat {
    () => {
        $crate::this_vat!(@ Unknown)
    };
    (wasip1) => {
        $crate::this_vat!(@ Wasip1)
    };
    (@ $target:ident) => {
        $crate::Subject::package(
            ::core::env!("CARGO_MANIFEST_DIR"),
            ::core::env!("CARGO_PKG_NAME"),
            $crate::GuestTarget::$target,
        )
    };
}
