//! A simulated host: a real warehouse on a disk that fails, beside what must be true of it.
//!
//! Invariant: `vats` is what the host has been told, `committed` what it must still know after a crash. Every answer is compared
//! with [`Steady`] as it comes; after every crash the set of vats, their positions and what they are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use vat_image::fault::{Failure, FaultyDisk};
use vat_warehouse::{Canary, Error, Retention, SpanContent, VatName, Warehouse};

use super::disk::{DurableLog, disk, lose_power};
use super::power::is_clear;
use super::store_disk::{StoreDisk, StoreFailure};
use super::summary::Summary;
use crate::scenario::State;
use crate::steady::{Kind, Random, Script, Steady, install};

/// Vats alive at the same time.
const VATS_MAX: usize = 6;

/// Steps told in a report.
const TRAIL: usize = 30;

/// What hosts keep of transcripts, at least.
const FLOORS: [Retention; 5] =
    [Retention::Debug, Retention::Archival, Retention::Archival, Retention::Replay, Retention::Operational];

/// A vat as its correspondent knows it.
#[derive(Debug, Clone)]
pub(crate) struct Vat {
    pub(super) script: Script,
    /// Deliveries that it had, its start being the first.
    pub(super) deliveries: u64,
}

/// Whether the host is run anew in each life, on disks that fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Luck {
    Bad,
    Good,
}

/// A vat as a crash must leave it.
#[derive(Debug, Clone)]
pub(super) struct Durable {
    pub(super) vat: Vat,
    /// Fewest deliveries that it may have then; more than that only if threads committed while others delivered.
    pub(super) at_least: u64,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(super) random: Random,
    pub(super) steady: Rc<RefCell<Steady>>,
    pub(super) home: TempDir,
    /// The data directory: an import makes another one.
    pub(super) dir: PathBuf,
    pub(super) luck: Luck,
    pub(super) canary: Option<Canary>,
    pub(super) warehouse: Option<Warehouse>,
    pub(super) disk: Arc<FaultyDisk>,
    /// The operation that fails, if one does.
    pub(super) fails_at: Option<u64>,
    /// What fails below SQLite, if that does.
    pub(super) store_disk: Option<Arc<StoreDisk>>,
    pub(crate) vats: BTreeMap<VatName, Vat>,
    pub(super) committed: BTreeMap<VatName, Durable>,
    /// What a commit that failed would have made durable: its last sync may have failed when all was written.
    pub(super) attempted: Option<BTreeMap<VatName, Durable>>,
    pub(super) log: Option<DurableLog>,
    /// Whether files were damaged behind the host's back, so that it may have to fall back.
    pub(super) is_damaged: bool,
    /// The least that this host keeps of transcripts when the seed says so.
    pub(super) floor: Retention,
    /// The least that it was told to keep so far: what is below may be gone.
    pub(super) kept: Retention,
    /// Whether it came by archives that had not all entries: then nobody knows the hash of a whole transcript, and signs it.
    pub(super) is_unsigned: bool,
    named: u64,
    /// What was done, for a report.
    trail: Vec<String>,
    pub(crate) summary: Summary,
}

impl World {
    pub(super) fn new(seed: u64, canary: Option<Canary>) -> Result<World> {
        let steady = Rc::new(RefCell::new(Steady::new()));
        World::begin(steady, seed, Luck::Bad, canary, (Arc::new(FaultyDisk::new()), None), None)
    }

    /// A host that is always run in the same way, on a disk of which at most one operation fails.
    pub(crate) fn plain(steady: Rc<RefCell<Steady>>, failure: Option<(u64, Failure)>) -> Result<World> {
        let disk = failure.map_or_else(FaultyDisk::new, |(at, failure)| FaultyDisk::failing(at, failure));
        World::begin(steady, 7, Luck::Good, None, (Arc::new(disk), failure.map(|(at, _)| at)), None)
    }

    /// A host that is always run in the same way, on a disk that fails below SQLite.
    pub(crate) fn on_store_disk(steady: Rc<RefCell<Steady>>, failure: StoreFailure) -> Result<World> {
        World::begin(steady, 7, Luck::Good, None, (Arc::new(FaultyDisk::new()), None), Some(failure))
    }

    fn begin(
        steady: Rc<RefCell<Steady>>,
        seed: u64,
        luck: Luck,
        canary: Option<Canary>,
        (disk, fails_at): (Arc<FaultyDisk>, Option<u64>),
        store: Option<StoreFailure>,
    ) -> Result<World> {
        let home = tempfile::tempdir()?;
        let dir = home.path().join("data");
        let store_disk = store.map(|failure| StoreDisk::below(&dir, failure)).transpose()?;
        let mut random = Random::new(seed);
        let floor = match luck {
            Luck::Good => Retention::default(),
            Luck::Bad => random.pick(&FLOORS),
        };
        let mut world = World {
            random,
            steady,
            home,
            dir,
            luck,
            canary,
            warehouse: None,
            disk,
            fails_at,
            store_disk,
            vats: BTreeMap::new(),
            committed: BTreeMap::new(),
            attempted: None,
            log: None,
            is_damaged: false,
            floor,
            kept: Retention::Debug,
            is_unsigned: false,
            named: 0,
            trail: Vec::new(),
            summary: Summary::default(),
        };
        world.open()?;
        world.install()?;
        Ok(world)
    }

    /// Installs all modules, however often the disk fails meanwhile.
    pub(super) fn install(&mut self) -> Result<()> {
        loop {
            let installed = install(self.warehouse()).and_then(|()| self.warehouse().commit());
            if self.allow("install", installed)?.is_some() {
                self.is_committed();
                return Ok(());
            }
        }
    }

    pub(crate) fn warehouse(&self) -> &Warehouse {
        self.warehouse.as_ref().expect("open between two steps")
    }

    /// Whether that failed which is below SQLite.
    fn store_has_failed(&self) -> bool {
        self.store_disk.as_ref().is_some_and(|disk| disk.has_failed())
    }

    /// No further operation of SQLite fails.
    pub(super) fn mend_store_disk(&mut self) {
        self.store_disk = None;
    }

    /// Operations of SQLite so far, on a disk that counts them.
    pub(crate) fn store_operations(&self) -> u64 {
        self.store_disk.as_ref().map_or(0, |disk| disk.operations())
    }

    /// Whether a disk failed, so that errors are expected.
    pub(super) fn has_failed(&self) -> bool {
        self.fails_at.is_some_and(|at| self.disk.operations() > at) || self.store_has_failed()
    }

    /// An error of the host is a finding, unless the disk failed; then the host crashes.
    pub(super) fn allow<T>(&mut self, what: &str, result: Result<T, Error>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            // What a replay says is never the disk's fault.
            Err(error @ (Error::Diverged { .. } | Error::Quarantined { .. })) => {
                Err(error).with_context(|| what.to_owned())
            }
            Err(error) if self.store_has_failed() => {
                self.summary.faults += 1;
                self.go_on_after(&error)?;
                Ok(None)
            }
            Err(_) if self.has_failed() => {
                self.summary.faults += 1;
                self.crash()?;
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| format!("{what}, and the disk did not fail")),
        }
    }

    pub(super) fn open_with(&mut self, disk: Arc<FaultyDisk>) -> Result<Warehouse, Error> {
        let config = self.config(disk);
        Warehouse::open(&self.dir, config)
    }

    /// Operations of the disk so far.
    pub(crate) fn operations(&self) -> u64 {
        self.disk.operations()
    }

    /// Where the host keeps everything.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The vats that a crash must leave, and how many deliveries each has.
    pub(crate) fn durable(&self) -> BTreeMap<VatName, (Script, u64)> {
        let short = |durable: &Durable| (durable.vat.script.clone(), durable.vat.deliveries);
        self.committed.iter().map(|(name, durable)| (name.clone(), short(durable))).collect()
    }

    /// Opens what a crash or a clean end left, on a disk that will fail or not.
    pub(super) fn reopen(&mut self) -> Result<()> {
        (self.disk, self.fails_at) = match self.luck {
            Luck::Bad => disk(&mut self.random),
            Luck::Good if !self.has_failed() => (Arc::clone(&self.disk), self.fails_at),
            Luck::Good => (Arc::new(FaultyDisk::new()), None),
        };
        self.open()
    }

    pub(super) fn open(&mut self) -> Result<()> {
        let opened = match self.open_with(Arc::clone(&self.disk)) {
            Err(error) if self.store_has_failed() => {
                self.summary.faults += 1;
                is_clear(&error)?;
                self.mend_store_disk();
                self.open_with(Arc::clone(&self.disk))
            }
            Err(error) if self.has_failed() => {
                self.summary.faults += 1;
                drop(error);
                self.disk.lose_power(self.random.next())?;
                (self.disk, self.fails_at) = (Arc::new(FaultyDisk::new()), None);
                self.open_with(Arc::clone(&self.disk))
            }
            opened => opened,
        };
        self.warehouse = Some(opened.context("the store does not open")?);
        self.log = Some(DurableLog::now(&self.dir));
        Ok(())
    }

    pub(super) fn did(&mut self, what: &str, name: &VatName) {
        let at = self.vats.get(name).map(|vat| vat.deliveries);
        self.trail.push(format!("{what} {name} {at:?}"));
    }

    /// The last things that were done.
    pub(super) fn trail(&self) -> String {
        let from = self.trail.len().saturating_sub(TRAIL);
        let damaged = if self.is_damaged { ", after damage" } else { "" };
        format!("after {} steps{damaged}: … {}", self.trail.len(), self.trail[from..].join(", "))
    }

    fn new_name(&mut self) -> VatName {
        self.named += 1;
        format!("vat-{}", self.named).parse().expect("fit for a vat")
    }

    pub(super) fn some_vat(&mut self) -> Option<VatName> {
        let count = self.vats.len() as u64;
        let nth = if count == 0 { return None } else { self.random.below(count) };
        self.vats.keys().nth(usize::try_from(nth).ok()?).cloned()
    }

    pub(crate) fn create(&mut self) -> Result<()> {
        if self.vats.len() >= VATS_MAX {
            return Ok(());
        }
        let name = self.new_name();
        let script = Script::new(self.random.pick(&Kind::ALL), self.random.next());
        self.vats.insert(name.clone(), Vat { script, deliveries: 0 });
        self.deliver(&name)
    }

    pub(crate) fn deliver(&mut self, name: &VatName) -> Result<()> {
        let Vat { script, deliveries } = self.vats[name].clone();
        let result = script.deliver(self.warehouse(), name, deliveries);
        let Some(observed) = self.allow("deliver", result)? else { return Ok(()) };
        let expected = self.steady.borrow_mut().observed(&script, deliveries).clone();
        ensure!(expected == observed, "{name}, delivery {deliveries}: {observed:?} instead of {expected:?}");
        self.vats.get_mut(name).expect("it was just there").deliveries += 1;
        self.summary.deliveries += 1;
        Ok(())
    }

    pub(crate) fn fork(&mut self, name: &VatName) -> Result<()> {
        if self.vats.len() >= VATS_MAX {
            return Ok(());
        }
        let new = self.new_name();
        let forked = self.warehouse().fork(name, &new);
        let Some(position) = self.allow("fork", forked)? else { return Ok(()) };
        let Vat { script, deliveries } = &self.vats[name];
        ensure!(position == *deliveries, "{new} begins at {position}, its parent is at {deliveries}");
        let script = script.forked(position, self.random.next());
        self.vats.insert(new, Vat { script, deliveries: position });
        Ok(())
    }

    pub(crate) fn terminate(&mut self, name: &VatName) -> Result<()> {
        let terminated = self.warehouse().terminate(name, "the simulation says so");
        if self.allow("terminate", terminated)?.is_some() {
            self.vats.remove(name);
        }
        Ok(())
    }

    /// Something that must not be noticed.
    pub(crate) fn disturb(&mut self, how: impl FnOnce(&Warehouse) -> Result<(), Error>) -> Result<()> {
        let done = how(self.warehouse());
        self.allow("a disturbance", done).map(drop)
    }

    pub(crate) fn commit(&mut self, how: impl FnOnce(&Warehouse) -> Result<(), Error>) -> Result<()> {
        let committed = how(self.warehouse());
        if committed.is_err() {
            self.attempted = Some(self.told());
        }
        if self.allow("commit", committed)?.is_some() {
            self.is_committed();
        }
        Ok(())
    }

    /// What a commit makes durable now.
    fn told(&self) -> BTreeMap<VatName, Durable> {
        let durable = |vat: &Vat| Durable { vat: vat.clone(), at_least: vat.deliveries };
        self.vats.iter().map(|(name, vat)| (name.clone(), durable(vat))).collect()
    }

    pub(super) fn is_committed(&mut self) {
        self.committed = self.told();
        self.attempted = None;
        self.log = Some(DurableLog::now(&self.dir));
    }

    pub(super) fn check_some(&mut self) -> Result<()> {
        match self.some_vat() {
            Some(name) => self.check(&name),
            None => Ok(()),
        }
    }

    pub(super) fn check_all(&mut self) -> Result<()> {
        let names: Vec<VatName> = self.vats.keys().cloned().collect();
        names.iter().try_for_each(|name| self.check(name))
    }

    /// The vat is what it must be.
    pub(super) fn check(&mut self, name: &VatName) -> Result<()> {
        let Some(Vat { script, deliveries }) = self.vats.get(name).cloned() else { return Ok(()) };
        let looked = State::of(self.warehouse(), name);
        let Some(state) = self.allow("look at a vat", looked)? else { return Ok(()) };
        let state = state.digest();
        let expected = self.steady.borrow_mut().state(&script, deliveries).clone();
        ensure!(
            state == expected,
            "{name} after {deliveries} deliveries is {state:?} instead of {expected:?}"
        );
        Ok(())
    }

    /// What this host counted before it ends.
    pub(super) fn look_back(&mut self) -> Result<()> {
        let stats = self.warehouse().stats();
        self.summary.evictions += stats.evictions;
        self.summary.replayed += stats.replayed;
        self.summary.pruned += self.pruned_spans();
        ensure!(stats.disagreements == 0, "the tracker missed a page");
        ensure!(stats.quarantined == 0, "a vat was quarantined");
        ensure!(
            self.is_damaged || stats.fallbacks == 0,
            "a snapshot was not there: {} fallbacks",
            stats.fallbacks
        );
        Ok(())
    }

    /// Spans of which only the hashes are left, as far as the store can be read.
    fn pruned_spans(&self) -> u64 {
        let storage = self.warehouse().storage();
        let rows = storage.vats().unwrap_or_default();
        let spans = rows.iter().flat_map(|row| storage.spans(row.id).unwrap_or_default());
        spans.filter(|span| span.content == SpanContent::Pruned).count() as u64
    }

    /// The end: everything at rest is whole, and every vat is what a replay from birth makes.
    pub(crate) fn finish(mut self) -> Result<Summary> {
        self.restart()?;
        self.mend_store_disk();
        if self.fails_at.is_some() {
            // The verdict is not the disk's.
            let warehouse = self.warehouse.take().expect("open between two steps");
            lose_power(warehouse, &self.dir, &self.disk, self.log.as_ref(), &mut self.random)?;
            (self.disk, self.fails_at) = (Arc::new(FaultyDisk::new()), None);
            self.warehouse = Some(self.open_with(Arc::clone(&self.disk))?);
            self.take_back()?;
        }
        self.check_all()?;
        self.verify_all()?;
        let damaged = self.warehouse().scrub(|_, _| {})?.damaged;
        ensure!(self.is_damaged || damaged.is_empty(), "at rest: {damaged:?}");
        self.look_back()?;
        Ok(self.summary)
    }
}
