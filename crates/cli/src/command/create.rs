//! `vats create`: makes a vat of a module.

use anyhow::Result;
use serde_json::json;
use vat_abi::CapData;
use vat_warehouse::VatOptions;

use super::{note_effects, require_no_failure, settle};
use crate::args::Create;
use crate::clock;
use crate::context::Context;
use crate::handler::{Caller, Log};
use crate::marshal;

pub(super) fn run(context: &Context, args: &Create) -> Result<()> {
    let vat = &args.vat;
    let options =
        VatOptions { computrons_per_delivery: args.computrons, memory_pages_max: args.memory_pages };
    let parameters = args.args.as_ref().map_or_else(CapData::undefined, marshal::value);
    let warehouse = context.open()?;
    let caller = Caller::new(Log::Shown(vat.clone()));
    let (report, caller) = warehouse.create(vat, &args.module, options, parameters, clock::now_ns(), caller);
    let report = report?;
    settle(&warehouse, vat, &caller)?;
    note_effects(context, vat, &caller);
    let text = format!("created {vat} of {}", args.module);
    let json = || {
        json!({
            "vat": vat.as_str(),
            "module": args.module,
            "computrons": report.computrons.0,
            "sends": caller.sends,
            "exited": caller.exit.is_some(),
        })
    };
    context.out.result(text, json)?;
    require_no_failure(vat, &caller)
}
