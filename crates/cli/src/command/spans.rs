//! `vats spans`: the spans of a vat's transcript.

use anyhow::Result;
use serde_json::{Value, json};
use vat_warehouse::archive::KeptElsewhere;
use vat_warehouse::{SpanContent, SpanRow, SpanState};

use crate::args::Vat;
use crate::context::Context;
use crate::table::{Table, bytes, grouped};

pub(super) fn run(context: &Context, args: &Vat) -> Result<()> {
    let reader = context.read()?;
    let vat = reader.vat(&args.vat)?.id;
    let spans = reader.storage().spans(vat)?;
    let elsewhere = KeptElsewhere::of(reader.storage(), vat)?;
    let mut table =
        Table::with_head(&["START", "END", "INCARNATION", "STATE", "CONTENT", "BYTES", "STORED", "HASH"]);
    for span in &spans {
        table.row(&[
            &grouped(span.start.0),
            &grouped(span.end.0),
            &span.incarnation,
            &state(span),
            &content(span),
            &bytes(span.bytes),
            &bytes(stored_bytes(span)),
            &span.hash,
        ]);
    }
    context.out.result(table, || spans.iter().map(json).collect())?;
    if let Some(archive) = elsewhere {
        context.out.note(format_args!(
            "what was pruned is in the archive {}, which was at {}",
            archive.manifest, archive.path
        ));
    }
    Ok(())
}

fn state(span: &SpanRow) -> &'static str {
    match span.state {
        SpanState::Open => "open",
        SpanState::Closed => "closed",
    }
}

fn content(span: &SpanRow) -> &'static str {
    match span.content {
        SpanContent::Plain => "stored",
        SpanContent::Compressed => "compressed",
        SpanContent::Pruned => "pruned",
    }
}

/// Bytes that its entries take in the store.
fn stored_bytes(span: &SpanRow) -> u64 {
    match span.content {
        SpanContent::Plain => span.bytes,
        SpanContent::Compressed => span.compressed_bytes,
        SpanContent::Pruned => 0,
    }
}

fn json(span: &SpanRow) -> Value {
    json!({
        "start": span.start.0,
        "end": span.end.0,
        "incarnation": span.incarnation.0,
        "state": state(span),
        "content": content(span),
        "bytes": span.bytes,
        "stored_bytes": stored_bytes(span),
        "hash": span.hash.as_str(),
    })
}
