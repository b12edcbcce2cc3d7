//! The warehouse: a data directory, an engine, and the vats of which some are in memory.
//!
//! ```text
//!   <data>/store.sqlite   modules, vats, transcripts, pointers to snapshots     (vat-storage)
//!   <data>/pages/         heap images                                            (vat-image)
//!   <data>/code/          compiled modules                                       (vat-engine)
//! ```
//!
//! Invariant: which vats are in memory, and which states are captured, is invisible in transcripts, outcomes and heaps. Opening
//! loads no vat. Cranks of different vats may run at the same time on different threads; they meet only in the store.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use lru::LruCache;
use tokio::sync::Semaphore;
use vat_abi::TranscriptEntry;
use vat_engine::{Engine, EngineConfig, HeapState, VatModule};
use vat_image::{Compare, DirtyTracker, LayerLocation, PageStore, RestoreMethod, StoreOptions, best_tracker};
use vat_storage::{ModuleHash, Retention, Storage, VatId, VatRow};

use crate::background::Background;
use crate::canary::{self, Canary};
use crate::compaction::Compaction;
use crate::config::{Tracking, WarehouseConfig};
use crate::error::Error;
use crate::lease::VatLease;
use crate::name::VatName;
use crate::policy::Hint;
use crate::reader;
use crate::residency::{CellGuard, Residency, Resident};
use crate::snapshots::Snapshots;
use crate::stats::{Counters, Stats};
use crate::verify::Verification;

/// States after birth that are kept in memory.
const BIRTHS_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// A merge in the background may put an image that is not synced in the place of one that was, between the sync and the commit. Then
/// both are done again; no image is merged more often than it has tiers of layers.
const CHECKPOINT_ROUNDS_MAX: usize = 8;
/// Names whose ids are kept in memory.
const NAMES_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// Hosts the vats of one data directory. Cheap to clone; all clones are one warehouse.
#[derive(Debug, Clone)]
pub struct Warehouse {
    pub(crate) inner: Arc<Inner>,
    /// Ends the background thread when the last clone goes.
    _background: Arc<Background>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: WarehouseConfig,
    pub(crate) storage: Arc<Storage>,
    pub(crate) pages: PageStore,
    pub(crate) engine: Engine,
    pub(crate) retention: Retention,
    pub(crate) residency: Residency,
    pub(crate) snapshots: Snapshots,
    pub(crate) counters: Arc<Counters>,
    pub(crate) tracker: Arc<dyn DirtyTracker>,
    births: Mutex<LruCache<ModuleHash, HeapState>>,
    names: Mutex<LruCache<VatName, VatId>>,
    /// Permits for page-ins.
    page_ins: Arc<Semaphore>,
    /// Held for reading by what must be committed together though it takes several steps; for writing by a commit.
    steps: RwLock<()>,
    pub(crate) compaction: Compaction,
}

impl Warehouse {
    /// Opens the data directory, making it if it does not exist. No vat is loaded.
    ///
    /// # Errors
    /// If the directory is in use, damaged, of a newer version, or cannot be written.
    pub fn open(dir: &Path, config: WarehouseConfig) -> Result<Warehouse, Error> {
        std::fs::create_dir_all(dir).map_err(|source| Error::Directory { path: dir.to_owned(), source })?;
        Self::open_mended(Storage::open, dir, config)
    }

    /// Opens a data directory that must exist.
    ///
    /// # Errors
    /// As [`Warehouse::open`], and if there is none.
    pub fn open_existing(dir: &Path, config: WarehouseConfig) -> Result<Warehouse, Error> {
        Self::open_mended(Storage::open_existing, dir, config)
    }

    pub(crate) fn with_storage(
        storage: Storage,
        dir: &Path,
        config: WarehouseConfig,
    ) -> Result<Warehouse, Error> {
        let storage = Arc::new(storage);
        let config = config.with_kept_policy(&storage)?;
        storage.set_span_policy(config.span_policy)?;
        if let Some(level) = config.retention {
            storage.set_retention(level)?;
        }
        let retention = storage.retention()?;
        let live: Vec<LayerLocation> = storage
            .live_layers()?
            .into_iter()
            .map(|row| LayerLocation { segment: row.segment, offset: row.offset, bytes: row.bytes })
            .collect();
        let options = StoreOptions { segment_bytes: config.segment_bytes, disk: Arc::clone(&config.disk) };
        let (pages, found) = PageStore::open(&dir.join("pages"), &live, options)?;
        for missing in &found.missing {
            tracing::warn!(layer = %missing, "a layer is missing from the page store; its vats fall back and replay");
        }
        if config.restore == RestoreMethod::Map {
            vat_image::install_sigbus_reporter()?;
            warn_of_map_limit(config.resident_max.get() as u64);
        }
        let engine = Engine::new(EngineConfig {
            code_cache: Some(config.code_cache.clone().unwrap_or_else(|| dir.join("code"))),
            code_bytes_max: config.code_bytes_max,
            restore: config.restore,
        })?;
        let counters = Arc::new(Counters::default());
        let inner = Arc::new(Inner {
            residency: Residency::new(config.resident_max, config.resident_bytes_max),
            snapshots: Snapshots::new(
                Arc::clone(&storage),
                pages.clone(),
                Arc::clone(&counters),
                &config,
                retention,
            ),
            tracker: canary::tracker(tracker(config.tracking), &config),
            births: Mutex::new(LruCache::new(BIRTHS_MAX)),
            names: Mutex::new(LruCache::new(NAMES_MAX)),
            page_ins: Arc::new(Semaphore::new(config.page_ins_max.get())),
            steps: RwLock::new(()),
            compaction: Compaction::default(),
            counters,
            storage,
            pages,
            engine,
            retention,
            config,
        });
        let background = Background::start(Arc::clone(&inner))
            .map_err(|source| Error::Directory { path: dir.to_owned(), source })?;
        Ok(Warehouse { inner, _background: Arc::new(background) })
    }

    /// The vat, if it is in memory and nobody has it: takes microseconds and never waits.
    pub fn try_provide(&self, name: &VatName) -> Option<VatLease> {
        let vat = *self.inner.names().get(name)?;
        let cell = self.inner.residency.try_lock_resident(vat)?;
        Some(VatLease::new(Arc::clone(&self.inner), vat, cell))
    }

    /// The vat, brought into memory if it is not there. Waits while somebody else has it; two callers share one page-in.
    ///
    /// # Errors
    /// [`Error::UnknownVat`], [`Error::Quarantined`], [`Error::Diverged`]; or if it cannot be brought into memory.
    pub async fn provide(&self, name: &VatName) -> Result<VatLease, Error> {
        let vat = self.inner.find(name)?;
        if let Some(cell) = self.inner.residency.try_lock_resident(vat) {
            return Ok(VatLease::new(Arc::clone(&self.inner), vat, cell));
        }
        let cell = self.inner.residency.lock(vat).await;
        if cell.is_some() {
            return Ok(VatLease::new(Arc::clone(&self.inner), vat, cell));
        }
        let permit = Arc::clone(&self.inner.page_ins).acquire_owned().await.map_err(|_| Error::NoRuntime)?;
        let inner = Arc::clone(&self.inner);
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let page_in = runtime.spawn_blocking(move || {
            let _permit = permit;
            inner.fill(vat, cell)
        });
        page_in.await.map_err(|_| Error::NoRuntime)?
    }

    /// As [`Warehouse::provide`], on the calling thread and blocking it.
    ///
    /// # Errors
    /// As [`Warehouse::provide`].
    ///
    /// # Panics
    /// If called from asynchronous code.
    pub fn provide_blocking(&self, name: &VatName) -> Result<VatLease, Error> {
        let vat = self.inner.find(name)?;
        let cell = self.inner.residency.lock_blocking(vat);
        if cell.is_some() {
            return Ok(VatLease::new(Arc::clone(&self.inner), vat, cell));
        }
        Arc::clone(&self.inner).fill(vat, cell)
    }

    /// Says what is known of a vat's future. Local, and forgotten when the warehouse is closed.
    ///
    /// # Errors
    /// [`Error::UnknownVat`].
    pub fn hint(&self, name: &VatName, hint: Hint) -> Result<(), Error> {
        self.inner.residency.set_hint(self.inner.find(name)?, hint);
        if hint == Hint::Automatic {
            self.inner.make_room();
        }
        Ok(())
    }

    /// Captures the vat's state, unless the policy would rather replay it, and lets its memory go. Nothing happens if it is not in memory.
    ///
    /// # Errors
    /// If its state cannot be captured; it then stays in memory.
    pub fn evict(&self, name: &VatName) -> Result<(), Error> {
        let vat = self.inner.find(name)?;
        let cell = self.inner.residency.lock_blocking(vat);
        let evicted = self.inner.evict(vat, cell);
        self.inner.residency.tidy(vat);
        evicted
    }

    /// Evicts every vat that nobody has.
    ///
    /// # Errors
    /// The first failure; the vats after it stay in memory.
    pub fn evict_all(&self) -> Result<(), Error> {
        for vat in self.inner.residency.resident() {
            if let Some(cell) = self.inner.residency.try_lock_resident(vat) {
                self.inner.evict(vat, cell)?;
                self.inner.residency.tidy(vat);
            }
        }
        Ok(())
    }

    /// Makes everything durable that was done before the call: cranks at once, snapshots as far as they are synced.
    ///
    /// # Errors
    /// If the disk refuses: the warehouse must be opened again, and what was done since the last commit is then there as a whole or not
    /// at all.
    pub fn commit(&self) -> Result<(), Error> {
        self.inner.commit()
    }

    /// Makes everything durable, snapshots too: what a clean end does.
    ///
    /// # Errors
    /// As [`Warehouse::commit`]. It may take more than one commit, so that what was done before the call may be durable, and a
    /// snapshot of it not.
    pub fn checkpoint(&self) -> Result<(), Error> {
        let begun = self.inner.snapshots.pending_moments();
        for _ in 0..CHECKPOINT_ROUNDS_MAX {
            self.inner.snapshots.sync()?;
            self.inner.root_pending()?;
            self.commit()?;
            let left = self.inner.snapshots.pending_moments();
            if !left.iter().any(|(vat, moment)| begun.get(vat) == Some(moment)) {
                break;
            }
        }
        Ok(())
    }

    /// Closes without making anything durable that is not: what a crash of the process leaves. For tests and demonstrations.
    ///
    /// # Errors
    /// The warehouse itself, if clones or leases of it are still in use.
    pub fn abandon(self) -> Result<(), Warehouse> {
        self.close().map(drop) // The store's open transaction is rolled back with its connection.
    }

    /// Ends the background thread and gives up everything else, if nobody has a hand on it.
    pub(crate) fn close(self) -> Result<Inner, Warehouse> {
        let Warehouse { inner, _background } = self;
        // A lease holds the inside, a clone the thread; with neither there are exactly these two hands on the inside.
        if Arc::strong_count(&_background) > 1 || Arc::strong_count(&inner) > _background.hands() {
            return Err(Warehouse { inner, _background });
        }
        drop(_background);
        Ok(Arc::into_inner(inner).expect("the thread was joined, and nobody else had a hand on it"))
    }

    /// Ends a vat for ever and deletes what it left. Its name is free again.
    ///
    /// # Errors
    /// [`Error::UnknownVat`]; or if the store fails.
    pub fn terminate(&self, name: &VatName, reason: &str) -> Result<(), Error> {
        let inner = &self.inner;
        let vat = inner.find(name)?;
        let mut cell = inner.residency.lock_blocking(vat);
        *cell = None;
        inner.residency.left(vat);
        inner.snapshots.forget(vat);
        inner.residency.set_hint(vat, Hint::Automatic);
        inner.names().pop(name);
        inner.storage.terminate(vat, reason)?;
        drop(cell);
        inner.residency.tidy(vat);
        Ok(())
    }

    /// Replays the vat's transcript from birth beside its stored state and compares everything. Changes nothing.
    ///
    /// # Errors
    /// If either side cannot be brought into memory. A difference is not an error but a verdict.
    pub fn verify(&self, name: &VatName) -> Result<Verification, Error> {
        let mut lease = self.provide_blocking(name)?;
        lease.with_resident(Inner::verify)
    }

    /// The vat's stored row.
    ///
    /// # Errors
    /// [`Error::UnknownVat`].
    pub fn vat(&self, name: &VatName) -> Result<VatRow, Error> {
        reader::find(&self.inner.storage, name)
    }

    /// The vat's transcript from `from` on, oldest first.
    ///
    /// # Errors
    /// [`Error::UnknownVat`]; within the iteration, [`Error::Damaged`].
    pub fn transcript(
        &self,
        name: &VatName,
        from: u64,
    ) -> Result<impl Iterator<Item = Result<(u64, TranscriptEntry), Error>> + '_, Error> {
        reader::transcript(&self.inner.storage, name, from)
    }

    /// Whether the vat is in memory now.
    ///
    /// # Errors
    /// [`Error::UnknownVat`].
    pub fn is_resident(&self, name: &VatName) -> Result<bool, Error> {
        let vat = self.inner.find(name)?;
        Ok(self.inner.residency.resident().contains(&vat))
    }

    /// Vats in memory, most recently used first.
    pub fn resident(&self) -> Vec<VatId> {
        self.inner.residency.resident()
    }

    /// What was counted since the warehouse was opened.
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }

    /// The durable store, for reading what has no place here.
    pub fn storage(&self) -> &Storage {
        &self.inner.storage
    }
}

fn tracker(tracking: Tracking) -> Arc<dyn DirtyTracker> {
    match tracking {
        Tracking::Best => best_tracker(),
        #[cfg(target_os = "linux")]
        Tracking::Pagemap => match vat_image::Pagemap::probe() {
            Some(tracker) => Arc::new(tracker),
            None => best_tracker(),
        },
        #[cfg(not(target_os = "linux"))]
        Tracking::Pagemap => best_tracker(),
        Tracking::Compare => Arc::new(Compare),
    }
}

/// Resident vats take mappings, of which the system allows a process only so many.
fn warn_of_map_limit(resident_max: u64) {
    if let Some(budget) = vat_image::map_budget()
        && resident_max > budget.heaps()
    {
        tracing::warn!(
            resident_max,
            safe = budget.heaps(),
            "more vats may be resident than vm.max_map_count allows mappings for; run `sysctl vm.max_map_count={}`",
            budget.limit_for(resident_max)
        );
    }
}

impl Inner {
    pub(crate) fn births(&self) -> MutexGuard<'_, LruCache<ModuleHash, HeapState>> {
        self.births.lock().expect("no thread panicked while it held the cache of births")
    }

    pub(crate) fn names(&self) -> MutexGuard<'_, LruCache<VatName, VatId>> {
        self.names.lock().expect("no thread panicked while it held the cache of names")
    }

    pub(crate) fn steps(&self) -> std::sync::RwLockReadGuard<'_, ()> {
        self.steps.read().expect("no thread panicked between two steps of one change")
    }

    /// See [`Warehouse::commit`].
    pub(crate) fn commit(&self) -> Result<(), Error> {
        let _alone = self.steps_alone();
        if self.has(Canary::PointsBeforeSync) {
            self.snapshots.claim_synced();
        }
        let moved = self.snapshots.move_pointers()?;
        self.prune_behind(&moved)?;
        self.storage.commit()?;
        self.snapshots.committed();
        if self.storage.may_have_loose_spans() {
            self.snapshots.compress_soon();
        }
        Ok(())
    }

    pub(crate) fn steps_alone(&self) -> std::sync::RwLockWriteGuard<'_, ()> {
        self.steps.write().expect("no thread panicked between two steps of one change")
    }

    pub(crate) fn find(&self, name: &VatName) -> Result<VatId, Error> {
        if let Some(vat) = self.names().get(name) {
            return Ok(*vat);
        }
        let row = reader::find(&self.storage, name)?;
        self.names().put(name.clone(), row.id);
        Ok(row.id)
    }

    pub(crate) fn module(&self, hash: ModuleHash) -> Result<VatModule, Error> {
        self.engine.module_by_hash(&hash.0, || Ok(self.storage.module(hash)?))
    }

    /// Pages a vat in behind a lock that was just taken, and makes it a lease.
    fn fill(self: Arc<Self>, vat: VatId, mut cell: CellGuard) -> Result<VatLease, Error> {
        match self.page_in_counted(vat) {
            Ok(resident) => {
                *cell = Some(resident);
                Ok(VatLease::new(self, vat, cell))
            }
            Err(error) => {
                drop(cell);
                self.residency.tidy(vat);
                Err(error)
            }
        }
    }

    /// Pages in, having made room first so that there are never more vats in memory than may be.
    pub(crate) fn page_in_counted(&self, vat: VatId) -> Result<Resident, Error> {
        self.residency.reserve();
        self.make_room();
        match self.page_in(vat) {
            Ok(resident) => {
                let bytes = self.measure(Some(&resident));
                self.residency.entered(vat, bytes);
                Ok(resident)
            }
            Err(error) => {
                self.residency.not_entered();
                Err(error)
            }
        }
    }
}
