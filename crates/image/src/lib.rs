//! A heap at rest: pages, layers, page store, dirty-page tracking, mapping.
//!
//! The heap of a vat is its linear memory. This crate saves heaps and brings them back, at a cost that
//! follows what changed, not how large the heap is:
//!
//! ```text
//!   in memory                                         at rest
//!   ┌───────────┐  DirtyTracker ─▶ PageSet ─▶ capture  ┌─────────────┐ PageStore
//!   │ HeapRange │ ───────────────────────────────────▶ │ Image       │  segment files,
//!   │           │ ◀─────────────────────────────────── │  = Layers   │  append-only
//!   └───────────┘  AddressPool::take: RestorePlan      └─────────────┘
//!    AddressPool     (mmap long runs, copy short)        merge, rewrite, scrub
//! ```
//!
//! * [`PageStore`] keeps [`Layer`]s: immutable sets of pages. [`Image`] is a stack of them.
//! * [`AddressPool`] hands out [`HeapRange`]s that already hold an image.
//! * [`DirtyTracker`] finds the pages that changed; [`capture`] writes them as a new layer.
//!
//! The crate does not know WebAssembly, vats or transcripts, keeps no list of images (its caller's database
//! does), reads no clock and uses no randomness. A damaged or missing image is an [`Error`], never a wrong
//! heap; the caller then falls back to an older image and replays.
//!
//! ```
//! use vat_image::*;
//!
//! # fn main() -> Result<(), Error> {
//! # let dir = tempfile::tempdir().unwrap();
//! let (store, _report) = PageStore::open(dir.path(), &[], StoreOptions::default())?;
//! let pool = AddressPool::new(PoolOptions::default());
//! let tracker = best_tracker();
//!
//! // A heap of 16 pages is born, and saved.
//! let (reserve, guard, size) = (1 << 20, 1 << 16, 16 * PAGE_BYTES);
//! let mut heap = pool.take(reserve, guard, size, None)?;
//! heap.bytes_mut()[0] = 1;
//! let dirty = tracker.dirty(heap.bytes(), &Image::empty(16))?;
//! let birth = capture(&store, heap.bytes(), &Image::empty(16), &dirty, Check::Never)?.image;
//! drop(heap);
//!
//! // It is restored, changed, and evicted: only what changed is written.
//! let mut heap = pool.take(reserve, guard, size, Some(&birth))?;
//! heap.bytes_mut()[5 * PAGE_BYTES] = 2;
//! let dirty = tracker.dirty(heap.bytes(), &birth)?;
//! let saved = capture(&store, heap.bytes(), &birth, &dirty, Check::Always)?;
//! assert_eq!(saved.stats.written, 1);
//! drop(heap);
//!
//! // Its pointer may be committed once the store is synced.
//! assert!(store.sync()?.0 >= saved.image.sequence());
//! let heap = pool.take(reserve, guard, size, Some(&saved.image))?;
//! assert_eq!((heap.bytes()[0], heap.bytes()[5 * PAGE_BYTES]), (1, 2));
//! # Ok(())
//! # }
//! ```
#[cfg(not(all(unix, target_pointer_width = "64")))]
compile_error!("vat-image needs a 64-bit Unix: a heap of 4 GiB is addressed directly, and mapped");

mod capture;
mod disk;
mod error;
#[cfg(any(test, feature = "fault-injection"))]
pub mod fault;
mod fault_context;
mod group_tree;
mod heap_root;
mod image;
mod layer;
mod limits;
mod mapping;
mod merge;
mod page;
mod page_set;
mod plan;
mod pool;
mod store;
mod tracker;

pub use capture::{CaptureStats, Captured, Check, capture};
pub use disk::{Disk, RealDisk};
pub use error::{DamagedPart, Error};
pub use fault_context::FaultContext;
pub use heap_root::{HeapRoot, HeapTree, PageProof};
pub use image::Image;
pub use layer::{FORMAT_VERSION, Layer, LayerLocation, Run, RunContent};
pub use limits::{MapBudget, install_sigbus_reporter, map_budget};
pub use merge::{MergePolicy, merge};
pub use page::{HEAP_PAGES_MAX, PAGE_BYTES, PageBytes, PageHash, PageNo};
pub use page_set::{PageRun, PageSet};
pub use plan::{CopyRun, MAP_RUN_PAGES_MIN, MAPPED_RUNS_MAX, MapRun, RestorePlan};
pub use pool::{AddressPool, HeapRange, PoolOptions, PoolStats, RestoreMethod};
pub use store::{
    LayerKind, OpenReport, PageContent, PageStore, PageWrite, ScrubProgress, ScrubReport, SegmentUsage,
    StoreOptions, SyncMark, Unmoved,
};
pub use tracker::{Compare, DirtyTracker, Residency, best_tracker};
#[cfg(target_os = "linux")]
pub use tracker::{Pagemap, PagemapScan};
