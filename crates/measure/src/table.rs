//! What a person reads in a terminal: figures in columns, and bars.
//!
//! ```text
//!   figure                      p50        p99      floor   ratio  bound             n
//!   restore/heap=1MiB       6.61 µs    9.20 µs    4.70 µs    1.41  ≤2.00     met   400
//!
//!   evict        9.81 µs  ██████████▌───┤         a bar to p50, a line to p99, on a logarithmic scale
//! ```

use crate::chart::AxisScale;
use crate::figure::{Bound, Row, Unit};

/// Characters of a bar's scale.
const BAR_WIDTH: usize = 40;

/// Eighths of a character.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// The columns' names.
pub(crate) fn head(width: usize) -> String {
    format!(
        "{:<width$} {:>10} {:>10} {:>10} {:>7} {:>6} {:>7} {:>5}",
        "figure", "p50", "p99", "floor", "ratio", "bound", "", "n"
    )
}

/// One figure in columns, its name `width` characters wide.
pub(crate) fn line(row: &Row, width: usize) -> String {
    let unit = row.figure.unit();
    let [ratio, bound, verdict] = judged(row);
    format!(
        "{:<width$} {:>10} {:>10} {:>10} {ratio:>7} {bound:>6} {verdict:>7} {:>5}",
        row.figure.name(),
        amount(row.p50, unit),
        amount(row.p99, unit),
        row.floor_p50.map_or("–".to_owned(), |floor| amount(floor, unit)),
        row.samples,
    )
}

/// Ratio, bound and verdict of a figure, as they are shown.
pub(crate) fn judged(row: &Row) -> [String; 3] {
    let bound = row.figure.bound().map(|bound| match bound {
        Bound::AtMost(most) => format!("≤{most:.2}"),
        Bound::AtLeast(least) => format!("≥{least:.2}"),
    });
    let verdict = match row.ok() {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "",
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    [or_dash(row.ratio().map(ratio_text)), or_dash(bound), verdict.to_owned()]
}

/// A ratio, with more digits if it is small.
pub fn ratio_text(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }
}

/// Three digits that matter, and the unit.
pub fn amount(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Microseconds if value >= 1e6 => format!("{:.2} s", value / 1e6),
        Unit::Microseconds if value >= 1e4 => format!("{:.1} ms", value / 1e3),
        Unit::Microseconds if value >= 1e3 => format!("{:.2} ms", value / 1e3),
        Unit::Microseconds if value >= 100.0 => format!("{value:.0} µs"),
        Unit::Microseconds => format!("{value:.2} µs"),
        Unit::PerSecond => format!("{value:.0} /s"),
        Unit::Bytes if value >= f64::from(1 << 30) => format!("{:.2} GiB", value / f64::from(1 << 30)),
        Unit::Bytes if value >= f64::from(10 << 20) => format!("{:.1} MiB", value / f64::from(1 << 20)),
        Unit::Bytes if value >= 1024.0 => format!("{:.2} KiB", value / 1024.0),
        Unit::Bytes => format!("{value:.0} B"),
        Unit::Times => format!("{value:.2}×"),
        Unit::Count => format!("{value:.0}"),
        Unit::Percent => format!("{value:.0} %"),
    }
}

/// A bar for each row, all on one scale: filled up to the first value, drawn as a line up to the second, if there is one.
pub fn bars(rows: &[(String, f64, Option<f64>)], unit: Unit, scale: AxisScale) -> String {
    let values = || rows.iter().flat_map(|(_, near, far)| [*near, far.unwrap_or(*near)]).filter(|v| *v > 0.0);
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    // Even the least value has a bar on a logarithmic scale.
    let (low, high) = match scale {
        AxisScale::Logarithmic => ((least / 1.5).ln(), (most * 1.05).ln()),
        AxisScale::Linear => (0.0, most),
    };
    let place = |value: f64| match scale {
        AxisScale::Linear => value / high,
        AxisScale::Logarithmic if value > 0.0 => ((value.ln() - low) / (high - low)).clamp(0.0, 1.0),
        AxisScale::Logarithmic => 0.0,
    };
    let label = rows.iter().map(|(label, ..)| label.chars().count()).max().unwrap_or(0);
    let lines = rows.iter().map(|(name, near, far)| {
        let bar = bar(place(*near), far.map_or(0.0, place));
        format!("{name:<label$}  {:>10}  {bar}", amount(*near, unit))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A bar from parts of the whole width.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from 0 to the width of a terminal"
)]
fn bar(near: f64, far: f64) -> String {
    let eighths = (near * BAR_WIDTH as f64 * 8.0).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if let Some(part) = (eighths % 8).checked_sub(1) {
        bar.push(EIGHTHS[part]);
    }
    let drawn = bar.chars().count();
    let end = (far * BAR_WIDTH as f64).round() as usize;
    if end > drawn {
        bar.push_str(&"─".repeat(end - drawn - 1));
        bar.push('┤');
    }
    bar
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn amounts_have_three_digits_that_matter() {
        for (value, unit, expected) in [
            (4.756, Unit::Microseconds, "4.76 µs"),
            (476.0, Unit::Microseconds, "476 µs"),
            (4_760.0, Unit::Microseconds, "4.76 ms"),
            (47_600.0, Unit::Microseconds, "47.6 ms"),
            (4_760_000.0, Unit::Microseconds, "4.76 s"),
            (512.0, Unit::Bytes, "512 B"),
            (32_256.0, Unit::Bytes, "31.50 KiB"),
            (67_108_864.0, Unit::Bytes, "64.0 MiB"),
            (1_610_612_736.0, Unit::Bytes, "1.50 GiB"),
            (0.104, Unit::Percent, "0 %"),
            (1.5, Unit::Times, "1.50×"),
        ] {
            assert_eq!(amount(value, unit), expected);
        }
    }

    #[test]
    fn bars_are_as_long_as_their_scale_says() {
        let rows = [("ten".to_owned(), 10.0, Some(30.0)), ("thousand".to_owned(), 1_000.0, None)];
        expect![[r#"
            ten         10.00 µs  ███▎───────┤
            thousand     1.00 ms  ███████████████████████████████████████▋"#]]
        .assert_eq(&bars(&rows, Unit::Microseconds, AxisScale::Logarithmic));
        let rows = [("all".to_owned(), 8.0, None), ("half".to_owned(), 4.0, None)];
        expect![[r#"
            all         8 /s  ████████████████████████████████████████
            half        4 /s  ████████████████████"#]]
        .assert_eq(&bars(&rows, Unit::PerSecond, AxisScale::Linear));
        assert_eq!(bars(&[], Unit::Bytes, AxisScale::Logarithmic), "");
    }
}
