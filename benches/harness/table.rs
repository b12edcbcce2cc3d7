//! What a person reads: a line on the error stream when a figure is done, one table at the end.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench is a program that prints its result")]

use super::arguments::Scale;
use super::figure::{Bound, Row, Unit};
use super::machine::{Machine, load};

/// Says something beside the figures.
pub(crate) fn note(text: &str) {
    eprintln!("note: {text}");
}

/// Says that a figure is done.
pub(crate) fn progress(row: &Row) {
    eprintln!("{}", line(row, row.figure.name().len().max(52)));
}

/// Prints everything.
pub(crate) fn print(machine: &Machine, scale: Scale, rows: &[Row]) {
    println!();
    println!("{}, {} processors, {}", machine.processor, machine.processors, machine.memory);
    println!("Linux {}, dirty pages by {}, {scale:?} run", machine.kernel, machine.tracker);
    println!("load average {} before, {} after", machine.load_before, load());
    println!(
        "page cache warm, except for figures with /cold/ in their name (dropped by POSIX_FADV_DONTNEED)"
    );
    println!("ratio = p50 / floor p50, sampled in turn; bound: ≤ for times and bytes, ≥ for rates");
    println!();
    let width = rows.iter().map(|row| row.figure.name().len()).max().unwrap_or(0);
    println!(
        "{:<width$} {:>10} {:>10} {:>10} {:>7} {:>6} {:>7} {:>5}",
        "figure", "p50", "p99", "floor", "ratio", "bound", "", "n"
    );
    for row in rows {
        println!("{}", line(row, width));
    }
    let judged: Vec<bool> = rows.iter().filter_map(Row::ok).collect();
    let met = judged.iter().filter(|ok| **ok).count();
    println!("\n{met} of {} bounds met", judged.len());
}

fn line(row: &Row, width: usize) -> String {
    let unit = row.figure.unit();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let bound = row.figure.bound().map(|bound| match bound {
        Bound::AtMost(most) => format!("≤{most:.2}"),
        Bound::AtLeast(least) => format!("≥{least:.2}"),
    });
    let verdict = match row.ok() {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "",
    };
    format!(
        "{:<width$} {:>10} {:>10} {:>10} {:>7} {:>6} {:>7} {:>5}",
        row.figure.name(),
        amount(row.p50, unit),
        amount(row.p99, unit),
        or_dash(row.floor_p50.map(|floor| amount(floor, unit))),
        or_dash(row.ratio().map(|ratio| format!("{ratio:.2}"))),
        or_dash(bound),
        verdict,
        row.samples,
    )
}

/// Three digits that matter, and the unit.
fn amount(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Microseconds if value >= 1e6 => format!("{:.2} s", value / 1e6),
        Unit::Microseconds if value >= 1e4 => format!("{:.1} ms", value / 1e3),
        Unit::Microseconds if value >= 1e3 => format!("{:.2} ms", value / 1e3),
        Unit::Microseconds if value >= 100.0 => format!("{value:.0} µs"),
        Unit::Microseconds => format!("{value:.2} µs"),
        Unit::PerSecond => format!("{value:.0} /s"),
        Unit::Bytes => format!("{:.2} KiB", value / 1024.0),
        Unit::Times => format!("{value:.2}×"),
    }
}
