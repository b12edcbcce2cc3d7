//! Which vats are in memory.
//!
//! The warehouse hosts the vats of one data directory. It keeps those in memory that are in use, evicts the others by saving
//! what they changed, and brings one back by mapping its newest heap image and replaying the transcript written since:
//!
//! ```text
//!   provide(vat).await ──► VatLease ── deliver ──► Report
//!        │                     │                     │
//!     page in               (drop)            transcript entry, vat storage
//!        │                     ▼                     │
//!   state + replay ◄──── evict: capture         commit ──► durable
//! ```
//!
//! Invariants: residency is invisible (any schedule of evictions, snapshots, crashes and restarts gives the same syscalls,
//! outcomes, computrons and heap bytes); the transcript is the truth and a snapshot a cache; a crank is appended whole
//! or leaves no trace; what does not come from the delivery, the recorded results or the recorded time cannot reach a vat.
//!
//! Syscalls go to a [`SyscallHandler`] that the caller supplies with each delivery; only `vatstore*` is answered here. The
//! warehouse does not know what a message means, carries none between vats, and reads no clock: the caller says what time a
//! crank has.

#![forbid(unsafe_code)]

mod accounting;
mod anchor;
pub mod archive;
pub mod attest;
mod background;
mod bisect;
mod canary;
mod compaction;
mod config;
mod contrast;
mod convert;
mod create;
mod descriptor;
mod era;
mod error;
mod eviction;
mod evidence;
mod kept_policy;
mod lease;
mod mend;
mod moment;
mod name;
mod options;
mod page_in;
mod policy;
mod quarantine;
mod reader;
mod recorder;
mod records;
mod replay;
mod rerun;
mod residency;
mod roots;
mod snapshots;
mod stats;
mod transcripts;
mod upgrade;
mod upkeep;
mod verify;
mod warehouse;

pub use accounting::{DiskFigures, ResidentFigures, VatFigures};
pub use bisect::{Bisection, Finding};
#[cfg(feature = "canaries")]
pub use canary::Canary;
pub use compaction::Compacted;
pub use config::{Tracking, Verify, WarehouseConfig};
pub use contrast::{ChangedGlobal, ChangedKey, ChangedPages, Contrast};
pub use convert::{Behind, Budget, Conversion, ConversionProgress, Converted, Pace, Spent};
pub use error::Error;
pub use kept_policy::{KeptPolicy, Speed};
pub use lease::{Report, VatLease};
pub use mend::RestoredStorage;
pub use moment::Moment;
pub use name::{InvalidName, VatName};
pub use options::VatOptions;
pub use policy::{CostModel, Hint, SnapshotPolicy};
pub use quarantine::Release;
pub use reader::Reader;
pub use records::DamagedRecord;
pub use replay::{Compared, Comparison, Difference, Divergence};
pub use stats::Stats;
pub use transcripts::SpanClosing;
pub use upkeep::{DamagedLayer, Scrubbed};
pub use vat_engine::{
    SyscallHandler, SyscallVerdict, limits, module_bytes, on_deep_stack, thread_stack_bytes,
};
pub use vat_image::{Disk, HeapRoot, LayerLocation, PageNo, RestoreMethod};
pub use vat_storage::{
    Compressed, DamagedRow, ModuleHash, Repaired, Retention, SpanContent, SpanPolicy, SpanRow, SpanState,
    Storage, VatId, VatRow, VatStatus,
};
pub use verify::{StateDifference, Verdict, Verification};
pub use warehouse::Warehouse;
