//! Measures figures beside their floors, for one run of this program.
//!
//! ```text
//!   pair(figure, ours, floor):   ours floor  floor ours  ours floor  …   until the time budget is spent
//!                                  └──────────┬─────────┘
//!                              p50, p99, floor's p50, ratio of the p50s ── bound ──► met or MISSED
//! ```
//!
//! The method is [`vat_measure`]'s. Here is what belongs to this program: which figures are wanted, where the reports go, the
//! regression gate. A line goes to the error stream when a figure is done; the table comes at the end.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench is a program that prints its result")]

mod arguments;
mod gate;
mod plots;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vat_measure::{Machine, Report, Row, alone, pair};

pub(crate) use arguments::{Arguments, Scale};
use arguments::{Purpose, SlowDown};
use gate::Keeper;
pub(crate) use vat_measure::Figure;

const NOTES: [&str; 2] = [
    "ratio = p50 / floor p50, sampled in turn; bound: ≤ for times and bytes, ≥ for rates",
    "a figure without floor or bound is shown for its own sake",
];

/// One run of the benches.
#[derive(Debug)]
pub(crate) struct Session {
    arguments: Arguments,
    machine: Machine,
    rows: Vec<Row>,
    /// Only if the run is for the gate.
    keeper: Option<Keeper>,
    /// Whether any figure was slowed down on purpose.
    has_slowed: bool,
}

impl Session {
    /// A run as the command line asks for.
    pub(crate) fn new(mut arguments: Arguments) -> Result<Session> {
        let machine = Machine::now()
            .with("dirty_pages_by", vat_image::best_tracker().name())
            .with("scale", format!("{:?}", arguments.scale))
            .with(
                "page_cache",
                "warm, except for figures with /cold/ in their name (dropped by POSIX_FADV_DONTNEED)",
            )
            .with_disk_of(Path::new(env!("CARGO_TARGET_TMPDIR")));
        let keeper = match arguments.purpose {
            Purpose::Report => None,
            purpose => {
                let keeper = Keeper::open(purpose)?;
                let is_asked = |name: &String| {
                    arguments.wants_everything()
                        || arguments.filters.iter().any(|f| name.starts_with(f.as_str()))
                };
                arguments.filters = keeper.names().into_iter().filter(is_asked).collect();
                ensure!(!arguments.filters.is_empty(), "the gate holds no figure of that name");
                Some(keeper)
            }
        };
        Ok(Session { arguments, machine, rows: Vec::new(), keeper, has_slowed: false })
    }

    /// How thorough the run is.
    pub(crate) fn scale(&self) -> Scale {
        self.arguments.scale
    }

    /// Whether the pictures of `curves` replace those in the repository.
    pub(crate) fn publishes(&self) -> bool {
        self.arguments.publishes
    }

    /// Whether any figure whose name begins with `family` may be wanted: ask before an expensive setup.
    pub(crate) fn wants(&self, family: &str) -> bool {
        self.arguments.wants_everything() || self.wants_by_name(family)
    }

    /// The same for a family that is measured only when it is asked for.
    pub(crate) fn wants_by_name(&self, family: &str) -> bool {
        self.arguments.filters.iter().any(|f| family.starts_with(f.as_str()) || f.starts_with(family))
    }

    /// Measures a figure and its floor in turn.
    pub(crate) fn pair(
        &mut self,
        figure: Figure,
        ours: impl FnMut() -> Result<Duration>,
        mut floor: impl FnMut() -> Result<Duration>,
    ) -> Result<()> {
        if !self.is_chosen(&figure) {
            return Ok(());
        }
        let slow_down = self.arguments.slow_down.as_ref();
        let is_slowed = |slow: &&SlowDown| figure.name().starts_with(&slow.prefix);
        let factor = slow_down.filter(is_slowed).map_or(1, |slow| slow.factor);
        self.has_slowed |= factor > 1;
        let mut ours = slowed(factor, ours);
        let row = match &mut self.keeper {
            Some(keeper) => keeper.check(|pace| pair(pace, figure.clone(), &mut ours, &mut floor))?,
            None => pair(self.arguments.scale.pace(), figure, ours, floor)?,
        };
        self.add(row);
        Ok(())
    }

    /// Measures a figure that has no floor.
    pub(crate) fn alone(&mut self, figure: Figure, ours: impl FnMut() -> Result<Duration>) -> Result<()> {
        if self.is_chosen(&figure) {
            let row = alone(self.arguments.scale.pace(), figure, ours)?;
            self.add(row);
        }
        Ok(())
    }

    /// Adds a figure that was measured once, in the figure's own unit.
    pub(crate) fn once(&mut self, figure: Figure, value: f64, floor: Option<f64>) {
        if self.is_chosen(&figure) {
            let row = Row::of_value(figure, value, floor);
            if let Some(keeper) = &mut self.keeper {
                keeper.check_once(&row);
            }
            self.add(row);
        }
    }

    /// Says that figures are left out, and why.
    pub(crate) fn left_out(&self, family: &str, why: &str) {
        eprintln!("note: {family} is left out: {why}");
    }

    /// Prints the table and writes the reports, or gives the gate's verdict.
    ///
    /// # Errors
    /// If a report cannot be written, or the gate found a regression.
    pub(crate) fn finish(self) -> Result<()> {
        let report = Report {
            title: "Vat Warehouse: every figure beside its floor".to_owned(),
            machine: self.machine,
            notes: NOTES.map(str::to_owned).into(),
            charts: plots::of(&self.rows),
            rows: self.rows,
        };
        if let Some(slow) = &self.arguments.slow_down {
            ensure!(self.has_slowed, "no figure with a floor begins with {}, to be slowed down", slow.prefix);
        }
        if report.rows.is_empty() {
            return Ok(());
        }
        println!("\n{}", report.text());
        if let Some(keeper) = self.keeper {
            return keeper.finish(&self.arguments.filters, &report.rows);
        }
        write_report("report.json", &format!("{:#}\n", report.figures_json()))?;
        write_report("machine.json", &format!("{:#}\n", report.machine.json()))?;
        write_report("report.html", &report.html())?;
        println!("{}", directory().join("report.html").display());
        Ok(())
    }

    fn is_chosen(&self, figure: &Figure) -> bool {
        self.arguments.wants_everything()
            || self.arguments.filters.iter().any(|filter| match self.keeper {
                None => figure.name().starts_with(filter.as_str()),
                Some(_) => figure.name() == filter,
            })
    }

    fn add(&mut self, row: Row) {
        eprintln!("{}", row.line());
        self.rows.push(row);
    }
}

/// Writes a file of the report into `target/bench`, which is where Cargo keeps the scratch directory of benches, too.
pub(crate) fn write_report(name: &str, text: &str) -> Result<()> {
    let path = directory().join(name);
    let dir = path.parent().context("a file is in a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Says something on the output stream.
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// Says why the run failed.
pub(crate) fn failure(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

/// Where reports are.
pub(crate) fn directory() -> PathBuf {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    scratch.parent().unwrap_or(scratch).join("bench")
}

/// The same, but keeping its processor busy for so many times as long.
fn slowed<F: FnMut() -> Result<Duration>>(
    factor: u32,
    mut ours: F,
) -> impl FnMut() -> Result<Duration> + use<F> {
    move || {
        let taken = ours()?;
        if factor == 1 {
            return Ok(taken);
        }
        let started = Instant::now();
        while started.elapsed() < taken * (factor - 1) {
            std::hint::spin_loop();
        }
        Ok(taken + started.elapsed())
    }
}
