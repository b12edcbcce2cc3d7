//! `vats replay`: replays vats from birth beside their stored state, and compares everything.

use std::num::NonZeroUsize;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use vat_warehouse::{Divergence, Error, VatName, VatStatus, Verdict, Verification, Warehouse};

use crate::args::Replay;
use crate::context::Context;
use crate::parallel;
use crate::progress;
use crate::table::{bytes, counted, grouped};
use crate::terminal::one_line;

/// A vat that was replayed.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) vat: VatName,
    pub(crate) finding: Finding,
}

/// What a replay found.
#[derive(Debug)]
pub(crate) enum Finding {
    /// The vat was replayed; whether it is identical is the verification's verdict.
    Replayed(Box<Verification>),
    /// It is, or just was, quarantined: this is why, and how its replay differs now, if it does.
    Quarantined { reason: String, divergence: Option<Box<Divergence>> },
    /// The host could not replay it.
    Failed(Error),
}

impl Checked {
    /// `identical`, `different`, `quarantined` or `failed`.
    fn verdict(&self) -> &'static str {
        match &self.finding {
            Finding::Replayed(verification) if verification.verdict.is_identical() => "identical",
            Finding::Replayed(_) => "different",
            Finding::Quarantined { .. } => "quarantined",
            Finding::Failed(_) => "failed",
        }
    }

    pub(crate) fn is_identical(&self) -> bool {
        self.verdict() == "identical"
    }

    /// What is wrong with it, if anything is.
    pub(crate) fn problem(&self) -> Option<String> {
        match &self.finding {
            Finding::Replayed(verification) if verification.verdict.is_identical() => None,
            Finding::Replayed(verification) => Some(verification.verdict.to_string()),
            Finding::Quarantined { reason, divergence: Some(_) } => Some(format!("quarantined: {reason}")),
            Finding::Quarantined { reason, divergence: None } => Some(format!(
                "quarantined: {reason}; but it replays as recorded now: `vats release {}`",
                self.vat
            )),
            Finding::Failed(error) => Some(format!("could not be replayed: {error:#}")),
        }
    }

    /// How its replay differs from the record.
    fn divergence(&self) -> Option<&Divergence> {
        match &self.finding {
            Finding::Quarantined { divergence, .. } => divergence.as_deref(),
            Finding::Replayed(verification) => match &verification.verdict {
                Verdict::Diverged(divergence) => Some(divergence),
                _ => None,
            },
            Finding::Failed(_) => None,
        }
    }

    fn verification(&self) -> Option<&Verification> {
        match &self.finding {
            Finding::Replayed(verification) => Some(verification),
            _ => None,
        }
    }

    fn json(&self) -> Value {
        let count = |count: fn(&Verification) -> u64| self.verification().map(count);
        json!({
            "vat": self.vat.as_str(),
            "verdict": self.verdict(),
            "problem": self.problem(),
            "deliveries": count(|v| v.deliveries),
            "computrons": count(|v| v.computrons),
            "heap_bytes": count(|v| v.heap_bytes),
            "report": self.divergence().map(Divergence::to_json),
        })
    }
}

pub(super) fn run(context: &Context, args: &Replay) -> Result<()> {
    let warehouse = context.open()?;
    let vats = if args.vats.is_empty() { all(&warehouse)? } else { known(&warehouse, &args.vats)? };
    let jobs = args.jobs.map_or_else(parallel::processors, NonZeroUsize::get);
    let checked = check(context, &warehouse, &vats, jobs)?;
    warehouse.commit()?; // A vat may have been quarantined.
    let problems = checked.iter().filter(|checked| !checked.is_identical()).count();
    context.out.result(text(&checked), || {
        let verdict = if problems == 0 { "identical" } else { "different" };
        json!({"verdict": verdict, "vats": checked.iter().map(Checked::json).collect::<Vec<_>>()})
    })?;
    if problems > 0 {
        let checked = counted(checked.len() as u64, "vat", "vats");
        bail!("{problems} of {checked} could not be shown to be identical to a replay");
    }
    Ok(())
}

/// Replays the vats, `jobs` at the same time.
pub(crate) fn check(
    context: &Context,
    warehouse: &Warehouse,
    vats: &[VatName],
    jobs: usize,
) -> Result<Vec<Checked>> {
    let bar = progress::bar(&context.out, "replaying", vats.len() as u64);
    parallel::map(vats, jobs, |vat| {
        let finding = match warehouse.verify(vat) {
            Ok(verification) => Finding::Replayed(Box::new(verification)),
            Err(Error::Quarantined { reason, .. }) => match warehouse.replay(vat) {
                Ok(divergence) => Finding::Quarantined { reason, divergence: divergence.map(Box::new) },
                Err(error) => Finding::Failed(error),
            },
            Err(Error::Diverged { divergence, .. }) => {
                Finding::Quarantined { reason: divergence.to_string(), divergence: Some(divergence) }
            }
            Err(error) => Finding::Failed(error),
        };
        bar.inc(1);
        Checked { vat: vat.clone(), finding }
    })
}

pub(super) fn all(warehouse: &Warehouse) -> Result<Vec<VatName>> {
    let mut vats = warehouse.storage().vats()?;
    vats.retain(|vat| !matches!(vat.status, VatStatus::Terminated { .. }));
    Ok(vats.into_iter().map(|vat| vat.name.parse()).collect::<Result<_, _>>()?)
}

/// The vats that were named; an unknown one is told before the work begins.
pub(super) fn known(warehouse: &Warehouse, vats: &[VatName]) -> Result<Vec<VatName>> {
    vats.iter().try_for_each(|vat| warehouse.vat(vat).map(drop))?;
    Ok(vats.to_vec())
}

/// A line for each vat that is not identical, and one for the rest.
fn text(checked: &[Checked]) -> String {
    let mut lines: Vec<String> = checked
        .iter()
        .filter_map(|checked| {
            let mut line = format!("{}: {}", checked.vat, one_line(checked.problem()?));
            for part in
                checked.divergence().map(Divergence::report).iter().flat_map(|report| report.lines().skip(1))
            {
                line.push('\n');
                line.push_str(part);
            }
            Some(line)
        })
        .collect();
    let identical = checked.iter().filter(|checked| checked.is_identical());
    let identical: Vec<&Verification> = identical.filter_map(Checked::verification).collect();
    let sum = |count: fn(&Verification) -> u64| identical.iter().map(|v| count(v)).sum::<u64>();
    lines.push(format!(
        "identical: {} of {} ({} replayed, {} of heap compared)",
        grouped(identical.len() as u64),
        counted(checked.len() as u64, "vat", "vats"),
        counted(sum(|v| v.deliveries), "delivery", "deliveries"),
        bytes(sum(|v| v.heap_bytes)),
    ));
    lines.join("\n")
}
