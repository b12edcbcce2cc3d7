//! `vats send`: a message to a vat's root object, and the answer.

use anyhow::{Result, bail};
use serde_json::{Value, json};
use vat_abi::{CapData, VatFault};
use vat_warehouse::Report;

use super::{note_effects, provide, require_no_failure, settle};
use crate::args::Send;
use crate::clock;
use crate::context::Context;
use crate::handler::{Caller, Log, root_message};
use crate::marshal;
use crate::terminal;

/// How a message ended for its sender.
#[derive(Debug)]
enum Answer {
    Fulfilled(CapData),
    Rejected(CapData),
    /// The vat may resolve the result in a later delivery.
    Unresolved,
    Faulted(VatFault),
}

pub(super) fn run(context: &Context, args: &Send) -> Result<()> {
    let (vat, method) = (&args.vat, &args.method);
    let warehouse = context.open()?;
    let mut lease = provide(&warehouse, vat)?;
    let (delivery, result) = root_message(marshal::call(method, &args.args.0), lease.next_position()?);
    let caller = Caller::new(Log::Shown(vat.clone()));
    let (report, caller) = lease.deliver(delivery, clock::now_ns(), caller);
    let report = report?;
    drop(lease);
    let answer = match (report.outcome.fault(), caller.resolution(&result)) {
        (Some(fault), _) => Answer::Faulted(fault.clone()),
        (None, Some(resolution)) if resolution.rejected => Answer::Rejected(resolution.data.clone()),
        (None, Some(resolution)) => Answer::Fulfilled(resolution.data.clone()),
        (None, None) => Answer::Unresolved,
    };
    if report.outcome.is_delivered() {
        settle(&warehouse, vat, &caller)?;
        note_effects(context, vat, &caller);
    } else {
        warehouse.checkpoint()?; // A faulted delivery is recorded, and nothing else of it stands.
    }
    print(context, args, &answer, &report, &caller)?;
    if report.outcome.is_delivered() {
        require_no_failure(vat, &caller)?;
    }
    match answer {
        Answer::Fulfilled(_) => Ok(()),
        Answer::Unresolved => {
            context.out.note(format_args!("{vat} has not answered {method} yet"));
            Ok(())
        }
        Answer::Rejected(reason) => bail!("{vat} rejected {method}: {}", marshal::error_text(&reason)),
        Answer::Faulted(fault) => {
            bail!("{vat} faulted in {method}, and what that changed is undone: {fault}")
        }
    }
}

/// For people, stdout has the answer alone.
fn print(context: &Context, args: &Send, answer: &Answer, report: &Report, caller: &Caller) -> Result<()> {
    let json = || json(args, answer, report, caller);
    match answer {
        Answer::Fulfilled(data) => context.out.result(terminal::json(&marshal::plain(data)), json)?,
        _ => context.out.json_only(json)?,
    }
    Ok(())
}

fn json(args: &Send, answer: &Answer, report: &Report, caller: &Caller) -> Value {
    let mut json = json!({
        "vat": args.vat.as_str(),
        "method": args.method,
        "position": report.position,
        "computrons": report.computrons.0,
        "sends": if report.outcome.is_delivered() { caller.sends } else { 0 },
        "exited": report.outcome.is_delivered() && caller.exit.is_some(),
    });
    let (status, data) = match answer {
        Answer::Fulfilled(data) => ("fulfilled", Some(data)),
        Answer::Rejected(data) => ("rejected", Some(data)),
        Answer::Unresolved => ("unresolved", None),
        Answer::Faulted(fault) => {
            json["fault"] = json!(fault);
            ("faulted", None)
        }
    };
    json["status"] = json!(status);
    if let Some(data) = data {
        json["value"] = marshal::plain(data);
        json["capdata"] = json!(data);
    }
    json
}
