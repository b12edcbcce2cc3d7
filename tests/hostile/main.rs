//! Hostile guests against a bounded host: each case of the corpus runs in a process of its own, beside a good vat.
//!
//! ```text
//!   parent ── for each case ──► child (this program again): good vat, bad vat, good vat again
//!          ◄── how it ended, memory it took, what the good vat is like ──
//! ```
//!
//! A case passes if the bad vat ended as the corpus says, the process took no more memory than the corpus allows beyond what it had
//! before, and the good vat is the same as without any bad one. A child that aborts, or takes more than [`PROCESSOR_SECONDS_MAX`], fails.
//!
//! The fuzzer (`fuzz`) runs its seeds the same way, some hundreds in one child.
//!
//! `cargo test --test hostile` runs all, `-- NAME…` those whose names begin so; the table is always printed.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its table")]

mod bombs;
mod corpus;
mod fuzz;
mod host;

use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::corpus::{Case, Ending};

/// Asks this program to be the child, for one case.
const AS_CHILD: &str = "--as-child";
/// Seconds of processor time after which the system ends a child: far more than any case takes in a build that is not optimised, so
/// that only what does not end at all is ended.
const PROCESSOR_SECONDS_MAX: u64 = 300;
/// Cases that run at the same time.
const AT_ONCE: usize = 2;

/// The name of the fuzzer, beside those of cases.
const FUZZ: &str = "fuzz";
/// Seeds that are run if `HOSTILE_RUNS` does not say otherwise; `HOSTILE_SEED` is the first.
const FUZZ_RUNS: u64 = 600;
/// Seeds that one child runs.
const FUZZ_RUNS_PER_CHILD: u64 = 200;
/// Mebibytes that a fuzzing child may grow by.
const FUZZ_MEBIBYTES_MAX: u64 = 256;

/// What a child tells.
struct Told {
    ended: String,
    grown: u64,
    neighbour: String,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [flag, name] if flag == AS_CHILD => child(name),
        [flag, first, end] if flag == AS_CHILD => fuzzing_child(first, end),
        _ => parent(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn child(name: &str) -> Result<()> {
    limit_processor()?;
    let cases = corpus::cases();
    let case = cases.iter().find(|case| case.name == name).context("there is no such case")?;
    println!("{}", host::run(case)?);
    Ok(())
}

/// Runs seeds from the first one to the one before the end.
fn fuzzing_child(first: &str, end: &str) -> Result<()> {
    limit_processor()?;
    println!("{}", host::fuzz(first.parse()?..end.parse()?)?);
    Ok(())
}

fn limit_processor() -> Result<()> {
    let limit = rustix::process::Rlimit {
        current: Some(PROCESSOR_SECONDS_MAX),
        maximum: Some(PROCESSOR_SECONDS_MAX),
    };
    Ok(rustix::process::setrlimit(rustix::process::Resource::Cpu, limit)?)
}

fn parent(arguments: &[String]) -> Result<()> {
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted =
        |case: &&Case| wanted.is_empty() || wanted.iter().any(|name| case.name.starts_with(*name));
    let cases = corpus::cases();
    let undisturbed = tell(&[corpus::NOBODY.name])?.neighbour;
    let cases: Vec<&Case> = cases.iter().filter(is_wanted).collect();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = judge(case, &undisturbed) {
                        println!("{:<44} FAILED: {error:#}", case.name);
                        failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(case.name);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let fuzzes = wanted.is_empty() || wanted.iter().any(|name| FUZZ.starts_with(name.as_str()));
    if fuzzes && let Err(error) = fuzz(&undisturbed) {
        println!("{FUZZ}: FAILED: {error:#}");
        failed.push(FUZZ);
    }
    println!("{} cases, {} failed", cases.len(), failed.len());
    match failed.as_slice() {
        [] => Ok(()),
        names => bail!("again by: cargo test --test hostile -- {}", names.join(" ")),
    }
}

/// Runs a case in a child, and compares.
fn judge(case: &Case, undisturbed: &str) -> Result<()> {
    let told = tell(&[case.name])?;
    let mebibytes = told.grown >> 20;
    let shown: String = told.ended.chars().take(110).collect();
    println!("{:<44} {mebibytes:>5} of {:>5} MiB  {shown}", case.name, case.mebibytes_max);
    if !case.ending.is(&told.ended) {
        bail!("ended as `{}`, but expected was {:?}", told.ended, case.ending);
    }
    if mebibytes > case.mebibytes_max {
        bail!("took {mebibytes} MiB, but {} MiB are allowed", case.mebibytes_max);
    }
    if told.neighbour != undisturbed {
        bail!("its neighbour is not what it would be without it");
    }
    Ok(())
}

/// Runs seeds in children, some in each; one that ends a child is then told by running each of its seeds alone.
fn fuzz(undisturbed: &str) -> Result<()> {
    let number = |name: &str, default: u64| std::env::var(name).map_or(Ok(default), |text| text.parse());
    let (first, runs) = (number("HOSTILE_SEED", 1)?, number("HOSTILE_RUNS", FUZZ_RUNS)?);
    let mut at = first;
    while at < first + runs {
        let end = (at + FUZZ_RUNS_PER_CHILD).min(first + runs);
        let part = tell(&[&at.to_string(), &end.to_string()]).and_then(|told| alike(told, undisturbed));
        let told = match part {
            Ok(told) => told,
            Err(error) => {
                let alone = |seed: &u64| {
                    tell(&[&seed.to_string(), &(seed + 1).to_string()])
                        .and_then(|told| alike(told, undisturbed))
                        .is_err()
                };
                let seed =
                    (at..end).find(alone).map_or("none of them alone".to_owned(), |seed| seed.to_string());
                return Err(error.context(format!(
                    "seeds {at}..{end}; again by: HOSTILE_SEED={seed} HOSTILE_RUNS=1 cargo test --test hostile -- {FUZZ}"
                )));
            }
        };
        let mebibytes = told.grown >> 20;
        println!(
            "{:<44} {mebibytes:>5} of {FUZZ_MEBIBYTES_MAX:>5} MiB  {}",
            format!("{FUZZ}/{at}..{end}"),
            told.ended
        );
        if mebibytes > FUZZ_MEBIBYTES_MAX {
            bail!("took {mebibytes} MiB, but {FUZZ_MEBIBYTES_MAX} MiB are allowed");
        }
        at = end;
    }
    Ok(())
}

fn alike(told: Told, undisturbed: &str) -> Result<Told> {
    anyhow::ensure!(told.neighbour == undisturbed, "the good vat is not what it would be without it");
    Ok(told)
}

fn tell(arguments: &[&str]) -> Result<Told> {
    let output = Command::new(std::env::current_exe()?).arg(AS_CHILD).args(arguments).output()?;
    if !output.status.success() {
        bail!("the host ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let told: Value = serde_json::from_slice(&output.stdout).context("the child told no JSON")?;
    let text = |key: &str| told[key].as_str().map(str::to_owned).context("the child left something out");
    let grown = told["grown"].as_u64().context("the child left its memory out")?;
    Ok(Told { ended: text("ended")?, grown, neighbour: text("neighbour")? })
}

impl Ending {
    /// Whether it ended so.
    fn is(&self, ended: &str) -> bool {
        match self {
            Ending::Lives => ended == "delivered",
            Ending::Refused(why) => ended.starts_with("refused: ") && ended.contains(why),
            Ending::NotCreated(why) => ended.starts_with("not created: ") && ended.contains(why),
            Ending::Faults(fault) => ended == format!("faulted: {fault}"),
            Ending::NotDelivered(why) => ended.starts_with("not delivered: ") && ended.contains(why),
        }
    }
}
