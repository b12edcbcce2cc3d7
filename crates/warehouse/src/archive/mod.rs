//! Archives: vats on their way to another host, a backup, or an auditor.
//!
//! An archive is a *manifest* and *artifacts*, as a directory or as one stream with the same content:
//!
//! ```text
//!   DIR/manifest.json                      what there is, with the hash of every artifact (`manifest.rs` has every field)
//!   DIR/artifacts/module-<hash>            the wasm, as it was installed
//!   DIR/artifacts/span-<vat>-<start>-<end> transcript entries, one JSON text a line, each line ended by a line feed
//!   DIR/artifacts/vatstore-<vat>           vat storage: ["key","value"] a line, in the order of the keys
//!   DIR/artifacts/snapshot-<vat>-<pos>     a heap, by pages (`heap_file.rs` has every byte)
//!   DIR/artifacts/statement-<vat>-<pos>    who vouches for that heap ([`attest`](crate::attest))
//!
//!   stream   "vat-archive 1\n", records, end
//!   record   length of the name: u16, the name, chunks, 0: u32          the manifest is the last record
//!   chunk    length: u32 (not 0), bytes
//!   end      0: u16                                                     integers little-endian
//! ```
//!
//! **Export** reads the store as it was last committed, held still: it commits nothing, and blocks nobody. The same state gives the same
//! bytes. Interrupted, it is completed by running it again (`container.rs`). How much of the past goes along is a [`Retention`]: `operational`, the
//! newest snapshot and the entries since (without a snapshot, those of the incarnation); `replay`, the incarnation's; `archival`, all;
//! `debug`, what there is, complete or not, with all snapshots.
//!
//! **Import** makes a *new* data directory. It builds the store beside the place where it will be, verifies everything on the
//! way, and renames it as the last step: there is never half a store. Each vat is committed when it is verified, so that an import that
//! was killed goes on with the next vat when it is run again. A snapshot is taken only if a replay of what was
//! imported leads to its heap root, or a trusted signer says so; a vat that can neither be replayed nor has such a
//! snapshot is refused. Vat storage is compared with what the transcript wrote, where all of the transcript is there.
//!
//! [`import_into`] adds the vats to a data directory that has others: all of them with one commit, or none (`adopt.rs`).
//!
//! An archive also stands in for a store: [`Warehouse::prune_archived`](crate::Warehouse::prune_archived) deletes what an archive
//! has, [`Warehouse::restore`](crate::Warehouse::restore) brings it back (`cover.rs`), and [`Archive::check_claim`] holds a statement
//! against it (`claims.rs`).
//!
//! Not here: where keys and streams come from.

mod adopt;
mod check;
mod claims;
mod container;
mod cover;
mod error;
mod export;
mod heap_file;
mod import;
mod import_vat;
pub(crate) mod lineage;
mod manifest;
mod mending;
mod opened;
mod stream;

pub use adopt::import_into;
pub use claims::{CheckedClaim, RootSource};
pub use cover::{Archived, KeptElsewhere, Restored};
pub use error::ArchiveError;
pub use export::{ExportOptions, Exported, SnapshotChoice, Target};
pub use import::{ImportOptions, Imported, Source, import};
pub use opened::Archive;
pub use vat_storage::Retention;
