//! `vats torture`: this program is killed (SIGKILL) again and again while it hosts vats, and nothing committed is lost.
//!
//! ```text
//!   parent                          child: `vats torture-life`
//!     │ spawn ───────────────────────► open, resume, deliver, upgrade, convert, prune, compact …
//!     │◄─ "doing prune"  ──────────── what comes next, for the tally
//!     │◄─ "commit 3 1 4 …"  ────────── positions that the next commit makes durable
//!     │◄─ "done"  ──────────────────── it returned
//!     │ after some of these lines, and a moment: kill
//!     │ open: every vat is where the last "done" says, or the "commit" after it
//!     └ now and then, and at the end: replay from birth, scrub, an import elsewhere
//! ```
//!
//! A life ends by itself after a bounded number of messages, and when nobody reads what it says. Every answer of a vat is compared
//! with a model of it, in the life; a difference ends that life as failed, which is a finding.

mod life;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use vat_warehouse::{Retention, VatName, Warehouse};

pub(crate) use self::life::live;
use self::life::{Line, config, shard};
use crate::args::Torture;
use crate::command::check;
use crate::context::Context;
use crate::demo::Place;
use crate::demo::fleet::Modules;
use crate::demo::random::Random;
use crate::table::{counted, grouped};
use crate::{parallel, progress, upheaval};

/// Most lines of a life that are waited for before it is killed.
const LINES_MAX: u64 = 50;
/// Longest moment between that line and the kill, in microseconds.
const MOMENT_MAX_US: u64 = 20_000;
/// Kills after which vats are replayed and everything at rest is read.
const CHECK_EVERY: u64 = 20;
/// Vats that are replayed then.
const SAMPLE: u64 = 3;

/// What was seen of the lives so far.
#[derive(Debug, Default)]
struct Tally {
    /// Lives that were killed, and those that ended before.
    killed: u64,
    ended: u64,
    commits: u64,
    /// Kills between the beginning of a commit and its end, and those of them whose commit was there afterwards.
    in_commit: u64,
    survived: u64,
    replays: u64,
    /// Kills in the middle of something, by what that was.
    within: BTreeMap<String, u64>,
    /// Upgrades that the vats had in the end.
    upgrades: u64,
    /// Vats that were compared with what an import made of them.
    travellers: u64,
}

pub(crate) fn run(context: &Context, args: &Torture) -> Result<()> {
    let place = Place::new(context)?;
    let modules = Modules::built(&context.out)?;
    let names: Vec<VatName> =
        shard(args.seed, args.vats, &modules).deliveries().map(|(name, _)| name.clone()).collect();
    let mut torture = Run {
        context,
        args,
        place: &place,
        names,
        random: Random::new(args.seed, 1),
        tally: Tally::default(),
    };
    let start = Instant::now();
    let found = torture.whole();
    let Tally { killed, ended, commits, in_commit, survived, replays, within, upgrades, travellers } =
        torture.tally;
    let verdict = if found.is_ok() { "nothing lost" } else { "failed" };
    let text = format!(
        "{verdict}: {} in {} s; {} acknowledged before the kill; {in_commit} killed inside a commit, which was whole in {survived} and absent in the rest{}; {}; {} elsewhere; {} from birth",
        counted(killed, "kill", "kills"),
        start.elapsed().as_secs(),
        counted(commits, "commit", "commits"),
        within.iter().fold(String::new(), |text, (what, kills)| format!("{text}, {kills} within {what}")),
        counted(upgrades, "upgrade", "upgrades"),
        counted(travellers, "vat", "vats"),
        counted(replays, "replay", "replays"),
    );
    let json = || {
        json!({
            "verdict": verdict, "kills": killed, "ended": ended, "commits": commits,
            "in_commit": in_commit, "in_commit_whole": survived, "replays": replays,
            "within": within, "upgrades": upgrades, "travellers": travellers,
        })
    };
    context.out.result(text, json)?;
    found.with_context(|| format!("after {} with seed {}", counted(killed, "kill", "kills"), args.seed))
}

struct Run<'a> {
    context: &'a Context,
    args: &'a Torture,
    place: &'a Place,
    names: Vec<VatName>,
    random: Random,
    tally: Tally,
}

/// What a life said about commits: the last that was done, and the one that may have been.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    done: Vec<u64>,
    begun: Option<Vec<u64>>,
    /// What it was doing, unless that is a commit.
    doing: Option<String>,
}

impl Run<'_> {
    fn whole(&mut self) -> Result<()> {
        let bar = progress::bar(&self.context.out, "killing", self.args.kills);
        let mut told = Told::default();
        let mut life = 0;
        while self.tally.killed < self.args.kills {
            told = self.one_life(life, told).with_context(|| format!("life {life}"))?;
            life += 1;
            bar.set_position(self.tally.killed);
            let warehouse = Warehouse::open(self.place.path(), config())?;
            told = self.compare(&warehouse, told)?;
            if life % CHECK_EVERY == 0 {
                let sample: Vec<VatName> = (0..SAMPLE).map(|_| self.some_name()).collect();
                self.replay(&warehouse, &sample)?;
            }
        }
        drop(bar);
        let warehouse = Warehouse::open(self.place.path(), config())?;
        let names = std::mem::take(&mut self.names);
        self.tally.upgrades =
            names.iter().filter_map(|name| Some(u64::from(warehouse.vat(name).ok()?.incarnation.0))).sum();
        self.replay(&warehouse, &names)
    }

    /// Lets it live until a moment of the seed's choice, and kills it.
    fn one_life(&mut self, life: u64, mut told: Told) -> Result<Told> {
        let mut child = self.spawn(life)?;
        let lines = 1 + self.random.below(LINES_MAX);
        let moment = Duration::from_micros(self.random.below(MOMENT_MAX_US));
        let mut output = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut heard = 0;
        let mut text = String::new();
        let mut is_killed = false;
        loop {
            text.clear();
            if output.read_line(&mut text)? == 0 {
                break;
            }
            if text.ends_with('\n') {
                self.hear(&text, &mut told)?;
            } // Else it was killed in the middle of a line, which says nothing.
            heard += 1;
            if heard == lines {
                thread::sleep(moment);
                child.kill().context("cannot kill it")?;
                is_killed = true; // What it said before is still in the pipe.
            }
        }
        let status = child.wait()?;
        if is_killed && !status.success() {
            self.tally.killed += 1;
            self.tally.in_commit += u64::from(told.begun.is_some());
            if let Some(what) = told.doing.take() {
                *self.tally.within.entry(what).or_default() += 1;
            }
        } else {
            ensure!(status.success(), "it ended by itself as failed ({status}); what it found is on stderr");
            self.tally.ended += 1;
        }
        Ok(told)
    }

    fn spawn(&self, life: u64) -> Result<Child> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        command.arg("--data").arg(self.place.path()).args(["--quiet", "torture-life"]);
        for (option, value) in [("--vats", self.args.vats), ("--seed", self.args.seed), ("--life", life)] {
            command.arg(option).arg(value.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start a life")
    }

    fn hear(&mut self, text: &str, told: &mut Told) -> Result<()> {
        match text.parse()? {
            Line::Doing(what) => told.doing = Some(what),
            Line::Commit(positions) => (told.begun, told.doing) = (Some(positions), None),
            Line::Done => {
                told.done = told.begun.take().context("it ended a commit that it had not begun")?;
                self.tally.commits += 1;
            }
        }
        Ok(())
    }

    /// The store is what the life said. Answers what a next life begins with.
    fn compare(&mut self, warehouse: &Warehouse, told: Told) -> Result<Told> {
        let stored: Vec<u64> =
            self.names.iter().map(|name| warehouse.vat(name).map_or(0, |row| row.next_position.0)).collect();
        let before = if told.done.is_empty() { vec![0; stored.len()] } else { told.done };
        if told.begun.as_ref() == Some(&stored) && stored != before {
            self.tally.survived += 1;
        } else if stored != before {
            let begun = told.begun.map_or("nothing".to_owned(), |begun| format!("{begun:?}"));
            bail!("committed was {before:?}, begun {begun}, and stored is {stored:?}");
        }
        Ok(Told { done: stored, ..Told::default() })
    }

    fn some_name(&mut self) -> VatName {
        let index = self.random.below(self.names.len() as u64);
        self.names[usize::try_from(index).expect("an index")].clone()
    }

    /// Replays vats from birth, and reads everything at rest.
    fn replay(&mut self, warehouse: &Warehouse, names: &[VatName]) -> Result<()> {
        let mut names = names.to_vec();
        names.retain(|name| warehouse.vat(name).is_ok());
        let checked = check(self.context, warehouse, &names, parallel::processors())?;
        for checked in &checked {
            if let Some(problem) = checked.problem() {
                bail!("{}: {problem}", checked.vat);
            }
        }
        self.tally.replays += checked.len() as u64;
        upheaval::elsewhere(warehouse, &names, Retention::Operational, config())?;
        self.tally.travellers += names.len() as u64;
        let damaged = warehouse.scrub(|_, _| {})?.damaged;
        ensure!(damaged.is_empty(), "at rest, {} are damaged", grouped(damaged.len() as u64));
        let fallbacks = warehouse.stats().fallbacks;
        ensure!(fallbacks == 0, "{fallbacks} snapshots were not there");
        Ok(())
    }
}
