//! The other side of a vat's syscalls: answers them, hears its log, and stops it from settling what is not its
//! to settle.

use std::fmt;

use vat_abi::{LogLevel, Syscall};
use vat_warehouse::{SyscallHandler, SyscallVerdict};

use crate::promises::Promises;
use crate::subject::Answers;

/// A line that the vat, or the host on its behalf, wrote to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How loud it is.
    pub level: LogLevel,
    /// What it says.
    pub text: String,
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.level, self.text)
    }
}

/// Listens to one delivery.
#[derive(Debug)]
pub(crate) struct Listener {
    /// As they are within the delivery. The host judges afterwards whether this counts.
    promises: Promises,
    answers: Answers,
    pub(crate) logs: Vec<LogLine>,
}

impl Listener {
    /// For a delivery that was received already.
    pub(crate) fn new(promises: Promises, answers: Answers) -> Listener {
        Listener { promises, answers, logs: Vec::new() }
    }
}

impl SyscallHandler for Listener {
    fn syscall(&mut self, syscall: &Syscall) -> SyscallVerdict {
        match self.promises.perform(syscall) {
            Ok(()) => SyscallVerdict::Answer(self.answers.answer(syscall)),
            Err(why) => SyscallVerdict::Illegal(why),
        }
    }

    fn log(&mut self, level: LogLevel, text: &str) {
        self.logs.push(LogLine { level, text: text.to_owned() });
    }
}
