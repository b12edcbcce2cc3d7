//! Who gets the next message: few are popular, most are not (Zipf's law with exponent 1).
//!
//! The vat of rank r gets a share in proportion to 1/r. Weights are integers, so that the choice is the same on every machine.

use super::random::Random;

/// Weight of the most popular.
const HIGHEST: u64 = 1 << 40;

/// Chooses ranks.
#[derive(Debug, Clone)]
pub(crate) struct Popularity {
    /// For each rank, the weights up to it, its own included.
    sums: Vec<u64>,
}

impl Popularity {
    /// Of at most a million ranks.
    pub(crate) fn new(ranks: usize) -> Popularity {
        let mut sum = 0;
        let weights = (1..).take(ranks).map(|rank: u64| HIGHEST / rank);
        Popularity {
            sums: weights
                .map(|weight| {
                    sum += weight;
                    sum
                })
                .collect(),
        }
    }

    /// A rank, from 0.
    pub(crate) fn choose(&self, random: &mut Random) -> usize {
        let total = *self.sums.last().expect("there is at least one rank");
        let point = random.below(total);
        self.sums.partition_point(|sum| *sum <= point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_chosen_twice_as_often_as_the_second() {
        let popularity = Popularity::new(4);
        let mut random = Random::new(7, 0);
        let mut counts = [0_u32; 4];
        for _ in 0..25_000 {
            counts[popularity.choose(&mut random)] += 1;
        }
        // Shares of 12/25, 6/25, 4/25 and 3/25.
        for (count, expected) in counts.into_iter().zip([12_000, 6_000, 4_000, 3_000]) {
            assert!(count.abs_diff(expected) < 300, "{counts:?}");
        }
    }
}
