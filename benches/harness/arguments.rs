//! The command line: `cargo bench -- [--quick] [NAME-PREFIX …]`.

use std::time::Duration;

use anyhow::{Result, bail};

/// How thorough a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Few samples, heaps up to 64 MiB: all of it in under three minutes.
    Quick,
    /// Everything.
    Full,
}

impl Scale {
    /// Picks what belongs to this scale.
    pub(crate) fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Scale::Quick => quick,
            Scale::Full => full,
        }
    }

    /// Time that the samples of one figure and its floor may take together, setup around them included.
    pub(crate) fn budget(self) -> Duration {
        self.pick(Duration::from_millis(700), Duration::from_secs(6))
    }

    /// Fewer rounds are not taken, unless they cost many times the budget.
    pub(crate) fn rounds_min(self) -> usize {
        self.pick(10, 40)
    }

    /// More rounds are not taken.
    pub(crate) fn rounds_max(self) -> usize {
        self.pick(400, 4_000)
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) scale: Scale,
    /// Only figures whose names begin with one of these; all if there is none.
    pub(crate) filters: Vec<String>,
}

impl Arguments {
    /// Reads the arguments behind the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Arguments> {
        let mut parsed = Arguments { scale: Scale::Full, filters: Vec::new() };
        for argument in arguments {
            match argument.as_str() {
                "--quick" => parsed.scale = Scale::Quick,
                "--bench" => {} // Cargo says so to every bench.
                option if option.starts_with('-') => {
                    bail!("unknown option {option}; there is --quick, and prefixes of figures' names")
                }
                _ => parsed.filters.push(argument),
            }
        }
        Ok(parsed)
    }
}
