//! `vats bench`: what hosting vats of somebody's module costs, as the warehouse itself does it.
//!
//! ```text
//!   module ──► steps: compile, cached, create, restore, deliver, commit, evict, fork, replay   ──┐
//!         └──► room: memory and disk of a vat                                                  ──┼─► report
//!         └──► residency: messages/s with 100, 50, 25, 10 % of the vats in memory              ──┘
//! ```
//!
//! Everything happens in temporary directories. Each step is given an equal part of the time, and takes as many samples as fit into it;
//! how long a single one takes is the module's affair, so the whole may take longer than was said.

mod report;
mod residency;
mod room;
mod steps;
mod subject;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use vat_measure::{Machine, Pace};

use self::report::Found;
use self::subject::{Message, Subject};
use crate::args::{self, Bench};
use crate::command::module_file;
use crate::context::Context;
use crate::output::Output;
use crate::progress;

/// Parts that the time is divided into: a step has one, all loads together two.
const PARTS: u32 = 13;

pub(crate) fn run(context: &Context, args: &Bench) -> Result<()> {
    let machine = Machine::now();
    let wasm = module(context, &args.module)?;
    let message = match &args.message {
        Some(words) => {
            let (method, arguments) = args::message(words).map_err(|why| anyhow!("--message: {why}"))?;
            Message::Call { method, arguments }
        }
        None => Message::CollectGarbage,
    };
    let part = Duration::from_secs(args.seconds) / PARTS;
    let subject = Subject { wasm, message, args: args.args.clone() };
    note_what_is_odd(&context.out, &subject)?;
    let bar = progress::bar(&context.out, "measuring", u64::from(PARTS) - 1);
    let mut rows = steps::all(&subject, pace(part), &bar)?;
    rows.extend(room::all(&subject, part)?);
    bar.inc(1);
    let places = residency::all(&subject, 2 * part)?;
    bar.finish_and_clear();
    let found = Found { module: args.module.display().to_string(), subject, machine, rows, places };
    if let Some(path) = &args.html {
        std::fs::write(path, found.html()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(context.out.result(&found, || found.json())?)
}

/// Samples of a step.
fn pace(part: Duration) -> Pace {
    Pace { warm_up: 1, budget: part, rounds_min: 10, rounds_max: 2_000 }
}

/// The module in a file, or an installed one.
fn module(context: &Context, named: &Path) -> Result<Vec<u8>> {
    if named.exists() {
        return module_file(named).with_context(|| format!("cannot measure {}", named.display()));
    }
    let name = named.to_str().filter(|name| !name.contains(['/', '.']));
    let Some(name) = name else { bail!("there is no file {}", named.display()) };
    let neither = || format!("{name} is neither a file nor an installed module");
    let warehouse = context.open().with_context(neither)?;
    let hash = warehouse.storage().module_by_name(name)?.with_context(neither)?;
    Ok(warehouse.storage().module(hash)?)
}

/// Makes a vat and delivers to it once. What fails is no subject for a measurement; what is merely odd is told.
fn note_what_is_odd(out: &Output, subject: &Subject) -> Result<()> {
    if cfg!(debug_assertions) {
        out.note("this program was built without --release, and is many times slower than it could be");
    }
    let tried = subject.try_once()?;
    if let Some(reason) = &tried.rejection {
        out.note(format_args!("what is measured are rejections: {reason}"));
    }
    if tried.sends > 0 {
        out.note("the vat sends messages to others; they are recorded, and carried nowhere");
    }
    Ok(())
}
