//! Memory of vats that are resident and do nothing: private pages and page tables of the process, for each.
//!
//! Read from `/proc/self/status`: `RssAnon + VmPTE`, before and after. Pages that a heap shares with its image through the
//! page cache are not counted, for they are there once, however many vats there are. The floor is the same growth for bare
//! mappings of which as many pages are written: dirty pages and page tables, nothing else.

use std::fs::{self, File};
use std::io::Write;
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
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

/// Fewer vats are shown, but not judged.
const COUNT_JUDGED_MIN: u32 = 1_000;

/// The option that makes this program measure memory and nothing else.
const OPTION: &str = "--memory-of=";

/// What there are many of.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Mappings with as many written pages: the floor.
    Mapping,
    /// Instances, held by nobody but this bench.
    Instance,
    /// Vats that a warehouse keeps in memory.
    Vat,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Mapping => "mapping",
            Kind::Instance => "instance",
            Kind::Vat => "vat",
        }
    }
}

/// Measures memory, each kind in a process of its own: in this one there is memory left to be used again.
pub(crate) fn bench_memory(session: &mut Session) -> Result<()> {
    let counts = session.scale().pick(&[100, 300, 1_000][..], &[100, 1_000, 10_000][..]);
    counts.iter().try_for_each(|count| bench_count(session, *count))
}

fn bench_count(session: &mut Session, count: u32) -> Result<()> {
    let name = |kind: Kind| format!("memory/{}/resident={count}/dirty={WRITTEN}", kind.name());
    let kinds = [Kind::Instance, Kind::Vat];
    if !kinds.iter().any(|kind| session.wants(&name(*kind))) {
        return Ok(());
    }
    let floor = ask(Kind::Mapping, count)?;
    for kind in kinds {
        // What a process has once, whatever it hosts, is shared out among few vats otherwise.
        let is_bound = count >= COUNT_JUDGED_MIN;
        let figure = Figure::bytes(name(kind));
        let figure = if is_bound { figure.at_most((floor + ALLOWED_BYTES) / floor) } else { figure };
        if session.wants(figure.name()) {
            session.once(figure, ask(kind, count)?, Some(floor));
        }
    }
    Ok(())
}

/// Runs this program to measure `count` things.
fn ask(kind: Kind, count: u32) -> Result<f64> {
    let option = format!("{OPTION}{},{count}", kind.name());
    let child = Command::new(std::env::current_exe()?).arg(&option).stderr(Stdio::inherit()).output()?;
    ensure!(child.status.success(), "measuring with {option} failed: {}", child.status);
    Ok(String::from_utf8(child.stdout)?.trim().parse()?)
}

/// Answers what [`ask`] asks in another process, if this program was started for that.
pub(crate) fn answer() -> Option<Result<()>> {
    let argument = std::env::args().nth(1)?;
    let (kind, count) = argument.strip_prefix(OPTION)?.split_once(',')?;
    let kind = [Kind::Mapping, Kind::Instance, Kind::Vat].into_iter().find(|k| k.name() == kind)?;
    Some(count.parse().map_err(Into::into).and_then(|count| measure(kind, count)).and_then(|bytes| {
        writeln!(std::io::stdout(), "{bytes}")?;
        Ok(())
    }))
}

/// Bytes that each takes.
fn measure(kind: Kind, count: u32) -> Result<f64> {
    let dir = scratch()?;
    let subject = Subject::new(&dir.path().join("bare"), HeapSize::MIB)?;
    match kind {
        Kind::Mapping => mappings(&subject, count),
        Kind::Instance => grown_by(count, |n| {
            let mut instance = subject.restore()?;
            subject.deliver(&mut instance, &write(WRITTEN, n))?;
            Ok(instance)
        }),
        Kind::Vat => {
            let resident_max = NonZeroUsize::new(20_000).context("not zero")?;
            let config = WarehouseConfig { resident_max, ..WarehouseConfig::default() };
            let warehouse = Warehouse::open(&dir.path().join("data"), config)?;
            warehouse.install("writer", &module(HeapSize::MIB, Syscalls::None))?;
            grown_by(count, |n| host(&warehouse, n))
        }
    }
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

/// Bytes that each of as many bare mappings takes.
fn mappings(subject: &Subject, count: u32) -> Result<f64> {
    let file = File::open(&subject.flat)?;
    let size = subject.birth.image.size_bytes();
    let pages = size / PAGE_BYTES;
    grown_by(count, |n| {
        let mut range = Range::reserve()?;
        range.map(&file, size, ReadAhead::System)?;
        for k in 0..WRITTEN as usize {
            range.bytes_mut()[(n as usize * 31 + k * pages / WRITTEN as usize) % pages * PAGE_BYTES] = 1;
        }
        Ok(range)
    })
}

/// How much the process grows for each of `count` things made, all of which are there at the end.
fn grown_by<T>(count: u32, make: impl FnMut(u32) -> Result<T>) -> Result<f64> {
    let mut made = Vec::with_capacity(count as usize);
    let before = private_bytes()?;
    for thing in (0..count).map(make) {
        made.push(thing?);
    }
    let grown = private_bytes()? - before;
    drop(made);
    Ok(grown / f64::from(count))
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
