//! `vats bisect`: the first delivery at which a replay differs from what is stored.

use anyhow::{Result, bail};
use serde_json::{Value, json};
use vat_warehouse::{Bisection, Finding};

use super::diff::line_of;
use crate::args::Vat;
use crate::context::Context;
use crate::table::{counted, grouped};

pub(super) fn run(context: &Context, args: &Vat) -> Result<()> {
    let bisection = context.open()?.bisect(&args.vat)?;
    let json = || {
        json!({
            "vat": args.vat.as_str(),
            "roots": bisection.roots,
            "finding": bisection.finding.as_ref().map(finding_json),
        })
    };
    context.out.result(text(&bisection), json)?;
    if bisection.finding.is_some() {
        bail!("a replay of {} differs from what is stored", args.vat);
    }
    Ok(())
}

fn text(bisection: &Bisection) -> String {
    let same = format!("{} as stored", counted(bisection.roots, "heap root", "heap roots"));
    match &bisection.finding {
        None => format!("nothing differs; {same}"),
        Some(Finding::Delivery(divergence)) => format!("{}\n{same} before that", divergence.report()),
        Some(Finding::State { first, last, stored, replayed, pages }) => {
            let mut text = match first == last {
                true => format!("the heap went elsewhere in delivery {}", grouped(*first)),
                false => format!(
                    "the heap went elsewhere in one of the deliveries {} to {}",
                    grouped(*first),
                    grouped(*last)
                ),
            };
            text.push_str(&format!("\n  stored root    {stored}\n  replayed root  {replayed}"));
            for run in pages.iter().flatten() {
                text.push('\n');
                text.push_str(&line_of(run));
            }
            format!("{text}\n{same} before that")
        }
    }
}

fn finding_json(finding: &Finding) -> Value {
    match finding {
        Finding::Delivery(divergence) => {
            json!({ "delivery": divergence.position, "report": divergence.to_json() })
        }
        Finding::State { first, last, stored, replayed, pages } => json!({
            "first": first,
            "last": last,
            "stored": stored.to_string(),
            "replayed": replayed.to_string(),
            "pages": pages.as_ref().map(|runs| runs.iter().map(|run| json!([run.first.0, run.count])).collect::<Vec<_>>()),
        }),
    }
}
