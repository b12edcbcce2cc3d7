//! Taking samples until the time for them is spent.
//!
//! ```text
//!   pair:   ours floor  floor ours  ours floor  …      until the budget is spent
//!             └──────────┬─────────┘
//!          p50, p99, floor's p50, ratio of the p50s
//! ```
//!
//! A machine is never quiet, so a figure without its floor says little: both are sampled in turn, in changing order, within
//! the same second, and what is judged is the ratio of their medians. A sample reports its own duration, so that what has to be
//! set up or torn down around it is not counted.

use std::time::{Duration, Instant};

use crate::figure::{Figure, Row};
use crate::samples::Samples;

/// How many times its budget a figure may take for its least number of rounds.
const PATIENCE: u32 = 8;

/// Rounds that are taken however long they take.
const ROUNDS_ALWAYS: usize = 3;

/// How many samples are taken.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Rounds that are run before and not counted: caches fill, page tables grow.
    pub warm_up: usize,
    /// Time that all samples of one figure and its floor may take together, setup around them included.
    pub budget: Duration,
    /// Fewer rounds are not taken, unless they cost many times the budget.
    pub rounds_min: usize,
    /// More rounds are not taken.
    pub rounds_max: usize,
}

/// Measures a figure and its floor in turn.
///
/// # Errors
/// The first of either.
pub fn pair<E>(
    pace: Pace,
    figure: Figure,
    mut ours: impl FnMut() -> Result<Duration, E>,
    mut floor: impl FnMut() -> Result<Duration, E>,
) -> Result<Row, E> {
    for _ in 0..pace.warm_up {
        ours()?;
        floor()?;
    }
    let (mut ours_taken, mut floor_taken) = (Samples::new(), Samples::new());
    let mut rounds = Rounds::begin(pace);
    while rounds.another() {
        // Whoever comes second finds the caches warmed by the other: they take turns at that, too.
        if rounds.done.is_multiple_of(2) {
            ours_taken.push(ours()?);
            floor_taken.push(floor()?);
        } else {
            floor_taken.push(floor()?);
            ours_taken.push(ours()?);
        }
    }
    Ok(Row::of_samples(figure, &mut ours_taken, Some(&mut floor_taken)))
}

/// Measures a figure that has no floor.
///
/// # Errors
/// The first.
pub fn alone<E>(pace: Pace, figure: Figure, mut ours: impl FnMut() -> Result<Duration, E>) -> Result<Row, E> {
    for _ in 0..pace.warm_up {
        ours()?;
    }
    let mut taken = Samples::new();
    let mut rounds = Rounds::begin(pace);
    while rounds.another() {
        taken.push(ours()?);
    }
    Ok(Row::of_samples(figure, &mut taken, None))
}

/// Counts the rounds of one figure against its budget.
struct Rounds {
    pace: Pace,
    started: Instant,
    done: usize,
}

impl Rounds {
    fn begin(pace: Pace) -> Rounds {
        Rounds { pace, started: Instant::now(), done: 0 }
    }

    fn another(&mut self) -> bool {
        let spent = self.started.elapsed();
        let more = match self.done {
            done if done < self.pace.rounds_min => {
                spent < PATIENCE * self.pace.budget || done < ROUNDS_ALWAYS
            }
            done => done < self.pace.rounds_max && spent < self.pace.budget,
        };
        self.done += usize::from(more);
        more
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn a_pair_takes_as_many_samples_of_either_and_divides_the_medians() {
        let pace = Pace { warm_up: 2, budget: Duration::ZERO, rounds_min: 3, rounds_max: 9 };
        let (mut ours, mut floors) = (0, 0);
        let row = pair::<Infallible>(
            pace,
            Figure::time("x").at_most(2.0),
            || {
                ours += 1;
                Ok(Duration::from_micros(30))
            },
            || {
                floors += 1;
                Ok(Duration::from_micros(10))
            },
        );
        let Ok(row) = row;
        assert_eq!((row.samples, ours, floors), (3, 5, 5), "with the rounds that are not counted");
        assert!(row.ratio().is_some_and(|ratio| (ratio - 3.0).abs() < 1e-9));
        assert_eq!(row.ok(), Some(false));
    }

    #[test]
    fn no_more_rounds_are_taken_than_allowed() {
        let pace = Pace { warm_up: 2, budget: Duration::from_secs(3_600), rounds_min: 1, rounds_max: 7 };
        let Ok(row) = alone::<Infallible>(pace, Figure::time("x"), || Ok(Duration::ZERO));
        assert_eq!(row.samples, 7);
    }
}
