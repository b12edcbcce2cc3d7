//! How a warehouse is run. All of it is local to a host: none of it can influence what a vat computes.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use vat_image::{Check, Disk, RealDisk, RestoreMethod};
use vat_storage::{Retention, SpanPolicy};

#[cfg(feature = "canaries")]
use crate::canary::Canary;
use crate::transcripts::SpanClosing;

use crate::policy::SnapshotPolicy;

/// Where the policy of a warehouse is set.
#[derive(Debug, Clone)]
pub struct WarehouseConfig {
    /// Vats kept in memory. Leased vats are never evicted, so more may be there while more are leased.
    pub resident_max: NonZeroUsize,
    /// Bytes of memory that resident vats may have changed since they were paged in, all together; `None` for no limit.
    pub resident_bytes_max: Option<u64>,
    /// Page-ins that run at the same time.
    pub page_ins_max: NonZeroUsize,
    /// A vat that stays resident is snapshotted after this many deliveries, so that a crash replays no more than these.
    pub snapshot_interval: u64,
    /// When states are captured.
    pub snapshot_policy: SnapshotPolicy,
    /// States of evicted vats whose place in the page store is remembered, to spare the store a look-up.
    pub recent_states_max: NonZeroUsize,
    /// Evictions in which the dirty-page tracker is checked against a full comparison: one in this many; 0 for none.
    pub check_one_in: u64,
    /// Bytes of one segment of the page store: the unit in which disk space is given back.
    pub segment_bytes: u64,
    /// Which pages of a heap are verified when it comes from the store.
    pub verify: Verify,
    /// When a span of a transcript is closed by itself.
    pub span_policy: SpanPolicy,
    /// What else closes one.
    pub span_closing: SpanClosing,
    /// What is kept of transcripts and snapshots, from now on; `None` for what the data directory keeps already.
    pub retention: Option<Retention>,
    /// How heap images get into memory.
    pub restore: RestoreMethod,
    /// How changed pages are found.
    pub tracking: Tracking,
    /// Where compiled code is kept; `None` for `code` inside the data directory.
    pub code_cache: Option<PathBuf>,
    /// Bytes of compiled code kept in memory.
    pub code_bytes_max: usize,
    /// Where changes to the page store's files go. Tests give a disk that fails.
    pub disk: Arc<dyn Disk>,
    /// A bug to have, so that tests can show that they would find it.
    #[cfg(feature = "canaries")]
    pub canary: Option<Canary>,
}

impl Default for WarehouseConfig {
    fn default() -> Self {
        WarehouseConfig {
            resident_max: NonZeroUsize::new(100).expect("not zero"),
            resident_bytes_max: None,
            page_ins_max: NonZeroUsize::new(2).expect("not zero"),
            snapshot_interval: 200,
            snapshot_policy: SnapshotPolicy::OfDirectory,
            recent_states_max: NonZeroUsize::new(4_096).expect("not zero"),
            check_one_in: 1_000,
            segment_bytes: 256 << 20,
            verify: Verify::WorkingSet,
            span_policy: SpanPolicy::default(),
            span_closing: SpanClosing::default(),
            retention: None,
            restore: RestoreMethod::Map,
            tracking: Tracking::Best,
            code_cache: None,
            code_bytes_max: 512 << 20,
            disk: Arc::new(RealDisk),
            #[cfg(feature = "canaries")]
            canary: None,
        }
    }
}

/// How changed pages are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    /// By the best way this machine has.
    Best,
    /// By `/proc/self/pagemap`, as on Linux before 6.7; where there is none, by the best way.
    Pagemap,
    /// By comparing all pages with the image: works everywhere, costs as much as the heap is large.
    Compare,
}

/// Which pages of a heap are compared with their hashes when it comes from the store, where a disk may have changed them since. (What
/// was in memory a moment ago is not verified. Scrubbing verifies all there is.)
///
/// Why not everything by default: a page costs about a microsecond to read and hash, so 64 MiB cost some 16 ms and 1 GiB a quarter of a
/// second, where a restore takes some 10 µs. In the background the same work would be done for every page-in, most of them of vats that are
/// gone again before it ends; at the first touch of a page it would need a fault into this process, which costs more than the hash. What
/// a vat touched the last time is a small part, and nearly all that it touches the next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// None: a restore costs the same whatever the heap's size and use.
    Nothing,
    /// Those that were touched when the vat was last in memory: about a microsecond each.
    WorkingSet,
    /// All: a restore costs as much as reading the heap.
    Everything,
}

impl WarehouseConfig {
    /// Whether the `nth` capture is one that is checked.
    pub(crate) fn check(&self, nth: u64) -> Check {
        if self.check_one_in != 0 && nth.is_multiple_of(self.check_one_in) {
            Check::Always
        } else {
            Check::Never
        }
    }
}
