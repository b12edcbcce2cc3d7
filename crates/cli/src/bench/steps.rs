//! The steps of a vat's life, each measured by itself.
//!
//! | step | what is timed |
//! |---|---|
//! | `compile` | installing: checking, compiling, the birth of the heap, syncing it; an empty store each time |
//! | `cached` | the first vat after the program was started: compiled code from disk, heap image mapped |
//! | `create` | a new vat: birth image mapped, `startVat` delivered |
//! | `restore` | a vat that is not in memory, nothing to replay |
//! | `deliver` | a message to a vat in memory, recorded |
//! | `wake` | restore and deliver together |
//! | `evict` | saving what one delivery changed, letting the memory go |
//! | `fork` | a new vat on the same heap |
//! | `commit/every=N` | messages a second that are durable, N to a commit |
//! | `replay` | deliveries a second when a vat without a snapshot is brought back |

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use indicatif::ProgressBar;
use vat_measure::{Figure, Pace, Row, alone};
use vat_warehouse::{Warehouse, WarehouseConfig};

use super::subject::{Subject, config, name};

/// Deliveries that make one sample where one alone is too short to time.
const BATCH: u32 = 10;
/// Deliveries that are replayed together.
const REPLAYED: u32 = 200;
/// Vats in memory at most.
const RESIDENT_MAX: usize = 1_000;
/// Vats or forks that are made at most: each stays in memory.
const MADE_MAX: usize = 500;

/// All steps, in the order of a vat's life.
pub(super) fn all(subject: &Subject, pace: Pace, bar: &ProgressBar) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut done = |row: Row| {
        rows.push(row);
        bar.inc(1);
    };
    done(compile(subject, pace)?);
    done(cached(subject, pace)?);
    let dir = Subject::scratch()?;
    let warehouse = subject.install(dir.path(), config(RESIDENT_MAX)?)?;
    done(create(subject, &warehouse, pace)?);
    warehouse.evict_all()?;
    done(restore(subject, &warehouse, pace)?);
    done(deliver(subject, &warehouse, pace)?);
    done(wake(subject, &warehouse, pace)?);
    done(evict(subject, &warehouse, pace)?);
    done(fork(subject, &warehouse, pace)?);
    done(commit(subject, &warehouse, pace, 1)?);
    done(commit(subject, &warehouse, pace, 100)?);
    done(replay(subject, pace)?);
    Ok(rows)
}

fn compile(subject: &Subject, pace: Pace) -> Result<Row> {
    // Once at least, however long it takes; a large module takes seconds.
    let pace = Pace { warm_up: 0, rounds_min: 1, ..pace };
    alone(pace, Figure::time("compile"), || {
        let dir = Subject::scratch()?;
        let (taken, _) = timed(|| subject.install(dir.path(), config(1)?))?;
        Ok(taken)
    })
}

fn cached(subject: &Subject, pace: Pace) -> Result<Row> {
    let dir = Subject::scratch()?;
    let warehouse = subject.install(dir.path(), config(1)?)?;
    let vat = name("vat", 0)?;
    subject.create(&warehouse, &vat)?;
    warehouse.evict(&vat)?;
    warehouse.checkpoint()?;
    drop(warehouse);
    alone(pace, Figure::time("cached"), || {
        let warehouse = Warehouse::open_existing(dir.path(), config(1)?)?;
        let (taken, lease) = timed(|| Ok(warehouse.provide_blocking(&vat)?))?;
        drop(lease);
        Ok(taken)
    })
}

fn create(subject: &Subject, warehouse: &Warehouse, pace: Pace) -> Result<Row> {
    let mut names = 0..;
    let pace = Pace { rounds_max: MADE_MAX, ..pace };
    alone(pace, Figure::time("create"), || {
        let vat = name("made", names.next().context("a number")?)?;
        timed(|| subject.create(warehouse, &vat)).map(|(taken, ())| taken)
    })
}

fn restore(subject: &Subject, warehouse: &Warehouse, pace: Pace) -> Result<Row> {
    let vat = name("restored", 0)?;
    subject.create(warehouse, &vat)?;
    subject.deliver(&mut warehouse.provide_blocking(&vat)?)?;
    warehouse.evict(&vat)?;
    alone(pace, Figure::time("restore"), || {
        let (taken, lease) = timed(|| Ok(warehouse.provide_blocking(&vat)?))?;
        drop(lease);
        warehouse.evict(&vat)?;
        Ok(taken)
    })
}

fn deliver(subject: &Subject, warehouse: &Warehouse, pace: Pace) -> Result<Row> {
    let vat = name("told", 0)?;
    subject.create(warehouse, &vat)?;
    let mut lease = warehouse.provide_blocking(&vat)?;
    alone(pace, Figure::time("deliver"), || {
        // The store's transaction is begun outside: its price is the commit's.
        warehouse.storage().host_get("bench")?;
        let (taken, ()) = timed(|| (0..BATCH).try_for_each(|_| subject.deliver(&mut lease)))?;
        warehouse.commit()?;
        Ok(taken / BATCH)
    })
}

fn wake(subject: &Subject, warehouse: &Warehouse, pace: Pace) -> Result<Row> {
    let vat = name("woken", 0)?;
    subject.create(warehouse, &vat)?;
    warehouse.evict(&vat)?;
    alone(pace, Figure::time("wake"), || {
        let (taken, lease) = timed(|| {
            let mut lease = warehouse.provide_blocking(&vat)?;
            subject.deliver(&mut lease)?;
            Ok(lease)
        })?;
        drop(lease);
        warehouse.evict(&vat)?;
        Ok(taken)
    })
}

fn evict(subject: &Subject, warehouse: &Warehouse, pace: Pace) -> Result<Row> {
    let vat = name("evicted", 0)?;
    subject.create(warehouse, &vat)?;
    warehouse.evict(&vat)?;
    alone(pace, Figure::time("evict"), || {
        subject.deliver(&mut warehouse.provide_blocking(&vat)?)?;
        timed(|| Ok(warehouse.evict(&vat)?)).map(|(taken, ())| taken)
    })
}

fn fork(subject: &Subject, warehouse: &Warehouse, pace: Pace) -> Result<Row> {
    let vat = name("forked", 0)?;
    subject.create(warehouse, &vat)?;
    let mut names = 0..;
    let pace = Pace { rounds_max: MADE_MAX, ..pace };
    alone(pace, Figure::time("fork"), || {
        let fork = name("fork", names.next().context("a number")?)?;
        timed(|| Ok(warehouse.fork(&vat, &fork)?)).map(|(taken, _)| taken)
    })
}

fn commit(subject: &Subject, warehouse: &Warehouse, pace: Pace, every: u32) -> Result<Row> {
    let vat = name("committed", every as usize)?;
    subject.create(warehouse, &vat)?;
    warehouse.checkpoint()?;
    let mut lease = warehouse.provide_blocking(&vat)?;
    alone(pace, Figure::rate(format!("commit/every={every}")), || {
        let (taken, ()) = timed(|| {
            (0..every).try_for_each(|_| subject.deliver(&mut lease))?;
            Ok(warehouse.commit()?)
        })?;
        Ok(taken / every)
    })
}

fn replay(subject: &Subject, pace: Pace) -> Result<Row> {
    // No snapshot, so that a page-in replays everything.
    let config = || Ok::<_, anyhow::Error>(WarehouseConfig { snapshot_interval: u64::MAX, ..config(1)? });
    let dir = Subject::scratch()?;
    let warehouse = subject.install(dir.path(), config()?)?;
    let vat = name("replayed", 0)?;
    subject.create(&warehouse, &vat)?;
    let mut lease = warehouse.provide_blocking(&vat)?;
    let started = Instant::now();
    let mut deliveries = 0;
    while deliveries < REPLAYED && (deliveries < BATCH || started.elapsed() < pace.budget) {
        subject.deliver(&mut lease)?;
        deliveries += 1;
    }
    drop(lease);
    warehouse.commit()?;
    let_go(warehouse)?;
    alone(pace, Figure::rate("replay"), || {
        let warehouse = Warehouse::open_existing(dir.path(), config()?)?;
        let (taken, lease) = timed(|| Ok(warehouse.provide_blocking(&vat)?))?;
        drop(lease);
        let replayed = warehouse.stats().replayed;
        ensure!(replayed > u64::from(deliveries), "only {replayed} deliveries were replayed");
        let_go(warehouse)?;
        Ok(taken / u32::try_from(replayed)?)
    })
}

/// Closes as a crash would, so that no snapshot is left.
fn let_go(warehouse: Warehouse) -> Result<()> {
    if warehouse.abandon().is_err() {
        bail!("the warehouse is still in use");
    }
    Ok(())
}

/// The time that something takes, and what it made.
fn timed<T>(act: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let started = Instant::now();
    let made = act()?;
    Ok((started.elapsed(), made))
}
