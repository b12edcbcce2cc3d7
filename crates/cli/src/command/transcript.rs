//! `vats transcript`: what a vat was told, what it asked, and how that ended.

use anyhow::Result;
use serde_json::{Value, json};
use vat_abi::TranscriptEntry;

use crate::args::Transcript;
use crate::context::Context;

pub(super) fn run(context: &Context, args: &Transcript) -> Result<()> {
    let reader = context.read()?;
    let entries = reader.transcript(&args.vat, args.from)?.take(args.limit.unwrap_or(usize::MAX));
    context.out.list(entries.map(|recorded| {
        let (position, entry) = recorded?;
        Ok::<_, anyhow::Error>((format!("#{position} {entry}"), json(position, &entry)))
    }))
}

/// The entry as it is stored, with its position.
fn json(position: u64, entry: &TranscriptEntry) -> Value {
    let mut json = json!(entry);
    json["position"] = json!(position);
    json
}
