//! The command line: `cargo bench -- [--quick | --gate | --keep] [--slow-down=PREFIX] [--publish] [NAME-PREFIX …]`.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use vat_measure::Pace;

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

    /// How many samples of a figure are taken.
    pub(crate) fn pace(self) -> Pace {
        Pace {
            warm_up: 2,
            budget: self.pick(Duration::from_millis(700), Duration::from_secs(6)),
            rounds_min: self.pick(10, 40),
            rounds_max: self.pick(400, 4_000),
        }
    }
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To report.
    Report,
    /// To fail if a ratio that is kept in the repository has become worse.
    Gate,
    /// To write down the ratios that are to be kept.
    Keep,
}

/// Figures that are made slower on purpose, to see whether the gate notices.
#[derive(Debug, Clone)]
pub(crate) struct SlowDown {
    /// What their names begin with.
    pub(crate) prefix: String,
    /// How many times as long they take.
    pub(crate) factor: u32,
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) scale: Scale,
    pub(crate) purpose: Purpose,
    pub(crate) slow_down: Option<SlowDown>,
    /// Whether the pictures of `curves` replace those in the repository.
    pub(crate) publishes: bool,
    /// Only figures whose names begin with one of these; all if there is none.
    pub(crate) filters: Vec<String>,
}

/// What a figure is slowed down by: more than any tolerance of the gate.
const SLOW_DOWN_FACTOR: u32 = 3;

const OPTIONS: &str =
    "there are --quick, --gate, --keep, --slow-down=PREFIX, --publish, and prefixes of figures' names";

impl Arguments {
    /// Reads the arguments behind the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Arguments> {
        let mut parsed = Arguments {
            scale: Scale::Full,
            purpose: Purpose::Report,
            slow_down: None,
            publishes: false,
            filters: Vec::new(),
        };
        for argument in arguments {
            match argument.as_str() {
                "--quick" => parsed.scale = Scale::Quick,
                "--gate" => (parsed.purpose, parsed.scale) = (Purpose::Gate, Scale::Quick),
                "--keep" => (parsed.purpose, parsed.scale) = (Purpose::Keep, Scale::Quick),
                "--publish" => parsed.publishes = true,
                "--bench" => {} // Cargo says so to every bench.
                option if option.starts_with("--slow-down=") => {
                    let prefix = option.trim_start_matches("--slow-down=").to_owned();
                    parsed.slow_down = Some(SlowDown { prefix, factor: SLOW_DOWN_FACTOR });
                }
                option if option.starts_with('-') => bail!("unknown option {option}; {OPTIONS}"),
                _ => parsed.filters.push(argument),
            }
        }
        ensure!(
            !parsed.publishes || parsed.filters.iter().any(|filter| filter == "curves"),
            "--publish is for the pictures of `curves`, which were not asked for"
        );
        Ok(parsed)
    }

    /// Whether all figures are wanted that are not left to a command of their own.
    pub(crate) fn wants_everything(&self) -> bool {
        self.filters.is_empty()
    }
}
