//! Samples of one thing, and their quantiles.
//!
//! A quantile is a sample, never something between two: the least one that the given share of all do not exceed.

use std::time::Duration;

/// Durations, in seconds.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    seconds: Vec<f64>,
    is_sorted: bool,
}

impl Samples {
    /// None yet.
    pub fn new() -> Samples {
        Samples::default()
    }

    /// Adds one.
    pub fn push(&mut self, taken: Duration) {
        self.seconds.push(taken.as_secs_f64());
        self.is_sorted = false;
    }

    /// Adds those of another.
    pub fn extend(&mut self, other: &Samples) {
        self.seconds.extend_from_slice(&other.seconds);
        self.is_sorted = false;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.seconds.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.seconds.is_empty()
    }

    /// The least sample, in seconds, that at least `per_mille` of a thousand do not exceed: 500 is the median. With fewer than a thousand
    /// samples, or a hundred, 999 and 990 are the worst one. `None` if there is no sample.
    pub fn quantile(&mut self, per_mille: usize) -> Option<f64> {
        if !self.is_sorted {
            self.seconds.sort_unstable_by(f64::total_cmp);
            self.is_sorted = true;
        }
        let rank = (self.seconds.len() * per_mille).div_ceil(1_000).max(1);
        self.seconds.get(rank - 1).copied()
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Samples {
        let mut samples = Samples::new();
        durations.into_iter().for_each(|taken| samples.push(taken));
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_samples() {
        let mut samples: Samples = (1..=200).rev().map(Duration::from_secs).collect();
        for (per_mille, expected) in
            [(0, 1.0), (5, 1.0), (500, 100.0), (990, 198.0), (999, 200.0), (1_000, 200.0)]
        {
            assert_eq!(samples.quantile(per_mille), Some(expected), "{per_mille}");
        }
        samples.push(Duration::from_secs(1_000));
        assert_eq!(samples.quantile(1_000), Some(1_000.0), "sorted again after another sample");
        assert_eq!(Samples::new().quantile(500), None);
    }
}
