//! `vats scrub`: reads all heap images at rest and compares every page with its hash.

use anyhow::{Result, bail};
use serde_json::{Value, json};
use vat_warehouse::DamagedLayer;

use crate::context::Context;
use crate::progress;
use crate::table::{counted, grouped};

pub(super) fn run(context: &Context) -> Result<()> {
    let warehouse = context.open()?;
    let bar = progress::bar(&context.out, "scrubbing", 0);
    let scrubbed = warehouse.scrub(|layer, layers| {
        bar.set_length(layers);
        bar.set_position(layer);
    })?;
    drop(bar);
    let damaged = &scrubbed.damaged;
    let mut text =
        format!("read {} pages in {}", grouped(scrubbed.pages), counted(scrubbed.layers, "layer", "layers"));
    for layer in damaged {
        text.push_str(&format!("\ndamaged: {}", describe(layer)));
    }
    let json = || {
        json!({
            "layers": scrubbed.layers,
            "pages": scrubbed.pages,
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
    Ok(())
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
