//! `vats compact`: gives disk space back that no snapshot needs any more, and compresses transcripts.

use anyhow::Result;
use serde_json::json;

use crate::context::Context;
use crate::table::{bytes, counted};

pub(super) fn run(context: &Context) -> Result<()> {
    let warehouse = context.open()?;
    let compacted = warehouse.compact()?;
    let compressed = warehouse.compress_transcripts()?;
    warehouse.commit()?; // Only now do the segments go.
    let mut text = format!(
        "removed {}, wrote {} again, gave {} back",
        counted(compacted.segments, "segment", "segments"),
        counted(compacted.layers, "layer", "layers"),
        bytes(compacted.freed_bytes),
    );
    if compressed.entries > 0 {
        let entries = counted(compressed.entries, "transcript entry", "transcript entries");
        let (before, after) = (bytes(compressed.bytes_before), bytes(compressed.bytes_after));
        text.push_str(&format!("; compressed {entries} from {before} to {after}"));
    }
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
            "compressed_entries": compressed.entries,
            "compressed_bytes_before": compressed.bytes_before,
            "compressed_bytes_after": compressed.bytes_after,
        })
    };
    Ok(context.out.result(text, json)?)
}
