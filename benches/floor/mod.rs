//! The floors: the bare calls that a figure cannot be faster than.
//!
//! ```text
//!   restore       a wasmtime store, an instance, one mmap of a flat file           [wasm], [native]
//!   evict         page table scan, a hash of each dirty page, one pwrite, a drop   [eviction]
//!   deliver       one typed call, JSON both ways                                   [json]
//!   commit        the same rows into SQLite by prepared statements                 [sqlite]
//! ```
//!
//! Nothing here uses the crates that are measured, nothing checks, records or recovers anything: that is what makes it
//! the floor. All unsafe code of the benches is in [native], and in [allocations], which counts for both.

mod allocations;
mod eviction;
mod json;
mod native;
mod page_cache;
mod sqlite;
mod wasm;

pub(crate) use allocations::allocations;
pub(crate) use eviction::Eviction;
pub(crate) use json::encode_message;
pub(crate) use native::{PAGE_BYTES, Range, ReadAhead};
pub(crate) use page_cache::{drop_cached, sync_file};
pub(crate) use sqlite::BareStore;
pub(crate) use wasm::{BareEngine, BareInstance, BareModule};
