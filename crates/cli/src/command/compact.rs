//! `vats compact`: gives disk space back that no snapshot needs any more.

use anyhow::Result;
use serde_json::json;

use crate::context::Context;
use crate::table::{bytes, counted};

pub(super) fn run(context: &Context) -> Result<()> {
    let compacted = context.open()?.compact()?;
    let text = format!(
        "removed {}, wrote {} again, gave {} back",
        counted(compacted.segments, "segment", "segments"),
        counted(compacted.layers, "layer", "layers"),
        bytes(compacted.freed_bytes),
    );
    let json = || {
        json!({
            "segments": compacted.segments,
            "layers": compacted.layers,
            "freed_bytes": compacted.freed_bytes,
        })
    };
    Ok(context.out.result(text, json)?)
}
