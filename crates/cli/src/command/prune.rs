//! `vats prune`: deletes what the retention level does not keep of transcripts.

use anyhow::{Result, bail};
use serde_json::json;
use vat_warehouse::{Retention, WarehouseConfig};

use super::replay::{all, known};
use crate::args::Prune;
use crate::context::Context;
use crate::table::counted;

pub(super) fn run(context: &Context, args: &Prune) -> Result<()> {
    let config = WarehouseConfig { retention: args.retention, ..WarehouseConfig::default() };
    let warehouse = context.open_with(config)?;
    let vats = if args.vats.is_empty() { all(&warehouse)? } else { known(&warehouse, &args.vats)? };
    let level = warehouse.retention();
    let keeps_everything = level > Retention::Replay;
    if keeps_everything && args.retention.is_none() {
        bail!(
            "the retention level is {level}, which keeps everything: choose --retention replay or operational"
        );
    }
    let mut rows = 0;
    if !keeps_everything {
        for vat in &vats {
            rows += warehouse.prune(vat)?;
            warehouse.commit()?; // What was pruned so far stays so, should this be interrupted.
        }
    }
    warehouse.commit()?;
    let vats = vats.len() as u64;
    let text =
        format!("{level}: deleted {} of {}", counted(rows, "row", "rows"), counted(vats, "vat", "vats"));
    let json = || json!({"retention": level.as_str(), "vats": vats, "rows": rows});
    Ok(context.out.result(text, json)?)
}
