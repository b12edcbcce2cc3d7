//! All that is printed, but for logs and progress bars.
//!
//! stdout has either text for people or, with `--json`, exactly one JSON value. Notes, which nobody needs to understand the
//! result, and errors go to stderr, one line each. A reader who stops reading (`vats transcript alice | head`) is no error.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use clap::error::ErrorKind as UsageKind;
use serde_json::Value;

use crate::args::Global;
use crate::terminal::one_line;

/// Who reads stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// Where a subcommand prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    is_quiet: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Output {
        let format = if global.json { Format::Json } else { Format::Text };
        Output { format, is_quiet: global.quiet }
    }

    /// Whether a progress bar is welcome, if stderr is a terminal.
    pub(crate) fn shows_progress(&self) -> bool {
        self.format == Format::Text && !self.is_quiet
    }

    /// Prints the result: the text for people, or the JSON for scripts.
    pub(crate) fn result(&self, text: impl Display, json: impl FnOnce() -> Value) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        match self.format {
            Format::Text => writeln!(stdout, "{text}")?,
            Format::Json => writeln!(stdout, "{}", json())?,
        }
        stdout.flush()
    }

    /// Prints the JSON for scripts where people are told by other means.
    pub(crate) fn json_only(&self, json: impl FnOnce() -> Value) -> io::Result<()> {
        match self.format {
            Format::Text => Ok(()),
            Format::Json => self.result("", json),
        }
    }

    /// Prints a list as it comes: each element's text, or one JSON array of all.
    pub(crate) fn list<E: From<io::Error>>(
        &self,
        items: impl Iterator<Item = Result<(String, Value), E>>,
    ) -> Result<(), E> {
        let mut stdout = BufWriter::new(io::stdout().lock());
        let mut separator = "[";
        for item in items {
            let (text, json) = item?;
            match self.format {
                Format::Text => writeln!(stdout, "{text}")?,
                Format::Json => write!(stdout, "{separator}{json}")?,
            }
            separator = ",\n";
        }
        if self.format == Format::Json {
            writeln!(stdout, "{}", if separator == "[" { "[]" } else { "]" })?;
        }
        Ok(stdout.flush()?)
    }

    /// Prints what a person may want to know beside the result.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.is_quiet {
            stderr_line(format_args!("note: {}", one_line(text)));
        }
    }

    /// Prints bytes as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }
}

/// Prints why the command failed, and says how the process ends.
pub(crate) fn failure(error: &anyhow::Error) -> ExitCode {
    let closed = |cause: &io::Error| cause.kind() == ErrorKind::BrokenPipe;
    if error.downcast_ref::<io::Error>().is_some_and(closed) {
        return ExitCode::SUCCESS;
    }
    stderr_line(format_args!("error: {}", one_line(causes(error))));
    ExitCode::FAILURE
}

/// The error and what caused it. Many errors already quote their cause, which is then not told again.
fn causes(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// Prints help, or what is wrong with the command line, and says how the process ends.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        // The value is wrong, not the shape of the command, so a usage line would not help.
        UsageKind::ValueValidation => {
            stderr_line(error.to_string().lines().next().unwrap_or("error: a value is wrong"));
            ExitCode::from(USAGE)
        }
        _ => {
            // Where help cannot be printed, there is nobody to tell.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
        }
    }
}

/// The exit code for a wrong command line.
const USAGE: u8 = 2;

fn stderr_line(line: impl Display) {
    // Where stderr is gone, there is nobody to tell.
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = |context: &'static str| anyhow::anyhow!("no space").context(context);
        assert_eq!(causes(&error("cannot write")), "cannot write: no space");
        assert_eq!(causes(&error("cannot write: no space")), "cannot write: no space");
        assert_eq!(causes(&anyhow::anyhow!("alone")), "alone");
    }
}
