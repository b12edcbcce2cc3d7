//! How loud a line of a vat's log is.
//!
//! Log lines are not recorded and not compared on replay: they are for people.

use core::fmt;

/// The first argument of the import `log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// 0: the vat could not do what it was asked.
    Error,
    /// 1: something a person should look at.
    Warn,
    /// 2: a step worth knowing.
    Info,
    /// 3: for the vat's author.
    Debug,
    /// 4: for the vat's author, in detail.
    Trace,
}

impl LogLevel {
    /// The level of a number that a vat passed. Unknown numbers are [`LogLevel::Trace`]: a log line is
    /// never a reason to fault.
    pub fn from_code(code: i32) -> LogLevel {
        match code {
            0 => LogLevel::Error,
            1 => LogLevel::Warn,
            2 => LogLevel::Info,
            3 => LogLevel::Debug,
            _ => LogLevel::Trace,
        }
    }

    /// The number that a vat passes for this level.
    pub fn code(self) -> i32 {
        match self {
            LogLevel::Error => 0,
            LogLevel::Warn => 1,
            LogLevel::Info => 2,
            LogLevel::Debug => 3,
            LogLevel::Trace => 4,
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        })
    }
}
