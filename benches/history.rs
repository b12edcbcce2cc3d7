//! What a transcript is good for: replays side by side, looking back, archives, and opening a store with many vats.
//!
//! ```text
//!   parallel/threads=N   deliveries a second while 8 vats are replayed from birth, N at a time     floor: live deliveries, bare
//!   at/deliveries=N      the vat as it was in the middle of N deliveries, no snapshot near          floor: half of them live, bare
//!   export, import       megabytes of archive a second, through memory                             floor: a copy with its hash
//!   open/vats=N          opening a store, and the first answer of one of its vats                   floor: SQLite opened, one row read
//! ```

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rusqlite::Connection;
use vat_warehouse::archive::{
    ExportOptions, ImportOptions, Retention, SnapshotChoice, Source, Target, import,
};
use vat_warehouse::{VatName, Warehouse, WarehouseConfig};

use crate::delivery::{BareVat, create, deliver};
use crate::harness::{Figure, Session};
use crate::vat::{HeapSize, Syscalls, module, write};
use crate::{scratch, timed};

/// Vats that are replayed together.
const VATS: u32 = 8;
/// Deliveries of a floor's sample.
const BARE: u32 = 20;

pub(crate) fn bench(session: &mut Session) -> Result<()> {
    bench_parallel(session)?;
    bench_at(session)?;
    bench_archive(session)?;
    bench_open(session)
}

/// Captures nothing by itself, so that replays begin at birth.
fn without_snapshots() -> WarehouseConfig {
    WarehouseConfig { snapshot_interval: u64::MAX, ..WarehouseConfig::default() }
}

/// A warehouse of vats with so many deliveries each, committed.
fn lived(dir: &Path, vats: u32, deliveries: u32) -> Result<(Warehouse, Vec<VatName>)> {
    let warehouse = Warehouse::open(&dir.join("data"), without_snapshots())?;
    warehouse.install("vat", &module(HeapSize::MIB, Syscalls::Resolve))?;
    let names = (0..vats).map(|n| create(&warehouse, &format!("vat-{n}"))).collect::<Result<Vec<_>>>()?;
    for name in &names {
        for seed in 0..deliveries {
            deliver(&warehouse, name, write(2, seed))?;
        }
    }
    warehouse.commit()?;
    Ok((warehouse, names))
}

fn bench_parallel(session: &mut Session) -> Result<()> {
    if !session.wants("parallel") {
        return Ok(());
    }
    let deliveries: u32 = session.scale().pick(500, 5_000);
    let dir = scratch()?;
    let (warehouse, names) = lived(dir.path(), VATS, deliveries)?;
    let mut bare = BareVat::new(&module(HeapSize::MIB, Syscalls::Resolve))?;
    let mut seeds = 0..;
    for threads in [1, 2] {
        session.pair(
            Figure::rate(format!("parallel/vats={VATS}/threads={threads}")),
            || {
                let (taken, ()) = timed(|| replay_all(&warehouse, &names, threads))?;
                Ok(taken / (VATS * deliveries))
            },
            || bare.deliver_batch(&mut seeds),
        )?;
    }
    Ok(())
}

fn replay_all(warehouse: &Warehouse, names: &[VatName], threads: usize) -> Result<()> {
    let next = AtomicUsize::new(0);
    let replay = || -> Result<()> {
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            ensure!(warehouse.replay(name)?.is_none(), "{name} diverged");
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .map(|_| {
                std::thread::Builder::new()
                    .stack_size(vat_warehouse::thread_stack_bytes())
                    .spawn_scoped(scope, replay)
            })
            .collect::<std::io::Result<_>>()?;
        started.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a replay panicked"))?)
    })
}

fn bench_at(session: &mut Session) -> Result<()> {
    let deliveries: u32 = session.scale().pick(5_000, 100_000);
    let figure = Figure::time(format!("at/deliveries={deliveries}"));
    if !session.wants(figure.name()) {
        return Ok(());
    }
    let dir = scratch()?;
    let (warehouse, names) = lived(dir.path(), 1, deliveries)?;
    let middle = deliveries / 2;
    let mut bare = BareVat::new(&module(HeapSize::MIB, Syscalls::Resolve))?;
    let mut seeds = 0..;
    session.pair(
        figure,
        || {
            let (taken, moment) = timed(|| Ok(warehouse.at(&names[0], u64::from(middle))?))?;
            ensure!(moment.replayed() > u64::from(middle), "a snapshot was near");
            Ok(taken)
        },
        || {
            let mut taken = Duration::ZERO;
            for _ in 0..middle / BARE {
                taken += bare.deliver_batch(&mut seeds)? * BARE;
            }
            Ok(taken)
        },
    )
}

fn bench_archive(session: &mut Session) -> Result<()> {
    if !session.wants("export") && !session.wants("import") {
        return Ok(());
    }
    let deliveries: u32 = session.scale().pick(1_000, 20_000);
    let dir = scratch()?;
    let (warehouse, _) = lived(dir.path(), VATS, deliveries)?;
    let options = ExportOptions {
        retention: Retention::Archival,
        vats: Vec::new(),
        snapshots: SnapshotChoice::Needed,
        signer: None,
    };
    let export = || -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        warehouse.export(Target::Stream(&mut bytes), &options)?;
        Ok(bytes)
    };
    let archive = export()?;
    #[expect(clippy::cast_precision_loss, reason = "a size in megabytes")]
    let megabytes = archive.len() as f64 / 1e6;
    let copy = || {
        let (taken, copied) = timed(|| {
            let copied = archive.clone();
            blake3::hash(&copied);
            Ok(copied)
        })?;
        ensure!(copied.len() == archive.len(), "the copy is whole");
        Ok(taken.div_f64(megabytes))
    };
    session.pair(
        Figure::rate("export/MB"),
        || {
            let (taken, bytes) = timed(export)?;
            ensure!(bytes == archive, "an export of the same state has the same bytes");
            Ok(taken.div_f64(megabytes))
        },
        copy,
    )?;
    let options = ImportOptions::default();
    session.pair(
        Figure::rate("import/MB"),
        || {
            let into = scratch()?;
            let data = into.path().join("data");
            let mut stream = archive.as_slice();
            let (taken, imported) = timed(|| {
                Ok(import(Source::Stream(&mut stream), &data, without_snapshots(), &options, |_, _| {})?)
            })?;
            ensure!(imported.vats == u64::from(VATS), "all vats were imported");
            Ok(taken.div_f64(megabytes))
        },
        copy,
    )
}

fn bench_open(session: &mut Session) -> Result<()> {
    let vats: u32 = session.scale().pick(2_000, 100_000);
    let figure = Figure::time(format!("open/vats={vats}"));
    if !session.wants(figure.name()) {
        return Ok(());
    }
    let dir = scratch()?;
    let (warehouse, names) = lived(dir.path(), vats, 0)?;
    warehouse.evict_all()?;
    warehouse.checkpoint()?;
    drop(warehouse);
    let data = dir.path().join("data");
    let mut seeds = 0u32..;
    session.pair(
        figure,
        || {
            let seed = seeds.next().context("a seed")?;
            let name = &names[(seed % vats) as usize];
            let (taken, warehouse) = timed(|| {
                let warehouse = Warehouse::open_existing(&data, without_snapshots())?;
                deliver(&warehouse, name, write(2, seed))?;
                Ok(warehouse)
            })?;
            warehouse.commit()?;
            Ok(taken)
        },
        || {
            let (taken, ()) = timed(|| {
                let connection = Connection::open(data.join("store.sqlite"))?;
                let read = "SELECT options FROM vats WHERE id = 1";
                let _: String = connection.query_row(read, [], |row| row.get(0))?;
                Ok(())
            })?;
            Ok(taken)
        },
    )
}
