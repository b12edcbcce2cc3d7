//! A vat for `wasm32-wasip1`: it uses what WASI offers, as if it were a program on an ordinary machine.
//!
//! Under this host the answers are functions of the delivery: the clock shows the crank's recorded time, the
//! random numbers follow from vat, incarnation and delivery, and what is printed goes to the log. So even a
//! `HashMap` with random keys is the same on every host and in every replay, although its order is nobody's
//! choice. There are no files, no network and no environment.
//!
//! Choose this target only if a dependency needs it: `wasm32-unknown-unknown` has less to go wrong.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use vat_sdk::{Result, vat};

/// Words and how often each was noted. Its keys are drawn when the vat starts, and live on in the heap.
#[derive(Debug, Default)]
struct Wasi {
    words: HashMap<String, u32>,
}

#[vat]
impl Wasi {
    /// Prints a line to standard output and one to standard error.
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this vat is for")]
    fn print(&self, text: &str) {
        println!("{text}");
        eprintln!("about to have printed {text:?}");
    }

    /// Answers the time, in nanoseconds since the Unix epoch.
    fn now(&self) -> Result<u128> {
        Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())
    }

    /// Answers how many nanoseconds pass while counting to a million. A vat cannot time itself.
    fn elapsed(&self) -> u128 {
        let start = Instant::now();
        for number in 0..1_000_000 {
            std::hint::black_box(number);
        }
        start.elapsed().as_nanos()
    }

    /// Answers a number that depends on this delivery's randomness.
    fn random(&self) -> u64 {
        RandomState::new().hash_one(0)
    }

    /// Notes a word; answers how often it was noted.
    fn note(&mut self, word: String) -> u32 {
        let count = self.words.entry(word).or_default();
        *count += 1;
        *count
    }

    /// Answers the words in the map's own order, which its random keys decide.
    #[expect(clippy::iter_over_hash_type, reason = "the order is to be seen")]
    fn words(&self) -> Vec<(String, u32)> {
        let mut words = Vec::new();
        for (word, count) in &self.words {
            words.push((word.clone(), *count));
        }
        words
    }

    /// Answers what there is of a world outside: arguments, environment variables, and whether the root
    /// directory can be read.
    fn outside(&self) -> (usize, usize, bool) {
        (std::env::args().count(), std::env::vars().count(), std::fs::read_dir("/").is_ok())
    }
}
