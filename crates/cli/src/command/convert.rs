//! `vats convert`: turns transcripts into snapshots, on a store at rest.
//!
//! Vats are made durable as they are done, the first at once and the others at most [`CHECKPOINT_EVERY`] apart, so that a kill
//! costs little; the next run plans anew and finds only what is missing.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;
use vat_warehouse::{Behind, Error, VatName, Warehouse};

use crate::args::Convert;
use crate::context::Context;
use crate::parallel;
use crate::progress;
use crate::table::{counted, grouped};
use crate::terminal::one_line;

/// Time between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(250);
/// Computrons in a step of the progress bar, whose estimate is by computrons.
const COMPUTRONS_PER_TICK: u64 = 1_000;

/// What is durable of a conversion.
struct Ledger<'a> {
    warehouse: &'a Warehouse,
    vats: usize,
    progress: Mutex<Progress>,
}

struct Progress {
    done: usize,
    checkpoint: Option<Instant>,
}

/// A vat that could not be converted.
struct Failure {
    vat: VatName,
    error: Error,
}

pub(super) fn run(context: &Context, args: &Convert) -> Result<()> {
    let warehouse = context.open()?;
    let plan = warehouse.conversion_plan(&args.first)?;
    let jobs = args.jobs.map_or_else(parallel::processors, NonZeroUsize::get);
    let total = plan.iter().map(ticks).sum();
    let bar = progress::bar(&context.out, "converting", total);
    let ledger = Ledger {
        warehouse: &warehouse,
        vats: plan.len(),
        progress: Mutex::new(Progress { done: 0, checkpoint: None }),
    };
    let failures = parallel::map(&plan, jobs, |behind| {
        let converted = warehouse.convert(&behind.vat);
        bar.inc(ticks(behind));
        match converted {
            Ok(_) => ledger.done().map(|()| None),
            Err(error) => Ok(Some(Failure { vat: behind.vat.clone(), error })),
        }
    })?;
    let failures = failures.into_iter().filter_map(Result::transpose).collect::<Result<Vec<_>>>()?;
    warehouse.checkpoint()?; // The last ones, and quarantines.
    print(context, &plan, &failures)?;
    if !failures.is_empty() {
        let vats = counted(plan.len() as u64, "vat", "vats");
        bail!("{} of {vats} could not be converted", failures.len());
    }
    Ok(())
}

fn ticks(behind: &Behind) -> u64 {
    behind.computrons.div_ceil(COMPUTRONS_PER_TICK)
}

impl Ledger<'_> {
    /// One more is captured; makes all of them durable if it is time.
    fn done(&self) -> Result<()> {
        let mut progress = self.progress.lock().expect("no thread panicked while it held the progress");
        progress.done += 1;
        if progress.checkpoint.is_none_or(|last| last.elapsed() >= CHECKPOINT_EVERY) {
            self.warehouse.checkpoint()?;
            progress.checkpoint = Some(Instant::now());
            tracing::info!(durable = progress.done, of = self.vats, "vats converted");
        }
        Ok(())
    }
}

fn print(context: &Context, plan: &[Behind], failures: &[Failure]) -> Result<()> {
    let deliveries: u64 = plan.iter().map(|behind| behind.deliveries).sum();
    let computrons: u64 = plan.iter().map(|behind| behind.computrons).sum();
    let mut lines: Vec<String> = failures
        .iter()
        .map(|Failure { vat, error }| format!("{vat}: {}", one_line(error.to_string())))
        .collect();
    let converted = plan.len() - failures.len();
    lines.push(format!(
        "converted {} of {} ({} to replay)",
        grouped(converted as u64),
        counted(plan.len() as u64, "vat", "vats"),
        counted(deliveries, "delivery", "deliveries"),
    ));
    let json = || {
        let failed =
            |failure: &Failure| json!({"vat": failure.vat.as_str(), "problem": failure.error.to_string()});
        json!({
            "vats": plan.iter().map(|behind| behind.vat.as_str()).collect::<Vec<_>>(),
            "converted": converted,
            "deliveries": deliveries,
            "computrons": computrons,
            "failed": failures.iter().map(failed).collect::<Vec<_>>(),
        })
    };
    Ok(context.out.result(lines.join("\n"), json)?)
}
