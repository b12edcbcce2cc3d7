//! What a program reads: `target/bench/report.json`, the figures, and `target/bench/machine.json`, what they
//! were measured on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::arguments::Scale;
use super::figure::{Bound, Row};
use super::machine::{Machine, load};

/// Writes both files.
pub(crate) fn write(machine: &Machine, scale: Scale, rows: &[Row]) -> Result<()> {
    let dir = directory();
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let figures: Vec<Value> = rows.iter().map(figure).collect();
    let about = json!({
        "processor": machine.processor,
        "processors": machine.processors,
        "memory": machine.memory,
        "kernel": machine.kernel,
        "load_before": machine.load_before,
        "load_after": load(),
        "dirty_pages_by": machine.tracker,
        "scale": format!("{scale:?}"),
        "page_cache": "warm, except for figures with /cold/ in their name (dropped by POSIX_FADV_DONTNEED)",
    });
    for (name, value) in [("report.json", Value::from(figures)), ("machine.json", about)] {
        let path = dir.join(name);
        let text = format!("{value:#}\n");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn figure(row: &Row) -> Value {
    json!({
        "name": row.figure.name(),
        "unit": row.figure.unit().symbol(),
        "p50": row.p50,
        "p99": row.p99,
        "floor_p50": row.floor_p50,
        "ratio": row.ratio(),
        "bound": row.figure.bound().map(Bound::value),
        "ok": row.ok(),
        "samples": row.samples,
    })
}

/// `bench` in the target directory, which is where Cargo keeps the scratch directory of benches, too.
fn directory() -> PathBuf {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    scratch.parent().unwrap_or(scratch).join("bench")
}
