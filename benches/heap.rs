//! Heaps that come and go: restore, restore and write, evict, at sizes from 1 MiB to 1 GiB; memory and wear.
//!
//! Two layers are told apart. `restore` and `evict` are the engine and the image, which is where a heap's size could matter.
//! `warehouse/…` is what a host sees: finding the vat, its row in the store and its newest state included.

mod memory;
mod replayed;
mod subject;
mod wear;

use std::time::Duration;

use anyhow::{Context, Result};
use vat_image::Image;
use vat_warehouse::{VatLease, VatName, Warehouse};

pub(crate) use self::memory::{answer, bench_memory};
use self::subject::{Subject, Warehoused};
use crate::floor::{Eviction, ReadAhead, drop_cached};
use crate::harness::{Figure, Session};
use crate::vat::{HeapSize, Quiet, write};
use crate::{scratch, timed};

/// Pages that the first delivery writes, and that most evictions save.
const DIRTY: u32 = 16;

pub(crate) fn bench(session: &mut Session) -> Result<()> {
    let sizes = session.scale().pick(&[1, 16, 64][..], &[1, 16, 64, 256, 1024][..]);
    for heap in sizes.iter().copied().map(HeapSize) {
        bench_size(session, heap)?;
    }
    replayed::bench(session)?;
    bench_sizes(session, HeapSize(sizes[0]), HeapSize(sizes[sizes.len() - 1]))?;
    let sizes = session.scale().pick(&[1, 64][..], &[1, 64, 1024][..]);
    for heap in sizes.iter().copied().map(HeapSize) {
        bench_warehouse(session, heap)?;
    }
    wear::bench(session)
}

fn bench_size(session: &mut Session, heap: HeapSize) -> Result<()> {
    let families = ["restore", "restore/cold", "evict", "root"].map(|family| format!("{family}/heap={heap}"));
    if !families.iter().any(|family| session.wants(family)) {
        return Ok(());
    }
    let dir = scratch()?;
    let subject = Subject::new(dir.path(), heap)?;
    bench_restore(session, heap, &subject)?;
    bench_cold(session, heap, &subject)?;
    for dirty in [1, 16, 256] {
        let figure = Figure::time(format!("evict/heap={heap}/dirty={dirty}"));
        let figure = if dirty == DIRTY { figure.at_most(1.5) } else { figure };
        bench_evict(session, figure, &subject, dirty)?;
    }
    bench_root(session, heap, &subject)
}

/// The root after an eviction of a heap whose root was known before, beside the tree of all its pages.
fn bench_root(session: &mut Session, heap: HeapSize, subject: &Subject) -> Result<()> {
    subject.birth.image.root(b"", &[0; 32])?;
    let mut seeds = (0.., 0..);
    let captured = |seed: Option<u32>| -> Result<Image> {
        let mut instance = subject.restore()?;
        subject.deliver(&mut instance, &write(DIRTY, seed.context("a seed")?))?;
        Ok(subject.capture(&mut instance)?.state.image)
    };
    session.pair(
        Figure::time(format!("root/heap={heap}/dirty={DIRTY}")),
        || {
            let image = captured(seeds.0.next())?;
            timed(|| Ok(image.root(b"", &[0; 32])?)).map(|(taken, _)| taken)
        },
        || {
            let image = captured(seeds.1.next())?;
            timed(|| Ok(image.tree()?.root(image.size_pages(), b"", &[0; 32]))).map(|(taken, _)| taken)
        },
    )
}

fn bench_restore(session: &mut Session, heap: HeapSize, subject: &Subject) -> Result<()> {
    session.pair(
        Figure::time(format!("restore/heap={heap}/dirty=0")).at_most(2.0),
        || timed(|| subject.restore()).map(|(taken, _)| taken),
        || timed(|| subject.bare_restore()).map(|(taken, _)| taken),
    )?;
    let mut seeds = (0.., 0..);
    session.pair(
        Figure::time(format!("restore/heap={heap}/dirty={DIRTY}")).at_most(1.5),
        || restore_and_deliver(subject, seeds.0.next()),
        || bare_restore_and_deliver(subject, seeds.1.next()),
    )?;
    // The state that a store has read before it can restore: what a vat costs that was not in memory lately.
    let locations = subject.birth.image.locations();
    let size_pages = subject.birth.image.size_pages();
    session.pair(
        Figure::time(format!("restore/heap={heap}/loaded")),
        || {
            let load = || {
                let image = Image::load(&subject.pages, &locations, size_pages)?;
                subject.restore_from(&vat_engine::HeapState { image, globals: subject.birth.globals.clone() })
            };
            timed(load).map(|(taken, _)| taken)
        },
        || timed(|| subject.bare_restore()).map(|(taken, _)| taken),
    )
}

fn bench_cold(session: &mut Session, heap: HeapSize, subject: &Subject) -> Result<()> {
    let mut seeds = (0.., 0..);
    subject.bare.set_read_ahead(ReadAhead::Off);
    session.pair(
        Figure::time(format!("restore/cold/heap={heap}/dirty={DIRTY}")),
        || {
            drop_cached(subject.pages.dir())?;
            restore_and_deliver(subject, seeds.0.next())
        },
        || {
            drop_cached(&subject.flat)?;
            bare_restore_and_deliver(subject, seeds.1.next())
        },
    )?;
    subject.bare.set_read_ahead(ReadAhead::System);
    Ok(())
}

fn restore_and_deliver(subject: &Subject, seed: Option<u32>) -> Result<Duration> {
    let delivery = write(DIRTY, seed.context("a seed")?);
    let (taken, _) = timed(|| {
        let mut instance = subject.restore()?;
        subject.deliver(&mut instance, &delivery)?;
        Ok(instance)
    })?;
    Ok(taken)
}

fn bare_restore_and_deliver(subject: &Subject, seed: Option<u32>) -> Result<Duration> {
    let delivery = write(DIRTY, seed.context("a seed")?).to_json().into_bytes();
    let (taken, _) = timed(|| {
        let mut instance = subject.bare_restore()?;
        instance.deliver(delivery)?;
        Ok(instance)
    })?;
    Ok(taken)
}

fn bench_evict(session: &mut Session, figure: Figure, subject: &Subject, dirty: u32) -> Result<()> {
    let mut seeds = (0.., 0..);
    let mut eviction = Eviction::new(&subject.flat.with_extension("log"))?;
    session.pair(
        figure,
        || {
            let mut instance = subject.restore()?;
            subject.deliver(&mut instance, &write(dirty, seeds.0.next().context("a seed")?))?;
            let (taken, written) = timed(|| {
                let written = subject.capture(&mut instance)?.stats.written;
                drop(instance);
                Ok(written)
            })?;
            assert!((1..=dirty).contains(&written), "{written} pages were saved of {dirty}");
            Ok(taken)
        },
        || {
            let mut instance = subject.bare_restore()?;
            instance.deliver(write(dirty, seeds.1.next().context("a seed")?).to_json().into_bytes())?;
            let (taken, saved) = timed(|| {
                let saved = eviction.save(instance.heap())?;
                drop(instance);
                Ok(saved)
            })?;
            assert!(saved >= 1 && saved <= dirty as usize, "{saved} pages were saved of {dirty}");
            Ok(taken)
        },
    )
}

/// The largest heap beside the smallest: a restore's cost must not depend on the size.
fn bench_sizes(session: &mut Session, small: HeapSize, large: HeapSize) -> Result<()> {
    let figure = Figure::time(format!("restore/heap={large}/beside={small}")).at_most(2.0);
    if !session.wants(figure.name()) {
        return Ok(());
    }
    let dir = scratch()?;
    let of_large = Subject::new(&dir.path().join("large"), large)?;
    let of_small = Subject::new(&dir.path().join("small"), small)?;
    session.pair(
        figure,
        || timed(|| of_large.restore()).map(|(taken, _)| taken),
        || timed(|| of_small.restore()).map(|(taken, _)| taken),
    )
}

fn bench_warehouse(session: &mut Session, heap: HeapSize) -> Result<()> {
    let families =
        ["warehouse/provide", "warehouse/evict", "fork"].map(|family| format!("{family}/heap={heap}"));
    if !families.iter().any(|family| session.wants(family)) {
        return Ok(());
    }
    let dir = scratch()?;
    let subject = Subject::new(&dir.path().join("bare"), heap)?;
    let hosted = Warehoused::new(&dir.path().join("data"), heap)?;
    session.pair(
        Figure::time(format!("warehouse/provide/heap={heap}/dirty=0")).at_most(2.0),
        || {
            let (taken, lease) = timed(|| Ok(hosted.warehouse.provide_blocking(&hosted.reader)?))?;
            drop(lease);
            hosted.warehouse.evict(&hosted.reader)?;
            Ok(taken)
        },
        || timed(|| subject.bare_restore()).map(|(taken, _)| taken),
    )?;
    bench_warehouse_writes(session, heap, &subject, &hosted)?;
    bench_fork(session, heap, &hosted)
}

/// Beside copying the heap, which is what a fork would be without layers to share.
fn bench_fork(session: &mut Session, heap: HeapSize, hosted: &Warehoused) -> Result<()> {
    let figure = Figure::time(format!("fork/heap={heap}"));
    if !session.wants(figure.name()) {
        return Ok(());
    }
    let bytes = hosted.warehouse.provide_blocking(&hosted.reader)?.heap()?.to_vec();
    let mut turns = 0..;
    session.pair(
        figure,
        || {
            let fork: VatName = format!("fork-{}", turns.next().context("a turn")?).parse()?;
            timed(|| Ok(hosted.warehouse.fork(&hosted.reader, &fork)?)).map(|(taken, _)| taken)
        },
        || timed(|| Ok(std::hint::black_box(bytes.clone()))).map(|(taken, _)| taken),
    )
}

/// With 16 pages written, so that each eviction saves something. Vats take turns, and each writes the same scattered pages
/// again and again; what vats do to their images that write elsewhere every time is in [`wear`].
fn bench_warehouse_writes(
    session: &mut Session,
    heap: HeapSize,
    subject: &Subject,
    hosted: &Warehoused,
) -> Result<()> {
    let mut seeds = (0.., 0..);
    session.pair(
        Figure::time(format!("warehouse/provide/heap={heap}/dirty={DIRTY}")).at_most(1.5),
        || {
            let (vat, seed) = hosted.writer(seeds.0.next().context("a turn")?);
            let (taken, lease) = timed(|| provide_and_deliver(&hosted.warehouse, vat, seed))?;
            drop(lease);
            hosted.warehouse.evict(vat)?;
            Ok(taken)
        },
        || bare_restore_and_deliver(subject, seeds.1.next()),
    )?;
    let mut seeds = (0.., 0..);
    let mut eviction = Eviction::new(&subject.flat.with_extension("log"))?;
    session.pair(
        Figure::time(format!("warehouse/evict/heap={heap}/dirty={DIRTY}")).at_most(1.5),
        || {
            let (vat, seed) = hosted.writer(seeds.0.next().context("a turn")?);
            drop(provide_and_deliver(&hosted.warehouse, vat, seed)?);
            timed(|| Ok(hosted.warehouse.evict(vat)?)).map(|(taken, ())| taken)
        },
        || {
            let mut instance = subject.bare_restore()?;
            instance.deliver(write(DIRTY, seeds.1.next().context("a seed")?).to_json().into_bytes())?;
            let (taken, _) = timed(|| {
                eviction.save(instance.heap())?;
                drop(instance);
                Ok(())
            })?;
            Ok(taken)
        },
    )
}

fn provide_and_deliver(warehouse: &Warehouse, vat: &VatName, seed: u32) -> Result<VatLease> {
    let mut lease = warehouse.provide_blocking(vat)?;
    let (delivered, Quiet) = lease.deliver(write(DIRTY, seed), 0, Quiet);
    delivered?;
    Ok(lease)
}
