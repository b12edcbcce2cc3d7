//! `vats demo`: thousands of vats, few of them in memory, a crash in the middle, and the proof that nobody could tell.
//!
//! ```text
//!   install, create ──► messages, committed in blocks ──► messages, not committed ──► crash
//!                                                                                       │
//!   verdict ◄── replay a sample from birth ◄── more messages ◄── nothing lost? ◄── reopen
//! ```
//!
//! Three things are checked. Every answer is what a model of the vat, kept here, says it must be. After the crash every vat
//! has exactly the deliveries that were committed: none is lost, and none of the others is there. And a replay from birth gives the same
//! syscalls, outcomes, computrons and heap bytes as were stored.
//!
//! All that is sent follows from the seed, and the cranks' times are counted, not read from a clock; what is measured is printed
//! and reaches no vat.

pub(crate) mod fleet;
pub(crate) mod memory;
mod popularity;
pub(crate) mod random;
mod report;
mod script;
pub(crate) mod shard;

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use vat_warehouse::{VatName, Warehouse, WarehouseConfig};

use self::fleet::Modules;
use self::report::Report;
use self::shard::{Commits, Shard, Tally};
use crate::args::{Demo, Sample};
use crate::command::{Checked, check};
use crate::context::Context;
use crate::parallel;
use crate::progress;

/// Threads that deliver; each has vats of its own, so that a vat's messages have one order. Not as many as there are
/// processors: what is sent would then depend on the machine.
const SHARDS: usize = 2;

/// Cranks that are made durable together.
const CRANKS_PER_COMMIT: u64 = 1_000;

/// Messages that are delivered, but not committed, before the crash; fewer in a small demo.
const UNCOMMITTED_MAX: u64 = 1_000;

pub(crate) fn run(context: &Context, args: &Demo) -> Result<()> {
    let place = Place::new(context)?;
    let modules = Modules::built(&context.out)?;
    let demo = Run { context, args, data: place.path(), crashed: None };
    let report = demo.whole(&modules)?;
    context.out.result(&report, || report.json())?;
    for difference in report.differences.iter().take(report::DIFFERENCES_SHOWN) {
        context.out.note(difference);
    }
    if let Place::Given(path) = &place {
        context.out.note(format_args!("the vats are still there: vats --data {} list", path.display()));
    }
    match report.differences.len() {
        0 => Ok(()),
        differences => bail!("the demo found {differences} differences"),
    }
}

/// Where the demo's vats are.
#[derive(Debug)]
pub(crate) enum Place {
    /// Where `--data` says; they stay.
    Given(std::path::PathBuf),
    /// In a directory that is removed at the end.
    Temporary(TempDir),
}

impl Place {
    /// `VATS_DATA` and the default directory are somebody's own vats, and not for this.
    pub(crate) fn new(context: &Context) -> Result<Place> {
        let Some(given) = context.given.clone() else {
            let dir = tempfile::Builder::new().prefix("vats-demo-").tempdir();
            return Ok(Place::Temporary(dir.context("cannot make a temporary directory")?));
        };
        let is_empty = match std::fs::read_dir(&given) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        ensure!(is_empty, "this needs an empty directory, which {} is not", given.display());
        Ok(Place::Given(given))
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Place::Given(path) => path,
            Place::Temporary(dir) => dir.path(),
        }
    }
}

/// A run of the demo.
#[derive(Debug)]
struct Run<'a> {
    context: &'a Context,
    args: &'a Demo,
    data: &'a Path,
    /// What the warehouse before the crash had counted.
    crashed: Option<vat_warehouse::Stats>,
}

impl Run<'_> {
    fn whole(mut self, modules: &Modules) -> Result<Report> {
        let start = Instant::now();
        let messages = self.args.messages;
        let warehouse = Warehouse::open(self.data, self.config())?;
        modules.install(&warehouse)?;
        let mut shards = Shard::all(self.args.seed, self.args.vats, SHARDS, modules);
        let creating = self.create(&warehouse, &mut shards)?;

        let before_crash = messages - messages / 5;
        let (mut tally, mut delivering) =
            self.deliver(&warehouse, &mut shards, before_crash, "delivering")?;
        let uncommitted = self.crash(warehouse, &shards)?;

        let (warehouse, reopening) = self.reopen()?;
        let lost = lost_or_left(&warehouse, &shards)?;
        let (more, time) = self.deliver(&warehouse, &mut shards, messages - before_crash, "delivering")?;
        tally.add(more);
        delivering += time;
        warehouse.checkpoint()?;

        let counts = warehouse.stats();
        let (checked, verifying) = self.verify(&warehouse, &shards)?;
        let is_intact = lost.is_empty();
        tally.differences.extend(lost);
        let different = checked.iter().filter_map(|c| Some(format!("{}: {}", c.vat, c.problem()?)));
        tally.differences.extend(different);
        let crashed = self.crashed.expect("taken by the crash");
        Ok(Report {
            vats: self.args.vats,
            modules: modules.counts(&shards),
            online: self.args.online.get() as u64,
            messages,
            uncommitted,
            is_intact,
            creating,
            delivering,
            reopening,
            verifying,
            total: start.elapsed(),
            page_ins: tally.page_ins,
            rejected: tally.rejected,
            faulted: tally.faulted,
            evictions: crashed.evictions + counts.evictions,
            peak_memory_bytes: memory::peak_bytes(),
            resident_bytes: counts.resident_bytes,
            total_bytes: shards.iter().map(Shard::heap_bytes).sum(),
            verified: checked.len() as u64,
            differences: tally.differences,
        })
    }

    fn config(&self) -> WarehouseConfig {
        WarehouseConfig { resident_max: self.args.online, ..WarehouseConfig::default() }
    }

    /// Makes all vats; answers how long that took.
    fn create(&self, warehouse: &Warehouse, shards: &mut [Shard]) -> Result<Duration> {
        let start = Instant::now();
        let bar = progress::bar(&self.context.out, "creating", self.args.vats);
        let commits = Commits::each(CRANKS_PER_COMMIT);
        parallel::each(shards, |shard| shard.create(warehouse, &commits, &bar))?;
        warehouse.commit()?;
        Ok(start.elapsed())
    }

    /// Delivers `messages` to all shards together, all of them committed at the end.
    fn deliver(
        &self,
        warehouse: &Warehouse,
        shards: &mut [Shard],
        messages: u64,
        what: &'static str,
    ) -> Result<(Tally, Duration)> {
        let start = Instant::now();
        let tally =
            self.deliver_with(warehouse, shards, messages, &Commits::each(CRANKS_PER_COMMIT), what)?;
        warehouse.commit()?;
        Ok((tally, start.elapsed()))
    }

    fn deliver_with(
        &self,
        warehouse: &Warehouse,
        shards: &mut [Shard],
        messages: u64,
        commits: &Commits,
        what: &'static str,
    ) -> Result<Tally> {
        let bar = progress::bar(&self.context.out, what, messages);
        let quotas = quotas(shards, messages);
        let mut work: Vec<(&mut Shard, u64)> = shards.iter_mut().zip(quotas).collect();
        let tallies =
            parallel::each(&mut work, |(shard, quota)| shard.deliver(warehouse, *quota, commits, &bar))?;
        Ok(tallies.into_iter().fold(Tally::default(), Tally::with))
    }

    /// Delivers a little more without committing it, and lets the warehouse go as a crash would. Answers how many messages that were.
    ///
    /// The shards stay as they are: copies of them send these messages, so that the same messages are sent again later.
    fn crash(&mut self, warehouse: Warehouse, shards: &[Shard]) -> Result<u64> {
        let messages = UNCOMMITTED_MAX.min(self.args.messages / 10);
        self.deliver_with(&warehouse, &mut shards.to_vec(), messages, &Commits::none(), "crashing")?;
        self.crashed = Some(warehouse.stats());
        if warehouse.abandon().is_err() {
            bail!("the warehouse is still in use, and cannot be crashed");
        }
        Ok(messages)
    }

    fn reopen(&self) -> Result<(Warehouse, Duration)> {
        let start = Instant::now();
        let warehouse = Warehouse::open_existing(self.data, self.config())?;
        Ok((warehouse, start.elapsed()))
    }

    fn verify(&self, warehouse: &Warehouse, shards: &[Shard]) -> Result<(Vec<Checked>, Duration)> {
        let start = Instant::now();
        let sample = sample(shards, self.args.verify);
        let checked = check(self.context, warehouse, &sample, parallel::processors())?;
        Ok((checked, start.elapsed()))
    }
}

/// How many of the messages each shard delivers: in proportion to its vats.
pub(crate) fn quotas(shards: &[Shard], messages: u64) -> Vec<u64> {
    let all: u64 = shards.iter().map(Shard::len).sum();
    let (mut vats, mut dealt) = (0, 0);
    let quota = |shard: &Shard| {
        vats += shard.len();
        let before = std::mem::replace(&mut dealt, messages.saturating_mul(vats) / all);
        dealt - before
    };
    shards.iter().map(quota).collect()
}

/// Vats that do not have exactly the deliveries that were committed.
pub(crate) fn lost_or_left(warehouse: &Warehouse, shards: &[Shard]) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    for (name, committed) in shards.iter().flat_map(Shard::deliveries) {
        let stored = warehouse.vat(name)?.next_position.0;
        if stored != committed {
            differences.push(format!("{name}: {committed} deliveries were committed, {stored} are stored"));
        }
    }
    Ok(differences)
}

/// The vats to verify, from the most popular to the least, evenly spread.
fn sample(shards: &[Shard], size: Sample) -> Vec<VatName> {
    let Sample::Count(count) = size else {
        return shards.iter().flat_map(|shard| shard.spread(None)).collect();
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let per_shard = NonZeroUsize::new(count.div_ceil(shards.len())).unwrap_or(NonZeroUsize::MIN);
    let mut names: Vec<VatName> = shards.iter().flat_map(|shard| shard.spread(Some(per_shard))).collect();
    names.truncate(count);
    names
}
