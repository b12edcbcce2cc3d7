//! `vats diff`: what differs between a vat after one delivery and after another.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};
use vat_warehouse::{ChangedPages, Contrast};

use crate::args::Diff;
use crate::context::Context;
use crate::table::{bytes, counted, grouped};
use crate::terminal::one_line;

pub(super) fn run(context: &Context, args: &Diff) -> Result<()> {
    let contrast = context.open()?.contrast(&args.vat, args.a, args.b)?;
    Ok(context.out.result(text(&contrast), || json(args, &contrast))?)
}

fn text(contrast: &Contrast) -> String {
    let (before, after) = contrast.heap_bytes;
    let pages: u64 = contrast.pages.iter().map(|run| u64::from(run.count)).sum();
    let changed: u64 = contrast.pages.iter().map(|run| run.bytes).sum();
    let mut text = match before == after {
        true => format!("heap of {}", bytes(before)),
        false => format!("heap of {}, then of {}", bytes(before), bytes(after)),
    };
    write!(text, ": {} in {} differ", counted(changed, "byte", "bytes"), counted(pages, "page", "pages"))
        .expect("a text takes all");
    let mut line = |line: String| write!(text, "\n{line}").expect("a text takes all");
    for run in &contrast.pages {
        line(line_of(run));
    }
    for global in &contrast.globals {
        let value = |value| Option::map_or(value, "none".to_owned(), |value| format!("{value:?}"));
        line(format!("global {}: {}, then {}", global.index, value(global.before), value(global.after)));
    }
    for key in &contrast.keys {
        let value = |value: &Option<String>| match value {
            Some(value) => one_line(format!("{value:?}")),
            None => "none".to_owned(),
        };
        line(format!("key {}: {}, then {}", one_line(&key.key), value(&key.before), value(&key.after)));
    }
    text
}

/// A line for a run of pages.
pub(super) fn line_of(run: &ChangedPages) -> String {
    let (address, before, after) = run.byte;
    format!(
        "  {}: {}, first at {address:#x}: {before:#04x}, then {after:#04x}",
        pages_text(run),
        counted(run.bytes, "byte", "bytes")
    )
}

fn pages_text(run: &ChangedPages) -> String {
    let first = u64::from(run.first.0);
    match run.count {
        1 => format!("page {}", grouped(first)),
        count => format!("pages {} to {}", grouped(first), grouped(first + u64::from(count) - 1)),
    }
}

fn json(args: &Diff, contrast: &Contrast) -> Value {
    let pages = contrast.pages.iter().map(|run| {
        json!({"first": run.first.0, "count": run.count, "bytes": run.bytes, "address": run.byte.0, "before": run.byte.1, "after": run.byte.2})
    });
    let globals = contrast.globals.iter().map(|global| {
        let value = |value| Option::map(value, |value| format!("{value:?}"));
        json!({"index": global.index, "before": value(global.before), "after": value(global.after)})
    });
    let keys =
        contrast.keys.iter().map(|key| json!({"key": key.key, "before": key.before, "after": key.after}));
    json!({
        "vat": args.vat.as_str(),
        "a": args.a,
        "b": args.b,
        "heap_bytes": [contrast.heap_bytes.0, contrast.heap_bytes.1],
        "pages": pages.collect::<Vec<_>>(),
        "globals": globals.collect::<Vec<_>>(),
        "keys": keys.collect::<Vec<_>>(),
    })
}
