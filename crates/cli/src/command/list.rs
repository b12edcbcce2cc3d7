//! `vats list`: the vats, in the order in which they were made, and after them what cannot be read.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use vat_warehouse::{DamagedRow, ModuleHash, Storage, VatRow, VatStatus};

use crate::args::List;
use crate::context::Context;
use crate::table::{Table, counted, grouped};
use crate::terminal::one_line;

pub(super) fn run(context: &Context, args: &List) -> Result<()> {
    let reader = context.read()?;
    let modules = module_names(reader.storage())?;
    let (mut vats, damaged) = reader.storage().vats_and_damaged()?;
    vats.retain(|vat| args.all || !matches!(vat.status, VatStatus::Terminated { .. }));
    let mut table = Table::with_head(&["VAT", "MODULE", "DELIVERIES", "STATUS"]);
    for vat in &vats {
        let status = one_line(status_text(&vat.status));
        table.row(&[&vat.name, &modules[&vat.module], &grouped(vat.next_position.0), &status]);
    }
    for row in &damaged {
        table.row(&[&"?", &"?", &"?", &one_line(format!("damaged: {}", describe(row)))]);
    }
    let json = || {
        let readable = vats.iter().map(|vat| json(vat, &modules[&vat.module]));
        readable.chain(damaged.iter().map(json_damaged)).collect()
    };
    if vats.is_empty() && damaged.is_empty() {
        return Ok(context.out.result("there are no vats; `vats create` makes one", json)?);
    }
    context.out.result(table, json)?;
    if !damaged.is_empty() {
        let rows = counted(damaged.len() as u64, "vat cannot", "vats cannot");
        bail!("{rows} be read; `vats scrub --repair` mends what can be mended");
    }
    Ok(())
}

fn describe(row: &DamagedRow) -> String {
    format!("the row {} of the table {} is not what was written", row.row, row.table)
}

fn json_damaged(row: &DamagedRow) -> Value {
    json!({ "vat": null, "status": "damaged", "reason": describe(row) })
}

/// A name for each module; of several names, the first.
pub(super) fn module_names(storage: &Storage) -> Result<BTreeMap<ModuleHash, String>> {
    let modules = storage.modules()?;
    let name = |names: Vec<String>| names.into_iter().next().unwrap_or_default();
    Ok(modules.into_iter().map(|module| (module.hash, name(module.names))).collect())
}

/// The status in words, with its reason.
pub(super) fn status_text(status: &VatStatus) -> String {
    match status {
        VatStatus::Alive => "alive".to_owned(),
        VatStatus::Terminated { reason } => format!("terminated: {reason}"),
        VatStatus::Quarantined { reason } => format!("quarantined: {reason}"),
    }
}

/// What scripts learn of a vat.
pub(super) fn json(vat: &VatRow, module: &str) -> Value {
    let (status, reason) = match &vat.status {
        VatStatus::Alive => ("alive", None),
        VatStatus::Terminated { reason } => ("terminated", Some(reason)),
        VatStatus::Quarantined { reason } => ("quarantined", Some(reason)),
    };
    json!({
        "vat": vat.name,
        "id": vat.id.0,
        "module": module,
        "module_hash": vat.module.to_string(),
        "incarnation": vat.incarnation.0,
        "deliveries": vat.next_position.0,
        "status": status,
        "reason": reason,
    })
}
