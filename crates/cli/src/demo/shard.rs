//! The vats of one thread: it alone sends to them, so that each vat's messages have one order.

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result};
use indicatif::ProgressBar;
use vat_warehouse::{Error, VatLease, VatName, VatOptions, Warehouse};

use super::fleet::Modules;
use super::popularity::Popularity;
use super::random::Random;
use super::script::{Call, Got, Kind, Script};
use crate::handler::{Caller, Log, root_message};
use crate::marshal;
use crate::terminal::one_line;

/// When the demo's world begins, in nanoseconds since the Unix epoch.
const FIRST_TIME_NS: u64 = 1_767_225_600_000_000_000;
/// How far apart its cranks are.
const CRANK_NS: u64 = 1_000_000;

/// The vats of one thread, the most popular first.
#[derive(Debug, Clone)]
pub(crate) struct Shard {
    vats: Vec<Hosted>,
    popularity: Popularity,
    random: Random,
    time_ns: u64,
}

/// A vat, as its only correspondent knows it.
#[derive(Debug, Clone)]
struct Hosted {
    name: VatName,
    kind: Kind,
    script: Script,
    deliveries: u64,
    heap_bytes: u64,
    /// What the script began with, to begin again.
    seed: (u64, u64),
    /// The vat's code is replaced, by itself, with each delivery whose position is a multiple of this.
    upgraded_each: Option<NonZeroU64>,
}

/// What was measured and found out while messages were delivered.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// How long each page-in took, in nanoseconds.
    pub(crate) page_ins: Vec<u64>,
    pub(crate) rejected: u64,
    pub(crate) faulted: u64,
    /// Messages in the place of which a vat's code was replaced.
    pub(crate) upgraded: u64,
    pub(crate) differences: Vec<String>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Tally) {
        self.page_ins.extend(other.page_ins);
        self.rejected += other.rejected;
        self.faulted += other.faulted;
        self.upgraded += other.upgraded;
        self.differences.extend(other.differences);
    }

    pub(crate) fn with(mut self, other: Tally) -> Tally {
        self.add(other);
        self
    }
}

/// When cranks are made durable: after a number of them, counted over all threads.
#[derive(Debug)]
pub(crate) struct Commits {
    every: Option<u64>,
    cranks: AtomicU64,
}

impl Commits {
    pub(crate) fn each(every: u64) -> Commits {
        Commits { every: Some(every), cranks: AtomicU64::new(0) }
    }

    pub(crate) fn none() -> Commits {
        Commits { every: None, cranks: AtomicU64::new(0) }
    }

    fn after_crank(&self, warehouse: &Warehouse) -> Result<()> {
        let cranks = self.cranks.fetch_add(1, Ordering::Relaxed) + 1;
        if self.every.is_some_and(|every| cranks.is_multiple_of(every)) {
            warehouse.commit()?;
        }
        Ok(())
    }
}

impl Shard {
    /// All vats, dealt out to `shards` threads at most.
    pub(crate) fn all(seed: u64, vats: u64, shards: usize, modules: &Modules) -> Vec<Shard> {
        let mut dealt: Vec<Vec<Hosted>> = vec![Vec::new(); shards];
        let mut random = Random::new(seed, 0);
        for (number, shard) in (1..=vats).zip((0..shards).cycle()) {
            let kind = modules.choose(&mut random);
            dealt[shard].push(Hosted::new(kind, seed, number));
        }
        dealt.retain(|vats| !vats.is_empty());
        let streams = u64::MAX - vats..;
        dealt
            .into_iter()
            .zip(streams)
            .map(|(vats, stream)| Shard::new(vats, Random::new(seed, stream)))
            .collect()
    }

    fn new(vats: Vec<Hosted>, random: Random) -> Shard {
        Shard { popularity: Popularity::new(vats.len()), vats, random, time_ns: FIRST_TIME_NS }
    }

    /// The same vats, whose code is replaced (by itself) with each delivery at a multiple of `each`: they begin again then.
    pub(crate) fn upgraded(mut self, each: NonZeroU64) -> Shard {
        // What a ledger keeps in vat storage outlives its code, and its script does not know that.
        for vat in self.vats.iter_mut().filter(|vat| vat.kind != Kind::Ledger) {
            vat.upgraded_each = Some(each);
        }
        self
    }

    /// How many vats there are.
    pub(crate) fn len(&self) -> u64 {
        self.vats.len() as u64
    }

    pub(crate) fn count(&self, kind: Kind) -> u64 {
        self.vats.iter().filter(|vat| vat.kind == kind).count() as u64
    }

    /// Bytes of all heaps, in memory or not.
    pub(crate) fn heap_bytes(&self) -> u64 {
        self.vats.iter().map(|vat| vat.heap_bytes).sum()
    }

    /// Each vat, and how many deliveries it had.
    pub(crate) fn deliveries(&self) -> impl Iterator<Item = (&VatName, u64)> {
        self.vats.iter().map(|vat| (&vat.name, vat.deliveries))
    }

    /// This many vats, from the most popular to the least; all if there is no number.
    pub(crate) fn spread(&self, count: Option<NonZeroUsize>) -> Vec<VatName> {
        let step = count.map_or(1, |count| (self.vats.len() / count).max(1));
        let count = count.map_or(self.vats.len(), NonZeroUsize::get);
        self.vats.iter().step_by(step).take(count).map(|vat| vat.name.clone()).collect()
    }

    /// Goes on with vats of an earlier life: each script is where its vat is, vats that are not there are made, and who gets the
    /// next message is chosen anew.
    pub(crate) fn resume(&mut self, warehouse: &Warehouse, random: Random) -> Result<()> {
        self.random = random;
        for vat in &mut self.vats {
            match warehouse.vat(&vat.name) {
                Ok(row) => vat.catch_up(row.next_position.0),
                Err(Error::UnknownVat(_)) => {
                    self.time_ns += CRANK_NS;
                    vat.create(warehouse, self.time_ns)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Makes the vats.
    pub(crate) fn create(
        &mut self,
        warehouse: &Warehouse,
        commits: &Commits,
        bar: &ProgressBar,
    ) -> Result<()> {
        for vat in &mut self.vats {
            self.time_ns += CRANK_NS;
            vat.create(warehouse, self.time_ns)?;
            commits.after_crank(warehouse)?;
            bar.inc(1);
        }
        Ok(())
    }

    /// Sends this many messages.
    pub(crate) fn deliver(
        &mut self,
        warehouse: &Warehouse,
        messages: u64,
        commits: &Commits,
        bar: &ProgressBar,
    ) -> Result<Tally> {
        let mut tally = Tally::default();
        for _ in 0..messages {
            let rank = self.popularity.choose(&mut self.random);
            self.time_ns += CRANK_NS;
            self.vats[rank].send(warehouse, self.time_ns, &mut tally)?;
            commits.after_crank(warehouse)?;
            bar.inc(1);
        }
        Ok(tally)
    }
}

impl Hosted {
    fn new(kind: Kind, seed: u64, number: u64) -> Hosted {
        let name = format!("{}-{number}", kind.module()).parse().expect("module names are fit for vats");
        Hosted {
            name,
            kind,
            script: Script::new(kind, seed, number),
            deliveries: 0,
            heap_bytes: 0,
            seed: (seed, number),
            upgraded_each: None,
        }
    }

    /// Says again, to nobody, what the vat was told.
    fn catch_up(&mut self, deliveries: u64) {
        while self.deliveries < deliveries {
            match self.deliveries {
                0 => {}
                _ if self.is_upgrade_next() => self.begin_again(),
                _ => drop(self.script.next()),
            }
            self.deliveries += 1;
        }
    }

    fn is_upgrade_next(&self) -> bool {
        self.deliveries > 0
            && self.upgraded_each.is_some_and(|each| self.deliveries.is_multiple_of(each.get()))
    }

    fn begin_again(&mut self) {
        self.script = Script::new(self.kind, self.seed.0, self.seed.1);
    }

    fn upgrade(&mut self, warehouse: &Warehouse, time_ns: u64) -> Result<()> {
        let parameters = marshal::value(&self.kind.parameters());
        let handler = Caller::new(Log::Dropped);
        let (report, _) = warehouse.upgrade(&self.name, self.kind.module(), parameters, time_ns, handler);
        report.with_context(|| format!("cannot upgrade {}", self.name))?;
        self.deliveries += 1;
        self.begin_again();
        Ok(())
    }

    fn create(&mut self, warehouse: &Warehouse, time_ns: u64) -> Result<()> {
        let parameters = marshal::value(&self.kind.parameters());
        let (report, _) = warehouse.create(
            &self.name,
            self.kind.module(),
            VatOptions::default(),
            parameters,
            time_ns,
            Caller::new(Log::Dropped),
        );
        report.with_context(|| format!("cannot create {}", self.name))?;
        self.deliveries = 1;
        self.heap_bytes = warehouse.provide_blocking(&self.name)?.heap()?.len() as u64;
        Ok(())
    }

    fn send(&mut self, warehouse: &Warehouse, time_ns: u64, tally: &mut Tally) -> Result<()> {
        if self.is_upgrade_next() {
            tally.upgraded += 1;
            return self.upgrade(warehouse, time_ns);
        }
        let call = self.script.next();
        let mut lease = provide(warehouse, &self.name, tally)?;
        let got = self.exchange(&mut lease, &call, time_ns)?;
        match &got {
            Got::Rejection(_) => tally.rejected += 1,
            Got::Fault(_) => tally.faulted += 1,
            // A faulted vat is out of memory, and its heap is as it was.
            _ => self.heap_bytes = lease.heap()?.len() as u64,
        }
        if !call.expected.is_met_by(&got) {
            tally.differences.push(one_line(format_args!(
                "{}: delivery {}, {}, should have given {:?}, and gave {got:?}",
                self.name,
                self.deliveries - 1,
                call.method,
                call.expected
            )));
        }
        Ok(())
    }

    fn exchange(&mut self, lease: &mut VatLease, call: &Call, time_ns: u64) -> Result<Got> {
        let (delivery, result) = root_message(marshal::call(call.method, &call.arguments), self.deliveries);
        let (report, caller) = lease.deliver(delivery, time_ns, Caller::new(Log::Dropped));
        let report = report.with_context(|| format!("cannot deliver to {}", self.name))?;
        self.deliveries += 1;
        Ok(match (report.outcome.fault(), caller.resolution(&result)) {
            (Some(fault), _) => Got::Fault(fault.to_string()),
            (None, Some(resolution)) if resolution.rejected => {
                Got::Rejection(marshal::error_text(&resolution.data))
            }
            (None, Some(resolution)) => Got::Answer(marshal::plain(&resolution.data)),
            (None, None) => Got::Nothing,
        })
    }
}

/// Leases a vat; how long that takes is noted if it was not in memory.
fn provide(warehouse: &Warehouse, vat: &VatName, tally: &mut Tally) -> Result<VatLease> {
    if let Some(lease) = warehouse.try_provide(vat) {
        return Ok(lease);
    }
    let start = Instant::now();
    let lease = warehouse.provide_blocking(vat)?;
    tally.page_ins.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    Ok(lease)
}
