//! Logs, to stderr: the vats' own (target [`GUEST`]) and the host's.
//!
//! No times are printed: a vat's log belongs to a delivery, whose time is in the transcript.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::args::Global;

/// The target of the vats' logs; no module of ours begins so, since a filter for a target is one for all that begin like it.
pub(crate) const GUEST: &str = "guest";

/// Starts logging. The levels follow `-v` and `-q`.
pub(crate) fn start(global: &Global) {
    let directives = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn,guest=info",
        (false, 1) => "info,guest=debug",
        (false, _) => "debug,guest=trace",
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(directives))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .without_time()
        .init();
}
