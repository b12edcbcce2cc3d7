//! A plot as data: lines through points on two axes.
//!
//! ```text
//!      y ┤        ●──── series with a name
//!        ┤   ●───┘
//!        ┤ ○┄┄┄┄○┄┄┄┄○  a floor: dashed
//!        └─┬────┬────┬─ x
//! ```
//!
//! Only what is to be seen is here. How it is drawn is in `svg`.

use crate::figure::{Row, Unit};

/// A plot.
#[derive(Debug, Clone)]
pub struct Chart {
    /// A short name, fit for a file.
    pub name: String,
    /// What is to be seen.
    pub title: String,
    /// What a reader must know to read it right, in a sentence.
    pub note: String,
    /// What is varied.
    pub x: Axis,
    /// What was measured.
    pub y: Axis,
    /// The lines; those without points are left out.
    pub series: Vec<Series>,
}

/// An axis.
#[derive(Debug, Clone)]
pub struct Axis {
    /// What it shows.
    pub label: String,
    /// In which unit.
    pub unit: Unit,
    /// How values become places.
    pub scale: AxisScale,
}

/// How values become places on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AxisScale {
    /// Equal differences are equally far apart; begins at 0.
    Linear,
    /// Equal ratios are equally far apart; shows only what is above 0.
    Logarithmic,
}

/// A line through points.
#[derive(Debug, Clone)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// How it is drawn.
    pub line: Line,
    /// The points, by ascending x.
    pub points: Vec<(f64, f64)>,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// For what was measured.
    Solid,
    /// For the floor of the solid line before it, in the same colour.
    Dashed,
}

impl Axis {
    /// An axis on which equal ratios are equally far apart.
    pub fn logarithmic(label: impl Into<String>, unit: Unit) -> Axis {
        Axis { label: label.into(), unit, scale: AxisScale::Logarithmic }
    }

    /// An axis that begins at 0.
    pub fn linear(label: impl Into<String>, unit: Unit) -> Axis {
        Axis { label: label.into(), unit, scale: AxisScale::Linear }
    }

    /// A value as a place: only differences between places matter.
    pub(crate) fn place(&self, value: f64) -> f64 {
        match self.scale {
            AxisScale::Linear => value,
            AxisScale::Logarithmic => value.ln(),
        }
    }
}

impl Series {
    /// A line for what was measured.
    pub fn solid(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Series {
        Series { name: name.into(), line: Line::Solid, points: points.into_iter().collect() }
    }

    /// Two lines, figures and their floors, through those rows whose names are `before`, a number and `after`. `read` reads what
    /// stands between the two; rows where it cannot are left out.
    pub fn of_rows(
        name: &str,
        rows: &[Row],
        (before, after): (&str, &str),
        read: impl Fn(&str) -> Option<f64>,
    ) -> [Series; 2] {
        let found: Vec<(f64, &Row)> = rows
            .iter()
            .filter_map(|row| {
                let number = row.figure.name().strip_prefix(before)?.strip_suffix(after)?;
                Some((read(number)?, row))
            })
            .collect();
        let floors = found.iter().filter_map(|(x, row)| Some((*x, row.floor_p50?)));
        let floor = Series { line: Line::Dashed, ..Series::solid(format!("{name}: floor"), floors) };
        [Series::solid(name, found.iter().map(|(x, row)| (*x, row.p50))), floor]
    }
}

impl Chart {
    /// Whether there is anything to see.
    pub fn has_points(&self) -> bool {
        self.points().next().is_some()
    }

    /// All points that can be shown.
    pub(crate) fn points(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.series.iter().flat_map(|series| self.shown(series))
    }

    /// The points of a series that can be shown on these axes.
    pub(crate) fn shown<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = (f64, f64)> + 'a {
        let fits = |axis: &Axis, v: f64| v.is_finite() && (axis.scale == AxisScale::Linear || v > 0.0);
        series.points.iter().copied().filter(move |(x, y)| fits(&self.x, *x) && fits(&self.y, *y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Figure;

    #[test]
    fn a_series_is_found_among_figures_by_their_names() {
        let rows = [
            Row::of_value(Figure::time("restore/heap=1MiB/dirty=0"), 6.0, Some(4.0)),
            Row::of_value(Figure::time("restore/heap=16MiB/dirty=0"), 7.0, None),
            Row::of_value(Figure::time("restore/heap=16MiB/dirty=16"), 70.0, Some(60.0)),
            Row::of_value(Figure::time("restore/heap=odd/dirty=0"), 1.0, None),
        ];
        let mebibytes = |text: &str| text.strip_suffix("MiB")?.parse().ok();
        let [ours, floor] = Series::of_rows("restore", &rows, ("restore/heap=", "/dirty=0"), mebibytes);
        assert_eq!(ours.points, [(1.0, 6.0), (16.0, 7.0)]);
        assert_eq!(floor.points, [(1.0, 4.0)]);
        assert_eq!((ours.line, floor.line), (Line::Solid, Line::Dashed));
    }
}
