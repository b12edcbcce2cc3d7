//! `vats completions`: the command line, as a shell's script.

use anyhow::Result;
use clap::CommandFactory as _;

use crate::args::{Cli, Completions};
use crate::context::Context;

pub(super) fn run(context: &Context, args: &Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "vats", &mut script);
    Ok(context.out.raw(&script)?)
}
