//! Memory of vats that are resident and do nothing: private pages and page tables of the process, for each.
//!
//! Read from `/proc/self/status`: `RssAnon + VmPTE`, before and after. Pages that a heap shares with its image through the
//! page cache are not counted, for they are there once, however many vats there are. The floor is the same growth for bare
//! mappings of which as many pages are written: dirty pages and page tables, nothing else.

use std::fs::{self, File};
use std::num::NonZeroUsize;

use anyhow::{Context, Result};
use vat_warehouse::{VatName, Warehouse, WarehouseConfig};

use super::subject::{Subject, create};
use crate::floor::{PAGE_BYTES, Range, ReadAhead};
use crate::harness::{Figure, Session};
use crate::scratch;
use crate::vat::{HeapSize, Quiet, Syscalls, module, write};

/// Pages that each vat has written.
const WRITTEN: u32 = 4;
/// What a vat may take beyond its dirty pages and page tables.
const ALLOWED_BYTES: f64 = 8192.0;

/// Measures memory. To be run last: it leaves the process with many address ranges.
pub(crate) fn bench_memory(session: &mut Session) -> Result<()> {
    let vats: u32 = session.scale().pick(1_000, 10_000);
    if !session.wants(&format!("memory/instance/vats={vats}"))
        && !session.wants(&format!("memory/vat/vats={vats}"))
    {
        return Ok(());
    }
    let dir = scratch()?;
    let subject = Subject::new(&dir.path().join("bare"), HeapSize::MIB)?;
    let floor = bare_bytes(&subject, vats)?;
    let bound = (floor + ALLOWED_BYTES) / floor;

    let (bytes, instances) = grown_by(vats, |n| {
        let mut instance = subject.restore()?;
        subject.deliver(&mut instance, &write(WRITTEN, n))?;
        Ok(instance)
    })?;
    drop(instances);
    session.once(
        Figure::bytes(format!("memory/instance/vats={vats}/dirty={WRITTEN}")).at_most(bound),
        bytes,
        Some(floor),
    );

    let resident_max = NonZeroUsize::new(20_000).context("not zero")?;
    let config = WarehouseConfig { resident_max, ..WarehouseConfig::default() };
    let warehouse = Warehouse::open(&dir.path().join("data"), config)?;
    warehouse.install("writer", &module(HeapSize::MIB, Syscalls::None))?;
    let (bytes, _) = grown_by(vats, |n| host(&warehouse, n))?;
    session.once(
        Figure::bytes(format!("memory/vat/vats={vats}/dirty={WRITTEN}")).at_most(bound),
        bytes,
        Some(floor),
    );
    Ok(())
}

/// A vat in the warehouse that has had one delivery.
fn host(warehouse: &Warehouse, n: u32) -> Result<VatName> {
    let name = create(warehouse, &format!("vat-{n}"))?;
    let mut lease = warehouse.provide_blocking(&name)?;
    let (delivered, Quiet) = lease.deliver(write(WRITTEN, n), 0, Quiet);
    delivered?;
    if n.is_multiple_of(256) {
        warehouse.commit()?;
    }
    Ok(name)
}

/// Bytes for each of as many bare mappings with as many written pages.
fn bare_bytes(subject: &Subject, vats: u32) -> Result<f64> {
    let file = File::open(&subject.flat)?;
    let size = subject.birth.image.size_bytes();
    let pages = size / PAGE_BYTES;
    let (bytes, ranges) = grown_by(vats, |n| {
        let mut range = Range::reserve()?;
        range.map(&file, size, ReadAhead::System)?;
        for k in 0..WRITTEN as usize {
            range.bytes_mut()[(n as usize * 31 + k * pages / WRITTEN as usize) % pages * PAGE_BYTES] = 1;
        }
        Ok(range)
    })?;
    drop(ranges);
    Ok(bytes)
}

/// How much the process grows for each of `count` things made, which are kept until it is known.
fn grown_by<T>(count: u32, make: impl FnMut(u32) -> Result<T>) -> Result<(f64, Vec<T>)> {
    let mut made = Vec::with_capacity(count as usize);
    let before = private_bytes()?;
    for thing in (0..count).map(make) {
        made.push(thing?);
    }
    Ok(((private_bytes()? - before) / f64::from(count), made))
}

/// Anonymous memory and page tables of this process.
fn private_bytes() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kibibytes = |field: &str| -> Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number =
            line.and_then(|line| line.split_whitespace().next()).with_context(|| format!("no {field}"))?;
        Ok(number.parse()?)
    };
    Ok((kibibytes("RssAnon:")? + kibibytes("VmPTE:")?) * 1024.0)
}
