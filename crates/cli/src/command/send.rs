//! `vats send`: a message to a vat's root object, and the answer.

use anyhow::{Result, bail};
use serde_json::{Value, json};
use vat_abi::{CapData, VatFault, Vref};
use vat_warehouse::{Report, VatName};

use super::{note_effects, provide, require_no_failure, settle};
use crate::args::Send;
use crate::clock;
use crate::context::Context;
use crate::handler::{Caller, Log, root_message};
use crate::marshal;
use crate::output::Output;
use crate::terminal;

/// How a message ended for its sender.
#[derive(Debug)]
pub(super) enum Answer {
    Fulfilled(CapData),
    Rejected(CapData),
    /// The vat may resolve the result in a later delivery.
    Unresolved,
    Faulted(VatFault),
}

impl Answer {
    /// What became of `result` in a delivery.
    pub(super) fn of(report: &Report, caller: &Caller, result: &Vref) -> Answer {
        match (report.outcome.fault(), caller.resolution(result)) {
            (Some(fault), _) => Answer::Faulted(fault.clone()),
            (None, Some(resolution)) if resolution.rejected => Answer::Rejected(resolution.data.clone()),
            (None, Some(resolution)) => Answer::Fulfilled(resolution.data.clone()),
            (None, None) => Answer::Unresolved,
        }
    }

    /// What the result was fulfilled with.
    pub(super) fn data(&self) -> Option<&CapData> {
        match self {
            Answer::Fulfilled(data) => Some(data),
            _ => None,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let (status, data) = match self {
            Answer::Fulfilled(data) => ("fulfilled", Some(data)),
            Answer::Rejected(data) => ("rejected", Some(data)),
            Answer::Unresolved => ("unresolved", None),
            Answer::Faulted(_) => ("faulted", None),
        };
        let mut json = json!({ "status": status });
        if let Answer::Faulted(fault) = self {
            json["fault"] = json!(fault);
        }
        if let Some(data) = data {
            json["value"] = marshal::plain(data);
            json["capdata"] = json!(data);
        }
        json
    }

    /// Fails unless the message was fulfilled, or may still be.
    pub(super) fn require(&self, out: &Output, vat: &VatName, method: &str) -> Result<()> {
        match self {
            Answer::Fulfilled(_) => Ok(()),
            Answer::Unresolved => {
                out.note(format_args!("{vat} has not answered {method} yet"));
                Ok(())
            }
            Answer::Rejected(reason) => bail!("{vat} rejected {method}: {}", marshal::error_text(reason)),
            Answer::Faulted(fault) => {
                bail!("{vat} faulted in {method}, and what that changed is undone: {fault}")
            }
        }
    }
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
    let answer = Answer::of(&report, &caller, &result);
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
    answer.require(&context.out, vat, method)
}

/// For people, stdout has the answer alone.
fn print(context: &Context, args: &Send, answer: &Answer, report: &Report, caller: &Caller) -> Result<()> {
    let json = || json(args, answer, report, caller);
    match answer.data() {
        Some(data) => context.out.result(terminal::json(&marshal::plain(data)), json)?,
        None => context.out.json_only(json)?,
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
    if let (Value::Object(json), Value::Object(answer)) = (&mut json, answer.to_json()) {
        json.extend(answer);
    }
    json
}
