//! `vats fork`: a new vat that goes on from where another is.

use anyhow::Result;
use serde_json::json;

use crate::args::Fork;
use crate::context::Context;
use crate::table::counted;

pub(super) fn run(context: &Context, args: &Fork) -> Result<()> {
    let Fork { vat, new } = args;
    let warehouse = context.open()?;
    let position = warehouse.fork(vat, new)?;
    warehouse.checkpoint()?;
    let text = format!("forked {new} from {vat} after {}", counted(position, "delivery", "deliveries"));
    Ok(context
        .out
        .result(text, || json!({ "vat": new.as_str(), "parent": vat.as_str(), "position": position }))?)
}
