//! A simulated host: a real warehouse on a disk that fails, beside what must be true of it.
//!
//! Invariant: `vats` is what the host has been told, `committed` what it must still know after a crash. Every answer is compared
//! with [`Steady`] as it comes; after every crash the set of vats, their positions and what they are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use vat_image::fault::{Failure, FaultyDisk};
use vat_warehouse::{
    Canary, Disk, Error, RestoreMethod, Tracking, VatName, VatStatus, Warehouse, WarehouseConfig,
};

use super::disk::{DurableLog, disk, lose_power};
use crate::scenario::{Observed, State};
use crate::steady::{Kind, Random, Script, Steady, code_cache, install};

/// Vats alive at the same time.
const VATS_MAX: usize = 6;

/// Steps told in a report.
const TRAIL: usize = 30;

/// A vat as its correspondent knows it.
#[derive(Debug, Clone)]
pub(crate) struct Vat {
    pub(super) script: Script,
    /// Deliveries that it had, its start being the first.
    pub(super) deliveries: u64,
}

/// Whether the host is run anew in each life, on disks that fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Luck {
    Bad,
    Good,
}

/// A vat as a crash must leave it.
#[derive(Debug, Clone)]
struct Durable {
    vat: Vat,
    /// Fewest deliveries that it may have then; more than that only if threads committed while others delivered.
    at_least: u64,
}

/// What a simulation did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Summary {
    pub(crate) deliveries: u64,
    pub(crate) crashes: u64,
    /// Faults of the disk that were met.
    pub(crate) faults: u64,
    pub(crate) evictions: u64,
    pub(crate) replayed: u64,
}

impl Summary {
    pub(super) fn add(&mut self, other: Summary) {
        self.deliveries += other.deliveries;
        self.crashes += other.crashes;
        self.faults += other.faults;
        self.evictions += other.evictions;
        self.replayed += other.replayed;
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(super) random: Random,
    steady: Rc<RefCell<Steady>>,
    dir: TempDir,
    luck: Luck,
    canary: Option<Canary>,
    warehouse: Option<Warehouse>,
    disk: Arc<FaultyDisk>,
    /// The operation that fails, if one does.
    fails_at: Option<u64>,
    pub(crate) vats: BTreeMap<VatName, Vat>,
    committed: BTreeMap<VatName, Durable>,
    log: Option<DurableLog>,
    /// Whether files were damaged behind the host's back, so that it may have to fall back.
    is_damaged: bool,
    named: u64,
    /// What was done, for a report.
    trail: Vec<String>,
    pub(crate) summary: Summary,
}

impl World {
    pub(super) fn new(seed: u64, canary: Option<Canary>) -> Result<World> {
        let steady = Rc::new(RefCell::new(Steady::new()));
        World::begin(steady, seed, Luck::Bad, canary, (Arc::new(FaultyDisk::new()), None))
    }

    /// A host that is always run in the same way, on a disk of which at most one operation fails.
    pub(crate) fn plain(steady: Rc<RefCell<Steady>>, failure: Option<(u64, Failure)>) -> Result<World> {
        let disk = failure.map_or_else(FaultyDisk::new, |(at, failure)| FaultyDisk::failing(at, failure));
        World::begin(steady, 7, Luck::Good, None, (Arc::new(disk), failure.map(|(at, _)| at)))
    }

    fn begin(
        steady: Rc<RefCell<Steady>>,
        seed: u64,
        luck: Luck,
        canary: Option<Canary>,
        (disk, fails_at): (Arc<FaultyDisk>, Option<u64>),
    ) -> Result<World> {
        let mut world = World {
            random: Random::new(seed),
            steady,
            dir: tempfile::tempdir()?,
            luck,
            canary,
            warehouse: None,
            disk,
            fails_at,
            vats: BTreeMap::new(),
            committed: BTreeMap::new(),
            log: None,
            is_damaged: false,
            named: 0,
            trail: Vec::new(),
            summary: Summary::default(),
        };
        world.open()?;
        let installed = install(world.warehouse()).and_then(|()| world.warehouse().commit());
        if world.allow("install", installed)?.is_none() {
            install(world.warehouse())?;
            world.warehouse().commit()?;
        }
        world.log = Some(DurableLog::now(world.dir.path()));
        Ok(world)
    }

    pub(crate) fn warehouse(&self) -> &Warehouse {
        self.warehouse.as_ref().expect("open between two steps")
    }

    /// Whether the disk failed, so that errors are expected.
    fn has_failed(&self) -> bool {
        self.fails_at.is_some_and(|at| self.disk.operations() > at)
    }

    /// An error of the host is a finding, unless the disk failed; then the host crashes.
    pub(super) fn allow<T>(&mut self, what: &str, result: Result<T, Error>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            // What a replay says is never the disk's fault.
            Err(error @ (Error::Diverged { .. } | Error::Quarantined { .. })) => {
                Err(error).with_context(|| what.to_owned())
            }
            Err(_) if self.has_failed() => {
                self.summary.faults += 1;
                self.crash()?;
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| format!("{what}, and the disk did not fail")),
        }
    }

    /// How the host is run from now on.
    fn config(&mut self, disk: Arc<dyn Disk>) -> WarehouseConfig {
        if self.luck == Luck::Good {
            return WarehouseConfig {
                resident_max: NonZeroUsize::new(2).expect("not zero"),
                snapshot_interval: 3,
                check_one_in: 1,
                segment_bytes: 128 << 10,
                code_cache: Some(code_cache()),
                disk,
                ..WarehouseConfig::default()
            };
        }
        let random = &mut self.random;
        let count = |random: &mut Random, below| {
            NonZeroUsize::new(1 + usize::try_from(random.below(below)).unwrap()).unwrap()
        };
        WarehouseConfig {
            resident_max: count(random, 4),
            resident_bytes_max: random.pick(&[None, None, Some(200_000)]),
            page_ins_max: count(random, 3),
            snapshot_interval: random.pick(&[1, 3, 7, 1_000]),
            recent_states_max: count(random, 8),
            check_one_in: random.pick(&[0, 1, 4]),
            segment_bytes: random.pick(&[64 << 10, 512 << 10, 256 << 20]),
            restore: random.pick(&[RestoreMethod::Map, RestoreMethod::Map, RestoreMethod::Copy]),
            tracking: random.pick(&[Tracking::Best, Tracking::Pagemap, Tracking::Compare]),
            code_cache: Some(code_cache()),
            disk,
            canary: self.canary,
            ..WarehouseConfig::default()
        }
    }

    fn open_with(&mut self, disk: Arc<FaultyDisk>) -> Result<Warehouse, Error> {
        let config = self.config(disk);
        Warehouse::open(self.dir.path(), config)
    }

    /// The machine stops where the disk did: at once.
    pub(crate) fn crash_if_stopped(&mut self) -> Result<()> {
        if self.has_failed() && self.luck == Luck::Good { self.crash() } else { Ok(()) }
    }

    /// Operations of the disk so far.
    pub(crate) fn operations(&self) -> u64 {
        self.disk.operations()
    }

    /// Where the host keeps everything.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The vats that a crash must leave, and how many deliveries each has.
    pub(crate) fn durable(&self) -> BTreeMap<VatName, (Script, u64)> {
        let short = |durable: &Durable| (durable.vat.script.clone(), durable.vat.deliveries);
        self.committed.iter().map(|(name, durable)| (name.clone(), short(durable))).collect()
    }

    /// Opens what a crash or a clean end left, on a disk that will fail or not.
    fn reopen(&mut self) -> Result<()> {
        (self.disk, self.fails_at) = match self.luck {
            Luck::Bad => disk(&mut self.random),
            Luck::Good if !self.has_failed() => (Arc::clone(&self.disk), self.fails_at),
            Luck::Good => (Arc::new(FaultyDisk::new()), None),
        };
        self.open()
    }

    fn open(&mut self) -> Result<()> {
        let opened = match self.open_with(Arc::clone(&self.disk)) {
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
        self.log = Some(DurableLog::now(self.dir.path()));
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
        if self.allow("commit", committed)?.is_some() {
            self.is_committed();
        }
        Ok(())
    }

    fn is_committed(&mut self) {
        let durable = |vat: &Vat| Durable { vat: vat.clone(), at_least: vat.deliveries };
        self.committed = self.vats.iter().map(|(name, vat)| (name.clone(), durable(vat))).collect();
        self.log = Some(DurableLog::now(self.dir.path()));
    }

    /// Several threads deliver, each to vats of its own; another commits, evicts and compacts meanwhile.
    pub(super) fn burst(&mut self) -> Result<()> {
        self.commit(Warehouse::commit)?;
        let threads = 2 + usize::try_from(self.random.below(2))?;
        let each = 1 + self.random.below(6);
        let mut shares: Vec<Vec<(VatName, Vat, Vec<Observed>)>> = vec![Vec::new(); threads];
        for (n, (name, vat)) in self.vats.iter().enumerate() {
            let positions = vat.deliveries..vat.deliveries + each;
            let mut steady = self.steady.borrow_mut();
            let expected = positions.map(|position| steady.observed(&vat.script, position).clone()).collect();
            shares[n % threads].push((name.clone(), vat.clone(), expected));
        }
        let disturbance = self.random.below(4);
        let warehouse = self.warehouse();
        let results: Vec<Result<u64, Failed>> = std::thread::scope(|scope| {
            let workers: Vec<_> =
                shares.iter().map(|share| scope.spawn(move || deliver_all(warehouse, share, each))).collect();
            for _ in 0..each {
                // What goes wrong here goes wrong on the threads, too, or with the next commit.
                let _ = match disturbance {
                    0 => warehouse.commit(),
                    1 => warehouse.evict_all(),
                    2 => warehouse.compact().map(drop),
                    _ => warehouse.checkpoint(),
                };
            }
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|_| Err(Failed::Panicked)))
                .collect()
        });
        // Which of these deliveries were committed, only the threads' schedule knows.
        if disturbance == 0 || disturbance == 3 {
            self.log = None;
            for (name, durable) in &mut self.committed {
                durable.vat.deliveries = self.vats[name].deliveries + each;
            }
        }
        for result in results {
            match result {
                Ok(delivered) => self.summary.deliveries += delivered,
                Err(Failed::Host(error)) => return self.allow("a burst", Err::<(), _>(error)).map(drop),
                Err(Failed::Differs(what)) => bail!("in a burst: {what}"),
                Err(Failed::Panicked) => bail!("a thread panicked"),
            }
        }
        self.vats.values_mut().for_each(|vat| vat.deliveries += each);
        Ok(())
    }

    /// Everything is made durable, and the host ends and begins again.
    pub(crate) fn restart(&mut self) -> Result<()> {
        let crashes = self.summary.crashes;
        self.commit(Warehouse::checkpoint)?;
        if self.summary.crashes != crashes {
            return Ok(());
        }
        self.look_back()?;
        drop(self.warehouse.take());
        self.reopen()?;
        self.check_all()
    }

    /// The power fails, and the host begins again.
    pub(crate) fn crash(&mut self) -> Result<()> {
        self.summary.crashes += 1;
        self.look_back()?;
        let warehouse = self.warehouse.take().expect("open between two steps");
        lose_power(warehouse, self.dir.path(), &self.disk, self.log.as_ref(), &mut self.random)?;
        self.reopen()?;
        self.take_back()?;
        self.check_some()
    }

    /// A crash, after which part of the page store is gone.
    pub(super) fn damage(&mut self) -> Result<()> {
        let pages = self.dir.path().join("pages");
        self.is_damaged = true;
        let mut files: Vec<_> = fs::read_dir(&pages)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        // The host must not have them mapped when they are cut.
        self.look_back()?;
        drop(self.warehouse.take());
        for file in files.iter().filter(|file| file.exists()) {
            let bytes = fs::metadata(file)?.len();
            let left = self.random.below(bytes + 1);
            fs::OpenOptions::new().write(true).open(file)?.set_len(left)?;
        }
        self.disk = Arc::new(FaultyDisk::new());
        self.reopen()?;
        self.take_back()?;
        self.check_some()
    }

    /// What was delivered and not committed is forgotten; the host must have done the same.
    fn take_back(&mut self) -> Result<()> {
        let rows = self.warehouse().storage().vats()?;
        let alive = rows.iter().filter(|row| matches!(row.status, VatStatus::Alive));
        let mut found: BTreeMap<VatName, u64> =
            alive.map(|row| Ok((row.name.parse()?, row.next_position.0))).collect::<Result<_>>()?;
        let mut vats = BTreeMap::new();
        for (name, Durable { vat, at_least }) in &self.committed {
            let Some(deliveries) = found.remove(name) else { bail!("{name} was committed, and is lost") };
            ensure!(
                (*at_least..=vat.deliveries).contains(&deliveries),
                "{name} has {deliveries} deliveries; {at_least} to {} were committed",
                vat.deliveries
            );
            vats.insert(name.clone(), Vat { deliveries, ..vat.clone() });
        }
        ensure!(found.is_empty(), "never committed, or terminated, and there: {found:?}");
        self.vats = vats;
        self.is_committed();
        Ok(())
    }

    fn check_some(&mut self) -> Result<()> {
        match self.some_vat() {
            Some(name) => self.check(&name),
            None => Ok(()),
        }
    }

    fn check_all(&mut self) -> Result<()> {
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
    fn look_back(&mut self) -> Result<()> {
        let stats = self.warehouse().stats();
        self.summary.evictions += stats.evictions;
        self.summary.replayed += stats.replayed;
        ensure!(stats.disagreements == 0, "the tracker missed a page");
        ensure!(stats.quarantined == 0, "a vat was quarantined");
        ensure!(
            self.is_damaged || stats.fallbacks == 0,
            "a snapshot was not there: {} fallbacks",
            stats.fallbacks
        );
        Ok(())
    }

    /// The end: everything at rest is whole, and every vat is what a replay from birth makes.
    pub(crate) fn finish(mut self) -> Result<Summary> {
        self.restart()?;
        if self.fails_at.is_some() {
            // The verdict is not the disk's.
            let warehouse = self.warehouse.take().expect("open between two steps");
            lose_power(warehouse, self.dir.path(), &self.disk, self.log.as_ref(), &mut self.random)?;
            (self.disk, self.fails_at) = (Arc::new(FaultyDisk::new()), None);
            self.warehouse = Some(self.open_with(Arc::clone(&self.disk))?);
            self.take_back()?;
        }
        self.check_all()?;
        for name in self.vats.keys() {
            let verdict = self.warehouse().verify(name)?.verdict;
            ensure!(verdict.is_identical(), "{name}: a replay from birth is {verdict}");
        }
        let damaged = self.warehouse().scrub(|_, _| {})?.damaged;
        ensure!(self.is_damaged || damaged.is_empty(), "at rest: {damaged:?}");
        self.look_back()?;
        Ok(self.summary)
    }
}

/// Why a thread of a burst gave up.
#[derive(Debug)]
enum Failed {
    Host(Error),
    Differs(String),
    Panicked,
}

/// Delivers in turn to all vats of a share.
fn deliver_all(
    warehouse: &Warehouse,
    share: &[(VatName, Vat, Vec<Observed>)],
    each: u64,
) -> Result<u64, Failed> {
    let mut delivered = 0;
    for turn in 0..each {
        for (name, vat, expected) in share {
            let position = vat.deliveries + turn;
            let observed = vat.script.deliver(warehouse, name, position).map_err(Failed::Host)?;
            let expected = &expected[usize::try_from(turn).expect("few turns")];
            if observed != *expected {
                return Err(Failed::Differs(format!(
                    "{name}, delivery {position}: {observed:?} for {expected:?}"
                )));
            }
            delivered += 1;
        }
    }
    Ok(delivered)
}
