//! `vats at`: a vat as it was after one of its deliveries. Nothing of it is kept.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use vat_warehouse::{Moment, Warehouse};

use super::send::Answer;
use crate::args::At;
use crate::context::Context;
use crate::handler::{Caller, Log, root_message};
use crate::marshal;
use crate::table::{Table, bytes, counted, grouped};
use crate::terminal::{self, one_line};

pub(super) fn run(context: &Context, args: &At) -> Result<()> {
    let warehouse = context.open()?;
    let mut moment = warehouse.at(&args.vat, args.position)?;
    if let Some(file) = &args.dump {
        std::fs::write(file, moment.heap()).with_context(|| format!("cannot write {}", file.display()))?;
        context.out.note(format_args!(
            "wrote {} of heap to {}",
            bytes(moment.heap().len() as u64),
            file.display()
        ));
    }
    match &args.send {
        Some(method) => ask(context, args, method, &warehouse, &mut moment),
        None => show(context, args, &mut moment),
    }
}

fn show(context: &Context, args: &At, moment: &mut Moment) -> Result<()> {
    let root = moment.root().to_string();
    let keys = moment.storage()?.clone();
    let mut table = Table::default();
    table.row(&[&"vat", &args.vat]);
    table.row(&[&"after delivery", &grouped(args.position)]);
    table.row(&[&"replayed", &counted(moment.replayed(), "delivery", "deliveries")]);
    table.row(&[&"heap", &bytes(moment.heap().len() as u64)]);
    table.row(&[&"heap root", &root]);
    table.row(&[&"storage keys", &grouped(keys.len() as u64)]);
    if args.keys {
        for (key, value) in keys.iter() {
            table.row(&[&one_line(key), &one_line(value)]);
        }
    }
    let json = || {
        let mut json = json!({
            "vat": args.vat.as_str(),
            "position": args.position,
            "replayed": moment.replayed(),
            "heap_bytes": moment.heap().len(),
            "root": root,
            "storage_keys": keys.len(),
        });
        if args.keys {
            json["storage"] = json!(*keys);
        }
        json
    };
    Ok(context.out.result(&table, json)?)
}

/// Asks at the recorded time of the delivery, so that the answer is the same whenever it is asked for.
fn ask(context: &Context, args: &At, method: &str, warehouse: &Warehouse, moment: &mut Moment) -> Result<()> {
    let recorded =
        warehouse.transcript(&args.vat, args.position)?.next().context("the delivery is gone")??;
    let (delivery, result) = root_message(marshal::call(method, &args.args.0), args.position + 1);
    let (report, caller) =
        moment.ask(&delivery, recorded.1.time_ns, Caller::new(Log::Shown(args.vat.clone())));
    let report = report?;
    let answer = Answer::of(&report, &caller, &result);
    let json = || -> Value {
        json!({
            "vat": args.vat.as_str(),
            "position": args.position,
            "method": method,
            "computrons": report.computrons.0,
            "answer": answer.to_json(),
        })
    };
    match answer.data() {
        Some(data) => context.out.result(terminal::json(&marshal::plain(data)), json)?,
        None => context.out.json_only(json)?,
    }
    answer.require(&context.out, &args.vat, method)
}
