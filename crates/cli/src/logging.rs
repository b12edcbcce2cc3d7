//! Logs, to stderr: the vats' own (target `vat`) and the host's.
//!
//! No times are printed: a vat's log belongs to a delivery, whose time is in the transcript.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::args::Global;

/// Starts logging. The levels follow `-v` and `-q`.
pub(crate) fn start(global: &Global) {
    let directives = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn,vat=info",
        (false, 1) => "info,vat=debug",
        (false, _) => "debug,vat=trace",
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(directives))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .without_time()
        .init();
}
