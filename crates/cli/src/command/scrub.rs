//! `vats scrub`: reads everything at rest and compares it with its hashes; with `--repair`, mends first what can be mended.

use anyhow::{Result, bail};
use serde_json::{Value, json};
use vat_warehouse::{DamagedLayer, DamagedRecord, DamagedRow, RestoredStorage, Warehouse};

use crate::args::Scrub;
use crate::context::Context;
use crate::progress;
use crate::table::{counted, grouped};
use crate::terminal::one_line;

/// What `--repair` did.
#[derive(Default)]
struct Repairs {
    rows: Vec<DamagedRow>,
    storages: Vec<RestoredStorage>,
}

pub(super) fn run(context: &Context, args: &Scrub) -> Result<()> {
    let mut repairs = Repairs::default();
    if args.repair {
        repairs.rows = Warehouse::mend(&context.data()?)?.mended;
    }
    let warehouse = context.open()?;
    if args.repair {
        repairs.storages = warehouse.restore_vat_storage()?;
        warehouse.commit()?;
    }
    let bar = progress::bar(&context.out, "scrubbing", 0);
    let scrubbed = warehouse.scrub(|layer, layers| {
        bar.set_length(layers);
        bar.set_position(layer);
    })?;
    drop(bar);
    let damaged = &scrubbed.damaged;
    let mut text = format!(
        "read {} pages in {}, and the records of {}",
        grouped(scrubbed.pages),
        counted(scrubbed.layers, "layer", "layers"),
        counted(scrubbed.vats, "vat", "vats")
    );
    if scrubbed.pruned_spans > 0 {
        let spans = counted(scrubbed.pruned_spans, "span was", "spans were");
        text.push_str(&format!(
            "\nnot read: {spans} pruned, and what vat storage should hold is not known there"
        ));
    }
    for line in repairs.lines() {
        text.push_str(&format!("\n{line}"));
    }
    for record in &scrubbed.records {
        text.push_str(&format!("\ndamaged: {}", describe_record(record)));
    }
    for layer in damaged {
        text.push_str(&format!("\ndamaged: {}", describe(layer)));
    }
    let json = || {
        json!({
            "mended": repairs.rows.iter().map(|row| json!({ "table": row.table, "row": row.row })).collect::<Vec<_>>(),
            "restored": repairs.storages.iter().map(|storage| json!({ "vat": storage.vat, "keys": storage.keys })).collect::<Vec<_>>(),
            "layers": scrubbed.layers,
            "pages": scrubbed.pages,
            "vats": scrubbed.vats,
            "pruned_spans": scrubbed.pruned_spans,
            "records": scrubbed.records.iter().map(|record| json!({ "vat": record.vat, "what": record.what })).collect::<Vec<_>>(),
            "damaged": damaged.iter().map(layer_json).collect::<Vec<_>>(),
        })
    };
    context.out.result(text, json)?;
    if !damaged.is_empty() {
        bail!(
            "{} cannot be used; the vats come back from older snapshots or from birth, by a longer replay",
            counted(damaged.len() as u64, "layer", "layers")
        );
    }
    if !scrubbed.records.is_empty() {
        bail!(
            "{} of the store not as written; {}restore it from a backup or an export",
            counted(scrubbed.records.len() as u64, "record is", "records are"),
            if args.repair { "" } else { "`vats scrub --repair` mends what can be mended; or " }
        );
    }
    Ok(())
}

impl Repairs {
    fn lines(&self) -> Vec<String> {
        let rows = self.rows.iter().map(|row| {
            one_line(format!("mended: the row {} of the table {}, found damaged", row.row, row.table))
        });
        let storages = self.storages.iter().map(|storage| {
            let keys = counted(storage.keys, "key", "keys");
            one_line(format!("restored: the storage of {}, {keys}, from its transcript", storage.vat))
        });
        rows.chain(storages).collect()
    }
}

fn describe_record(record: &DamagedRecord) -> String {
    match &record.vat {
        Some(vat) => one_line(format!("{vat}: {}", record.what)),
        None => one_line(&record.what),
    }
}

fn describe(layer: &DamagedLayer) -> String {
    let pages = match layer.pages.as_slice() {
        [] => String::new(),
        pages => {
            format!(", pages {}", pages.iter().map(|page| page.0.to_string()).collect::<Vec<_>>().join(" "))
        }
    };
    let vats = if layer.vats.is_empty() { "births only".to_owned() } else { layer.vats.join(", ") };
    format!("layer {}{pages}: {} (used by {vats})", layer.at, layer.what)
}

fn layer_json(layer: &DamagedLayer) -> Value {
    json!({
        "segment": layer.at.segment,
        "offset": layer.at.offset,
        "pages": layer.pages.iter().map(|page| page.0).collect::<Vec<_>>(),
        "what": layer.what,
        "vats": layer.vats,
    })
}
