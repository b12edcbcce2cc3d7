//! The plots of the report, made of whatever figures a run has: restore against heap size, throughput against residency,
//! memory against vats, replay against its length.
//!
//! Figures are found by their names, so a family only has to name them alike: a number between two fixed texts.

use vat_measure::{Axis, Chart, Row, Series, Unit};

/// All plots that there are figures for.
pub(super) fn of(rows: &[Row]) -> Vec<Chart> {
    let charts = [restore(rows), evict(rows), throughput(rows), memory(rows), replay(rows)];
    charts.into_iter().filter(Chart::has_points).collect()
}

fn restore(rows: &[Row]) -> Chart {
    let of = |name: &str, parts| Series::of_rows(name, rows, parts, bytes);
    let series = [
        of("restore", ("restore/heap=", "/dirty=0")),
        of("restore and write 16 pages", ("restore/heap=", "/dirty=16")),
        of("… with a cold page cache", ("restore/cold/heap=", "/dirty=16")),
        of("provide, by the warehouse", ("warehouse/provide/heap=", "/dirty=0")),
    ];
    Chart {
        name: "restore".to_owned(),
        title: "Restore against heap size".to_owned(),
        note: "What it takes to bring a vat back by mapping its heap image; dashed lines are the same by bare calls.".to_owned(),
        x: Axis::logarithmic("heap", Unit::Bytes),
        y: Axis::logarithmic("time, p50", Unit::Microseconds),
        series: series.concat(),
    }
}

fn evict(rows: &[Row]) -> Chart {
    let of = |dirty: u32| {
        let end = format!("/dirty={dirty}");
        Series::of_rows(&format!("{dirty} dirty pages"), rows, ("evict/heap=", &end), bytes)
    };
    Chart {
        name: "evict".to_owned(),
        title: "Evict against heap size".to_owned(),
        note: "Finding, hashing and writing the pages that changed, and letting the memory go.".to_owned(),
        x: Axis::logarithmic("heap", Unit::Bytes),
        y: Axis::logarithmic("time, p50", Unit::Microseconds),
        series: [of(1), of(16), of(256)].concat(),
    }
}

fn throughput(rows: &[Row]) -> Chart {
    let percent = |text: &str| text.strip_suffix('%')?.parse().ok();
    let of = |name: &str, before: &str| {
        let [ours, _] = Series::of_rows(name, rows, (before, ""), percent);
        ours
    };
    Chart {
        name: "throughput".to_owned(),
        title: "Throughput against residency".to_owned(),
        note:
            "Messages a second on one thread, 100 to a commit, when only a part of the vats fits into memory."
                .to_owned(),
        x: Axis::logarithmic("vats in memory", Unit::Percent),
        y: Axis::logarithmic("messages/s", Unit::PerSecond),
        series: vec![
            of("all vats equally often", "throughput/skew=0/resident="),
            of("by Zipf's law, s = 1", "throughput/skew=1/resident="),
        ],
    }
}

fn memory(rows: &[Row]) -> Chart {
    let number = |text: &str| text.parse::<f64>().ok();
    // In all, not for each: that is what has to fit into a machine.
    let of = |name: &str, before: &str| {
        let series = Series::of_rows(name, rows, (before, "/dirty=4"), number);
        series.map(|line| Series {
            points: line.points.iter().map(|(vats, each)| (*vats, vats * each)).collect(),
            ..line
        })
    };
    Chart {
        name: "memory".to_owned(),
        title: "Memory against resident vats".to_owned(),
        note: "Private memory and page tables of idle vats of 1 MiB that have each written 4 pages; dashed: those pages in bare mappings."
            .to_owned(),
        x: Axis::logarithmic("vats", Unit::Count),
        y: Axis::logarithmic("memory in all", Unit::Bytes),
        series: [of("vats in a warehouse", "memory/vat/resident="), of("instances alone", "memory/instance/resident=")]
            .concat(),
    }
}

fn replay(rows: &[Row]) -> Chart {
    let number = |text: &str| text.parse::<f64>().ok();
    Chart {
        name: "replay".to_owned(),
        title: "Restore against deliveries to replay".to_owned(),
        note: "A 1 MiB vat whose snapshot is that many deliveries old; dashed: restore and the same deliveries, by bare calls.".to_owned(),
        x: Axis::logarithmic("deliveries", Unit::Count),
        y: Axis::logarithmic("time, p50", Unit::Microseconds),
        series: Series::of_rows("restore", rows, ("restore/heap=1MiB/dirty=2/replay=", ""), number).into(),
    }
}

/// A heap's size as names have it.
fn bytes(text: &str) -> Option<f64> {
    let (number, unit) = [("MiB", 20), ("GiB", 30)]
        .into_iter()
        .find_map(|(suffix, shift)| Some((text.strip_suffix(suffix)?, f64::from(1 << shift))))?;
    Some(number.parse::<f64>().ok()? * unit)
}
