//! `vats soak`: a live store, for as long as one likes, with everything that can happen to it.
//!
//! ```text
//!   rounds: messages and upgrades, the popular vats first ──► forks made and ended ──► looking back, signed claims, upgrades in vain
//!           ──► one of: evict all, crash, compact, scrub, restart, convert beside messages, prune, go elsewhere by an archive
//!              every answer compared with a model                           after a crash: exactly what was committed
//!           ──► a few vats replayed from birth ──► memory and disk within their bounds
//! ```
//!
//! Bounds: the page store, once compacted, has at most as much garbage as what lives and a few segments; the process has at most
//! twice the memory that it had after the first rounds, and some. Transcripts grow with the messages: they are the truth.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use vat_warehouse::{Retention, SpanPolicy, VatName, Warehouse, WarehouseConfig};

use crate::args::Soak;
use crate::command::check;
use crate::context::Context;
use crate::demo::fleet::Modules;
use crate::demo::random::Random;
use crate::demo::shard::{Commits, Shard};
use crate::demo::{Place, lost_or_left, memory, quotas};
use crate::table::{bytes, counted, grouped};
use crate::{parallel, progress, upheaval};

/// Threads that deliver.
const SHARDS: usize = 2;
/// Messages of a round.
const ROUND: u64 = 1_000;
/// Cranks that are made durable together.
const CRANKS_PER_COMMIT: u64 = 250;
/// Forks alive at the same time.
const FORKS_MAX: usize = 8;
/// Vats replayed from birth after each round.
const SAMPLE: usize = 2;
/// Messages of a vat after which its code is replaced.
const UPGRADED_EACH: NonZeroU64 = NonZeroU64::new(40).expect("not zero");
/// Entries of a span: few, so that spans come and go.
const SPAN_ENTRIES: NonZeroU64 = NonZeroU64::new(64).expect("not zero");
/// Vats that go elsewhere together.
const TRAVELLERS: usize = 12;
/// Kinds of rounds; each comes at least once.
const KINDS: u64 = 8;
/// When what is upgraded in vain is upgraded.
const IN_VAIN_NS: u64 = 1;
/// Rounds after which memory is what it should stay.
const WARM_ROUNDS: u64 = 5;
/// Small, so that segments come and go.
const SEGMENT_BYTES: u64 = 16 << 20;
/// What is added to a bound, so that small numbers are no findings.
const SLACK_BYTES: u64 = 128 << 20;

/// What a soak did.
#[derive(Debug, Default)]
struct Tally {
    rounds: u64,
    messages: u64,
    crashes: u64,
    restarts: u64,
    forks: u64,
    compacted: u64,
    scrubbed_pages: u64,
    replays: u64,
    upgrades: u64,
    /// Upgrades that failed, as they had to.
    in_vain: u64,
    /// Moments and claims that were compared.
    questions: u64,
    converted: u64,
    /// Spans of which only the hash was left when pruning was last asked for; commits prune, too.
    pruned: u64,
    /// Vats that went elsewhere by an archive.
    travellers: u64,
    peak_disk: u64,
    memory: u64,
}

pub(crate) fn run(context: &Context, args: &Soak) -> Result<()> {
    let place = Place::new(context)?;
    let modules = Modules::built(&context.out)?;
    let warehouse = Warehouse::open(place.path(), config(args))?;
    modules.install(&warehouse)?;
    upheaval::install(&warehouse)?;
    let shards = Shard::all(args.seed, args.vats, SHARDS, &modules);
    let mut run = Run {
        context,
        args,
        place: &place,
        warehouse: Some(warehouse),
        shards: shards.into_iter().map(|shard| shard.upgraded(UPGRADED_EACH)).collect(),
        forks: Vec::new(),
        random: Random::new(args.seed, 2),
        tally: Tally::default(),
    };
    let found = run.whole();
    let tally = &run.tally;
    let verdict = if found.is_ok() { "sound" } else { "failed" };
    let text = format!(
        "{verdict}: {} and {} in {}; {} and {}; {}; {} removed; {} scrubbed; {} from birth; {} and {} in vain; {} in the background; {} pruned; {} elsewhere; {} about the past; pages on disk {} at most, memory {}",
        counted(tally.messages, "message", "messages"),
        counted(tally.forks, "fork", "forks"),
        counted(tally.rounds, "round", "rounds"),
        counted(tally.crashes, "crash", "crashes"),
        counted(tally.restarts, "restart", "restarts"),
        counted(args.vats, "vat", "vats"),
        counted(tally.compacted, "segment", "segments"),
        counted(tally.scrubbed_pages, "page", "pages"),
        counted(tally.replays, "replay", "replays"),
        counted(tally.upgrades, "upgrade", "upgrades"),
        grouped(tally.in_vain),
        counted(tally.converted, "conversion", "conversions"),
        counted(tally.pruned, "span", "spans"),
        counted(tally.travellers, "vat", "vats"),
        counted(tally.questions, "question", "questions"),
        bytes(tally.peak_disk),
        bytes(tally.memory),
    );
    let json = || {
        json!({
            "verdict": verdict, "rounds": tally.rounds, "messages": tally.messages, "crashes": tally.crashes,
            "restarts": tally.restarts, "forks": tally.forks, "segments_removed": tally.compacted,
            "pages_scrubbed": tally.scrubbed_pages, "replays": tally.replays, "upgrades": tally.upgrades, "upgrades_in_vain": tally.in_vain,
            "converted": tally.converted, "spans_pruned": tally.pruned, "travellers": tally.travellers,
            "questions": tally.questions, "disk_bytes": tally.peak_disk,
            "memory_bytes": tally.memory,
        })
    };
    context.out.result(text, json)?;
    found.with_context(|| format!("in round {} with seed {}", run.tally.rounds, args.seed))
}

fn config(args: &Soak) -> WarehouseConfig {
    WarehouseConfig {
        resident_max: args.online,
        segment_bytes: SEGMENT_BYTES,
        check_one_in: 50,
        retention: Some(Retention::Replay),
        span_policy: SpanPolicy { entries_max: SPAN_ENTRIES, ..SpanPolicy::default() },
        ..WarehouseConfig::default()
    }
}

struct Run<'a> {
    context: &'a Context,
    args: &'a Soak,
    place: &'a Place,
    /// Present between two steps.
    warehouse: Option<Warehouse>,
    shards: Vec<Shard>,
    forks: Vec<VatName>,
    random: Random,
    tally: Tally,
}

impl Run<'_> {
    fn whole(&mut self) -> Result<()> {
        let (start, limit) = (Instant::now(), Duration::from_secs(self.args.minutes * 60));
        let bar = progress::bar(&self.context.out, "soaking", limit.as_secs());
        let host = self.warehouse.as_ref().expect("open between two steps");
        let commits = Commits::each(CRANKS_PER_COMMIT);
        parallel::each(&mut self.shards, |shard| shard.create(host, &commits, &bar))?;
        host.commit()?;
        let mut warm = None;
        loop {
            bar.set_position(start.elapsed().as_secs());
            self.round()?;
            self.tally.rounds += 1;
            self.tally.memory = memory::now_bytes();
            let bound = *warm.get_or_insert(u64::MAX);
            if self.tally.rounds == WARM_ROUNDS {
                warm = Some(self.tally.memory * 2 + SLACK_BYTES);
            }
            ensure!(
                self.tally.memory <= bound,
                "{} of memory, and {} before",
                bytes(self.tally.memory),
                bytes(bound)
            );
            if start.elapsed() >= limit && self.tally.rounds > WARM_ROUNDS.max(KINDS) {
                break;
            }
        }
        drop(bar);
        self.scrub()?;
        let all: Vec<VatName> = self.shards.iter().flat_map(|shard| shard.spread(None)).collect();
        self.replay(&all)
    }

    fn host(&self) -> &Warehouse {
        self.warehouse.as_ref().expect("open between two steps")
    }

    fn round(&mut self) -> Result<()> {
        self.deliver()?;
        self.fork()?;
        self.question()?;
        match self.tally.rounds % KINDS {
            0 => self.host().evict_all()?,
            1 => self.crash()?,
            2 => self.compact()?,
            3 => self.scrub()?,
            4 => self.convert()?,
            5 => self.prune()?,
            6 => self.elsewhere()?,
            _ => self.restart()?,
        }
        let sample: Vec<VatName> = (0..SAMPLE).map(|_| self.some_vat()).collect();
        self.replay(&sample)
    }

    fn deliver(&mut self) -> Result<()> {
        let commits = Commits::each(CRANKS_PER_COMMIT);
        let host = self.warehouse.as_ref().expect("open between two steps");
        self.tally.upgrades += deliver(host, &mut self.shards, &commits)?;
        host.commit()?;
        self.tally.messages += ROUND;
        Ok(())
    }

    /// Asks vats about their past, and forks to be what they cannot be.
    fn question(&mut self) -> Result<()> {
        let vat = self.some_vat();
        let host = self.warehouse.as_ref().expect("open between two steps");
        upheaval::look_back(host, &vat, &mut self.random)?;
        upheaval::attest(host, &vat)?;
        self.tally.questions += 2;
        if let Some(fork) = self.forks.last() {
            upheaval::upgrade_in_vain(host, fork, IN_VAIN_NS)?;
            self.tally.in_vain += 1;
        }
        Ok(())
    }

    /// Snapshots are thrown out of memory, and made by replays while a round is delivered.
    fn convert(&mut self) -> Result<()> {
        let host = self.warehouse.as_ref().expect("open between two steps");
        let (shards, tally) = (&mut self.shards, &mut self.tally);
        tally.converted += upheaval::convert_beside(host, &mut self.random, || {
            tally.upgrades += deliver(host, shards, &Commits::each(CRANKS_PER_COMMIT))?;
            Ok(host.commit()?)
        })?;
        self.tally.messages += ROUND;
        Ok(self.host().checkpoint()?)
    }

    fn prune(&mut self) -> Result<()> {
        let all: Vec<VatName> = self.shards.iter().flat_map(|shard| shard.spread(None)).collect();
        self.host().checkpoint()?;
        upheaval::prune(self.host(), &all)?;
        self.host().commit()?;
        self.tally.pruned = upheaval::pruned_spans(self.host(), &all)?;
        Ok(())
    }

    /// Some vats, the forks among them, go to another directory.
    fn elsewhere(&mut self) -> Result<()> {
        let mut names: Vec<VatName> = (0..TRAVELLERS).map(|_| self.some_vat()).collect();
        names.extend(self.forks.iter().cloned());
        names.sort();
        names.dedup();
        let level = if self.random.below(2) == 0 { Retention::Operational } else { Retention::Replay };
        upheaval::elsewhere(self.host(), &names, level, config(self.args))?;
        self.tally.travellers += names.len() as u64;
        Ok(())
    }

    fn some_vat(&mut self) -> VatName {
        let all: Vec<VatName> = self.shards.iter().flat_map(|shard| shard.spread(None)).collect();
        let index = self.random.below(all.len() as u64);
        all[usize::try_from(index).expect("an index")].clone()
    }

    /// Forks a vat; the oldest of too many forks ends.
    fn fork(&mut self) -> Result<()> {
        let parent = self.some_vat();
        let name: VatName = format!("fork-{}", self.tally.forks).parse()?;
        self.host().fork(&parent, &name)?;
        self.tally.forks += 1;
        let (a, b) = (self.host().root(&parent)?, self.host().root(&name)?);
        ensure!(a == b, "{name} is not what {parent} is");
        self.forks.push(name);
        if self.forks.len() > FORKS_MAX {
            let oldest = self.forks.remove(0);
            self.host().terminate(&oldest, "the soak has newer ones")?;
        }
        Ok(self.host().commit()?)
    }

    /// Delivers a round that is not committed, and lets the host go as a crash would: copies of the shards tell it, and the shards
    /// themselves tell it again later.
    fn crash(&mut self) -> Result<()> {
        let host = self.warehouse.take().expect("open between two steps");
        deliver(&host, &mut self.shards.clone(), &Commits::none())?;
        if host.abandon().is_err() {
            bail!("the warehouse is still in use, and cannot be crashed");
        }
        self.tally.crashes += 1;
        self.reopen()
    }

    fn restart(&mut self) -> Result<()> {
        self.host().checkpoint()?;
        drop(self.warehouse.take());
        self.tally.restarts += 1;
        self.reopen()
    }

    fn reopen(&mut self) -> Result<()> {
        let host = Warehouse::open_existing(self.place.path(), config(self.args))?;
        let lost = lost_or_left(&host, &self.shards)?;
        self.warehouse = Some(host);
        ensure!(lost.is_empty(), "{}", lost.join("; "));
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        let before = self.host().disk_figures()?.bytes;
        self.tally.peak_disk = self.tally.peak_disk.max(before);
        self.host().checkpoint()?;
        let compacted = self.host().compact()?;
        self.host().commit()?;
        self.tally.compacted += compacted.segments;
        ensure!(compacted.left == 0, "{} segments could not be moved", compacted.left);
        let after = self.host().disk_figures()?;
        let live = after.bytes.saturating_sub(after.garbage_bytes);
        ensure!(
            after.garbage_bytes <= live + SLACK_BYTES,
            "{} of garbage beside {} that live, after compaction",
            bytes(after.garbage_bytes),
            bytes(live)
        );
        Ok(())
    }

    fn scrub(&mut self) -> Result<()> {
        let scrubbed = self.host().scrub(|_, _| {})?;
        self.tally.scrubbed_pages += scrubbed.pages;
        ensure!(scrubbed.damaged.is_empty(), "damaged: {}", grouped(scrubbed.damaged.len() as u64));
        Ok(())
    }

    fn replay(&mut self, names: &[VatName]) -> Result<()> {
        let names: Vec<VatName> = names.iter().chain(&self.forks).cloned().collect();
        let checked = check(self.context, self.host(), &names, parallel::processors())?;
        for checked in &checked {
            if let Some(problem) = checked.problem() {
                bail!("{}: {problem}", checked.vat);
            }
        }
        self.tally.replays += checked.len() as u64;
        let stats = self.host().stats();
        ensure!(stats.fallbacks == 0, "{} snapshots were not there", stats.fallbacks);
        ensure!(stats.disagreements == 0, "the tracker missed pages {} times", stats.disagreements);
        Ok(())
    }
}

/// A round of messages, on all threads; a wrong answer is an error. Answers how many were upgrades instead.
fn deliver(host: &Warehouse, shards: &mut [Shard], commits: &Commits) -> Result<u64> {
    let bar = indicatif::ProgressBar::hidden();
    let quotas = quotas(shards, ROUND);
    let mut work: Vec<(&mut Shard, u64)> = shards.iter_mut().zip(quotas).collect();
    let tallies = parallel::each(&mut work, |(shard, quota)| shard.deliver(host, *quota, commits, &bar))?;
    match tallies.iter().find_map(|tally| tally.differences.first()) {
        Some(difference) => bail!("{difference}"),
        None => Ok(tallies.iter().map(|tally| tally.upgraded).sum()),
    }
}
