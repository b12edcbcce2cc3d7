//! The only unsafe code of the crate: ranges of address space, page-table queries, the SIGBUS reporter.
//!
//! Everything here is a small safe interface around system calls that safe Rust cannot express. What must
//! hold is local to each type: a [`Range`] owns its addresses, knows which of them are readable and writable,
//! and lends them only by reference. Nothing here knows images or layers.
//!
//! Why unsafe at all: restoring a 64 MiB heap by copying costs 34 ms, by `mmap` 3.5 µs; comparing it to find
//! the changed pages costs 5 ms, by asking the page tables 10 µs.
#![expect(unsafe_code, reason = "mapping, page-table queries and signal handlers have no safe interface")]

#[cfg(target_os = "linux")]
mod page_tables;
mod range;
#[cfg(target_os = "linux")]
mod sigbus;

#[cfg(target_os = "linux")]
pub(crate) use page_tables::{Category, Query, Region, scan};
pub(crate) use range::{FileMap, Range};
#[cfg(target_os = "linux")]
pub(crate) use sigbus::install as install_sigbus_handler;
