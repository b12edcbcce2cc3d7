//! `vats stats`: what the data directory holds.

use anyhow::Result;
use serde_json::json;

use crate::context::Context;
use crate::table::{Table, bytes, counted, grouped};

pub(super) fn run(context: &Context) -> Result<()> {
    let data = context.data()?;
    let reader = context.read()?;
    let counts = reader.storage().stats()?;
    let mut table = Table::default();
    table.row(&[&"data", &data.display()]);
    table.row(&[
        &"modules",
        &format_args!("{} ({} of wasm)", grouped(counts.modules), bytes(counts.module_bytes)),
    ]);
    table.row(&[
        &"vats",
        &format_args!(
            "{} alive, {} quarantined, {} terminated",
            grouped(counts.vats_alive),
            grouped(counts.vats_quarantined),
            grouped(counts.vats_terminated)
        ),
    ]);
    table.row(&[
        &"deliveries",
        &format_args!("{} in {}", grouped(counts.transcript_entries), counted(counts.spans, "span", "spans")),
    ]);
    table.row(&[&"storage keys", &grouped(counts.vatstore_keys)]);
    table.row(&[&"snapshots", &grouped(counts.snapshots)]);
    table.row(&[
        &"heap layers",
        &format_args!("{} ({} in the page store)", grouped(counts.layers), bytes(counts.layer_bytes)),
    ]);
    table.row(&[
        &"store",
        &format_args!("{} and {} of log", bytes(counts.file_bytes), bytes(counts.log_bytes)),
    ]);
    let disk = reader.disk_figures()?;
    table.row(&[
        &"page store",
        &format_args!(
            "{} in {}, of which {} could be given back",
            bytes(disk.bytes),
            counted(disk.segments as u64, "segment", "segments"),
            bytes(disk.garbage_bytes)
        ),
    ]);
    let json = || {
        json!({
            "data": data.display().to_string(),
            "modules": counts.modules,
            "module_bytes": counts.module_bytes,
            "vats_alive": counts.vats_alive,
            "vats_quarantined": counts.vats_quarantined,
            "vats_terminated": counts.vats_terminated,
            "deliveries": counts.transcript_entries,
            "spans": counts.spans,
            "storage_keys": counts.vatstore_keys,
            "snapshots": counts.snapshots,
            "layers": counts.layers,
            "layer_bytes": counts.layer_bytes,
            "store_bytes": counts.file_bytes,
            "log_bytes": counts.log_bytes,
            "page_store_bytes": disk.bytes,
            "garbage_bytes": disk.garbage_bytes,
        })
    };
    Ok(context.out.result(table, json)?)
}
