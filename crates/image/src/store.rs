//! The page store: a directory of append-only segment files that hold the layers of all heaps.
//!
//! ```text
//! images/                          seg-00000002.pages
//!   seg-00000001.pages             ┌───────────────┬─────┬──────────────────────┬─────┬┈┈┈┈┈┈┈┈┈┈┐
//!   seg-00000002.pages  ─────────▶ │ pages … pages │index│ pages … pages … pages│index│ garbage ┊
//!                                  └───────────────┴─────┴──────────────────────┴─────┴┈┈┈┈┈┈┈┈┈┈┘
//!                                  └──── layer ────┘└───────── layer ─────────┘ └ a crash, cut at open
//! ```
//!
//! The bytes of a layer are described in [`layer`](crate::layer). Nothing in a segment is ever changed; a
//! layer that nobody points to is garbage until its segment is removed.
//!
//! # Order of writes
//!
//! Evicting a vat does not wait for the disk. What makes a layer durable, and what may be dropped after that:
//!
//! ```text
//!   append      1 pages ─▶ 2 index, footer       the layer can be mapped; a crash loses it, and nothing else
//!                              │
//!   sync        3 fdatasync of the segment, fsync of the directory if the segment is new
//!                              │                 everything appended before the call is durable: SyncMark
//!   the caller  4 commit of the pointer          only for layers with sequence ≤ mark
//!                              │                 a crash before: the old pointer and the old layers, whole
//!               5 the transcript before it may be truncated, the old layers dropped
//!                              │
//!   remove      6 a segment without live layers is removed; open files and mappings of it stay valid
//!
//!   compaction     3 live layers written once more and synced   4 pointers committed   6 their old segment removed
//! ```
//!
//! At open the caller names the live layers, those that its durable pointers point to. What lies behind the
//! last live layer of a segment is cut, segments without live layers are removed: both are layers whose
//! pointer was never committed, or garbage. A live layer that is not whole is reported, not hidden.
//!
//! A failed append wastes its space and harms nothing. A failed *sync* stops the store ([`Error::Stopped`]):
//! the kernel drops what it could not write, and a second, successful sync would say nothing about it.
//!
//! The store does not know vats, does not decide when to sync, merge or compact, and keeps no list of live
//! layers: the caller's database does.

mod append;
mod open;
mod relocation;
mod scrub;
mod segment;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

pub(crate) use append::LayerShape;
pub use append::{LayerKind, PageContent, PageWrite};
pub use open::OpenReport;
use relocation::Handles;
pub use relocation::Unmoved;
pub use scrub::{ScrubProgress, ScrubReport};
pub(crate) use segment::SegmentFile;

use crate::{
    Error,
    disk::{Disk, RealDisk},
    layer::{Layer, LayerLocation},
};

/// How a page store is kept.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// A segment is closed when the next layer would make it longer than this. A longer layer gets a segment
    /// of its own.
    pub segment_bytes: u64,
    /// Where changes to files go.
    pub disk: Arc<dyn Disk>,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions { segment_bytes: 256 << 20, disk: Arc::new(RealDisk) }
    }
}

/// How far the store is durable: every layer with `sequence() <= mark.0` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SyncMark(pub u64);

impl SyncMark {
    /// Whether the layer survives a power failure.
    pub fn covers(self, layer: &Layer) -> bool {
        layer.sequence() <= self.0
    }
}

/// Bytes of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentUsage {
    /// The segment's number.
    pub segment: u32,
    /// Bytes appended to it, those of holes included.
    pub bytes: u64,
    /// Bytes of its live layers.
    pub live_bytes: u64,
    /// Whether layers are, or may be, still appended to it.
    pub is_open: bool,
}

impl SegmentUsage {
    /// Bytes that rewriting the live layers and removing the segment would give back.
    pub fn garbage_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.live_bytes)
    }
}

/// A directory of segment files. Cheap to clone; all clones are the same store.
#[derive(Clone, Debug)]
pub struct PageStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    options: StoreOptions,
    state: Mutex<State>,
    /// Held while files are synced, so that a caller who finds nothing to sync knows that it is done, not
    /// under way.
    syncing: Mutex<()>,
    /// Keeps the directory locked against other processes.
    _lock: File,
}

#[derive(Debug)]
struct State {
    segments: BTreeMap<u32, Segment>,
    /// The segment that layers are appended to.
    open: Option<u32>,
    next_segment: u32,
    /// Segments with bytes that are not synced.
    unsynced: BTreeSet<u32>,
    unsynced_names: bool,
    /// Sequence of the last layer that was completely written.
    appended: u64,
    is_stopped: bool,
}

#[derive(Debug)]
struct Segment {
    file: Arc<SegmentFile>,
    /// Where the next layer goes.
    bytes: u64,
    /// Layers being written now.
    writers: u32,
    handles: Handles,
}

impl PageStore {
    /// Opens the store, creating the directory if it does not exist, and removes what no live layer needs:
    /// tails and whole segments. Live layers that are not there are reported, for the caller to fall back.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another store has the directory open; [`Error::Io`].
    pub fn open(
        dir: &Path,
        live: &[LayerLocation],
        options: StoreOptions,
    ) -> Result<(PageStore, OpenReport), Error> {
        open::open(dir, live, options)
    }

    /// Finds a layer and verifies its index.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::Damaged`], [`Error::Version`]: use an older snapshot.
    pub fn load(&self, at: LayerLocation) -> Result<Layer, Error> {
        let file = {
            let state = self.state();
            let segment = state.segments.get(&at.segment).ok_or(Error::Missing { at, segment_bytes: 0 })?;
            if let Some(layer) = segment.handles.find(at) {
                return Ok(layer);
            }
            Arc::clone(&segment.file)
        };
        let layer = Layer::load(file, at)?;
        // Somebody else may have loaded, or moved it, while its index was read: there is one handle inside.
        let mut state = self.state();
        let segment = state.segments.get_mut(&at.segment).ok_or(Error::Missing { at, segment_bytes: 0 })?;
        Ok(segment.handles.find(at).unwrap_or_else(|| {
            segment.handles.hold(&layer);
            layer
        }))
    }

    /// Makes durable everything that was appended before the call. Callers may call it at the same time.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the disk refuses; from then on the store is stopped, see [`Error::Stopped`].
    pub fn sync(&self) -> Result<SyncMark, Error> {
        let _one_at_a_time = self.shared.syncing.lock().expect("no panic while syncing");
        let (mark, files, names) = {
            let mut state = self.running()?;
            let unsynced = std::mem::take(&mut state.unsynced);
            let file = |number| state.segments.get(number).map(|segment| Arc::clone(&segment.file));
            let files: Vec<_> = unsynced.iter().filter_map(file).collect();
            (SyncMark(state.appended), files, std::mem::take(&mut state.unsynced_names))
        };
        self.sync_files(&files, names).inspect_err(|_| self.state().is_stopped = true)?;
        Ok(mark)
    }

    fn sync_files(&self, files: &[Arc<SegmentFile>], names: bool) -> Result<(), Error> {
        let disk = &self.shared.options.disk;
        for segment in files {
            disk.sync_data(segment.path(), segment.file())
                .map_err(|source| segment::io_error("sync", segment.path(), source))?;
        }
        if names {
            disk.sync_dir(&self.shared.dir)
                .map_err(|source| segment::io_error("sync", &self.shared.dir, source))?;
        }
        Ok(())
    }

    /// Bytes of each segment, given the live layers.
    pub fn usage(&self, live: impl IntoIterator<Item = LayerLocation>) -> Vec<SegmentUsage> {
        let mut live_bytes = BTreeMap::<u32, u64>::new();
        for at in live.into_iter().collect::<BTreeSet<_>>() {
            *live_bytes.entry(at.segment).or_default() += at.bytes;
        }
        let state = self.state();
        let usage = |(&segment, found): (&u32, &Segment)| SegmentUsage {
            segment,
            bytes: found.bytes,
            live_bytes: live_bytes.get(&segment).copied().unwrap_or_default(),
            is_open: state.open == Some(segment) || found.writers > 0,
        };
        state.segments.iter().map(usage).collect()
    }

    /// Removes a segment's file. The caller guarantees that none of its layers is live, in its database as it
    /// is on disk. Layers that are still in memory stay readable.
    ///
    /// # Errors
    ///
    /// [`Error::SegmentBusy`] if a layer is being appended to it; [`Error::Io`], and the file stays.
    pub fn remove_segment(&self, segment: u32) -> Result<(), Error> {
        let mut state = self.running()?;
        let Some(found) = state.segments.get(&segment) else { return Ok(()) };
        if found.writers > 0 {
            return Err(Error::SegmentBusy { segment });
        }
        let path = found.file.path();
        self.shared.options.disk.remove(path).map_err(|source| segment::io_error("remove", path, source))?;
        state.segments.remove(&segment);
        state.unsynced.remove(&segment);
        state.unsynced_names = true;
        if state.open == Some(segment) {
            state.open = None;
        }
        Ok(())
    }

    /// Closes the segment that layers are appended to: the next layer begins a new one. A compaction does
    /// this first, so that what it rewrites does not go where it came from.
    pub fn close_segment(&self) {
        self.state().open = None;
    }

    /// Bytes of all segments, garbage included.
    pub fn bytes(&self) -> u64 {
        self.state().segments.values().map(|segment| segment.bytes).sum()
    }

    /// The store's directory.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no panic while the store's state is locked")
    }

    /// The state, unless a sync failed.
    fn running(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.state();
        if state.is_stopped { Err(Error::Stopped) } else { Ok(state) }
    }
}
