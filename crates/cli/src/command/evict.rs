//! `vats evict`: saves a vat's newest state.
//!
//! No vat stays in memory when the command ends, so what is left of an eviction is its snapshot: the vat is brought to its newest state
//! and that is saved, durably.

use anyhow::Result;
use serde_json::json;

use super::provide;
use crate::args::Vat;
use crate::context::Context;
use crate::table::{counted, grouped};

pub(super) fn run(context: &Context, args: &Vat) -> Result<()> {
    let vat = &args.vat;
    let warehouse = context.open()?;
    let deliveries = provide(&warehouse, vat)?.next_position()?;
    warehouse.evict(vat)?;
    warehouse.checkpoint()?;
    let counts = warehouse.stats();
    let text = format!(
        "evicted {vat} after {}: {} replayed, {} of 4 KiB saved",
        counted(deliveries, "delivery", "deliveries"),
        grouped(counts.replayed),
        counted(counts.pages_written, "page", "pages"),
    );
    let json = || {
        json!({
            "vat": vat.as_str(),
            "deliveries": deliveries,
            "replayed": counts.replayed,
            "pages_written": counts.pages_written,
        })
    };
    Ok(context.out.result(text, json)?)
}
