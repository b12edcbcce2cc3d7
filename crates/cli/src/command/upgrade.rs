//! `vats upgrade`: replaces a vat's code by another module.

use anyhow::Result;
use serde_json::json;
use vat_abi::CapData;

use super::{note_effects, require_no_failure, settle};
use crate::args::Upgrade;
use crate::clock;
use crate::context::Context;
use crate::handler::{Caller, Log};
use crate::marshal;

pub(super) fn run(context: &Context, args: &Upgrade) -> Result<()> {
    let (vat, module) = (&args.vat, &args.module);
    let parameters = args.args.as_ref().map_or_else(CapData::undefined, marshal::value);
    let warehouse = context.open()?;
    let caller = Caller::new(Log::Shown(vat.clone()));
    let (report, caller) = warehouse.upgrade(vat, module, parameters, clock::now_ns(), caller);
    let report = report?;
    let incarnation = warehouse.vat(vat)?.incarnation;
    settle(&warehouse, vat, &caller)?;
    note_effects(context, vat, &caller);
    let text = format!("upgraded {vat} to {module}, incarnation {incarnation}");
    let json = || {
        json!({
            "vat": vat.as_str(),
            "module": module,
            "incarnation": incarnation.0,
            "position": report.position,
            "computrons": report.computrons.0,
            "sends": caller.sends,
            "exited": caller.exit.is_some(),
        })
    };
    context.out.result(text, json)?;
    require_no_failure(vat, &caller)
}
