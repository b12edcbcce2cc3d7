//! What a vat takes: memory while it is resident, disk when it is not.
//!
//! Memory is how much the process grows for each idle vat that had one delivery: pages of its own, page tables, and the host's
//! own bookkeeping. Disk is how much the page store grows when they are evicted; the birth image, which all share, is not in it.

use std::time::{Duration, Instant};

use anyhow::Result;
use vat_measure::{Figure, Row, private_bytes};

use super::subject::{Subject, config, name};

/// Vats that are made, if there is time for all of them.
const VATS_MAX: u32 = 300;
/// Vats that are made in any case.
const VATS_MIN: u32 = 5;

/// Memory and disk.
pub(super) fn all(subject: &Subject, time: Duration) -> Result<Vec<Row>> {
    let dir = Subject::scratch()?;
    let warehouse = subject.install(dir.path(), config(VATS_MAX as usize + 1)?)?;
    // What is allocated once, for whatever number of vats, is there before it counts.
    subject.create(&warehouse, &name("first", 0)?)?;
    let disk_before = warehouse.disk_figures()?.bytes;
    let memory_before = private_bytes();
    let started = Instant::now();
    let mut vats = 0;
    while vats < VATS_MAX && (vats < VATS_MIN || started.elapsed() < time) {
        let vat = name("vat", vats as usize)?;
        subject.create(&warehouse, &vat)?;
        subject.deliver(&mut warehouse.provide_blocking(&vat)?)?;
        vats += 1;
    }
    let memory = private_bytes();
    let mut rows = Vec::new();
    if let (Some(before), Some(after)) = (memory_before, memory) {
        rows.push(row("memory", after.saturating_sub(before), vats));
    }
    let shared = warehouse.figures(&name("vat", 0)?)?;
    rows.push(Row::of_value(Figure::bytes("heap"), as_float(shared.logical_bytes), None));
    warehouse.evict_all()?;
    rows.push(row("disk", warehouse.disk_figures()?.bytes.saturating_sub(disk_before), vats));
    Ok(rows)
}

/// Bytes of each.
fn row(name: &str, bytes: u64, vats: u32) -> Row {
    Row {
        samples: vats as usize,
        ..Row::of_value(Figure::bytes(name), as_float(bytes) / f64::from(vats), None)
    }
}

#[expect(clippy::cast_precision_loss, reason = "fewer bytes than 2^53")]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}
