//! Lines for the host's log.
//!
//! ```
//! vat_sdk::info!("{} accounts", 3);
//! ```
//!
//! The log is for people: it is not part of the transcript, and nothing of it comes back to the vat.

use crate::host;

pub use vat_abi::LogLevel;

/// Writes one line. The macros [`error!`](crate::error), [`warn!`](crate::warn), [`info!`](crate::info) and
/// [`debug!`](crate::debug) call it with a formatted text.
pub fn write(level: LogLevel, text: &str) {
    host::log(level.code(), text);
}

/// Logs that the vat could not do what it was asked.
#[macro_export]
macro_rules! error {
    ($($text:tt)+) => { $crate::log::write($crate::log::LogLevel::Error, &::std::format!($($text)+)) };
}

/// Logs something that a person should look at.
#[macro_export]
macro_rules! warn {
    ($($text:tt)+) => { $crate::log::write($crate::log::LogLevel::Warn, &::std::format!($($text)+)) };
}

/// Logs a step worth knowing.
#[macro_export]
macro_rules! info {
    ($($text:tt)+) => { $crate::log::write($crate::log::LogLevel::Info, &::std::format!($($text)+)) };
}

/// Logs something for the vat's author.
#[macro_export]
macro_rules! debug {
    ($($text:tt)+) => { $crate::log::write($crate::log::LogLevel::Debug, &::std::format!($($text)+)) };
}
