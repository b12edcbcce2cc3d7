//! The regression gate: measures what the repository keeps ratios of, and fails where one has become worse.
//!
//! ```text
//!   median ratio of 5 short runs ── passes ──► next figure
//!            │ worse than allowed
//!            ▼
//!   the same again, twice as long ── passes ──► next figure        noise: some other process was busy meanwhile
//!            │ worse than allowed
//!            ▼  … and once more ── passes ──► …
//!        regression
//! ```
//!
//! A regression is worse each time; noise must hit the median of all three to be taken for one.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vat_measure::{Gate, Pace, Row, ratio_text};

use super::arguments::Purpose;

/// Runs of which the median counts.
const RUNS: usize = 5;
/// How often a figure is measured before it fails.
const ATTEMPTS: u32 = 3;

/// The gate of this run.
#[derive(Debug)]
pub(super) struct Keeper {
    gate: Gate,
    purpose: Purpose,
    findings: Vec<Finding>,
}

/// What became of one figure.
#[derive(Debug)]
struct Finding {
    name: String,
    line: String,
    passes: bool,
}

impl Keeper {
    /// The gate of the repository.
    pub(super) fn open(purpose: Purpose) -> Result<Keeper> {
        let path = path();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Keeper { gate: Gate::from_json(&text)?, purpose, findings: Vec::new() })
    }

    /// Names of the figures to measure.
    pub(super) fn names(&self) -> Vec<String> {
        self.gate.names().map(str::to_owned).collect()
    }

    /// Measures a figure until it passes, or may not be measured again. `measure` takes one run's samples.
    pub(super) fn check(&mut self, mut measure: impl FnMut(Pace) -> Result<Row>) -> Result<Row> {
        for attempt in 1.. {
            let row = median_run(&mut measure, pace(attempt))?;
            if self.accept(&row, attempt) {
                return Ok(row);
            }
        }
        unreachable!("the last attempt is accepted as it is")
    }

    /// Notes a figure that cannot be measured again.
    pub(super) fn check_once(&mut self, row: &Row) {
        self.accept(row, ATTEMPTS);
    }

    /// Whether the figure is done, for better or worse.
    fn accept(&mut self, row: &Row, attempt: u32) -> bool {
        let Some(ratio) = row.ratio() else { return true };
        if self.purpose == Purpose::Keep {
            self.gate.keep(profile(), &row.figure, ratio);
            return true;
        }
        let name = row.figure.name().to_owned();
        let Some(judged) = self.gate.judge(profile(), &row.figure, ratio) else {
            let line = format!("no ratio is kept for the profile {}", profile());
            self.findings.push(Finding { name, line, passes: false });
            return true;
        };
        if !judged.passes && attempt < ATTEMPTS {
            return false;
        }
        let again = if attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
        let line = format!(
            "ratio {}, kept {}, limit {}{again}",
            ratio_text(ratio),
            ratio_text(judged.kept),
            ratio_text(judged.limit)
        );
        self.findings.push(Finding { name, line, passes: judged.passes });
        true
    }

    /// The verdict, after `measured` figures of which `wanted` were asked for. Writes the gate if that is what the run is for.
    ///
    /// # Errors
    /// If there is a regression, or a figure that the gate holds was not measured.
    pub(super) fn finish(self, wanted: &[String], measured: &[Row]) -> Result<()> {
        let missing: Vec<&String> =
            wanted.iter().filter(|name| !measured.iter().any(|row| row.figure.name() == *name)).collect();
        ensure!(missing.is_empty(), "the gate holds figures that this program does not measure: {missing:?}");
        if self.purpose == Purpose::Keep {
            let path = path();
            return fs::write(&path, self.gate.to_json())
                .with_context(|| format!("cannot write {}", path.display()));
        }
        let worse: Vec<String> = self
            .findings
            .iter()
            .filter(|finding| !finding.passes)
            .map(|finding| format!("{}: {}", finding.name, finding.line))
            .collect();
        ensure!(
            worse.is_empty(),
            "regression of {} of {}:\n  {}",
            worse.len(),
            self.findings.len(),
            worse.join("\n  ")
        );
        super::say(&format!("gate: {} figures are no worse than kept", self.findings.len()));
        Ok(())
    }
}

/// The run whose ratio is the median.
fn median_run(measure: &mut impl FnMut(Pace) -> Result<Row>, pace: Pace) -> Result<Row> {
    let mut runs = (0..RUNS).map(|_| measure(pace)).collect::<Result<Vec<_>>>()?;
    runs.sort_by(|a, b| f64::total_cmp(&a.ratio().unwrap_or(0.0), &b.ratio().unwrap_or(0.0)));
    Ok(runs.swap_remove(RUNS / 2))
}

/// Short runs at first.
fn pace(attempt: u32) -> Pace {
    Pace { warm_up: 2, budget: Duration::from_millis(150) * attempt, rounds_min: 8, rounds_max: 300 }
}

/// How this program was compiled: our code is not optimised in the profile of tests, and has other ratios there.
fn profile() -> &'static str {
    if cfg!(debug_assertions) { "dev" } else { "bench" }
}

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "benches", "gate.json"].iter().collect()
}
