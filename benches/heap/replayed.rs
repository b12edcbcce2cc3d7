//! Restore when the newest snapshot is some deliveries old: map the image, then replay what the transcript has beyond it.
//!
//! ```text
//!   ── snapshot ── d d d d d ──┤ crash        provide = restore + N replayed       floor: bare restore + N bare deliveries
//! ```

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use vat_warehouse::{VatName, Warehouse, WarehouseConfig};

use super::subject::{Subject, create};
use crate::harness::{Figure, Session};
use crate::vat::{HeapSize, Quiet, Syscalls, module, write};
use crate::{scratch, timed};

/// Pages that each delivery writes: the one that takes the delivery, and another.
const WRITTEN: u32 = 2;

pub(super) fn bench(session: &mut Session) -> Result<()> {
    let counts = session.scale().pick(&[1, 10, 100][..], &[1, 10, 100, 1_000][..]);
    counts.iter().try_for_each(|count| bench_count(session, *count))
}

fn bench_count(session: &mut Session, count: u32) -> Result<()> {
    let figure = Figure::time(format!("restore/heap={}/dirty={WRITTEN}/replay={count}", HeapSize::MIB));
    if !session.wants(figure.name()) {
        return Ok(());
    }
    let dir = scratch()?;
    let subject = Subject::new(&dir.path().join("bare"), HeapSize::MIB)?;
    let data = dir.path().join("data");
    let stale = Stale::new(&data, count)?;
    session.pair(
        figure,
        || stale.provide(),
        || {
            let deliveries: Vec<_> = (0..count).map(|seed| write(WRITTEN, seed)).collect();
            let (taken, _) = timed(|| {
                let mut instance = subject.bare_restore()?;
                deliveries
                    .iter()
                    .try_for_each(|delivery| instance.deliver(delivery.to_json().into_bytes()))?;
                Ok(instance)
            })?;
            Ok(taken)
        },
    )
}

/// A data directory as a crash left it, with a vat whose snapshot is old.
struct Stale<'a> {
    data: &'a Path,
    vat: VatName,
    /// Of the same module: paged in first, so that loading its code is not counted.
    other: VatName,
    count: u32,
}

impl Stale<'_> {
    fn new(data: &Path, count: u32) -> Result<Stale<'_>> {
        let warehouse = Warehouse::open(data, config())?;
        warehouse.install("writer", &module(HeapSize::MIB, Syscalls::None))?;
        let (vat, other) = (create(&warehouse, "vat")?, create(&warehouse, "other")?);
        warehouse.evict_all()?;
        warehouse.checkpoint()?;
        let mut lease = warehouse.provide_blocking(&vat)?;
        for seed in 0..count {
            let (delivered, Quiet) = lease.deliver(write(WRITTEN, seed), 0, Quiet);
            delivered?;
        }
        drop(lease);
        warehouse.commit()?;
        ensure!(warehouse.abandon().is_ok(), "nobody else has the warehouse");
        Ok(Stale { data, vat, other, count })
    }

    /// Time of a page-in after the crash. Nothing is captured or committed, so the next finds the same.
    fn provide(&self) -> Result<Duration> {
        let warehouse = Warehouse::open_existing(self.data, config())?;
        drop(warehouse.provide_blocking(&self.other)?);
        let before = warehouse.stats().replayed;
        let (taken, lease) = timed(|| Ok(warehouse.provide_blocking(&self.vat)?))?;
        drop(lease);
        let replayed = warehouse.stats().replayed - before;
        ensure!(replayed == u64::from(self.count), "{replayed} deliveries were replayed");
        ensure!(warehouse.abandon().is_ok(), "nobody else has the warehouse");
        Ok(taken)
    }
}

/// No snapshot but those asked for.
fn config() -> WarehouseConfig {
    WarehouseConfig { snapshot_interval: u64::MAX, ..WarehouseConfig::default() }
}
