//! The `vats` command: a data directory of vats, by hand and in scripts.
//!
//! ```text
//!   main ── args ──► a thread with a deep stack ──► command::run ──► one module per subcommand ──► output
//! ```
//!
//! It is the only place that prints and the only one that reads the clock and the environment. What it prints for people or for scripts
//! goes to stdout through [`output`], the vats' logs to stderr through `tracing`, and whatever went wrong to stderr
//! as one line. Exit code 0: it was done; 1: it failed, was rejected, or something differs; 2: the command line is wrong.
//!
//! It is no kernel: it delivers messages to vats and shows what they answer, but what a vat sends to others is recorded
//! and carried nowhere.

#![forbid(unsafe_code)]

mod args;
mod bench;
mod clock;
mod command;
mod context;
mod demo;
mod handler;
mod logging;
mod marshal;
mod output;
mod parallel;
mod progress;
mod soak;
mod speed;
mod table;
mod terminal;
mod torture;
mod upheaval;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Cli;
use crate::context::Context;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error),
    };
    logging::start(&cli.global);
    match parallel::on_deep_stack(|| work(&cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::failure(&error),
    }
}

fn work(cli: &Cli) -> anyhow::Result<()> {
    command::run(&Context::new(&cli.global), &cli.command)
}
