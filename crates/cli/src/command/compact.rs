//! `vats compact`: gives disk space back that no snapshot needs any more.

use anyhow::Result;
use serde_json::json;

use crate::context::Context;
use crate::table::{bytes, counted};

pub(super) fn run(context: &Context) -> Result<()> {
    let warehouse = context.open()?;
    let compacted = warehouse.compact()?;
    warehouse.commit()?; // Only now do the segments go.
    let mut text = format!(
        "removed {}, wrote {} again, gave {} back",
        counted(compacted.segments, "segment", "segments"),
        counted(compacted.layers, "layer", "layers"),
        bytes(compacted.freed_bytes),
    );
    if compacted.left > 0 {
        let left = counted(compacted.left, "segment", "segments");
        text.push_str(&format!("; {left} could not be moved: run `vats scrub`"));
    }
    let json = || {
        json!({
            "segments": compacted.segments,
            "layers": compacted.layers,
            "freed_bytes": compacted.freed_bytes,
            "left": compacted.left,
        })
    };
    Ok(context.out.result(text, json)?)
}
