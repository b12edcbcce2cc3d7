//! One life: hosts vats until it is killed, or has delivered enough, and says on stdout what it commits.

use std::fmt::{self, Display};
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use indicatif::ProgressBar;
use vat_warehouse::{Warehouse, WarehouseConfig};

use crate::args::TortureLife;
use crate::context::Context;
use crate::demo::fleet::Modules;
use crate::demo::random::Random;
use crate::demo::shard::{Commits, Shard};

/// Blocks of messages in a life that nobody ends.
const BLOCKS_MAX: u64 = 500;
/// Most messages of a block, which is committed as a whole.
const BLOCK_MAX: u64 = 25;
/// Vats in memory: few, so that there is always one to evict.
const RESIDENT_MAX: NonZeroUsize = NonZeroUsize::new(6).expect("not zero");
/// Small, so that segments are filled, compacted and removed all the time.
const SEGMENT_BYTES: u64 = 4 << 20;

/// What a life says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// It is about to commit; then the vats have so many deliveries.
    Commit(Vec<u64>),
    /// The commit returned.
    Done,
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Commit(positions) => {
                f.write_str("commit")?;
                positions.iter().try_for_each(|position| write!(f, " {position}"))
            }
            Line::Done => f.write_str("done"),
        }
    }
}

impl FromStr for Line {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Line> {
        let mut words = text.split_whitespace();
        match words.next() {
            Some("done") => Ok(Line::Done),
            Some("commit") => {
                let positions = words.map(str::parse).collect::<Result<_, _>>();
                Ok(Line::Commit(positions.with_context(|| format!("not positions: {text}"))?))
            }
            _ => bail!("a life does not say: {text}"),
        }
    }
}

/// How the store is opened, in lives and between them.
pub(super) fn config() -> WarehouseConfig {
    WarehouseConfig {
        resident_max: RESIDENT_MAX,
        snapshot_interval: 20,
        check_one_in: 10,
        segment_bytes: SEGMENT_BYTES,
        ..WarehouseConfig::default()
    }
}

/// The vats, as they are before their first message.
pub(super) fn shard(seed: u64, vats: u64, modules: &Modules) -> Shard {
    Shard::all(seed, vats, 1, modules).pop().expect("there is at least one vat")
}

/// `vats torture-life`
pub(crate) fn live(context: &Context, args: &TortureLife) -> Result<()> {
    let modules = Modules::built(&context.out)?;
    let warehouse = Warehouse::open(&context.data()?, config())?;
    modules.install(&warehouse)?;
    let mut shard = shard(args.seed, args.vats, &modules);
    shard.resume(&warehouse, Random::new(args.seed, 1_000 + args.life))?;
    let mut random = Random::new(args.seed, 1_000_000 + args.life);
    let bar = ProgressBar::hidden();
    for _ in 0..BLOCKS_MAX {
        let messages = random.below(BLOCK_MAX);
        let tally = shard.deliver(&warehouse, messages, &Commits::none(), &bar)?;
        if let Some(difference) = tally.differences.first() {
            bail!("{difference}");
        }
        disturb(&warehouse, &mut random)?;
        say(&Line::Commit(shard.deliveries().map(|(_, deliveries)| deliveries).collect()))?;
        match random.below(3) {
            0 => warehouse.checkpoint()?,
            _ => warehouse.commit()?,
        }
        say(&Line::Done)?;
    }
    Ok(())
}

/// What nobody must notice.
fn disturb(warehouse: &Warehouse, random: &mut Random) -> Result<()> {
    match random.below(10) {
        0 => warehouse.evict_all()?,
        1 | 2 => drop(warehouse.compact()?),
        3 => drop(warehouse.scrub(|_, _| {})?),
        _ => {}
    }
    Ok(())
}

fn say(line: &Line) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_back() {
        for line in [Line::Done, Line::Commit(vec![1, 20, 0]), Line::Commit(Vec::new())] {
            assert_eq!(line.to_string().parse::<Line>().unwrap(), line);
        }
        assert!("comm".parse::<Line>().is_err());
        assert!("commit x".parse::<Line>().is_err());
    }
}
