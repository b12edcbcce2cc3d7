//! The crash matrix: one story is told once for every point at which the machine can stop.
//!
//! ```text
//!   page store   every write, sync, cut, creation and removal: it fails alone, or the power fails there,
//!                with what was not synced kept, torn or lost
//!   SQLite       every frame of the log in every commit, whole or torn in the middle; and a checkpoint
//!                of which any page may have been written and any not
//! ```
//!
//! After each of them the host is opened again: what was committed is there and nothing else, every vat is what the host that
//! never stops says, and the story goes on to its end.
//!
//! SQLite writes its files itself, so its states are made from copies of the files before and after. That is what its own crash
//! tests say a disk can leave: the log is appended to and synced in a commit, and the file itself written only from a synced log.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use vat_image::fault::Failure;
use vat_warehouse::{VatName, VatStatus, Warehouse, WarehouseConfig};

use crate::scenario::State;
use crate::simulation::{World, log};
use crate::steady::{Random, Script, Steady, code_cache};

/// The header of the log, and of each frame in it.
const LOG_HEADER_BYTES: usize = 32;
const FRAME_BYTES: usize = 24 + 4096;
/// A page of the file.
const PAGE_BYTES: usize = 4096;

/// A step of the story; numbers choose among the vats that there are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Create,
    Deliver(usize, u32),
    Evict(usize),
    Snapshot(usize),
    Merge(usize),
    Compact,
    Fork(usize),
    Terminate(usize),
    Upgrade(usize),
    UpgradeInVain(usize),
    Convert(usize),
    Commit,
    Checkpoint,
    Restart,
}

use Step::*;

/// Everything that touches the disk, with work that is committed and work that is not around it.
pub(crate) const STORY: &[Step] = &[
    Create,
    Create,
    Deliver(0, 3),
    Commit,
    Create,
    Deliver(1, 4),
    Evict(0),
    Deliver(0, 2),
    Checkpoint,
    Deliver(2, 5),
    Evict(1),
    Commit,
    Fork(0),
    Deliver(3, 3),
    Deliver(0, 2),
    Checkpoint,
    Merge(0),
    Snapshot(1),
    Deliver(1, 4),
    Commit,
    Compact,
    Deliver(2, 3),
    Commit,
    Evict(2),
    Terminate(0),
    Deliver(0, 3),
    Commit,
    Checkpoint,
    Restart,
    Deliver(1, 4),
    Evict(1),
    Compact,
    Checkpoint,
    Upgrade(0),
    Fork(1),
    Convert(0),
    Deliver(2, 2),
    Merge(2),
    Commit,
    Deliver(0, 3),
    UpgradeInVain(1),
    Compact,
    Upgrade(1),
    Checkpoint,
    Deliver(1, 2),
    Convert(2),
];

pub(crate) fn tell(world: &mut World, step: Step) -> Result<()> {
    let named = |world: &World, nth: usize| world.vats.keys().nth(nth % world.vats.len().max(1)).cloned();
    match step {
        Create => return world.create(),
        Commit => return world.commit(Warehouse::commit),
        Checkpoint => return world.commit(Warehouse::checkpoint),
        Compact => return world.disturb(|host| host.compact().map(drop)),
        Restart => return world.restart(),
        _ => {}
    }
    let (Deliver(nth, _)
    | Evict(nth)
    | Snapshot(nth)
    | Merge(nth)
    | Fork(nth)
    | Terminate(nth)
    | Upgrade(nth)
    | UpgradeInVain(nth)
    | Convert(nth)) = step
    else {
        unreachable!("the others were told")
    };
    let Some(name) = named(world, nth) else { return Ok(()) };
    match step {
        Deliver(_, times) => (0..times).try_for_each(|_| match world.vats.contains_key(&name) {
            true => world.deliver(&name),
            false => Ok(()),
        }),
        Evict(_) => world.disturb(|host| host.evict(&name)),
        Snapshot(_) => world.disturb(|host| host.provide_blocking(&name)?.snapshot()),
        Merge(_) => world.disturb(|host| host.evict(&name).and_then(|()| host.merge(&name))),
        Fork(_) => world.fork(&name),
        Upgrade(_) => world.upgrade(&name),
        UpgradeInVain(_) => world.upgrade_in_vain(&name),
        Convert(_) => world.disturb(|host| host.convert(&name).map(drop)),
        _ => world.terminate(&name),
    }
}

fn steady() -> Rc<RefCell<Steady>> {
    Rc::new(RefCell::new(Steady::new()))
}

#[test]
#[expect(clippy::print_stderr, reason = "figures for who asks with --nocapture")]
fn every_operation_of_the_page_store_may_be_the_last_or_fail() {
    let steady = steady();
    let operations = {
        let mut world = World::plain(Rc::clone(&steady), None).unwrap();
        let mut operations = world.operations();
        for step in STORY {
            tell(&mut world, *step).unwrap();
            operations = operations.max(world.operations());
        }
        world.finish().unwrap();
        operations
    };
    assert!(operations > 50, "the story has {operations} operations only");
    let (mut crashes, mut faults) = (0, 0);
    for at in 0..operations {
        for failure in [Failure::Crash, Failure::Once] {
            let ran = World::plain(Rc::clone(&steady), Some((at, failure))).and_then(|mut world| {
                for step in STORY {
                    tell(&mut world, *step).with_context(|| format!("{step:?}"))?;
                    if failure == Failure::Crash {
                        world.crash_if_stopped()?;
                    }
                }
                world.finish()
            });
            let summary = ran.unwrap_or_else(|error| panic!("{failure:?} at operation {at}: {error:#}"));
            crashes += summary.crashes;
            faults += summary.faults;
        }
    }
    eprintln!(
        "{operations} operations, each twice: {crashes} crashes, {faults} errors that the host reported"
    );
    assert!(crashes >= operations / 2 && faults > 0, "{crashes} crashes, {faults} errors");
}

/// What a crash must leave.
type Durable = BTreeMap<VatName, (Script, u64)>;

/// A data directory that a crash left.
struct Left<'a> {
    pages: &'a Path,
    file: &'a [u8],
    log: &'a [u8],
}

impl Left<'_> {
    /// Opens it: it is what it must be, and goes on.
    fn check(&self, expected: &Durable, steady: &RefCell<Steady>) -> Result<()> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("store.sqlite"), self.file)?;
        fs::write(log(dir.path()), self.log)?;
        copy(self.pages, &dir.path().join("pages"))?;
        let config = WarehouseConfig { code_cache: Some(code_cache()), ..WarehouseConfig::default() };
        let warehouse = Warehouse::open(dir.path(), config)?;
        let rows = warehouse.storage().vats()?;
        let alive: BTreeMap<VatName, u64> = rows
            .iter()
            .filter(|row| row.status == VatStatus::Alive)
            .map(|row| Ok((row.name.parse()?, row.next_position.0)))
            .collect::<Result<_>>()?;
        let deliveries: BTreeMap<VatName, u64> =
            expected.iter().map(|(name, (_, deliveries))| (name.clone(), *deliveries)).collect();
        ensure!(alive == deliveries, "there is {alive:?} instead of {deliveries:?}");
        for (name, (script, deliveries)) in expected {
            let state = State::of(&warehouse, name)?.digest();
            ensure!(state == *steady.borrow_mut().state(script, *deliveries), "{name} is another vat");
            let next = script.deliver(&warehouse, name, *deliveries)?;
            ensure!(
                next == *steady.borrow_mut().observed(script, *deliveries),
                "{name} goes on as another vat"
            );
        }
        ensure!(warehouse.stats().fallbacks == 0, "a snapshot was not there");
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        // A segment may go while the others are copied.
        if let (Ok(bytes), Some(name)) = (fs::read(&path), path.file_name()) {
            fs::write(to.join(name), bytes)?;
        }
    }
    Ok(())
}

/// Lengths of the log between two, at each frame and inside it.
fn lengths(from: usize, to: usize) -> Vec<usize> {
    let from = from.max(LOG_HEADER_BYTES);
    let mut lengths: Vec<usize> =
        (from..to).step_by(FRAME_BYTES).flat_map(|at| [at, at + 12, at + 24 + PAGE_BYTES / 2]).collect();
    lengths.retain(|length| *length < to);
    lengths
}

#[test]
#[expect(clippy::print_stderr, reason = "figures for who asks with --nocapture")]
fn every_frame_of_every_commit_may_be_the_last() {
    let steady = steady();
    let mut world = World::plain(Rc::clone(&steady), None).unwrap();
    let mut states = 0;
    for step in STORY {
        let file = fs::read(world.dir().join("store.sqlite")).unwrap();
        let before = (fs::read(log(world.dir())).unwrap_or_default(), world.durable());
        let pages = tempfile::tempdir().unwrap();
        let is_commit = matches!(step, Commit | Checkpoint);
        copy(&world.dir().join("pages"), pages.path()).unwrap();
        tell(&mut world, *step).unwrap();
        if !is_commit {
            continue;
        }
        let after = (fs::read(log(world.dir())).unwrap(), world.durable());
        let whole = after.0.len();
        for length in lengths(before.0.len(), whole) {
            let left = Left { pages: pages.path(), file: &file, log: &after.0[..length] };
            left.check(&before.1, &steady)
                .unwrap_or_else(|error| panic!("{step:?}, {length} of {whole} bytes of the log: {error:#}"));
            states += 1;
        }
        let left = Left { pages: pages.path(), file: &file, log: &after.0 };
        left.check(&after.1, &steady).unwrap_or_else(|error| panic!("{step:?}, done: {error:#}"));
        states += 1;
    }
    eprintln!("{states} states of the log");
    assert!(states > 200, "{states} states only");
}

#[test]
fn a_checkpoint_may_stop_at_any_page() {
    let steady = steady();
    let mut world = World::plain(Rc::clone(&steady), None).unwrap();
    for step in STORY.iter().filter(|step| !matches!(step, Restart)) {
        tell(&mut world, *step).unwrap();
    }
    tell(&mut world, Checkpoint).unwrap();
    let expected = world.durable();
    let pages = tempfile::tempdir().unwrap();
    copy(&world.dir().join("pages"), pages.path()).unwrap();
    let before = fs::read(world.dir().join("store.sqlite")).unwrap();
    let whole_log = fs::read(log(world.dir())).unwrap();
    tell(&mut world, Restart).unwrap(); // Closing moves the log into the file.
    let after = fs::read(world.dir().join("store.sqlite")).unwrap();
    assert_ne!(before, after);
    let mut random = Random::new(3);
    for _ in 0..40 {
        let mut file = before.clone();
        file.resize(after.len().max(before.len()), 0);
        for (old, new) in file.chunks_mut(PAGE_BYTES).zip(after.chunks(PAGE_BYTES)) {
            if random.below(2) == 0 {
                old.copy_from_slice(new);
            }
        }
        let left = Left { pages: pages.path(), file: &file, log: &whole_log };
        left.check(&expected, &steady).unwrap_or_else(|error| panic!("{error:#}"));
    }
}
