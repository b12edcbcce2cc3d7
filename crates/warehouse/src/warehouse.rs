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
use std::thread::JoinHandle;

use lru::LruCache;
use tokio::sync::Semaphore;
use vat_abi::{CapData, Delivery, Outcome, TranscriptEntry};
use vat_engine::{Engine, EngineConfig, HeapState, SyscallHandler, VatInstance, VatModule};
use vat_image::{Compare, DirtyTracker, LayerLocation, PageStore, StoreOptions, best_tracker};
use vat_storage::{CrankRecord, ModuleHash, Position, Storage, VatId, VatRow};

use crate::config::{Tracking, WarehouseConfig};
use crate::error::Error;
use crate::lease::{Report, VatLease};
use crate::name::VatName;
use crate::options::{KeptOptions, VatOptions};
use crate::page_in::{check_alive, crank_context, decode_entry, kept_options};
use crate::recorder::Recorder;
use crate::replay::replay_delivery;
use crate::residency::{CellGuard, Residency, Resident};
use crate::snapshots::{Saved, Snapshots};
use crate::stats::{Counters, Stats};
use crate::verify::{Verdict, Verification, compare};

/// States after birth that are kept in memory.
const BIRTHS_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// Names whose ids are kept in memory.
const NAMES_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// Hosts the vats of one data directory. Cheap to clone; all clones are one warehouse.
#[derive(Debug, Clone)]
pub struct Warehouse {
    inner: Arc<Inner>,
    /// Ends the background thread when the last clone goes.
    _background: Arc<Background>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: WarehouseConfig,
    pub(crate) storage: Arc<Storage>,
    pub(crate) pages: PageStore,
    pub(crate) engine: Engine,
    pub(crate) residency: Residency,
    pub(crate) snapshots: Snapshots,
    pub(crate) counters: Arc<Counters>,
    tracker: Arc<dyn DirtyTracker>,
    births: Mutex<LruCache<ModuleHash, HeapState>>,
    names: Mutex<LruCache<VatName, VatId>>,
    /// Permits for page-ins.
    page_ins: Arc<Semaphore>,
    /// Held for reading by what must be committed together though it takes several steps; for writing by a commit.
    steps: RwLock<()>,
}

/// The thread that syncs the page store.
#[derive(Debug)]
struct Background {
    inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Background {
    fn drop(&mut self) {
        self.inner.snapshots.close();
        let thread = self.thread.get_mut().map(Option::take).unwrap_or_default();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread that syncs the page store panicked");
        }
    }
}

impl Warehouse {
    /// Opens the data directory, making it if it does not exist. No vat is loaded.
    ///
    /// # Errors
    /// If the directory is in use, damaged, of a newer version, or cannot be written.
    pub fn open(dir: &Path, config: WarehouseConfig) -> Result<Warehouse, Error> {
        std::fs::create_dir_all(dir).map_err(|source| Error::Directory { path: dir.to_owned(), source })?;
        Self::with_storage(Storage::open(dir)?, dir, config)
    }

    /// Opens a data directory that must exist.
    ///
    /// # Errors
    /// As [`Warehouse::open`], and if there is none.
    pub fn open_existing(dir: &Path, config: WarehouseConfig) -> Result<Warehouse, Error> {
        Self::with_storage(Storage::open_existing(dir)?, dir, config)
    }

    fn with_storage(storage: Storage, dir: &Path, config: WarehouseConfig) -> Result<Warehouse, Error> {
        let storage = Arc::new(storage);
        let live: Vec<LayerLocation> = storage
            .live_layers()?
            .into_iter()
            .map(|row| LayerLocation { segment: row.segment, offset: row.offset, bytes: row.bytes })
            .collect();
        let (pages, found) = PageStore::open(&dir.join("pages"), &live, StoreOptions::default())?;
        for missing in &found.missing {
            tracing::warn!(layer = %missing, "a layer is missing from the page store; its vats fall back and replay");
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
                config.recent_states_max,
            ),
            tracker: match config.tracking {
                Tracking::Best => best_tracker(),
                Tracking::Compare => Arc::new(Compare),
            },
            births: Mutex::new(LruCache::new(BIRTHS_MAX)),
            names: Mutex::new(LruCache::new(NAMES_MAX)),
            page_ins: Arc::new(Semaphore::new(config.page_ins_max.get())),
            steps: RwLock::new(()),
            counters,
            storage,
            pages,
            engine,
            config,
        });
        let syncing = Arc::clone(&inner);
        let thread = std::thread::Builder::new()
            .name("vat-pages".to_owned())
            .spawn(move || syncing.snapshots.run())
            .map_err(|source| Error::Directory { path: dir.to_owned(), source })?;
        let background = Background { inner: Arc::clone(&inner), thread: Mutex::new(Some(thread)) };
        Ok(Warehouse { inner, _background: Arc::new(background) })
    }

    /// Installs a module under a name: accepts it, compiles it, and saves its state after birth for all its vats.
    ///
    /// Installing the same bytes again is not an error.
    ///
    /// # Errors
    /// [`vat_engine::Error::Refused`] if no vat can be made of it; [`Error::DuplicateModule`] if the name is another's.
    pub fn install(&self, name: &str, wasm: &[u8]) -> Result<ModuleHash, Error> {
        let inner = &self.inner;
        let hash = ModuleHash::of(wasm);
        if inner.storage.module_by_name(name)?.is_some_and(|other| other != hash) {
            return Err(Error::DuplicateModule(name.to_owned()));
        }
        let module = inner.engine.module(wasm)?;
        let mut instance = VatInstance::birth(&inner.engine, &module, vat_engine::limits::MEMORY_PAGES_MAX)?;
        let _steps = inner.steps();
        inner.storage.put_module(hash, name, wasm)?;
        if inner.storage.module_row(hash)?.birth.is_none() {
            let birth = instance.capture(&inner.pages, inner.tracker.as_ref(), vat_image::Check::Always)?;
            inner.snapshots.sync()?;
            inner.snapshots.put_birth(hash, &birth.state)?;
            inner.births().put(hash, birth.state);
        }
        Ok(hash)
    }

    /// Makes a vat and delivers `startVat` to it.
    ///
    /// # Errors
    /// [`Error::DuplicateVat`], [`Error::UnknownModule`]; [`Error::StartFaulted`] if the vat's own start did not succeed. In any
    /// case there is then no such vat.
    pub fn create<H: SyscallHandler>(
        &self,
        name: &VatName,
        module: &str,
        options: VatOptions,
        args: CapData,
        time_ns: u64,
        handler: H,
    ) -> (Result<Report, Error>, H) {
        match self.inner.prepare_create(name, module, options) {
            Ok((hash, kept, instance)) => {
                let (started, handler) = self.inner.start(name, hash, kept, instance, args, time_ns, handler);
                self.inner.make_room();
                (started, handler)
            }
            Err(error) => (Err(error), handler),
        }
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

    /// Captures the vat's state and lets its memory go. Nothing happens if it is not in memory.
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
    /// If the disk refuses: everything since the last commit is lost, and the warehouse must be opened again.
    pub fn commit(&self) -> Result<(), Error> {
        let _alone = self.inner.steps.write().expect("no thread panicked between two steps of one change");
        self.inner.snapshots.move_pointers()?;
        Ok(self.inner.storage.commit()?)
    }

    /// Makes everything durable, snapshots too: what a clean end does.
    ///
    /// # Errors
    /// As [`Warehouse::commit`].
    pub fn checkpoint(&self) -> Result<(), Error> {
        self.inner.snapshots.sync()?;
        self.commit()
    }

    /// Closes without making anything durable that is not: what a crash of the process leaves. For tests and demonstrations.
    ///
    /// # Errors
    /// The warehouse itself, if clones or leases of it are still in use.
    pub fn abandon(self) -> Result<(), Warehouse> {
        let Warehouse { inner, _background } = self;
        let background = match Arc::try_unwrap(_background) {
            Ok(background) => background,
            Err(_background) => return Err(Warehouse { inner, _background }),
        };
        drop(background); // Joins the thread; the store's open transaction is rolled back with its connection.
        drop(inner);
        Ok(())
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
        self.inner.storage.vat_by_name(name.as_str())?.ok_or_else(|| Error::UnknownVat(name.to_string()))
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
        let row = self.vat(name)?;
        let entries = self.inner.storage.entries(row.id, Position(from), row.next_position);
        Ok(entries.map(move |recorded| {
            let (position, entry) = recorded?;
            Ok((position.0, decode_entry(&row, position, &entry)?))
        }))
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

impl Inner {
    pub(crate) fn births(&self) -> MutexGuard<'_, LruCache<ModuleHash, HeapState>> {
        self.births.lock().expect("no thread panicked while it held the cache of births")
    }

    fn names(&self) -> MutexGuard<'_, LruCache<VatName, VatId>> {
        self.names.lock().expect("no thread panicked while it held the cache of names")
    }

    fn steps(&self) -> std::sync::RwLockReadGuard<'_, ()> {
        self.steps.read().expect("no thread panicked between two steps of one change")
    }

    pub(crate) fn find(&self, name: &VatName) -> Result<VatId, Error> {
        if let Some(vat) = self.names().get(name) {
            return Ok(*vat);
        }
        let row = self.storage.vat_by_name(name.as_str())?.ok_or_else(|| Error::UnknownVat(name.to_string()))?;
        self.names().put(name.clone(), row.id);
        Ok(row.id)
    }

    pub(crate) fn module(&self, hash: ModuleHash) -> Result<VatModule, Error> {
        self.engine.module_by_hash(&hash.0, || Ok(self.storage.module(hash)?))
    }

    fn prepare_create(
        &self,
        name: &VatName,
        module: &str,
        options: VatOptions,
    ) -> Result<(ModuleHash, KeptOptions, VatInstance), Error> {
        let hash =
            self.storage.module_by_name(module)?.ok_or_else(|| Error::UnknownModule(module.to_owned()))?;
        if self.storage.vat_by_name(name.as_str())?.is_some() {
            return Err(Error::DuplicateVat(name.clone()));
        }
        let kept = KeptOptions::new(name, options);
        let instance = self.born(hash, &kept, &self.module(hash)?)?;
        Ok((hash, kept, instance))
    }

    /// Delivers `startVat`, and only then lets there be a vat.
    #[expect(clippy::too_many_arguments, reason = "all that a vat is made of, taken apart once")]
    fn start<H: SyscallHandler>(
        &self,
        name: &VatName,
        module: ModuleHash,
        kept: KeptOptions,
        mut instance: VatInstance,
        args: CapData,
        time_ns: u64,
        handler: H,
    ) -> (Result<Report, Error>, H) {
        // Ids begin at 1, so nothing is stored under 0: the storage of a vat that does not exist yet.
        let recorder = Recorder::new(VatId(0), Arc::clone(&self.storage), handler);
        let delivery = Delivery::StartVat(args);
        let context = crank_context(&kept, 0, 0, time_ns);
        let (ran, Recorder { writes, inner: handler, .. }) = instance.deliver(&delivery, &context, recorder);
        let started = ran.map_err(Error::from).and_then(|report| {
            if let Some(fault) = report.outcome.fault() {
                return Err(Error::StartFaulted { vat: name.clone(), fault: fault.clone() });
            }
            let entry = TranscriptEntry {
                delivery,
                time_ns,
                syscalls: report.syscalls,
                outcome: report.outcome,
                computrons: report.computrons,
            };
            let json = entry.try_to_json().map_err(|violation| Error::Unrecordable(violation.to_string()))?;
            let vatstore: Vec<_> = writes.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
            let steps = self.steps();
            let vat = self.storage.create_vat(name.as_str(), module, &kept.encode()).map_err(|error| match error {
                vat_storage::Error::Duplicate { .. } => Error::DuplicateVat(name.clone()),
                other => other.into(),
            })?;
            self.storage.append_crank(&CrankRecord { vat, entry: json.as_bytes(), vatstore: &vatstore })?;
            drop(steps);
            self.counters.deliveries.add(1);
            self.enter(vat, name, Resident { instance, kept, incarnation: 0, next: 1, captured: 0 });
            Ok(Report { position: 0, outcome: Outcome::Delivered, computrons: entry.computrons, syscalls: entry.syscalls })
        });
        (started, handler)
    }

    /// Puts a vat that was just made into its cell.
    fn enter(&self, vat: VatId, name: &VatName, resident: Resident) {
        self.residency.reserve();
        let bytes = self.measure(Some(&resident));
        // Nobody can know the vat yet, so its cell is free.
        *self.residency.try_lock(vat).expect("the cell of a new vat is free") = Some(resident);
        self.residency.entered(vat, bytes);
        self.names().put(name.clone(), vat);
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

    /// Evicts the least recently used vats while there are more in memory than there may be. Leased ones are passed over.
    pub(crate) fn make_room(&self) {
        let mut batch = 4;
        loop {
            let victims = self.residency.victims(batch);
            let all = victims.len() < batch;
            let mut evicted = 0;
            for vat in victims {
                if !self.residency.is_over() {
                    return;
                }
                let Some(cell) = self.residency.try_lock_resident(vat) else { continue };
                match self.evict(vat, cell) {
                    Ok(()) => evicted += 1,
                    Err(error) => tracing::error!(%vat, %error, "the vat could not be evicted and stays in memory"),
                }
                self.residency.tidy(vat);
            }
            if evicted == 0 && all {
                return; // All that is left is leased, or cannot be captured.
            }
            if evicted == 0 {
                batch *= 4;
            }
        }
    }

    /// Captures what changed, then drops the instance.
    fn evict(&self, vat: VatId, mut cell: CellGuard) -> Result<(), Error> {
        let Some(resident) = cell.as_mut() else { return Ok(()) };
        if resident.captured != resident.next {
            self.capture(vat, resident)?;
        }
        *cell = None;
        self.residency.left(vat);
        self.counters.evictions.add(1);
        Ok(())
    }

    /// Captures the state between two deliveries.
    pub(crate) fn capture(&self, vat: VatId, resident: &mut Resident) -> Result<(), Error> {
        let nth = self.counters.captures.add(1);
        let captured = resident.instance.capture(&self.pages, self.tracker.as_ref(), self.config.check(nth + 1))?;
        self.counters.pages_written.add(captured.stats.written.into());
        if captured.stats.disagreement {
            self.counters.disagreements.add(1);
            tracing::error!(%vat, tracker = self.tracker.name(), "the dirty-page tracker missed a page; the heap was saved whole");
        }
        resident.captured = resident.next;
        let saved = Saved { position: resident.next, incarnation: resident.incarnation, state: captured.state };
        self.snapshots.save(vat, saved);
        Ok(())
    }

    /// Captures a vat that stays resident, so that a crash replays a bounded number of deliveries.
    pub(crate) fn capture_if_due(&self, vat: VatId, resident: &mut Resident) {
        if resident.next - resident.captured < self.config.snapshot_interval {
            return;
        }
        if let Err(error) = self.capture(vat, resident) {
            // The delivery itself is recorded; only the replay after a crash is longer.
            tracing::error!(%vat, %error, "the vat could not be snapshotted");
        }
    }

    /// Bytes that a resident vat has for itself. Measured only where a limit needs it.
    pub(crate) fn measure(&self, resident: Option<&Resident>) -> u64 {
        let (Some(resident), Some(_)) = (resident, self.config.resident_bytes_max) else { return 0 };
        self.own_bytes(resident)
    }

    fn own_bytes(&self, resident: &Resident) -> u64 {
        let heap = resident.instance.heap();
        match self.tracker.dirty(heap, resident.instance.mapped()) {
            Ok(dirty) => u64::from(dirty.len()) * vat_image::PAGE_BYTES as u64,
            Err(_) => heap.len() as u64, // The cautious answer.
        }
    }

    /// See [`Warehouse::verify`].
    pub(crate) fn verify(&self, vat: VatId, resident: &mut Resident) -> Result<Verification, Error> {
        let row = self.storage.vat(vat)?;
        check_alive(&row)?;
        let kept = kept_options(&row)?;
        let module = self.module(row.module)?;
        let mut replayed = VatInstance::birth(&self.engine, &module, kept.options.memory_pages_max)?;
        let mut verification =
            Verification { deliveries: 0, computrons: 0, heap_bytes: 0, verdict: Verdict::Identical };
        for recorded in self.storage.entries(vat, Position(0), Position(resident.next)) {
            let (position, entry) = recorded?;
            let entry = decode_entry(&row, position, &entry)?;
            let context = crank_context(&kept, row.incarnation.0, position.0, entry.time_ns);
            let divergence = if entry.outcome.fault().is_some() {
                let mut copy = replayed.duplicate(&self.engine)?;
                replay_delivery(&mut copy, position.0, &entry, &context)?
            } else {
                replay_delivery(&mut replayed, position.0, &entry, &context)?
            };
            verification.deliveries += 1;
            verification.computrons = verification.computrons.saturating_add(entry.computrons.0);
            if let Some(divergence) = divergence {
                verification.verdict = Verdict::Diverged(divergence);
                return Ok(verification);
            }
        }
        verification.heap_bytes = resident.instance.heap().len() as u64;
        verification.verdict = compare(&mut resident.instance, &mut replayed);
        Ok(verification)
    }

    fn stats(&self) -> Stats {
        let occupancy = self.residency.occupancy();
        let (code_bytes, modules_in_memory) = self.engine.code_in_memory();
        let mut resident_bytes = 0;
        for vat in self.residency.resident() {
            if let Some(cell) = self.residency.try_lock_resident(vat) {
                resident_bytes += cell.as_ref().map_or(0, |resident| self.own_bytes(resident));
            }
            self.residency.tidy(vat);
        }
        let count = &self.counters;
        Stats {
            resident_vats: occupancy.vats,
            resident_bytes,
            modules_in_memory,
            code_bytes,
            deliveries: count.deliveries.get(),
            faults: count.faults.get(),
            page_ins: count.page_ins.get(),
            replayed: count.replayed.get(),
            evictions: count.evictions.get(),
            captures: count.captures.get(),
            pages_written: count.pages_written.get(),
            fallbacks: count.fallbacks.get(),
            disagreements: count.disagreements.get(),
            quarantined: count.quarantined.get(),
            merges: count.merges.get(),
            syncs: count.syncs.get(),
        }
    }
}
