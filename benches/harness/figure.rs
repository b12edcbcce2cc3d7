//! A figure and what was measured of it.

/// What a figure is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Microseconds,
    /// Items a second; samples are durations of one item.
    PerSecond,
    Bytes,
    /// How many times as much.
    Times,
}

impl Unit {
    /// As it stands in the report.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Unit::Microseconds => "us",
            Unit::PerSecond => "1/s",
            Unit::Bytes => "B",
            Unit::Times => "x",
        }
    }

    fn of_seconds(self, seconds: f64) -> f64 {
        match self {
            Unit::PerSecond => 1.0 / seconds,
            _ => seconds * 1e6,
        }
    }
}

/// What the ratio of figure and floor must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    pub(crate) fn value(self) -> f64 {
        let (Bound::AtMost(value) | Bound::AtLeast(value)) = self;
        value
    }

    fn holds(self, ratio: f64) -> bool {
        match self {
            Bound::AtMost(most) => ratio <= most,
            Bound::AtLeast(least) => ratio >= least,
        }
    }
}

/// What is to be measured, under a hierarchical name.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    name: String,
    unit: Unit,
    bound: Option<Bound>,
}

impl Figure {
    fn new(name: impl Into<String>, unit: Unit) -> Figure {
        Figure { name: name.into(), unit, bound: None }
    }

    /// How long something takes.
    pub(crate) fn time(name: impl Into<String>) -> Figure {
        Figure::new(name, Unit::Microseconds)
    }

    /// How many are done in a second. A sample is the duration of one.
    pub(crate) fn rate(name: impl Into<String>) -> Figure {
        Figure::new(name, Unit::PerSecond)
    }

    /// How much memory.
    pub(crate) fn bytes(name: impl Into<String>) -> Figure {
        Figure::new(name, Unit::Bytes)
    }

    /// How many times as much.
    pub(crate) fn times(name: impl Into<String>) -> Figure {
        Figure::new(name, Unit::Times)
    }

    /// The floor must not be exceeded by more than this factor.
    pub(crate) fn at_most(self, ratio: f64) -> Figure {
        Figure { bound: Some(Bound::AtMost(ratio)), ..self }
    }

    /// This part of the floor must be reached.
    pub(crate) fn at_least(self, ratio: f64) -> Figure {
        Figure { bound: Some(Bound::AtLeast(ratio)), ..self }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn unit(&self) -> Unit {
        self.unit
    }

    pub(crate) fn bound(&self) -> Option<Bound> {
        self.bound
    }
}

/// A figure with its measurements, in its unit.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) figure: Figure,
    pub(crate) samples: usize,
    pub(crate) p50: f64,
    /// The value that 99 of 100 samples are at least as good as; the worst one of fewer than a hundred.
    pub(crate) p99: f64,
    pub(crate) floor_p50: Option<f64>,
}

impl Row {
    /// From durations in seconds.
    pub(crate) fn of_durations(figure: Figure, ours: &mut [f64], floor: Option<&mut [f64]>) -> Row {
        let unit = figure.unit;
        Row {
            figure,
            samples: ours.len(),
            p50: unit.of_seconds(quantile(ours, 50)),
            p99: unit.of_seconds(quantile(ours, 99)),
            floor_p50: floor.map(|floor| unit.of_seconds(quantile(floor, 50))),
        }
    }

    /// From one measured value.
    pub(crate) fn of_value(figure: Figure, value: f64, floor: Option<f64>) -> Row {
        Row { figure, samples: 1, p50: value, p99: value, floor_p50: floor }
    }

    pub(crate) fn ratio(&self) -> Option<f64> {
        self.floor_p50.map(|floor| self.p50 / floor)
    }

    /// Whether the bound is met; `None` if there is none.
    pub(crate) fn ok(&self) -> Option<bool> {
        Some(self.figure.bound?.holds(self.ratio()?))
    }
}

/// The least sample that at least `percent` of all do not exceed.
fn quantile(samples: &mut [f64], percent: usize) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    let rank = (samples.len() * percent).div_ceil(100).max(1);
    samples[rank - 1]
}
