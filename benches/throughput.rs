//! Messages a second when only a part of the vats fits into memory, beside what there is when all of them do.
//!
//! A short version of [`curves`](crate::curves), so that every report has it.

use std::time::Duration;

use anyhow::Result;
use vat_measure::{Load, Skew};

use crate::curves::{Fleet, PER_COMMIT, message};
use crate::harness::{Figure, Session};
use crate::scratch;
use crate::vat::{HeapSize, Quiet};

/// Vats there are.
const VATS: usize = 200;
/// Parts of them that fit into memory, in percent, the whole first: it is the floor of the others.
const RESIDENT: [usize; 5] = [100, 50, 25, 10, 2];
/// How unevenly they are asked.
const SKEWS: [f64; 2] = [0.0, 1.0];

pub(crate) fn bench(session: &mut Session) -> Result<()> {
    if !session.wants("throughput") {
        return Ok(());
    }
    let time = session.scale().pick(Duration::from_millis(300), Duration::from_secs(3));
    let dir = scratch()?;
    let fleet = Fleet::new(dir.path(), VATS, HeapSize::MIB)?;
    for skew in SKEWS {
        let mut whole = None;
        for percent in RESIDENT {
            let resident = VATS * percent / 100;
            let warehouse = fleet.open(resident)?;
            let load = Load {
                warehouse: &warehouse,
                vats: fleet.vats(),
                skew: Skew(skew),
                resident,
                delivery: &message,
                cranks_per_commit: PER_COMMIT,
            };
            let rate = load.run(time, Quiet)?.messages_per_s();
            let floor = *whole.get_or_insert(rate);
            let figure = Figure::rate(format!("throughput/skew={skew}/resident={percent}%"));
            session.once(figure, rate, Some(floor));
        }
    }
    Ok(())
}
