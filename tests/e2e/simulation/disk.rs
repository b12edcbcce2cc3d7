//! What a power failure leaves of a data directory.
//!
//! ```text
//!   store.sqlite, -wal   copied while the host still runs; what the log gained since the last commit is lost in part
//!   pages/               put back by the disk that remembers what was not synced, each change kept, torn or lost
//! ```
//!
//! The copy is made before the connection closes, since closing tidies up, which a crash does not.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use vat_image::fault::{Failure, FaultyDisk};
use vat_warehouse::Warehouse;

use crate::steady::Random;

/// Bytes of the log's header; the generation of the log is in it.
const LOG_HEADER_BYTES: usize = 32;

/// A disk that fails as the seed says.
pub(crate) fn disk(random: &mut Random) -> (Arc<FaultyDisk>, Option<u64>) {
    let at = 1 + random.below(150);
    match random.below(4) {
        0 => (Arc::new(FaultyDisk::failing(at, Failure::Once)), Some(at)),
        1 => (Arc::new(FaultyDisk::failing(at, Failure::Crash)), Some(at)),
        _ => (Arc::new(FaultyDisk::new()), None),
    }
}

/// The store's log when it was last known to be durable.
#[derive(Debug, Clone)]
pub(crate) struct DurableLog {
    bytes: usize,
    header: Vec<u8>,
}

impl DurableLog {
    /// Right after a commit.
    pub(crate) fn now(dir: &Path) -> DurableLog {
        let log = fs::read(log(dir)).unwrap_or_default();
        DurableLog { bytes: log.len(), header: header(&log).to_vec() }
    }
}

/// Ends the host as a power failure does.
pub(crate) fn lose_power(
    warehouse: Warehouse,
    dir: &Path,
    disk: &FaultyDisk,
    durable: Option<&DurableLog>,
    random: &mut Random,
) -> Result<()> {
    let store = fs::read(dir.join("store.sqlite"))?;
    let mut left = fs::read(log(dir)).unwrap_or_default();
    if warehouse.abandon().is_err() {
        bail!("the warehouse is in use after everything was given back");
    }
    if let Some(durable) = durable
        && header(&left) == durable.header
        && left.len() > durable.bytes
    {
        let unsynced = (left.len() - durable.bytes) as u64;
        left.truncate(durable.bytes + usize::try_from(random.below(unsynced + 1))?);
    }
    fs::write(dir.join("store.sqlite"), store)?;
    fs::write(log(dir), left)?;
    // The index of the log is in memory, and is made again from the log.
    let index = dir.join("store.sqlite-shm");
    if index.exists() {
        fs::remove_file(index)?;
    }
    disk.lose_power(random.next()).context("the test cannot write")
}

pub(crate) fn log(dir: &Path) -> PathBuf {
    dir.join("store.sqlite-wal")
}

fn header(log: &[u8]) -> &[u8] {
    &log[..LOG_HEADER_BYTES.min(log.len())]
}
