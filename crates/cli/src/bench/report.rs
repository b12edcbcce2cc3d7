//! What was found, as a table with bars, as an object, and as a page with plots.

use std::fmt::{self, Display};

use serde_json::{Value, json};
use vat_measure::{Axis, AxisScale, Chart, Machine, Report, Row, Series, Unit, amount, bars};

use super::residency::Place;
use super::subject::Subject;
use crate::table::{Table, bytes};

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    /// As it was named.
    pub(super) module: String,
    pub(super) subject: Subject,
    pub(super) machine: Machine,
    pub(super) rows: Vec<Row>,
    pub(super) places: Vec<Place>,
}

/// What each figure is, in the order of the steps.
const MEANINGS: [(&str, &str); 14] = [
    ("compile", "check, compile, first birth; once per module"),
    ("cached", "first vat after a start: compiled code from disk"),
    ("create", "a new vat, with its startVat"),
    ("restore", "a vat that is not in memory"),
    ("deliver", "a message to a vat in memory, recorded"),
    ("wake", "restore and deliver"),
    ("evict", "save what one delivery changed"),
    ("fork", "a new vat on the same heap"),
    ("commit/every=1", "messages/s, each made durable"),
    ("commit/every=100", "messages/s, 100 made durable together"),
    ("replay", "deliveries/s without a snapshot"),
    ("memory", "private memory of an idle resident vat"),
    ("heap", "its heap, as it sees it"),
    ("disk", "of an evicted vat, beside the birth image that all share"),
];

impl Found {
    /// The keys are part of the command's interface.
    pub(super) fn json(&self) -> Value {
        let place = |place: &Place| {
            let us = place.page_ins();
            json!({
                "resident_percent": place.percent,
                "messages_per_s": place.found.messages_per_s(),
                "page_in_us": {"p50": us.map(|us| us[0]), "p99": us.map(|us| us[1])},
            })
        };
        json!({
            "module": self.module,
            "bytes": self.subject.wasm.len(),
            "message": self.subject.told(),
            "machine": self.machine.json(),
            "figures": self.report().figures_json(),
            "residency": self.places.iter().map(place).collect::<Vec<_>>(),
        })
    }

    /// A page with plots.
    pub(super) fn html(&self) -> String {
        self.report().html()
    }

    fn report(&self) -> Report {
        let meanings = MEANINGS.iter().map(|(name, meaning)| format!("{name}: {meaning}"));
        Report {
            title: format!("Hosting {}", self.module),
            machine: self.machine.clone(),
            notes: [self.head()].into_iter().chain(meanings).collect(),
            rows: self.rows.clone(),
            charts: vec![self.throughput(), self.waiting()],
        }
    }

    fn head(&self) -> String {
        format!("{}, {}, told {}", self.module, bytes(self.subject.wasm.len() as u64), self.subject.told())
    }

    fn throughput(&self) -> Chart {
        let points = self.places.iter().rev().map(|place| (place.percent(), place.found.messages_per_s()));
        Chart {
            name: "throughput".to_owned(),
            title: "Throughput against residency".to_owned(),
            note: "50 vats, few of them popular (Zipf's law, s = 1), 20 messages to a commit, one thread."
                .to_owned(),
            x: Axis::logarithmic("vats in memory", Unit::Percent),
            y: Axis::logarithmic("messages/s", Unit::PerSecond),
            series: vec![Series::solid("messages/s", points)],
        }
    }

    fn waiting(&self) -> Chart {
        let of = |name: &str, which: usize| {
            let points = self.places.iter().rev().filter_map(|p| Some((p.percent(), p.page_ins()?[which])));
            Series::solid(name, points)
        };
        Chart {
            name: "page-in".to_owned(),
            title: "Waiting for a page-in".to_owned(),
            note: "From asking for a vat that is not in memory to having it, evicting another included."
                .to_owned(),
            x: Axis::logarithmic("vats in memory", Unit::Percent),
            y: Axis::logarithmic("time", Unit::Microseconds),
            series: vec![of("p50", 0), of("p99", 1)],
        }
    }
}

impl Place {
    fn percent(&self) -> f64 {
        u32::try_from(self.percent).map_or(0.0, f64::from)
    }

    /// The median and the 99th percentile in microseconds, if there was any page-in.
    fn page_ins(&self) -> Option<[f64; 2]> {
        let mut samples = self.found.page_ins.clone();
        Some([samples.quantile(500)? * 1e6, samples.quantile(990)? * 1e6])
    }
}

impl Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.head())?;
        for line in self.machine.lines() {
            writeln!(f, "{line}")?;
        }
        let mut table = Table::with_head(&["FIGURE", "P50", "P99", "N", "WHAT"]);
        for row in &self.rows {
            let meaning = MEANINGS.iter().find(|(name, _)| *name == row.figure.name()).map_or("", |(_, m)| m);
            let unit = row.figure.unit();
            // Of one value there are no quantiles.
            let p99 = if unit == Unit::Bytes { String::new() } else { amount(row.p99, unit) };
            table.row(&[&row.figure.name(), &amount(row.p50, unit), &p99, &row.samples, &meaning]);
        }
        writeln!(f, "\n{table}")?;
        let times = self.rows.iter().filter(|row| row.figure.unit() == Unit::Microseconds);
        let times: Vec<_> = times.map(|row| (row.figure.name().to_owned(), row.p50, Some(row.p99))).collect();
        writeln!(
            f,
            "\ntime, on a logarithmic scale: █ p50, ┤ p99\n{}",
            bars(&times, Unit::Microseconds, AxisScale::Logarithmic)
        )?;
        let rates = self
            .places
            .iter()
            .map(|place| (format!("{:>3} % in memory", place.percent), place.found.messages_per_s(), None));
        let rates: Vec<_> = rates.collect();
        writeln!(
            f,
            "\nmessages/s, 20 to a commit, of 50 vats of which few are popular\n{}",
            bars(&rates, Unit::PerSecond, AxisScale::Linear)
        )?;
        let waits = self.places.iter().filter_map(|place| {
            let [p50, p99] = place.page_ins()?;
            Some((format!("{:>3} % in memory", place.percent), p50, Some(p99)))
        });
        let waits: Vec<_> = waits.collect();
        write!(
            f,
            "\npage-ins under that load, making room included\n{}",
            bars(&waits, Unit::Microseconds, AxisScale::Logarithmic)
        )
    }
}
