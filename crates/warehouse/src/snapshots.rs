//! Captured states on their way to being durable.
//!
//! ```text
//!   capture ──► pending (newest state of a vat, in memory)        a page-in may use it at once
//!                  │   pages.sync()        in the background, never on the path of a delivery
//!                  ▼
//!               synced ── next commit ──► row in `snapshots`, the durable pointer
//! ```
//!
//! Invariant: a row never names a layer that is not synced, so that a crash can lose a pointer (and cost a replay) but never leave
//! one to bytes that are not there. A vat has at most one pending state, its newest. [`SNAPSHOTS_KEPT`] rows per vat stay, so
//! that an unreadable one has an older one behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use lru::LruCache;
use vat_engine::HeapState;
use vat_image::{Image, LayerLocation, MergePolicy, PageSet, PageStore, SyncMark, merge};
use vat_storage::{
    Incarnation, LayerId, ModuleHash, NewSnapshot, Position, Retention, SnapshotRow, Storage, VatId,
};

use crate::config::WarehouseConfig;
use crate::descriptor::Descriptor;
use crate::error::Error;
use crate::options::KeptOptions;
use crate::stats::Counters;
use crate::transcripts::SpanClosing;
use crate::upkeep::location;

/// Rows kept for each vat, unless all are.
const SNAPSHOTS_KEPT: usize = 2;
/// Captures after which the page store is synced.
const UNSYNCED_MAX: u32 = 1_024;

/// A state of a vat between two deliveries.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    /// Deliveries it covers.
    pub(crate) position: u64,
    pub(crate) incarnation: u32,
    pub(crate) state: HeapState,
    /// The pages that were touched when the vat was last in memory: a hint for a page-in from a cold disk.
    pub(crate) touched: PageSet,
}

/// What is known of a vat that was evicted: with its newest state, all that a page-in needs. It spares the page-in the store,
/// and so the wait for whoever is committing there.
#[derive(Debug, Clone)]
pub(crate) struct Parked {
    pub(crate) label: String,
    pub(crate) kept: KeptOptions,
    pub(crate) incarnation: u32,
    pub(crate) next: u64,
    pub(crate) module: ModuleHash,
}

/// The states of all vats that are not only in the store.
#[derive(Debug)]
pub(crate) struct Snapshots {
    storage: Arc<Storage>,
    pages: PageStore,
    counters: Arc<Counters>,
    /// Rows kept for each vat.
    kept_max: usize,
    span_closing: SpanClosing,
    book: Mutex<Book>,
    /// Wakes the background thread: there is something to sync, or the end has come.
    work: Condvar,
}

#[derive(Debug)]
struct Book {
    pending: BTreeMap<VatId, Saved>,
    /// States that were used or made last, durable or not.
    recent: LruCache<VatId, Saved>,
    /// Invariant: a vat is in here only while it is not in memory, and nothing was delivered to it since.
    parked: LruCache<VatId, Parked>,
    synced: SyncMark,
    /// Captures since the last sync began.
    unsynced: u32,
    /// Vats whose newest image has grown ragged.
    ragged: BTreeSet<VatId>,
    /// Segments that nothing names any more but the store as it was last committed.
    doomed: Vec<u32>,
    /// Segments that nothing names any more.
    dead: Vec<u32>,
    /// Vats of whose newest state the snapshot policy wants the heap root.
    rootless: BTreeSet<VatId>,
    /// Roots of states that are not rows yet: incarnation, position, root.
    roots: BTreeMap<VatId, (u32, u64, [u8; 32])>,
    /// Set when there is enough to sync.
    is_due: bool,
    /// Set when there may be spans to compress.
    are_spans_loose: bool,
    is_closing: bool,
}

/// What the background thread does next.
#[derive(Debug)]
pub(crate) enum Work {
    Sync,
    Merge(VatId),
    Compress,
    /// The segment is not needed any more.
    Remove(u32),
    Close,
}

/// Whether an image may be worth merging; [`merge`] decides. Cheap, since every capture asks.
fn is_ragged(image: &Image) -> bool {
    let policy = MergePolicy::default();
    image.layers().len() > policy.layers_max || image.plan().copied_pages() > policy.copied_pages_min
}

impl Snapshots {
    pub(crate) fn new(
        storage: Arc<Storage>,
        pages: PageStore,
        counters: Arc<Counters>,
        config: &WarehouseConfig,
        retention: Retention,
    ) -> Snapshots {
        let recent_max = config.recent_states_max;
        let kept_max = if retention == Retention::Debug { usize::MAX } else { SNAPSHOTS_KEPT };
        let span_closing = config.span_closing;
        let book = Book {
            pending: BTreeMap::new(),
            recent: LruCache::new(recent_max),
            parked: LruCache::new(recent_max),
            synced: SyncMark(0),
            unsynced: 0,
            ragged: BTreeSet::new(),
            rootless: BTreeSet::new(),
            roots: BTreeMap::new(),
            doomed: Vec::new(),
            dead: Vec::new(),
            is_due: false,
            are_spans_loose: false,
            is_closing: false,
        };
        Snapshots {
            storage,
            pages,
            counters,
            kept_max,
            span_closing,
            book: Mutex::new(book),
            work: Condvar::new(),
        }
    }

    /// The newest state of the vat that is in memory.
    pub(crate) fn newest(&self, vat: VatId) -> Option<Saved> {
        let mut book = self.book();
        if let Some(pending) = book.pending.get(&vat) {
            return Some(pending.clone());
        }
        book.recent.get(&vat).cloned()
    }

    /// Remembers a state that was just captured.
    pub(crate) fn save(&self, vat: VatId, saved: Saved) {
        // What a vat was mapped from may have been moved meanwhile.
        let image = saved.state.image.current();
        let is_ragged = is_ragged(&image);
        let saved = Saved { state: HeapState { image, ..saved.state }, ..saved };
        let mut book = self.book();
        book.recent.put(vat, saved.clone());
        book.pending.insert(vat, saved);
        if is_ragged {
            book.ragged.insert(vat);
        }
        book.unsynced += 1;
        book.is_due |= book.unsynced >= UNSYNCED_MAX;
        if book.is_due || is_ragged {
            self.work.notify_one();
        }
    }

    /// Asks for the heap root of the vat's newest state.
    pub(crate) fn want_root(&self, vat: VatId) {
        self.book().rootless.insert(vat);
    }

    /// The states of which a heap root was asked for.
    pub(crate) fn take_wanted(&self) -> Vec<(VatId, Saved)> {
        let mut book = self.book();
        let wanted = std::mem::take(&mut book.rootless);
        let state = |vat: &VatId| book.pending.get(vat).or_else(|| book.recent.peek(vat)).cloned();
        wanted.into_iter().filter_map(|vat| Some((vat, state(&vat)?))).collect()
    }

    /// The states that are not rows yet.
    pub(crate) fn pending(&self) -> Vec<(VatId, Saved)> {
        self.book().pending.iter().map(|(vat, saved)| (*vat, saved.clone())).collect()
    }

    /// Incarnation and position of each of them.
    pub(crate) fn pending_moments(&self) -> BTreeMap<VatId, (u32, u64)> {
        let book = self.book();
        book.pending.iter().map(|(vat, saved)| (*vat, (saved.incarnation, saved.position))).collect()
    }

    /// Keeps the heap root of a state until that is a row.
    pub(crate) fn remember_root(&self, vat: VatId, saved: &Saved, root: [u8; 32]) {
        let mut book = self.book();
        if book.pending.contains_key(&vat) {
            book.roots.insert(vat, (saved.incarnation, saved.position, root));
        }
    }

    /// The heap root of a state that becomes a row, if it is known.
    fn take_root(&self, vat: VatId, saved: &Saved) -> Option<[u8; 32]> {
        let (incarnation, position, root) = self.book().roots.remove(&vat)?;
        ((incarnation, position) == (saved.incarnation, saved.position)).then_some(root)
    }

    /// Remembers what is known of a vat that was just evicted.
    pub(crate) fn park(&self, vat: VatId, parked: Parked) {
        self.book().parked.put(vat, parked);
    }

    /// Takes what is known of an evicted vat, with its state, if that is current.
    pub(crate) fn unpark(&self, vat: VatId) -> Option<(Parked, Saved)> {
        let mut book = self.book();
        let parked = book.parked.pop(&vat)?;
        let saved = book.pending.get(&vat).cloned().or_else(|| book.recent.get(&vat).cloned())?;
        let is_current = (saved.incarnation, saved.position) == (parked.incarnation, parked.next);
        is_current.then_some((parked, saved))
    }

    /// Remembers a state that was read from the store.
    pub(crate) fn remember(&self, vat: VatId, saved: Saved) {
        self.book().recent.put(vat, saved);
    }

    /// Forgets what is in memory of a vat.
    pub(crate) fn forget(&self, vat: VatId) {
        let mut book = self.book();
        book.pending.remove(&vat);
        book.recent.pop(&vat);
        book.parked.pop(&vat);
        book.rootless.remove(&vat);
        book.roots.remove(&vat);
    }

    /// Writes the rows of all pending states that are synced, into the store's open transaction;
    /// answers whose they are.
    pub(crate) fn move_pointers(&self) -> Result<Vec<VatId>, Error> {
        let mut book = self.book();
        let synced = book.synced;
        let ready: Vec<VatId> = book
            .pending
            .iter()
            .filter(|(_, saved)| saved.state.image.sequence() <= synced.0)
            .map(|(vat, _)| *vat)
            .collect();
        let ready: Vec<(VatId, Saved)> =
            ready.into_iter().filter_map(|vat| Some((vat, book.pending.remove(&vat)?))).collect();
        drop(book);
        for (vat, saved) in &ready {
            self.put_row(*vat, saved)?;
        }
        Ok(ready.into_iter().map(|(vat, _)| vat).collect())
    }

    /// Syncs the page store now, so that the next commit moves every pointer.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.book().unsynced = 0;
        let mark = self.pages.sync()?;
        self.counters.syncs.add(1);
        let mut book = self.book();
        book.synced = book.synced.max(mark);
        Ok(())
    }

    /// Takes everything for synced, which it is not: for [`Canary::PointsBeforeSync`](crate::canary::Canary).
    pub(crate) fn claim_synced(&self) {
        self.book().synced = SyncMark(u64::MAX);
    }

    /// Waits for something to do.
    pub(crate) fn next_work(&self) -> Work {
        let mut book = self.book();
        loop {
            if let Some(segment) = book.dead.pop() {
                return Work::Remove(segment);
            }
            if book.is_closing {
                return Work::Close;
            }
            if std::mem::take(&mut book.is_due) {
                return Work::Sync;
            }
            if let Some(vat) = book.ragged.pop_first() {
                return Work::Merge(vat);
            }
            if std::mem::take(&mut book.are_spans_loose) {
                return Work::Compress;
            }
            book = self.work.wait(book).expect("no thread panicked while it held the book of snapshots");
        }
    }

    /// Merges layers of the vat's newest image, if the policy asks for it. The merged image takes the place of the old one
    /// unless the vat has moved on; its content, and so the vat, is the same.
    pub(crate) fn merge(&self, vat: VatId) -> Result<(), vat_image::Error> {
        let Some(saved) = self.newest(vat) else { return Ok(()) };
        let Some(image) = merge(&self.pages, &saved.state.image, &MergePolicy::default())? else {
            return Ok(());
        };
        self.counters.merges.add(1);
        let state = HeapState { image, globals: saved.state.globals };
        let merged = Saved { state, ..saved };
        let mut book = self.book();
        let is_newest =
            |newest: &Saved| (newest.incarnation, newest.position) == (merged.incarnation, merged.position);
        let newest = book.pending.get(&vat).or_else(|| book.recent.peek(&vat));
        if newest.is_some_and(is_newest) {
            book.recent.put(vat, merged.clone());
            book.pending.insert(vat, merged);
        }
        Ok(())
    }

    /// Names the states in memory by where their layers are now. The segment goes after the next commit.
    pub(crate) fn relocated(&self, segment: u32) {
        let mut guard = self.book();
        let book = &mut *guard;
        let recent = book.recent.iter_mut().map(|(_, saved)| saved);
        for saved in book.pending.values_mut().chain(recent) {
            saved.state.image = saved.state.image.current();
        }
        book.doomed.push(segment);
    }

    /// Whether the segment is about to go.
    pub(crate) fn is_doomed(&self, segment: u32) -> bool {
        let book = self.book();
        book.doomed.contains(&segment) || book.dead.contains(&segment)
    }

    /// The open transaction became durable.
    pub(crate) fn committed(&self) {
        let mut book = self.book();
        let doomed = std::mem::take(&mut book.doomed);
        if !doomed.is_empty() {
            book.dead.extend(doomed);
            self.work.notify_one();
        }
    }

    /// There may be spans to compress.
    pub(crate) fn compress_soon(&self) {
        self.book().are_spans_loose = true;
        self.work.notify_one();
    }

    /// Ends the background thread.
    pub(crate) fn close(&self) {
        self.book().is_closing = true;
        self.work.notify_all();
    }

    /// Reads the state that a row describes.
    pub(crate) fn load(&self, row: &SnapshotRow) -> Result<Saved, StateError> {
        let (state, touched) = self.read_back(&row.image)?;
        Ok(Saved { position: row.position.0, incarnation: row.incarnation.0, state, touched })
    }

    /// Reads the state that a descriptor describes.
    pub(crate) fn state(&self, descriptor: &[u8]) -> Result<HeapState, StateError> {
        Ok(self.read_back(descriptor)?.0)
    }

    fn read_back(&self, descriptor: &[u8]) -> Result<(HeapState, PageSet), StateError> {
        let Descriptor { size_pages, globals, layers, touched } = Descriptor::decode(descriptor)?;
        let mut places = self.places(&layers)?;
        loop {
            match Image::load(&self.pages, &places, size_pages) {
                Ok(image) => return Ok((HeapState { image, globals }, touched)),
                Err(error) => {
                    // Compaction may have moved the layers, and their segment gone, since the places were read.
                    let now = self.places(&layers)?;
                    if now == places {
                        return Err(error.into());
                    }
                    places = now;
                }
            }
        }
    }

    fn places(&self, layers: &[LayerId]) -> Result<Vec<LayerLocation>, vat_storage::Error> {
        layers.iter().map(|layer| Ok(location(&self.storage.layer(*layer)?))).collect()
    }

    /// Keeps a module's state after birth. The page store must have been synced since it was captured.
    pub(crate) fn put_birth(&self, module: ModuleHash, state: &HeapState) -> Result<(), Error> {
        let (descriptor, layers) = self.describe(state, &PageSet::new())?;
        self.storage.set_birth(module, &descriptor, &layers)?;
        Ok(())
    }

    fn put_row(&self, vat: VatId, saved: &Saved) -> Result<(), Error> {
        let (descriptor, layers) = self.describe(&saved.state, &saved.touched)?;
        self.storage.put_snapshot(&NewSnapshot {
            vat,
            position: Position(saved.position),
            incarnation: Incarnation(saved.incarnation),
            image: &descriptor,
            root: self.take_root(vat, saved),
            layers: &layers,
        })?;
        for old in self.storage.snapshots(vat)?.iter().skip(self.kept_max) {
            self.storage.delete_snapshot(vat, old.position)?;
        }
        if self.span_closing == SpanClosing::PolicyAndSnapshots {
            self.storage.close_span(vat)?;
        }
        Ok(())
    }

    fn describe(&self, state: &HeapState, touched: &PageSet) -> Result<(Vec<u8>, Vec<LayerId>), Error> {
        let mut layers = Vec::new();
        for at in state.image.current().locations() {
            layers.push(self.storage.add_layer(at.segment, at.offset, at.bytes)?);
        }
        let globals = state.globals.clone();
        let descriptor = Descriptor {
            size_pages: state.image.size_pages(),
            globals,
            layers: layers.clone(),
            touched: touched.clone(),
        };
        Ok((descriptor.encode(), layers))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no thread panicked while it held the book of snapshots")
    }
}

/// Why a snapshot cannot be used. An older one can, or the transcript from the beginning.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error(transparent)]
    Descriptor(#[from] crate::descriptor::DescriptorError),
    #[error(transparent)]
    Storage(#[from] vat_storage::Error),
    #[error(transparent)]
    Image(#[from] vat_image::Error),
}
