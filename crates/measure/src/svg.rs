//! A chart as an SVG that needs nothing else: its colours are its own, and follow whether the reader wants light or dark.
//!
//! ```text
//!   ┌ title ───────────────────────┐
//!   │ ── series  ┄┄ its floor      │  legend, in lines as long as the picture is wide
//!   │ y ┤                          │
//!   │   └───────────────────────── │  a tick at every x there is a point at, where there is room for its label
//!   └──────────────────── x ───────┘
//! ```

use std::fmt::Write as _;

use crate::chart::{Axis, AxisScale, Chart, Line, Series};
use crate::figure::Unit;
use crate::table::amount;

const WIDTH: f64 = 720.0;
/// Height of the plot itself; the legend above it takes what it needs.
const PLOT_HEIGHT: f64 = 300.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 24.0;
/// From the top edge to the legend.
const TITLE: f64 = 40.0;
const LEGEND_LINE: f64 = 20.0;
/// From the plot to the lower edge.
const BOTTOM: f64 = 52.0;
/// Less than this apart, labels would run into each other.
const LABEL_APART: f64 = 52.0;
/// Width of a letter of the legend, roughly.
const LETTER: f64 = 6.4;
/// Colours there are; a chart with more lines uses them again.
const COLOURS: usize = 6;

/// Colours told apart by most colour-blind readers, on white and on near-black.
const STYLE: &str = "\
.c{font:12px system-ui,sans-serif;fill:#24292f}.c .t{font-size:15px;font-weight:600}.c .m{fill:#57606a}\
.c .b{fill:#fff}.c path{fill:none;stroke-width:2}.c .g{stroke:#d8dee4;stroke-width:1}.c .a{stroke:#8c959f;stroke-width:1}\
.c .f{stroke-dasharray:5 4;stroke-width:1.5}\
.s0{stroke:#0969da;fill:#0969da}.s1{stroke:#bc4c00;fill:#bc4c00}.s2{stroke:#1a7f37;fill:#1a7f37}\
.s3{stroke:#8250df;fill:#8250df}.s4{stroke:#9a6700;fill:#9a6700}.s5{stroke:#bf3989;fill:#bf3989}\
@media(prefers-color-scheme:dark){.c{fill:#e6edf3}.c .m{fill:#9198a1}.c .b{fill:#0d1117}.c .g{stroke:#2b3138}\
.c .a{stroke:#6e7681}.s0{stroke:#58a6ff;fill:#58a6ff}.s1{stroke:#f0883e;fill:#f0883e}.s2{stroke:#3fb950;fill:#3fb950}\
.s3{stroke:#bc8cff;fill:#bc8cff}.s4{stroke:#d29922;fill:#d29922}.s5{stroke:#f778ba;fill:#f778ba}}";

/// The element, to stand in a page or alone. Nothing if there is nothing to see.
pub(crate) fn svg(chart: &Chart) -> Option<String> {
    let drawing = Drawing::of(chart)?;
    let mut svg = String::new();
    drawing.open(&mut svg);
    let plot = drawing.legend(&mut svg);
    drawing.axes(&mut svg, plot);
    for (series, colour) in drawing.visible() {
        drawing.series(&mut svg, plot, series, colour);
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// Text inside an element.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A chart with the ranges of its axes, as places.
struct Drawing<'a> {
    chart: &'a Chart,
    x: (f64, f64),
    y: (f64, f64),
    y_ticks: Vec<f64>,
}

/// Where the plot's upper edge is.
#[derive(Clone, Copy)]
struct Plot {
    top: f64,
}

impl<'a> Drawing<'a> {
    fn of(chart: &'a Chart) -> Option<Drawing<'a>> {
        chart.has_points().then(|| {
            let y_ticks = ticks(&chart.y, range(chart.points().map(|(_, y)| y)));
            let (low, high) = range(y_ticks.iter().map(|y| chart.y.place(*y)));
            let (left, right) = range(chart.points().map(|(x, _)| chart.x.place(x)));
            let margin = if right > left { (right - left) * 0.03 } else { 1.0 };
            Drawing { chart, x: (left - margin, right + margin), y: (low, high), y_ticks }
        })
    }

    /// Lines with points, and their colours: a floor has that of the line before it.
    fn visible(&self) -> impl Iterator<Item = (&'a Series, usize)> + use<'a> {
        let chart = self.chart;
        let mut solid = 0_usize;
        chart.series.iter().filter_map(move |series| {
            solid += usize::from(series.line == Line::Solid);
            let colour = solid.saturating_sub(1) % COLOURS;
            chart.shown(series).next().map(|_| (series, colour))
        })
    }

    fn legend_lines(&self) -> Vec<Vec<(&'a Series, usize, f64)>> {
        let mut lines = vec![Vec::new()];
        let mut at = LEFT;
        for (series, colour) in self.visible() {
            #[expect(clippy::cast_precision_loss, reason = "a few dozen letters")]
            let width = 40.0 + series.name.chars().count() as f64 * LETTER;
            if at + width > WIDTH && at > LEFT {
                lines.push(Vec::new());
                at = LEFT;
            }
            lines.last_mut().expect("there is a first line").push((series, colour, at));
            at += width;
        }
        lines
    }

    fn open(&self, svg: &mut String) {
        #[expect(clippy::cast_precision_loss, reason = "a few lines")]
        let height = TITLE + self.legend_lines().len() as f64 * LEGEND_LINE + PLOT_HEIGHT + BOTTOM;
        let title = escaped(&self.chart.title);
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"c\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\
             <title>{title}</title><style>{STYLE}</style>\
             <rect class=\"b\" width=\"{WIDTH}\" height=\"{height}\"/>\n<text class=\"t\" x=\"{LEFT}\" y=\"24\">{title}</text>\n"
        );
    }

    fn legend(&self, svg: &mut String) -> Plot {
        let mut y = TITLE + 8.0;
        for line in self.legend_lines() {
            for (series, colour, x) in line {
                let floor = if series.line == Line::Dashed { " f" } else { "" };
                let _ = writeln!(
                    svg,
                    "<path class=\"s{colour}{floor}\" d=\"M{x:.1} {}h22\"/><text x=\"{:.1}\" y=\"{y}\">{}</text>",
                    y - 4.0,
                    x + 28.0,
                    escaped(&series.name)
                );
            }
            y += LEGEND_LINE;
        }
        Plot { top: y - 4.0 }
    }

    fn axes(&self, svg: &mut String, plot: Plot) {
        let bottom = plot.top + PLOT_HEIGHT;
        for tick in &self.y_ticks {
            let y = self.y_of(plot, *tick);
            let _ = writeln!(
                svg,
                "<path class=\"g\" d=\"M{LEFT} {y:.1}H{}\"/><text class=\"m\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0,
                label(*tick, &self.chart.y)
            );
        }
        let mut last = f64::NEG_INFINITY;
        for tick in self.x_ticks() {
            let x = self.x_of(tick);
            if x - last < LABEL_APART {
                continue;
            }
            last = x;
            let _ = writeln!(
                svg,
                "<path class=\"a\" d=\"M{x:.1} {bottom}v5\"/><text class=\"m\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 19.0,
                label(tick, &self.chart.x)
            );
        }
        let _ = writeln!(
            svg,
            "<path class=\"a\" d=\"M{LEFT} {bottom}H{right}\"/>\
             <text class=\"m\" x=\"{right}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <text class=\"m\" x=\"14\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {middle})\">{}</text>",
            bottom + 40.0,
            escaped(&self.chart.x.label),
            escaped(&self.chart.y.label),
            right = WIDTH - RIGHT,
            middle = plot.top + PLOT_HEIGHT / 2.0,
        );
    }

    fn series(&self, svg: &mut String, plot: Plot, series: &Series, colour: usize) {
        let points: Vec<(f64, f64)> = self.chart.shown(series).collect();
        let floor = if series.line == Line::Dashed { " f" } else { "" };
        let place = |(x, y): &(f64, f64)| format!("{:.1} {:.1}", self.x_of(*x), self.y_of(plot, *y));
        let path: Vec<String> = points.iter().map(place).collect();
        let _ = writeln!(svg, "<path class=\"s{colour}{floor}\" d=\"M{}\"/>", path.join("L"));
        for (x, y) in &points {
            let radius = if series.line == Line::Solid { 3.5 } else { 2.0 };
            let _ = writeln!(
                svg,
                "<circle class=\"s{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\"><title>{}, {}: {}</title></circle>",
                self.x_of(*x),
                self.y_of(plot, *y),
                escaped(&series.name),
                amount(*x, self.chart.x.unit),
                amount(*y, self.chart.y.unit)
            );
        }
    }

    /// Every x that there is a point at.
    fn x_ticks(&self) -> Vec<f64> {
        let mut ticks: Vec<f64> = self.chart.points().map(|(x, _)| x).collect();
        ticks.sort_by(f64::total_cmp);
        ticks.dedup();
        ticks
    }

    fn x_of(&self, value: f64) -> f64 {
        LEFT + (self.chart.x.place(value) - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y_of(&self, plot: Plot, value: f64) -> f64 {
        let part = (self.chart.y.place(value) - self.y.0) / (self.y.1 - self.y.0);
        plot.top + (1.0 - part) * PLOT_HEIGHT
    }
}

/// A tick's value; whole numbers without digits behind the point, and bytes in the largest unit of which they are whole.
fn label(value: f64, axis: &Axis) -> String {
    let whole = |power: i32| value >= 1024_f64.powi(power) && value % 1024_f64.powi(power) == 0.0;
    let units = [(3, "GiB"), (2, "MiB"), (1, "KiB")];
    match units.into_iter().find(|(power, _)| axis.unit == Unit::Bytes && whole(*power)) {
        Some((power, name)) => format!("{:.0} {name}", value / 1024_f64.powi(power)),
        None => amount(value, axis.unit).replace(".00 ", " ").replace(".0 ", " "),
    }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
}

/// Round values that enclose the range, at least two.
fn ticks(axis: &Axis, (low, high): (f64, f64)) -> Vec<f64> {
    match axis.scale {
        AxisScale::Logarithmic => logarithmic_ticks(Steps::of(axis.unit, high / low), low, high),
        AxisScale::Linear => linear_ticks(Steps::of(axis.unit, 1.0), high),
    }
}

/// Which numbers are round: some multiples of the powers of a base.
#[derive(Debug, Clone, Copy)]
struct Steps {
    base: f64,
    multiples: &'static [f64],
}

impl Steps {
    /// For a unit, and a range whose ends have this ratio.
    fn of(unit: Unit, ratio: f64) -> Steps {
        match unit {
            Unit::Bytes => Steps { base: 1024.0, multiples: &[1.0, 4.0, 16.0, 64.0, 256.0] },
            _ if ratio < 300.0 => Steps { base: 10.0, multiples: &[1.0, 2.0, 5.0] },
            _ => Steps { base: 10.0, multiples: &[1.0] },
        }
    }

    /// The greatest power of the base that is not greater.
    fn power_below(self, value: f64) -> f64 {
        self.base.powf(value.log(self.base).floor())
    }
}

/// The round values from the last one below the range to the first one above.
fn logarithmic_ticks(steps: Steps, low: f64, high: f64) -> Vec<f64> {
    let mut all = Vec::new();
    let mut power = steps.power_below(low);
    while power <= high * steps.base {
        all.extend(steps.multiples.iter().map(|step| power * step));
        power *= steps.base;
    }
    let from = all.iter().rposition(|tick| *tick <= low * 1.000_001).unwrap_or(0);
    let to = all.iter().position(|tick| *tick * 1.000_001 >= high).unwrap_or(all.len() - 1);
    all[from..=to.max(from + 1)].to_vec()
}

/// About five steps from 0.
fn linear_ticks(steps: Steps, high: f64) -> Vec<f64> {
    let high = if high > 0.0 { high } else { 1.0 };
    let rough = high / 5.0;
    let power = steps.power_below(rough);
    let step = steps.multiples.iter().map(|step| step * power).find(|step| *step >= rough);
    let step = step.unwrap_or(steps.base * power);
    let mut ticks = vec![0.0];
    while ticks[ticks.len() - 1] < high * 0.999_999 {
        ticks.push(ticks[ticks.len() - 1] + step);
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        Chart {
            name: "restore".into(),
            title: "Restore & <write>".into(),
            note: String::new(),
            x: Axis::logarithmic("heap", Unit::Bytes),
            y: Axis::logarithmic("time", Unit::Microseconds),
            series: vec![
                Series::solid("ours", [(1024.0, 6.0), (1_048_576.0, 7.0)]),
                Series { line: Line::Dashed, ..Series::solid("floor", [(1024.0, 4.0)]) },
                Series::solid("nothing to see", [(0.0, 4.0)]),
            ],
        }
    }

    #[test]
    fn a_chart_stands_alone() {
        let svg = svg(&chart()).unwrap();
        assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>"));
        assert!(svg.contains("Restore &amp; &lt;write&gt;"), "text is escaped");
        assert_eq!(svg.matches("<circle").count(), 3);
        assert_eq!(
            svg.matches("class=\"s0 f\"").count(),
            2,
            "a floor has its line's colour: legend and line"
        );
        assert!(!svg.contains("nothing to see"), "points that the axes cannot show are left out");
        assert_eq!(svg.matches("http").count(), 1, "it refers to nothing but the name of its format");
        assert!(svg.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn all_points_are_inside_the_plot() {
        for (low, high) in [(3.0, 4.0), (1.0, 1.0), (0.5, 900.0), (2.0, 5e6)] {
            for scale in [AxisScale::Linear, AxisScale::Logarithmic] {
                let mut chart = chart();
                chart.y.scale = scale;
                chart.series = vec![Series::solid("x", [(1.0, low), (2.0, high)])];
                let drawing = Drawing::of(&chart).unwrap();
                for value in [low, high] {
                    let y = drawing.y_of(Plot { top: 0.0 }, value);
                    assert!((-0.5..=PLOT_HEIGHT + 0.5).contains(&y), "{low}..{high} {scale:?}: {y}");
                }
                assert!((2..=10).contains(&drawing.y_ticks.len()), "{:?}", drawing.y_ticks);
            }
        }
    }

    #[test]
    fn sizes_are_told_in_the_units_of_memory() {
        let axis = Axis::logarithmic("memory", Unit::Bytes);
        let labels = |low, high| -> Vec<String> {
            ticks(&axis, (low, high)).into_iter().map(|tick| label(tick, &axis)).collect()
        };
        assert_eq!(labels(2.5e6, 3.2e8), ["1 MiB", "4 MiB", "16 MiB", "64 MiB", "256 MiB", "1 GiB"]);
        assert_eq!(labels(700.0, 3_000.0), ["256 B", "1 KiB", "4 KiB"]);
        let axis = Axis::linear("memory", Unit::Bytes);
        let labels: Vec<String> = ticks(&axis, (0.0, 5e6)).into_iter().map(|t| label(t, &axis)).collect();
        assert_eq!(labels, ["0 B", "1 MiB", "2 MiB", "3 MiB", "4 MiB", "5 MiB"]);
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let empty = Chart { series: Vec::new(), ..chart() };
        assert_eq!(svg(&empty), None);
    }
}
