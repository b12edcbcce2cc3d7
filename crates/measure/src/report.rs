//! All that a run found: for a terminal, for programs, and (in `page`) for a browser.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::chart::Chart;
use crate::figure::{Bound, Row};
use crate::machine::Machine;
use crate::table::{head, line};

/// All that a run found.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was measured, in a few words.
    pub title: String,
    /// On what.
    pub machine: Machine,
    /// What the columns mean, and whatever else must be said about all figures, in sentences.
    pub notes: Vec<String>,
    /// The figures.
    pub rows: Vec<Row>,
    /// Plots of them.
    pub charts: Vec<Chart>,
}

impl Report {
    /// The figures for programs: `[{name, unit, p50, p99, floor_p50, ratio, bound, ok, samples}]`.
    pub fn figures_json(&self) -> Value {
        self.rows.iter().map(figure).collect()
    }

    /// One table of everything, and how many bounds are met.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for said in self.machine.lines().iter().chain(&self.notes) {
            let _ = writeln!(text, "{said}");
        }
        let width = self.rows.iter().map(|row| row.figure.name().chars().count()).max().unwrap_or(0);
        let _ = writeln!(text, "\n{}", head(width));
        for row in &self.rows {
            let _ = writeln!(text, "{}", line(row, width));
        }
        let (met, judged) = self.met();
        let _ = write!(text, "\n{met} of {judged} bounds met");
        text
    }

    /// How many bounds are met, of how many.
    pub(crate) fn met(&self) -> (usize, usize) {
        let judged: Vec<bool> = self.rows.iter().filter_map(Row::ok).collect();
        (judged.iter().filter(|ok| **ok).count(), judged.len())
    }
}

impl Row {
    /// The figure on one line, to be shown when it is done.
    pub fn line(&self) -> String {
        line(self, self.figure.name().chars().count().max(52))
    }
}

fn figure(row: &Row) -> Value {
    json!({
        "name": row.figure.name(),
        "unit": row.figure.unit().symbol(),
        "p50": row.p50,
        "p99": row.p99,
        "floor_p50": row.floor_p50,
        "ratio": row.ratio(),
        "bound": row.figure.bound().map(Bound::value),
        "ok": row.ok(),
        "samples": row.samples,
    })
}
