//! `vats prune`: deletes what the retention level does not keep of transcripts, or what an archive has of them.
//!
//! Every vat is made durable when it is done, so that what was pruned before an interruption stays so.

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::json;
use vat_warehouse::archive::{Archive, Archived};
use vat_warehouse::{Error, Retention, VatName, Warehouse, WarehouseConfig};

use super::replay::{all, known};
use crate::args::Prune;
use crate::context::Context;
use crate::progress;
use crate::table::counted;

pub(super) fn run(context: &Context, args: &Prune) -> Result<()> {
    match &args.archive {
        Some(archive) => behind_archive(context, args, archive),
        None => to_level(context, args),
    }
}

fn behind_archive(context: &Context, args: &Prune, path: &Path) -> Result<()> {
    let archive = Archive::open(path)?;
    let warehouse = context.open()?;
    let vats = archived_vats(&warehouse, &archive, &args.vats)?;
    let bar = progress::bar(&context.out, "pruning", vats.len() as u64);
    let mut sum = Archived::default();
    for vat in &vats {
        let Archived { spans, rows, shared, uncovered } = warehouse.prune_archived(vat, &archive, path)?;
        warehouse.commit()?;
        sum.spans += spans;
        sum.rows += rows;
        sum.shared += shared;
        sum.uncovered += uncovered;
        bar.inc(1);
    }
    drop(bar);
    let mut text = format!(
        "deleted {} ({}) of {}, which the archive {} has: keep it",
        counted(sum.spans, "span", "spans"),
        counted(sum.rows, "row", "rows"),
        counted(vats.len() as u64, "vat", "vats"),
        archive.hash(),
    );
    if sum.uncovered > 0 {
        let stay = counted(sum.uncovered, "older span stays", "older spans stay");
        text.push_str(&format!("\n{stay}: the archive does not have them"));
    }
    if sum.shared > 0 {
        let stay = counted(sum.shared, "older span stays", "older spans stay");
        text.push_str(&format!("\n{stay}: forks share them"));
    }
    let json = || {
        json!({"archive": archive.hash(), "vats": vats.len(), "spans": sum.spans, "rows": sum.rows,
               "uncovered": sum.uncovered, "shared": sum.shared})
    };
    Ok(context.out.result(text, json)?)
}

/// The vats that were named, or else all that are in the archive and here.
pub(super) fn archived_vats(
    warehouse: &Warehouse,
    archive: &Archive,
    named: &[VatName],
) -> Result<Vec<VatName>> {
    if !named.is_empty() {
        return known(warehouse, named);
    }
    let mut vats = Vec::new();
    for vat in archive.vats() {
        if warehouse.storage().vat_by_name(vat.as_str())?.is_some() {
            vats.push(vat);
        }
    }
    if vats.is_empty() {
        bail!("none of the archive's vats is here");
    }
    Ok(vats)
}

fn to_level(context: &Context, args: &Prune) -> Result<()> {
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
    let (mut rows, mut uncovered) = (0, Vec::new());
    if !keeps_everything {
        for vat in &vats {
            match warehouse.prune(vat) {
                Ok(pruned) => rows += pruned,
                Err(error @ Error::Uncovered { .. }) => uncovered.push(error),
                Err(error) => return Err(error.into()),
            }
            warehouse.commit()?; // What was pruned so far stays so, should this be interrupted.
        }
    }
    warehouse.commit()?;
    let vats = vats.len() as u64;
    let text =
        format!("{level}: deleted {} of {}", counted(rows, "row", "rows"), counted(vats, "vat", "vats"));
    let json = || json!({"retention": level.as_str(), "vats": vats, "rows": rows});
    context.out.result(text, json)?;
    match uncovered.as_slice() {
        [] => Ok(()),
        [one] => bail!("{one}"),
        [first, others @ ..] => {
            bail!("{first}; the same is true of {}", counted(others.len() as u64, "other vat", "other vats"))
        }
    }
}
