//! A figure and what was measured of it.

use crate::samples::Samples;

/// What a figure is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Millionths of a second.
    Microseconds,
    /// Items a second; samples are durations of one item.
    PerSecond,
    /// Bytes.
    Bytes,
    /// How many times as much.
    Times,
    /// How many.
    Count,
    /// Hundredths of a whole.
    Percent,
}

impl Unit {
    /// As it stands in the report.
    pub fn symbol(self) -> &'static str {
        match self {
            Unit::Microseconds => "us",
            Unit::PerSecond => "1/s",
            Unit::Bytes => "B",
            Unit::Times => "x",
            Unit::Count => "",
            Unit::Percent => "%",
        }
    }

    /// A duration in this unit.
    pub fn of_seconds(self, seconds: f64) -> f64 {
        match self {
            Unit::PerSecond => 1.0 / seconds,
            _ => seconds * 1e6,
        }
    }
}

/// What the ratio of figure and floor must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// No larger than this.
    AtMost(f64),
    /// No smaller than this.
    AtLeast(f64),
}

impl Bound {
    /// The number.
    pub fn value(self) -> f64 {
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
pub struct Figure {
    name: String,
    unit: Unit,
    bound: Option<Bound>,
}

impl Figure {
    fn new(name: impl Into<String>, unit: Unit) -> Figure {
        Figure { name: name.into(), unit, bound: None }
    }

    /// How long something takes.
    pub fn time(name: impl Into<String>) -> Figure {
        Figure::new(name, Unit::Microseconds)
    }

    /// How many are done in a second. A sample is the duration of one.
    pub fn rate(name: impl Into<String>) -> Figure {
        Figure::new(name, Unit::PerSecond)
    }

    /// How much memory.
    pub fn bytes(name: impl Into<String>) -> Figure {
        Figure::new(name, Unit::Bytes)
    }

    /// How many.
    pub fn count(name: impl Into<String>) -> Figure {
        Figure::new(name, Unit::Count)
    }

    /// How many times as much.
    pub fn times(name: impl Into<String>) -> Figure {
        Figure::new(name, Unit::Times)
    }

    /// The floor must not be exceeded by more than this factor.
    pub fn at_most(self, ratio: f64) -> Figure {
        Figure { bound: Some(Bound::AtMost(ratio)), ..self }
    }

    /// This part of the floor must be reached.
    pub fn at_least(self, ratio: f64) -> Figure {
        Figure { bound: Some(Bound::AtLeast(ratio)), ..self }
    }

    /// Its hierarchical name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is a number of.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// What its ratio must be.
    pub fn bound(&self) -> Option<Bound> {
        self.bound
    }
}

/// A figure with its measurements, in its unit.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was measured.
    pub figure: Figure,
    /// How often.
    pub samples: usize,
    /// The median.
    pub p50: f64,
    /// The value that 99 of 100 samples are at least as good as; the worst one of fewer than a hundred.
    pub p99: f64,
    /// The floor's median.
    pub floor_p50: Option<f64>,
}

impl Row {
    /// From durations.
    ///
    /// # Panics
    /// If there is no sample of what was measured.
    pub fn of_samples(figure: Figure, ours: &mut Samples, floor: Option<&mut Samples>) -> Row {
        let unit = figure.unit;
        let quantile =
            |samples: &mut Samples, per_mille| samples.quantile(per_mille).map(|s| unit.of_seconds(s));
        Row {
            figure,
            samples: ours.len(),
            p50: quantile(ours, 500).expect("there is a sample"),
            p99: quantile(ours, 990).expect("there is a sample"),
            floor_p50: floor.and_then(|floor| quantile(floor, 500)),
        }
    }

    /// From one measured value.
    pub fn of_value(figure: Figure, value: f64, floor: Option<f64>) -> Row {
        Row { figure, samples: 1, p50: value, p99: value, floor_p50: floor }
    }

    /// The figure's median by its floor's.
    pub fn ratio(&self) -> Option<f64> {
        self.floor_p50.map(|floor| self.p50 / floor)
    }

    /// Whether the bound is met; `None` if there is none.
    pub fn ok(&self) -> Option<bool> {
        Some(self.figure.bound?.holds(self.ratio()?))
    }
}
