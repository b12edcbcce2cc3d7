//! Simulation: one seed drives vats, messages, schedule, threads, policies, faults of the disk and crashes, on the real warehouse.
//!
//! ```text
//!   seed ──► World (a warehouse, a disk that fails) ──► create deliver burst evict snapshot merge compact fork terminate
//!                       │                               commit restart crash damage upgrade convert prune
//!                       │                               move (export, import) look back quarantine …
//!                       └─ compared at every step with ─► Steady (the host that never stops)
//! ```
//!
//! A seed that fails is printed with the command that runs it again. Threads are real, so a seed fixes what is done but not how
//! threads interleave; what must come out does not depend on that. `SIM_SEED` runs one seed, `SIM_RUNS` that many from it on.
//!
//! The canaries show that this finds bugs: each is a bug that the warehouse is told to have, and must be found within
//! [`CANARY_RUNS`] seeds.

mod burst;
mod change;
mod conversion;
mod disk;
mod hosting;
mod moving;
mod past;
mod power;
mod store_disk;
mod summary;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context as _, Result, anyhow};
use vat_warehouse::{Canary, Warehouse};

pub(crate) use self::disk::log;
pub(crate) use self::store_disk::{StoreDisk, StoreFailure};
pub(crate) use self::summary::Summary;
pub(crate) use self::world::World;

/// Seeds tried where nobody says how many.
const RUNS: u64 = 60;
/// Seeds within which a canary must be found.
const CANARY_RUNS: u64 = 60;
/// Things done with one seed.
const STEPS: u64 = 70;

/// Runs a seed to its end, or to what is wrong.
pub(crate) fn run(seed: u64, canary: Option<Canary>) -> Result<Summary> {
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, canary)?;
        world.create()?;
        let stepped = (0..STEPS).try_for_each(|_| step(&mut world));
        stepped.with_context(|| world.trail())?;
        let trail = world.trail();
        world.finish().context(trail)
    }));
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(anyhow!(
            "a panic: {}",
            text.or(panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
        ))
    })
}

/// One thing that happens, and what it is called in a report.
fn step(world: &mut World) -> Result<()> {
    let Some(name) = world.some_vat() else { return world.create() };
    let (what, done) = match world.random.below(135) {
        0..42 => ("deliver", world.deliver(&name)),
        42..47 => ("create", world.create()),
        47..55 => ("evict", world.disturb(|host| host.evict(&name))),
        55..57 => ("evict all", world.disturb(Warehouse::evict_all)),
        57..62 => ("snapshot", world.disturb(|host| host.provide_blocking(&name)?.snapshot())),
        62..66 => ("merge", world.disturb(|host| host.evict(&name).and_then(|()| host.merge(&name)))),
        66..69 => ("compact", world.disturb(|host| host.compact().map(drop))),
        69..71 => ("scrub", world.disturb(|host| host.scrub(|_, _| {}).map(drop))),
        71..79 => ("commit", world.commit(Warehouse::commit)),
        79..82 => ("checkpoint", world.commit(Warehouse::checkpoint)),
        82..85 => ("fork", world.fork(&name)),
        85..87 => ("terminate", world.terminate(&name)),
        87..91 => ("burst", world.burst()),
        91..93 => ("restart", world.restart()),
        93..96 => ("crash", world.crash()),
        96..99 => ("check", world.check(&name)),
        99 => ("damage", world.damage()),
        100..105 => ("upgrade", world.upgrade(&name)),
        105..107 => ("upgrade in vain", world.upgrade_in_vain(&name)),
        107..110 => ("convert at rest", world.disturb(|host| host.convert(&name).map(drop))),
        110..114 => ("convert", world.convert()),
        114..118 => ("prune", world.prune(&name)),
        118..119 => ("compress", world.disturb(|host| host.compress_transcripts().map(drop))),
        119..121 => ("move", world.move_away()),
        121..127 => ("look at", world.look_at(&name)),
        127..129 => ("contrast", world.contrast(&name)),
        129..131 => ("quarantine", world.quarantine(&name)),
        _ => ("hint", world.hint(&name)),
    };
    world.did(what, &name);
    done
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
#[expect(clippy::print_stderr, reason = "figures for who asks with --nocapture")]
fn any_seed_is_like_never_stopping() {
    let first = number("SIM_SEED");
    let runs = number("SIM_RUNS").unwrap_or(if first.is_some() { 1 } else { RUNS });
    let first = first.unwrap_or(1);
    let mut total = Summary::default();
    for seed in first..first + runs {
        let summary = run(seed, None).unwrap_or_else(|error| {
            panic!("{error:#}\nrun it again: SIM_SEED={seed} cargo test --test e2e simulation")
        });
        total.add(summary);
    }
    eprintln!("{runs} seeds from {first}: {total:?}");
    let is_all_tried = total.crashes > 0
        && total.faults > 0
        && total.replayed > 0
        && total.upgrades > 0
        && total.moments > 0
        && total.converted > 0
        && total.pruned > 0
        && total.moves > 0;
    assert!(runs < RUNS || is_all_tried, "{total:?}");
}

/// The canary is found.
#[expect(clippy::print_stderr, reason = "how, for who asks with --nocapture")]
fn finds(canary: Canary) {
    let found = (1..=CANARY_RUNS).find_map(|seed| Some((seed, run(seed, Some(canary)).err()?)));
    let (seed, what) = found.unwrap_or_else(|| panic!("{canary:?} was not found with {CANARY_RUNS} seeds"));
    eprintln!("{canary:?} was found by seed {seed}: {what:#}");
}

#[test]
fn finds_a_capture_that_forgets_a_page() {
    finds(Canary::ForgetsAPage);
}

#[test]
fn finds_a_replay_that_skips_a_delivery() {
    finds(Canary::SkipsADelivery);
}

#[test]
fn finds_a_pointer_that_is_durable_before_its_pages() {
    finds(Canary::PointsBeforeSync);
}

#[test]
fn finds_an_eviction_that_commits_what_the_caller_did_not() {
    finds(Canary::CommitsWhenEvicting);
}

#[test]
fn finds_an_upgrade_that_keeps_the_old_code() {
    finds(Canary::KeepsTheOldCode);
}

#[test]
fn finds_a_conversion_that_marks_a_snapshot_with_the_wrong_position() {
    finds(Canary::ConvertsToTheWrongPosition);
}

#[test]
fn finds_an_import_that_skips_the_last_span() {
    finds(Canary::SkipsTheLastSpan);
}

#[test]
fn finds_a_host_that_prunes_too_much() {
    finds(Canary::PrunesTooMuch);
}

#[test]
fn finds_a_look_back_from_a_later_state() {
    finds(Canary::LooksBackFromLater);
}

#[test]
fn finds_a_quarantined_vat_that_takes_deliveries() {
    finds(Canary::ServesTheQuarantined);
}

#[test]
fn finds_a_vat_that_goes_on_after_a_fault_as_if_nothing_was() {
    finds(Canary::KeepsAFaultedHeap);
}
