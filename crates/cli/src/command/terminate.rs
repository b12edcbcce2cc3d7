//! `vats terminate`: ends a vat for ever.

use anyhow::Result;
use serde_json::json;

use crate::args::Terminate;
use crate::context::Context;

pub(super) fn run(context: &Context, args: &Terminate) -> Result<()> {
    let vat = &args.vat;
    let warehouse = context.open()?;
    warehouse.terminate(vat, &args.reason)?;
    warehouse.checkpoint()?;
    let json = || json!({"vat": vat.as_str(), "reason": args.reason});
    Ok(context.out.result(format_args!("terminated {vat}"), json)?)
}
