//! `vats root`: 32 bytes that name a vat's heap.

use anyhow::Result;
use serde_json::json;

use crate::args::Vat;
use crate::context::Context;

pub(super) fn run(context: &Context, args: &Vat) -> Result<()> {
    let warehouse = context.open()?;
    let (position, root) = warehouse.root(&args.vat)?;
    let json = || json!({ "vat": args.vat.as_str(), "position": position, "root": root.to_string() });
    Ok(context.out.result(format_args!("{root}"), json)?)
}
