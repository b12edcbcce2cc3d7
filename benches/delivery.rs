//! Deliveries: to a resident vat, to one that has to be paged in, replayed, and made durable.
//!
//! ```text
//!   deliver/resident   JSON, call, JSON, transcript entry in the open transaction      floor: call, JSON both ways
//!   deliver/engine     the same without warehouse and store
//!   deliver/shallow    as deliver/resident, on a thread whose stack is too small         floor: as deliver/resident
//!   allocations        what a delivery, and a replayed one, takes from the allocator      floor: call, JSON both ways
//!   deliver/paged      page in, deliver, page another out                             floor: all of it bare
//!   replay             deliveries a second while a vat is brought back by its transcript   beside live deliveries
//!   commit/every=N     cranks a second that are durable, N to a commit                 floor: the rows, bare SQLite
//!   …/snapshots        the same, with a snapshot of the heap every 200 deliveries       floor: the same, which has no heap
//! ```
//!
//! A commit waits for the disk. While other processes keep all processors busy, that wait is rounded up to a
//! scheduler tick (4 ms), for ours and for bare SQLite alike: the ratios of `commit` then tend to 1 and say
//! nothing. Read the load in the report's header first.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vat_abi::{CapData, Delivery, Outcome};
use vat_engine::{CrankContext, Engine, EngineConfig, VatInstance};
use vat_warehouse::{VatName, VatOptions, Warehouse, WarehouseConfig};

use crate::floor::{BareEngine, BareInstance, BareStore, Eviction, allocations, encode_message};
use crate::harness::{Figure, Session};
use crate::vat::{HeapSize, KEYS, Quiet, Syscalls, body, module, stored, write};
use crate::{scratch, timed};

/// Deliveries that make one sample: one alone is too short to time.
const BATCH: u32 = 20;
/// Pages that a delivery writes: the one that takes the delivery, and another.
const WRITTEN: u32 = 2;
/// Vats that take turns, and how many of them are resident, where deliveries page.
const VATS: u32 = 64;
const RESIDENT: usize = 16;

pub(crate) fn bench(session: &mut Session) -> Result<()> {
    bench_resident(session)?;
    bench_shallow(session)?;
    bench_allocations(session)?;
    bench_paged(session)?;
    bench_replay(session)?;
    [1, 10, 100].into_iter().try_for_each(|every| bench_commit(session, every, Snapshots::Never))?;
    bench_commit(session, 100, Snapshots::Usual)
}

/// Whether a vat that stays in memory is snapshotted now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Snapshots {
    /// Never: a commit then writes what bare SQLite writes.
    Never,
    /// As a warehouse does by itself.
    Usual,
}

fn bench_resident(session: &mut Session) -> Result<()> {
    if !session.wants("deliver/resident") && !session.wants("deliver/engine") {
        return Ok(());
    }
    let wasm = module(HeapSize::MIB, Syscalls::Resolve);
    let (dir, mut bare) = (scratch()?, BareVat::new(&wasm)?);
    let hosted = Hosted::new(dir.path(), &wasm, WarehouseConfig::default())?;
    let mut seeds = (0.., 0..);
    session.pair(
        Figure::time("deliver/resident").at_most(2.0),
        || hosted.deliver_batch(&mut seeds.0),
        || bare.deliver_batch(&mut seeds.1),
    )?;
    let mut bare = BareVat::new(&wasm)?;
    let engine = Engine::new(EngineConfig::default())?;
    let mut instance = VatInstance::birth(&engine, &engine.module(&wasm)?, 16)?;
    let mut seeds = (0.., 0..);
    session.pair(
        Figure::time("deliver/engine"),
        || {
            let deliveries = batch(&mut seeds.0);
            let (taken, ()) = timed(|| {
                deliveries.into_iter().try_for_each(|delivery| deliver_unrecorded(&mut instance, &delivery))
            })?;
            Ok(taken / BATCH)
        },
        || bare.deliver_batch(&mut seeds.1),
    )
}

/// A thread of the usual 2 MiB has no room for the deepest stack that a vat may have: each delivery maps one.
fn bench_shallow(session: &mut Session) -> Result<()> {
    if !session.wants("deliver/shallow") {
        return Ok(());
    }
    let wasm = module(HeapSize::MIB, Syscalls::Resolve);
    let (dir, mut bare) = (scratch()?, BareVat::new(&wasm)?);
    let hosted = Hosted::new(dir.path(), &wasm, WarehouseConfig::default())?;
    let mut seeds = (0.., 0..);
    session.pair(
        Figure::time("deliver/shallow"),
        || {
            std::thread::scope(|scope| {
                let shallow = std::thread::Builder::new().stack_size(2 << 20);
                let batch = shallow.spawn_scoped(scope, || hosted.deliver_batch(&mut seeds.0))?;
                batch.join().map_err(|_| anyhow::anyhow!("a delivery panicked"))?
            })
        },
        || bare.deliver_batch(&mut seeds.1),
    )
}

/// Deliveries whose allocations are counted.
const COUNTED: u32 = 1_000;

/// How often a delivery goes to the allocator: the same in every run.
fn bench_allocations(session: &mut Session) -> Result<()> {
    if !session.wants("allocations") {
        return Ok(());
    }
    let wasm = module(HeapSize::MIB, Syscalls::Resolve);
    let (dir, mut bare) = (scratch()?, BareVat::new(&wasm)?);
    let config = || WarehouseConfig { snapshot_interval: u64::MAX, ..WarehouseConfig::default() };
    let hosted = Hosted::new(dir.path(), &wasm, config())?;
    // The middle of all, since a buffer grows now and then.
    let counted = |deliver: &mut dyn FnMut(u32) -> Result<u64>| -> Result<f64> {
        let mut counts = (0..COUNTED).map(deliver).collect::<Result<Vec<_>>>()?;
        counts.sort_unstable();
        Ok(f64::from(u32::try_from(counts[counts.len() / 2])?))
    };
    let floor = counted(&mut |seed| {
        let message = body(WRITTEN, seed);
        let (count, delivered) = allocations(|| bare.instance.deliver(encode_message(message)?));
        delivered.map(|()| count)
    })?;
    let resident = counted(&mut |seed| {
        let delivery = write(WRITTEN, seed);
        let (count, delivered) = allocations(|| hosted.deliver(delivery));
        delivered.map(|()| count)
    })?;
    hosted.warehouse.commit()?;
    let vat = hosted.vat.clone();
    drop(hosted);
    let warehouse = Warehouse::open(&dir.path().join("data"), config())?;
    let (count, lease) = allocations(|| warehouse.provide_blocking(&vat));
    drop(lease?);
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let replayed = count as f64 / f64::from(COUNTED);
    session.once(Figure::count("allocations/resident").at_most(1.2), resident, Some(floor));
    session.once(Figure::count("allocations/replayed").at_most(0.7), replayed, Some(floor));
    Ok(())
}

fn deliver_unrecorded(instance: &mut VatInstance, delivery: &Delivery) -> Result<()> {
    let context = CrankContext { time_ns: 0, seed: [0; 32], computrons_max: 1_000_000_000 };
    let (report, Quiet) = instance.deliver(delivery, &context, Quiet);
    let outcome = report?.outcome;
    ensure!(outcome == Outcome::Delivered, "the delivery ended otherwise: {outcome:?}");
    Ok(())
}

fn bench_paged(session: &mut Session) -> Result<()> {
    let name = format!("deliver/paged/heap=1MiB/dirty=16/resident={RESIDENT}of{VATS}");
    if !session.wants(&name) {
        return Ok(());
    }
    let dir = scratch()?;
    let wasm = module(HeapSize::MIB, Syscalls::Resolve);
    let resident_max = NonZeroUsize::new(RESIDENT).context("not zero")?;
    let config = WarehouseConfig { resident_max, ..WarehouseConfig::default() };
    let warehouse = Warehouse::open(&dir.path().join("data"), config)?;
    warehouse.install("vat", &wasm)?;
    let vats = (0..VATS).map(|n| create(&warehouse, &format!("vat-{n}"))).collect::<Result<Vec<_>>>()?;
    let bare = BareVat::new(&wasm)?;
    let mut eviction = Eviction::new(&dir.path().join("log"))?;
    let mut seeds = (0u32.., 0u32..);
    session.pair(
        Figure::time(name),
        || {
            let seed = seeds.0.next().context("a seed")?;
            let vat = &vats[(seed % VATS) as usize];
            let delivery = write(16, seed);
            let (taken, ()) = timed(|| {
                let (delivered, Quiet) = warehouse.provide_blocking(vat)?.deliver(delivery, 0, Quiet);
                delivered?;
                Ok(())
            })?;
            Ok(taken)
        },
        || {
            let body = body(16, seeds.1.next().context("a seed")?);
            let (taken, ()) = timed(|| bare.page_and_deliver(body, &mut eviction))?;
            Ok(taken)
        },
    )
}

fn bench_replay(session: &mut Session) -> Result<()> {
    if !session.wants("replay") {
        return Ok(());
    }
    let deliveries: u32 = session.scale().pick(1_000, 10_000);
    let (live_dir, dir) = (scratch()?, scratch()?);
    let wasm = module(HeapSize::MIB, Syscalls::Resolve);
    let live = Hosted::new(live_dir.path(), &wasm, WarehouseConfig::default())?;
    // No snapshot, so that a page-in replays everything.
    let config = || WarehouseConfig { snapshot_interval: u64::MAX, ..WarehouseConfig::default() };
    let hosted = Hosted::new(dir.path(), &wasm, config())?;
    let mut seeds = 0..;
    for _ in 0..deliveries / BATCH {
        hosted.deliver_batch(&mut seeds)?;
    }
    hosted.warehouse.commit()?;
    let vat = hosted.vat.clone();
    drop(hosted);

    session.pair(
        Figure::rate(format!("replay/deliveries={deliveries}")).at_least(1.0),
        || {
            let warehouse = Warehouse::open(&dir.path().join("data"), config())?;
            let (taken, lease) = timed(|| Ok(warehouse.provide_blocking(&vat)?))?;
            drop(lease);
            let replayed = warehouse.stats().replayed;
            ensure!(replayed > u64::from(deliveries), "only {replayed} deliveries were replayed");
            Ok(taken / u32::try_from(replayed)?)
        },
        || live.deliver_batch(&mut seeds),
    )
}

fn bench_commit(session: &mut Session, every: u32, snapshots: Snapshots) -> Result<()> {
    let (config, with) = match snapshots {
        Snapshots::Never => {
            (WarehouseConfig { snapshot_interval: u64::MAX, ..WarehouseConfig::default() }, "")
        }
        Snapshots::Usual => (WarehouseConfig::default(), "/snapshots"),
    };
    let figure = Figure::rate(format!("commit/every={every}{with}"));
    if !session.wants(figure.name()) {
        return Ok(());
    }
    let figure = if every == 100 { figure.at_least(0.7) } else { figure };
    let dir = scratch()?;
    let hosted = Hosted::new(dir.path(), &module(HeapSize::MIB, Syscalls::Store), config)?;
    let mut bare = BareStore::new(&dir.path().join("bare.sqlite"))?;
    // Once all keys, in both, so that what is measured are updates.
    let all_keys = KEYS.div_ceil(3);
    for seed in 0..all_keys {
        hosted.deliver(write(WRITTEN, seed))?;
    }
    hosted.warehouse.commit()?;
    let entry_bytes = hosted.entry_bytes()?;
    bare.commit(entry_bytes, (0..all_keys).map(stored))?;

    let mut seeds = (0u32.., 0u32..);
    session.pair(
        figure,
        || {
            let deliveries: Vec<Delivery> =
                seeds.0.by_ref().take(every as usize).map(|seed| write(WRITTEN, seed)).collect();
            let (taken, ()) = timed(|| {
                deliveries.into_iter().try_for_each(|delivery| hosted.deliver(delivery))?;
                Ok(hosted.warehouse.commit()?)
            })?;
            Ok(taken / every)
        },
        || {
            let cranks: Vec<_> = seeds.1.by_ref().take(every as usize).map(stored).collect();
            let (taken, ()) = timed(|| bare.commit(entry_bytes, cranks))?;
            Ok(taken / every)
        },
    )
}

fn batch(seeds: &mut impl Iterator<Item = u32>) -> Vec<Delivery> {
    seeds.by_ref().take(BATCH as usize).map(|seed| write(WRITTEN, seed)).collect()
}

/// A warehouse with one vat.
struct Hosted {
    warehouse: Warehouse,
    vat: VatName,
}

impl Hosted {
    fn new(dir: &Path, wasm: &[u8], config: WarehouseConfig) -> Result<Hosted> {
        let warehouse = Warehouse::open(&dir.join("data"), config)?;
        warehouse.install("vat", wasm)?;
        let vat = create(&warehouse, "vat")?;
        Ok(Hosted { warehouse, vat })
    }

    fn deliver(&self, delivery: Delivery) -> Result<()> {
        deliver(&self.warehouse, &self.vat, delivery)
    }

    /// Time of one delivery of a batch. The commit after it is not counted.
    fn deliver_batch(&self, seeds: &mut impl Iterator<Item = u32>) -> Result<Duration> {
        let deliveries = batch(seeds);
        // The transaction is begun outside, too: its price is the commit's.
        self.warehouse.storage().host_get("bench")?;
        let (taken, ()) = timed(|| deliveries.into_iter().try_for_each(|delivery| self.deliver(delivery)))?;
        self.warehouse.commit()?;
        Ok(taken / BATCH)
    }

    /// Bytes of the newest transcript entry.
    fn entry_bytes(&self) -> Result<usize> {
        let row = self.warehouse.vat(&self.vat)?;
        let from = row.next_position.0.checked_sub(1).context("an entry")?;
        let storage = self.warehouse.storage();
        let entries = storage.transcript(row.id, vat_storage::Position(from), vat_storage::Position::END)?;
        Ok(entries.first().context("an entry")?.1.len())
    }
}

/// One delivery that must succeed.
pub(crate) fn deliver(warehouse: &Warehouse, vat: &VatName, delivery: Delivery) -> Result<()> {
    let lease = warehouse.try_provide(vat);
    let mut lease = lease.map_or_else(|| warehouse.provide_blocking(vat), Ok)?;
    let (delivered, Quiet) = lease.deliver(delivery, 0, Quiet);
    let outcome = delivered?.outcome;
    ensure!(outcome == Outcome::Delivered, "the delivery ended otherwise: {outcome:?}");
    Ok(())
}

/// A vat of the installed module.
pub(crate) fn create(warehouse: &Warehouse, name: &str) -> Result<VatName> {
    let name: VatName = name.parse()?;
    let (started, Quiet) =
        warehouse.create(&name, "vat", VatOptions::default(), CapData::undefined(), 0, Quiet);
    started?;
    Ok(name)
}

/// A vat on bare wasmtime, born like ours, on an image of its state after birth.
pub(crate) struct BareVat {
    engine: BareEngine,
    module: crate::floor::BareModule,
    instance: BareInstance,
    _dir: tempfile::TempDir,
}

impl BareVat {
    pub(crate) fn new(wasm: &[u8]) -> Result<BareVat> {
        let dir = scratch()?;
        let flat = dir.path().join("flat");
        let engine = Engine::new(EngineConfig::default())?;
        let born = VatInstance::birth(&engine, &engine.module(wasm)?, 16)?;
        std::fs::write(&flat, born.heap())?;
        let engine = BareEngine::new(Some(std::fs::File::open(&flat)?))?;
        let module = engine.module(vat_engine::prepare(wasm)?.wasm())?;
        let instance = engine.instantiate(&module)?;
        Ok(BareVat { engine, module, instance, _dir: dir })
    }

    /// Time of one delivery of a batch: JSON both ways, and the typed call.
    pub(crate) fn deliver_batch(&mut self, seeds: &mut impl Iterator<Item = u32>) -> Result<Duration> {
        let bodies: Vec<_> = seeds.by_ref().take(BATCH as usize).map(|seed| body(WRITTEN, seed)).collect();
        let (taken, ()) =
            timed(|| bodies.into_iter().try_for_each(|body| self.instance.deliver(encode_message(body)?)))?;
        Ok(taken / BATCH)
    }

    /// Everything that a paged delivery does, bare: restore, deliver, save, drop.
    fn page_and_deliver(&self, body: String, eviction: &mut Eviction) -> Result<()> {
        let mut instance = self.engine.instantiate(&self.module)?;
        instance.deliver(encode_message(body)?)?;
        eviction.save(instance.heap())?;
        Ok(())
    }
}
