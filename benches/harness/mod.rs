//! Measures figures beside their floors.
//!
//! ```text
//!   pair(figure, ours, floor):   ours floor  floor ours  ours floor  …   until the time budget is spent
//!                                  └──────────┬─────────┘
//!                              p50, p99, floor's p50, ratio of the p50s ── bound ──► met or MISSED
//! ```
//!
//! A machine is never quiet, so a figure without its floor says little: here both are sampled in turn, in
//! changing order, within the same second, and what is judged is the ratio of their medians. The number of
//! samples follows from a time budget. A sample reports its own duration, so that what has to be set up or
//! torn down around it is not counted. The harness draws no conclusions beyond `ok`, and keeps no history.

mod arguments;
mod figure;
mod machine;
mod report;
mod table;

use std::time::{Duration, Instant};

use anyhow::Result;

pub(crate) use arguments::{Arguments, Scale};
pub(crate) use figure::Figure;
use figure::Row;
use machine::Machine;

/// Rounds that are run and not counted: caches fill, page tables grow.
const WARM_UP_ROUNDS: usize = 2;

/// One run of the benches.
#[derive(Debug)]
pub(crate) struct Session {
    arguments: Arguments,
    machine: Machine,
    rows: Vec<Row>,
}

impl Session {
    /// A run as the command line asks for.
    pub(crate) fn new(arguments: Arguments) -> Session {
        Session { arguments, machine: Machine::now(), rows: Vec::new() }
    }

    /// How thorough the run is.
    pub(crate) fn scale(&self) -> Scale {
        self.arguments.scale
    }

    /// Whether any figure whose name begins with `family` may be wanted: ask before an expensive setup.
    pub(crate) fn wants(&self, family: &str) -> bool {
        self.arguments.filters.is_empty()
            || self.arguments.filters.iter().any(|f| family.starts_with(f.as_str()) || f.starts_with(family))
    }

    /// Measures a figure and its floor in turn.
    pub(crate) fn pair(
        &mut self,
        figure: Figure,
        mut ours: impl FnMut() -> Result<Duration>,
        mut floor: impl FnMut() -> Result<Duration>,
    ) -> Result<()> {
        if !self.is_chosen(&figure) {
            return Ok(());
        }
        for _ in 0..WARM_UP_ROUNDS {
            ours()?;
            floor()?;
        }
        let (mut ours_taken, mut floor_taken) = (Vec::new(), Vec::new());
        let mut rounds = Rounds::begin(self.scale());
        while rounds.another() {
            // Whoever comes second finds the caches warmed by the other: they take turns at that, too.
            if rounds.done.is_multiple_of(2) {
                ours_taken.push(ours()?.as_secs_f64());
                floor_taken.push(floor()?.as_secs_f64());
            } else {
                floor_taken.push(floor()?.as_secs_f64());
                ours_taken.push(ours()?.as_secs_f64());
            }
        }
        self.add(Row::of_durations(figure, &mut ours_taken, Some(&mut floor_taken)));
        Ok(())
    }

    /// Measures a figure that has no floor.
    pub(crate) fn alone(&mut self, figure: Figure, mut ours: impl FnMut() -> Result<Duration>) -> Result<()> {
        if !self.is_chosen(&figure) {
            return Ok(());
        }
        for _ in 0..WARM_UP_ROUNDS {
            ours()?;
        }
        let mut taken = Vec::new();
        let mut rounds = Rounds::begin(self.scale());
        while rounds.another() {
            taken.push(ours()?.as_secs_f64());
        }
        self.add(Row::of_durations(figure, &mut taken, None));
        Ok(())
    }

    /// Adds a figure that was measured once, in the figure's own unit.
    pub(crate) fn once(&mut self, figure: Figure, value: f64, floor: Option<f64>) {
        if self.is_chosen(&figure) {
            self.add(Row::of_value(figure, value, floor));
        }
    }

    /// Says that figures are left out, and why.
    pub(crate) fn left_out(&self, family: &str, why: &str) {
        table::note(&format!("{family} is left out: {why}"));
    }

    /// Prints the table and writes the report.
    pub(crate) fn finish(self) -> Result<()> {
        table::print(&self.machine, self.arguments.scale, &self.rows);
        report::write(&self.machine, self.arguments.scale, &self.rows)
    }

    fn is_chosen(&self, figure: &Figure) -> bool {
        self.arguments.filters.is_empty()
            || self.arguments.filters.iter().any(|filter| figure.name().starts_with(filter.as_str()))
    }

    fn add(&mut self, row: Row) {
        table::progress(&row);
        self.rows.push(row);
    }
}

/// Counts the rounds of one figure against its budget.
struct Rounds {
    scale: Scale,
    started: Instant,
    done: usize,
}

impl Rounds {
    fn begin(scale: Scale) -> Rounds {
        Rounds { scale, started: Instant::now(), done: 0 }
    }

    fn another(&mut self) -> bool {
        let spent = self.started.elapsed();
        let more = match self.done {
            done if done < self.scale.rounds_min() => spent < 8 * self.scale.budget() || done < 3,
            done => done < self.scale.rounds_max() && spent < self.scale.budget(),
        };
        self.done += usize::from(more);
        more
    }
}
