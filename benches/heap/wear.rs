//! What many evictions of one vat do: bytes written for each byte that changed, and the restore that is left.
//!
//! Every eviction saves 16 pages scattered at random: the worst case for layers, which is why they are merged. Merging is done
//! here as a background thread would, until the policy has nothing to ask, and dead segments are removed as a compaction would.
//! Two policies show the trade: a larger divisor writes more and leaves less to copy.

use anyhow::{Context, Result};
use vat_engine::HeapState;
use vat_image::{Image, MergePolicy, merge};

use super::subject::Subject;
use super::{DIRTY, bare_restore_and_deliver};
use crate::harness::{Figure, Session};
use crate::vat::{HeapSize, write};
use crate::{scratch, timed};

const HEAP: HeapSize = HeapSize(64);

/// Evictions after which segments without live bytes are removed.
const REMOVE_INTERVAL: u32 = 500;

/// Parts of the base that a restore may copy, one in so many: the default, and a fourth of it.
const DIVISORS: [u32; 2] = [8, 32];

pub(super) fn bench(session: &mut Session) -> Result<()> {
    DIVISORS.iter().try_for_each(|divisor| bench_policy(session, *divisor))
}

fn bench_policy(session: &mut Session, base_divisor: u32) -> Result<()> {
    let policy = MergePolicy { base_divisor, ..MergePolicy::default() };
    let evictions: u32 = session.scale().pick(500, 10_000);
    let divisor =
        if policy == MergePolicy::default() { String::new() } else { format!("/divisor={base_divisor}") };
    let name = format!("worn/heap={HEAP}/evictions={evictions}{divisor}");
    if !session.wants(&name) {
        return Ok(());
    }
    let dir = scratch()?;
    let subject = Subject::new(dir.path(), HEAP)?;
    let (state, wear) = wear_out(&subject, evictions, &policy)?;
    subject.pages.sync()?;

    let copied = f64::from(state.image.plan().copied_pages()) * 4096.0;
    session.once(Figure::bytes(format!("{name}/copied")), copied, None);
    session.once(Figure::times(format!("{name}/written")), wear.written / wear.changed, None);
    session.pair(
        Figure::time(format!("{name}/restore/dirty=0")).at_most(2.0),
        || timed(|| subject.restore_from(&state)).map(|(taken, _)| taken),
        || timed(|| subject.bare_restore()).map(|(taken, _)| taken),
    )?;
    let mut seeds = (0.., 0..);
    session.pair(
        Figure::time(format!("{name}/restore/dirty={DIRTY}")).at_most(1.5),
        || {
            let delivery = write(DIRTY, seeds.0.next().context("a seed")?);
            let (taken, _) = timed(|| {
                let mut instance = subject.restore_from(&state)?;
                subject.deliver(&mut instance, &delivery)?;
                Ok(instance)
            })?;
            Ok(taken)
        },
        || bare_restore_and_deliver(&subject, seeds.1.next()),
    )
}

/// Bytes that the evictions changed, and that were written for it, merges included.
#[derive(Default)]
struct Wear {
    changed: f64,
    written: f64,
}

fn wear_out(subject: &Subject, evictions: u32, policy: &MergePolicy) -> Result<(HeapState, Wear)> {
    let mut state = subject.birth.clone();
    let mut wear = Wear::default();
    for eviction in 0..evictions {
        let mut instance = subject.restore_from(&state)?;
        subject.deliver(&mut instance, &write(DIRTY, eviction))?;
        let captured = subject.capture(&mut instance)?;
        drop(instance);
        wear.changed += f64::from(captured.stats.written) * 4096.0;
        wear.written += newest_bytes(&captured.state.image)?;
        state = captured.state;
        while let Some(image) = merge(&subject.pages, &state.image, policy)? {
            wear.written += newest_bytes(&image)?;
            state.image = image;
        }
        if eviction % REMOVE_INTERVAL == REMOVE_INTERVAL - 1 {
            remove_dead_segments(subject, &state.image)?;
        }
    }
    Ok((state, wear))
}

/// Bytes of the layer that was written last.
fn newest_bytes(image: &Image) -> Result<f64> {
    let newest = image.layers().last().context("an image has a layer")?;
    Ok(f64::from(u32::try_from(newest.location().bytes)?))
}

fn remove_dead_segments(subject: &Subject, image: &Image) -> Result<()> {
    let live = image.locations().into_iter().chain(subject.birth.image.locations());
    for segment in subject.pages.usage(live) {
        if segment.live_bytes == 0 && !segment.is_open {
            subject.pages.remove_segment(segment.segment)?;
        }
    }
    Ok(())
}
