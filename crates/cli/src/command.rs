//! The subcommands, each in the module of its name.

mod archive;
mod at;
mod attest;
mod bisect;
mod compact;
mod completions;
mod convert;
mod create;
mod diff;
mod evict;
mod fork;
mod init;
mod install;
mod list;
mod policy;
mod prune;
mod release;
mod replay;
mod restore;
mod root;
mod scrub;
mod send;
mod show;
mod spans;
mod stats;
mod terminate;
mod transcript;
mod upgrade;

use anyhow::{Result, bail};
use vat_warehouse::{VatLease, VatName, Warehouse};

use crate::args::Command;
use crate::bench;
use crate::context::Context;
use crate::demo;
use crate::handler::{Caller, Exit};
use crate::marshal::error_text;
use crate::{soak, torture};

pub(crate) use install::module_file;
pub(crate) use replay::{Checked, check};

/// Runs the subcommand.
pub(crate) fn run(context: &Context, command: &Command) -> Result<()> {
    match command {
        Command::Init => init::run(context),
        Command::Install(args) => install::run(context, args),
        Command::Create(args) => create::run(context, args),
        Command::Send(args) => send::run(context, args),
        Command::List(args) => list::run(context, args),
        Command::Show(args) => show::run(context, args),
        Command::Evict(args) => evict::run(context, args),
        Command::Transcript(args) => transcript::run(context, args),
        Command::Replay(args) => replay::run(context, args),
        Command::Release(args) => release::run(context, args),
        Command::At(args) => at::run(context, args),
        Command::Bisect(args) => bisect::run(context, args),
        Command::Diff(args) => diff::run(context, args),
        Command::Stats => stats::run(context),
        Command::Scrub(args) => scrub::run(context, args),
        Command::Spans(args) => spans::run(context, args),
        Command::Policy(args) => policy::run(context, args),
        Command::Prune(args) => prune::run(context, args),
        Command::Restore(args) => restore::run(context, args),
        Command::Compact => compact::run(context),
        Command::Fork(args) => fork::run(context, args),
        Command::Convert(args) => convert::run(context, args),
        Command::Upgrade(args) => upgrade::run(context, args),
        Command::Root(args) => root::run(context, args),
        Command::Export(args) => archive::export(context, args),
        Command::Import(args) => archive::run_import(context, args),
        Command::Key(args) => attest::key(context, args),
        Command::Attest(args) => attest::attest(context, args),
        Command::Check(args) => attest::check(context, args),
        Command::Terminate(args) => terminate::run(context, args),
        Command::Demo(args) => demo::run(context, args),
        Command::Torture(args) => torture::run(context, args),
        Command::TortureLife(args) => torture::live(context, args),
        Command::Soak(args) => soak::run(context, args),
        Command::Bench(args) => bench::run(context, args),
        Command::Completions(args) => completions::run(context, args),
    }
}

/// Leases a vat. One that could not be brought back is quarantined by that, which must last, though nothing else was done.
fn provide(warehouse: &Warehouse, vat: &VatName) -> Result<VatLease> {
    let provided = warehouse.provide_blocking(vat);
    if provided.is_err() {
        warehouse.commit()?;
    }
    Ok(provided?)
}

/// After a delivery whose effects stand: ends the vat if it asked for that, and makes everything durable.
fn settle(warehouse: &Warehouse, vat: &VatName, caller: &Caller) -> Result<()> {
    if let Some(exit) = &caller.exit {
        warehouse.terminate(vat, &exit_text(exit))?;
    }
    Ok(warehouse.checkpoint()?)
}

/// Tells of what a vat did that is no answer.
fn note_effects(context: &Context, vat: &VatName, caller: &Caller) {
    if caller.sends > 0 {
        let messages = if caller.sends == 1 { "a message" } else { "messages" };
        context.out.note(format_args!(
            "{vat} sent {messages} to others; without a kernel they are recorded, and carried nowhere"
        ));
    }
    if let Some(exit) = caller.exit.as_ref().filter(|exit| !exit.failure) {
        context.out.note(format_args!("{vat} ended itself and is gone: {}", error_text(&exit.info)));
    }
}

/// A vat that ended itself as failed is no success of the command's.
fn require_no_failure(vat: &VatName, caller: &Caller) -> Result<()> {
    match &caller.exit {
        Some(Exit { failure: true, info }) => {
            bail!("{vat} failed, ended itself and is gone: {}", error_text(info))
        }
        _ => Ok(()),
    }
}

fn exit_text(exit: &Exit) -> String {
    let how = if exit.failure { "failed" } else { "done" };
    format!("{how}: {}", error_text(&exit.info))
}
