//! Capacity curves: how many messages a second a host carries, and how long a vat waits to be paged in, by the number of vats, the
//! part of them that is in memory, the size of their heaps, and how unevenly they are asked.
//!
//! ```text
//!   for vats × heap:                one store, its vats made once
//!     for residency × skew:         opened again with room for as many, filled, measured for some seconds
//! ```
//!
//! Each message writes four pages, always the same ones of a vat, scattered over its heap; a hundred messages are made durable
//! together; one thread asks. The whole grid is in `target/bench/curves/curves.json`, pictures of it beside that. With `--publish` the
//! pictures and the grid replace those in `benches/curves`, which the README shows.

mod fleet;
mod pictures;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use vat_abi::Delivery;
use vat_measure::{Load, LoadPoint, Machine, Skew, svg_file};

pub(crate) use self::fleet::Fleet;
use crate::harness::{Session, say, write_report};
use crate::scratch;
use crate::vat::{HeapSize, Quiet, write};

/// Pages that each message writes.
const WRITTEN: u32 = 4;
/// Messages that are made durable together.
pub(crate) const PER_COMMIT: u64 = 100;

/// Numbers of vats.
const VATS: [usize; 3] = [100, 1_000, 10_000];
/// Heaps.
const HEAPS: [HeapSize; 3] = [HeapSize(1), HeapSize(16), HeapSize(64)];
/// Parts of the vats that are in memory, in percent.
const RESIDENT: [usize; 5] = [100, 50, 25, 10, 2];
/// How unevenly vats are asked.
const SKEWS: [f64; 3] = [0.0, 1.0, 1.5];

/// The message to a vat: the same pages every time.
pub(crate) fn message(vat: usize, _position: u64) -> Delivery {
    write(WRITTEN, u32::try_from(vat).unwrap_or(u32::MAX))
}

/// A place in the grid.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    vats: usize,
    heap: HeapSize,
    resident_percent: usize,
    skew: f64,
}

/// What was found there.
#[derive(Debug)]
struct Point {
    place: Place,
    messages_per_s: f64,
    page_ins: usize,
    messages: u64,
    /// Microseconds, if there was any page-in.
    page_in_us: Option<[f64; 3]>,
}

/// Only if asked for by name: it takes minutes.
pub(crate) fn bench(session: &Session) -> Result<()> {
    if !session.wants_by_name("curves") {
        return Ok(());
    }
    let time = session.scale().pick(Duration::from_millis(300), Duration::from_secs(2));
    let machine = Machine::now();
    let mut points = Vec::new();
    for vats in VATS {
        for heap in HEAPS {
            points.extend(measure(vats, heap, time)?);
        }
    }
    publish(session, &machine, &points)
}

/// All residencies and skews of one store.
fn measure(vats: usize, heap: HeapSize, time: Duration) -> Result<Vec<Point>> {
    let dir = scratch()?;
    let fleet = Fleet::new(dir.path(), vats, heap)?;
    let mut points = Vec::new();
    for resident_percent in RESIDENT {
        for skew in SKEWS {
            let place = Place { vats, heap, resident_percent, skew };
            let resident = (vats * resident_percent / 100).max(1);
            let warehouse = fleet.open(resident)?;
            let load = Load {
                warehouse: &warehouse,
                vats: fleet.vats(),
                skew: Skew(skew),
                resident,
                delivery: &message,
                cranks_per_commit: PER_COMMIT,
            };
            let point = Point::new(place, load.run(time, Quiet)?);
            say(&point.line());
            points.push(point);
        }
    }
    Ok(points)
}

impl Point {
    fn new(place: Place, mut found: LoadPoint) -> Point {
        let messages_per_s = found.messages_per_s();
        let mut quantile = |per_mille| found.page_ins.quantile(per_mille).map(|seconds| seconds * 1e6);
        let page_in_us = [500, 990, 999].map(&mut quantile);
        let page_in_us = match page_in_us {
            [Some(p50), Some(p99), Some(p999)] => Some([p50, p99, p999]),
            _ => None,
        };
        Point { place, messages_per_s, page_ins: found.page_ins.len(), messages: found.messages, page_in_us }
    }

    fn line(&self) -> String {
        let Place { vats, heap, resident_percent, skew } = self.place;
        let [p50, p99, p999] = self.page_in_us.map_or([0.0; 3], |quantiles| quantiles);
        format!(
            "curves: {vats:>6} vats of {heap:>5}, {resident_percent:>3} % in memory, skew {skew}: {:>7.0} messages/s, \
             page-ins {:>7}: p50 {p50:.0} µs, p99 {p99:.0} µs, p99.9 {p999:.0} µs",
            self.messages_per_s, self.page_ins
        )
    }

    fn json(&self) -> Value {
        let Place { vats, heap, resident_percent, skew } = self.place;
        let [p50, p99, p999] =
            self.page_in_us.map_or([Value::Null, Value::Null, Value::Null], |us| us.map(Value::from));
        json!({
            "vats": vats,
            "heap": heap.to_string(),
            "resident_percent": resident_percent,
            "skew": skew,
            "messages": self.messages,
            "messages_per_s": self.messages_per_s,
            "page_ins": self.page_ins,
            "page_in_us": {"p50": p50, "p99": p99, "p99_9": p999},
        })
    }
}

fn publish(session: &Session, machine: &Machine, points: &[Point]) -> Result<()> {
    let grid: Value = points.iter().map(Point::json).collect();
    let mut files = vec![(
        "curves.json".to_owned(),
        format!("{:#}\n", json!({"machine": machine.json(), "points": grid})),
    )];
    for chart in pictures::of(points) {
        let svg = svg_file(&chart).with_context(|| format!("no points for the picture {}", chart.name))?;
        files.push((format!("{}.svg", chart.name), svg));
    }
    for (name, text) in files {
        write_report(&format!("curves/{name}"), &text)?;
        if session.publishes() {
            let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "benches", "curves", &name].iter().collect();
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}
