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

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use lru::LruCache;
use vat_engine::HeapState;
use vat_image::{Image, LayerLocation, PageStore, SyncMark};
use vat_storage::{Incarnation, LayerId, ModuleHash, NewSnapshot, Position, SnapshotRow, Storage, VatId};

use crate::descriptor::Descriptor;
use crate::error::Error;
use crate::stats::Counters;

/// Rows kept for each vat.
const SNAPSHOTS_KEPT: usize = 2;
/// Pending states after which the page store is synced.
const PENDING_MAX: usize = 256;

/// A state of a vat between two deliveries.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    /// Deliveries it covers.
    pub(crate) position: u64,
    pub(crate) incarnation: u32,
    pub(crate) state: HeapState,
}

/// The states of all vats that are not only in the store.
#[derive(Debug)]
pub(crate) struct Snapshots {
    storage: Arc<Storage>,
    pages: PageStore,
    counters: Arc<Counters>,
    book: Mutex<Book>,
    /// Wakes the background thread: there is something to sync, or the end has come.
    work: Condvar,
}

#[derive(Debug)]
struct Book {
    pending: BTreeMap<VatId, Saved>,
    /// States that were used or made last, durable or not.
    recent: LruCache<VatId, Saved>,
    synced: SyncMark,
    /// Set when there is enough to sync.
    is_due: bool,
    is_closing: bool,
    /// Why the page store cannot be synced any more; the pointers stay where they are.
    failed: Option<String>,
}

impl Snapshots {
    pub(crate) fn new(
        storage: Arc<Storage>,
        pages: PageStore,
        counters: Arc<Counters>,
        recent_max: NonZeroUsize,
    ) -> Snapshots {
        let book = Book {
            pending: BTreeMap::new(),
            recent: LruCache::new(recent_max),
            synced: SyncMark(0),
            is_due: false,
            is_closing: false,
            failed: None,
        };
        Snapshots { storage, pages, counters, book: Mutex::new(book), work: Condvar::new() }
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
        let mut book = self.book();
        book.recent.put(vat, saved.clone());
        book.pending.insert(vat, saved);
        if book.pending.len() >= PENDING_MAX {
            book.is_due = true;
            self.work.notify_one();
        }
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
    }

    /// Writes the rows of all pending states that are synced, into the store's open transaction.
    pub(crate) fn move_pointers(&self) -> Result<(), Error> {
        let mut book = self.book();
        let synced = book.synced;
        let ready: Vec<VatId> = book
            .pending
            .iter()
            .filter(|(_, saved)| saved.state.image.sequence() <= synced.0)
            .map(|(vat, _)| *vat)
            .collect();
        for vat in ready {
            let saved = &book.pending[&vat];
            self.put_row(vat, saved)?;
            book.pending.remove(&vat);
        }
        Ok(())
    }

    /// Syncs the page store now, so that the next commit moves every pointer.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        let mark = self.pages.sync()?;
        self.counters.syncs.add(1);
        let mut book = self.book();
        book.synced = book.synced.max(mark);
        Ok(())
    }

    /// What the background thread does until [`Snapshots::close`].
    pub(crate) fn run(&self) {
        loop {
            let mut book = self.book();
            while !book.is_due && !book.is_closing {
                book = self.work.wait(book).expect("no thread panicked while it held the book of snapshots");
            }
            if book.is_closing {
                return;
            }
            book.is_due = false;
            drop(book);
            if let Err(error) = self.sync() {
                tracing::error!(%error, "the page store could not be synced; snapshots are no longer made durable");
                self.book().failed = Some(error.to_string());
                return;
            }
        }
    }

    /// Ends [`Snapshots::run`].
    pub(crate) fn close(&self) {
        self.book().is_closing = true;
        self.work.notify_all();
    }

    /// States that are captured but not durable.
    pub(crate) fn pending(&self) -> usize {
        self.book().pending.len()
    }

    /// Layers that states in memory need.
    pub(crate) fn layers_in_memory(&self) -> Vec<LayerLocation> {
        let book = self.book();
        let states = book.pending.values().chain(book.recent.iter().map(|(_, saved)| saved));
        states.flat_map(|saved| saved.state.image.locations()).collect()
    }

    /// Reads the state that a row describes.
    pub(crate) fn load(&self, row: &SnapshotRow) -> Result<Saved, StateError> {
        let state = self.state(&row.image)?;
        Ok(Saved { position: row.position.0, incarnation: row.incarnation.0, state })
    }

    /// Reads the state that a descriptor describes.
    pub(crate) fn state(&self, descriptor: &[u8]) -> Result<HeapState, StateError> {
        let Descriptor { size_pages, globals, layers } = Descriptor::decode(descriptor)?;
        let mut locations = Vec::with_capacity(layers.len());
        for layer in layers {
            let row = self.storage.layer(layer)?;
            locations.push(LayerLocation { segment: row.segment, offset: row.offset, bytes: row.bytes });
        }
        let image = Image::load(&self.pages, &locations, size_pages)?;
        Ok(HeapState { image, globals })
    }

    /// Keeps a module's state after birth. The page store must have been synced since it was captured.
    pub(crate) fn put_birth(&self, module: ModuleHash, state: &HeapState) -> Result<(), Error> {
        let (descriptor, layers) = self.describe(state)?;
        self.storage.set_birth(module, &descriptor, &layers)?;
        Ok(())
    }

    fn put_row(&self, vat: VatId, saved: &Saved) -> Result<(), Error> {
        let (descriptor, layers) = self.describe(&saved.state)?;
        self.storage.put_snapshot(&NewSnapshot {
            vat,
            position: Position(saved.position),
            incarnation: Incarnation(saved.incarnation),
            image: &descriptor,
            root: None,
            layers: &layers,
        })?;
        for old in self.storage.snapshots(vat)?.iter().skip(SNAPSHOTS_KEPT) {
            self.storage.delete_snapshot(vat, old.position)?;
        }
        Ok(())
    }

    fn describe(&self, state: &HeapState) -> Result<(Vec<u8>, Vec<LayerId>), Error> {
        let mut layers = Vec::new();
        for at in state.image.locations() {
            layers.push(self.storage.add_layer(at.segment, at.offset, at.bytes)?);
        }
        let globals = state.globals.clone();
        let descriptor = Descriptor { size_pages: state.image.size_pages(), globals, layers: layers.clone() };
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
