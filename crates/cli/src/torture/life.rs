//! One life: hosts vats until it is killed, or has delivered enough, and says on stdout what it commits.

use std::fmt::{self, Display};
use std::io::{self, Write as _};
use std::num::{NonZeroU64, NonZeroUsize};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use indicatif::ProgressBar;
use vat_warehouse::{Retention, SpanPolicy, Warehouse, WarehouseConfig};

use crate::args::TortureLife;
use crate::context::Context;
use crate::demo::fleet::Modules;
use crate::demo::random::Random;
use crate::demo::shard::{Commits, Shard};
use crate::upheaval;

/// Blocks of messages in a life that nobody ends.
const BLOCKS_MAX: u64 = 500;
/// Most messages of a block, which is committed as a whole.
const BLOCK_MAX: u64 = 25;
/// Vats in memory: few, so that there is always one to evict.
const RESIDENT_MAX: NonZeroUsize = NonZeroUsize::new(6).expect("not zero");
/// Small, so that segments are filled, compacted and removed all the time.
const SEGMENT_BYTES: u64 = 4 << 20;

/// Deliveries of a vat after which its code is replaced: often, so that many a kill is in the middle of that.
const UPGRADED_EACH: NonZeroU64 = NonZeroU64::new(12).expect("not zero");
/// Entries of a span: few, so that there is always one to prune.
const SPAN_ENTRIES: NonZeroU64 = NonZeroU64::new(8).expect("not zero");
/// When what is upgraded in vain is upgraded.
const IN_VAIN_NS: u64 = 1;

/// What a life says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// It is about to commit; then the vats have so many deliveries.
    Commit(Vec<u64>),
    /// The commit returned.
    Done,
    /// What it does next, in a word.
    Doing(String),
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Commit(positions) => {
                f.write_str("commit")?;
                positions.iter().try_for_each(|position| write!(f, " {position}"))
            }
            Line::Done => f.write_str("done"),
            Line::Doing(what) => write!(f, "doing {what}"),
        }
    }
}

impl FromStr for Line {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Line> {
        let mut words = text.split_whitespace();
        match words.next() {
            Some("done") => Ok(Line::Done),
            Some("doing") => Ok(Line::Doing(words.next().context("a life does nothing")?.to_owned())),
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
        retention: Some(Retention::Replay),
        span_policy: SpanPolicy { entries_max: SPAN_ENTRIES, ..SpanPolicy::default() },
        ..WarehouseConfig::default()
    }
}

/// The vats, as they are before their first message.
pub(super) fn shard(seed: u64, vats: u64, modules: &Modules) -> Shard {
    let shard = Shard::all(seed, vats, 1, modules).pop().expect("there is at least one vat");
    shard.upgraded(UPGRADED_EACH)
}

/// `vats torture-life`
pub(crate) fn live(context: &Context, args: &TortureLife) -> Result<()> {
    let modules = Modules::built(&context.out)?;
    let warehouse = Warehouse::open(&context.data()?, config())?;
    modules.install(&warehouse)?;
    upheaval::install(&warehouse)?;
    let mut shard = shard(args.seed, args.vats, &modules);
    shard.resume(&warehouse, Random::new(args.seed, 1_000 + args.life))?;
    let mut random = Random::new(args.seed, 1_000_000 + args.life);
    let bar = ProgressBar::hidden();
    for _ in 0..BLOCKS_MAX {
        let messages = random.below(BLOCK_MAX);
        let deliver = |shard: &mut Shard| {
            let tally = shard.deliver(&warehouse, messages, &Commits::none(), &bar)?;
            tally.differences.into_iter().next().map_or(Ok(()), |difference| bail!("{difference}"))
        };
        if random.below(6) == 0 {
            doing("convert")?;
            upheaval::convert_beside(&warehouse, &mut random, || deliver(&mut shard))?;
        } else {
            doing("deliver")?;
            deliver(&mut shard)?;
        }
        disturb(&warehouse, &shard, &mut random)?;
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
fn disturb(warehouse: &Warehouse, shard: &Shard, random: &mut Random) -> Result<()> {
    let names = shard.spread(None);
    let some = &names[usize::try_from(random.below(names.len() as u64)).expect("an index")];
    match random.below(14) {
        0 => {
            doing("evict")?;
            warehouse.evict_all()?;
        }
        1 | 2 => {
            doing("compact")?;
            warehouse.compact()?;
        }
        3 => {
            doing("scrub")?;
            warehouse.scrub(|_, _| {})?;
        }
        4 | 5 => {
            doing("prune")?;
            upheaval::prune(warehouse, &names)?;
        }
        6 => {
            doing("upgrade")?;
            upheaval::upgrade_in_vain(warehouse, some, IN_VAIN_NS)?;
        }
        7 => {
            doing("look-back")?;
            upheaval::look_back(warehouse, some, random)?;
        }
        _ => {}
    }
    Ok(())
}

fn doing(what: &str) -> io::Result<()> {
    say(&Line::Doing(what.to_owned()))
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
        for line in [
            Line::Doing("prune".to_owned()),
            Line::Done,
            Line::Commit(vec![1, 20, 0]),
            Line::Commit(Vec::new()),
        ] {
            assert_eq!(line.to_string().parse::<Line>().unwrap(), line);
        }
        assert!("doing".parse::<Line>().is_err());
        assert!("comm".parse::<Line>().is_err());
        assert!("commit x".parse::<Line>().is_err());
    }
}
