//! Durable state of a vat host: modules, vats, transcripts, spans, snapshots, page-store layers, vat storage and host
//! metadata, in one SQLite file under one atomic commit.
//!
//! ```text
//!  data directory          what is in it
//!  ├── lock                advisory lock of the one process that may write; never deleted, always empty
//!  ├── store.sqlite        the tables of `schema`
//!  ├── store.sqlite-wal    write-ahead log: commits that the file does not hold yet
//!  └── store.sqlite-shm    index of the log, rebuilt when missing
//!
//!  one open transaction, begun by the first write after a commit
//!  ─┬─ append_crank ─┬─ put_snapshot ─┬─ append_crank ─┬─ … ─── commit()   all of it is durable
//!   └ whole or not   └ whole or not   └ whole or not   └             drop   none of it ever was
//! ```
//!
//! Invariants:
//! - [`Storage::commit`] is the only commit. What was written since the last one is visible to reads through the same
//!   [`Storage`], and is gone if the process stops first.
//! - Each writing call happens whole or not at all, also within the open transaction.
//! - Cranks are kept in memory until somebody needs them in SQLite: a commit, a read that must see them, a full buffer. Nobody
//!   can tell, but that SQLite's own failures may strike later, and then stop the storage.
//! - After a write or commit that failed for a reason outside the caller's control (disk full, input/output, damage)
//!   the storage is *poisoned*: the open transaction is undone and every further call is refused until the store is
//!   opened again. Memory that ran ahead of the disk must not be trusted.
//! - Every row has a sum, which is compared whenever the row is read: what changed on disk is an error that names the row, never a
//!   wrong answer ([`Error::DamagedRow`]).
//! - Positions of a vat's transcript start at 0 and have no gap; ids of vats and layers are never used again.
//!
//! Not here: what an entry, an options text or an image descriptor means (opaque bytes to this crate), and heap pages
//! (they live in the page store; only the location of its layers is kept here, to commit with everything else).

#![forbid(unsafe_code)]

mod buffer;
mod error;
mod fork;
mod gap;
mod host;
mod id;
mod import;
mod layer;
mod lock;
mod module;
mod pack;
mod purge;
mod repair;
mod retention;
mod row_sum;
mod schema;
mod session;
mod snapshot;
mod span;
mod span_policy;
mod stats;
mod storage;
mod transcript;
mod vat;
mod vatstore;

#[cfg(test)]
mod tests;

pub use error::{Error, Kind};
pub use fork::Origin;
pub use id::{Incarnation, LayerId, ModuleHash, Position, VatId};
pub use import::ImportedVat;
pub use layer::LayerRow;
pub use module::ModuleRow;
pub use pack::Compressed;
pub use purge::Purged;
pub use repair::{DamagedRow, Repaired};
pub use retention::{Pruned, Retention};
pub use schema::SCHEMA_VERSION;
pub use snapshot::{NewSnapshot, SnapshotRow};
pub use span::{SpanContent, SpanHash, SpanRow, SpanState, SpansVerified};
pub use span_policy::SpanPolicy;
pub use stats::Stats;
pub use storage::Storage;
pub use transcript::{CrankRecord, Entries, VALUE_BYTES_MAX};
pub use vat::{VatRow, VatStatus};
pub use vatstore::VatstoreWrite;

/// What every call of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;
