//! `vats show`: one vat, in full.
//!
//! The vat is brought into memory to measure its heap, which changes nothing that lasts, unless its replay differs from its
//! transcript: then it is quarantined, and that is shown.

use anyhow::Result;
use serde_json::{Value, json};
use vat_warehouse::{VatName, VatRow, VatStatus, Warehouse};

use super::list::{self, module_names, status_text};
use super::provide;
use crate::args::Vat;
use crate::context::Context;
use crate::table::{Table, bytes, counted, grouped};
use crate::terminal::one_line;

pub(super) fn run(context: &Context, args: &Vat) -> Result<()> {
    let warehouse = context.open()?;
    let before = warehouse.vat(&args.vat)?;
    let heap_bytes = heap_bytes(context, &warehouse, &args.vat, &before);
    let vat = warehouse.vat(&args.vat)?;
    let module = &module_names(warehouse.storage())?[&vat.module];
    let keys = warehouse.storage().vatstore_len(vat.id)?;
    let snapshots = warehouse.storage().snapshots(vat.id)?;
    let snapshot = snapshots.first().map(|newest| newest.position.0);
    let figures = warehouse.figures(&args.vat)?;
    let options: Value = serde_json::from_str(&vat.options).unwrap_or_default();

    let mut table = Table::default();
    table.row(&[&"vat", &vat.name]);
    table.row(&[&"module", &format_args!("{module} ({})", vat.module)]);
    table.row(&[&"status", &one_line(status_text(&vat.status))]);
    table.row(&[&"incarnation", &vat.incarnation]);
    table.row(&[&"deliveries", &grouped(vat.next_position.0)]);
    table.row(&[&"snapshot", &snapshot_text(snapshot, figures.captured, &vat)]);
    table.row(&[&"heap", &heap_bytes.map_or("unknown".to_owned(), bytes)]);
    table.row(&[
        &"at rest",
        &format_args!(
            "{} in {}, {} copied by a restore",
            bytes(figures.stored_bytes),
            counted(figures.layers as u64, "layer", "layers"),
            counted(figures.copied_pages.into(), "page", "pages")
        ),
    ]);
    if let Some(resident) = figures.resident {
        table.row(&[
            &"in memory",
            &format_args!(
                "{} of its own, {} shared, {} of page tables at most",
                bytes(resident.own_bytes + resident.swapped_bytes),
                bytes(resident.shared_bytes),
                bytes(resident.page_table_bytes)
            ),
        ]);
    }
    table.row(&[&"storage keys", &grouped(keys)]);
    table.row(&[&"memory limit", &format_args!("{} pages of 64 KiB", options["memory_pages_max"])]);
    table.row(&[&"computrons", &format_args!("{} per delivery", options["computrons_per_delivery"])]);
    let json = || {
        let mut json = list::json(&vat, module);
        json["heap_bytes"] = json!(heap_bytes);
        json["stored_bytes"] = json!(figures.stored_bytes);
        json["layers"] = json!(figures.layers);
        json["resident_bytes"] = json!(figures.resident.map(|resident| resident.own_bytes));
        json["storage_keys"] = json!(keys);
        json["snapshot"] = json!(snapshot);
        json["memory_pages_max"] = options["memory_pages_max"].clone();
        json["computrons_per_delivery"] = options["computrons_per_delivery"].clone();
        json
    };
    Ok(context.out.result(table, json)?)
}

/// Bytes of the heap, where the vat can be brought into memory; if not, a note says why.
fn heap_bytes(context: &Context, warehouse: &Warehouse, name: &VatName, vat: &VatRow) -> Option<u64> {
    if vat.status != VatStatus::Alive {
        return None; // Its status says why.
    }
    let measured = provide(warehouse, name).and_then(|mut lease| Ok(lease.heap()?.len() as u64));
    measured.inspect_err(|error| context.out.note(error)).ok()
}

fn deliveries(number: u64) -> String {
    counted(number, "delivery", "deliveries")
}

/// `since` is where a replay without a snapshot begins.
fn snapshot_text(snapshot: Option<u64>, since: u64, vat: &VatRow) -> String {
    let replayed = |from| vat.next_position.0.saturating_sub(from);
    match snapshot {
        None => format!("none; its next use replays {}", deliveries(replayed(since))),
        Some(position) => {
            format!("after {}; its next use replays {}", deliveries(position), grouped(replayed(position)))
        }
    }
}
