//! What a method returns when it cannot do what it was asked: the reason of a rejection.
//!
//! An [`Error`] is data that crosses to another vat: a name and a message, as JavaScript's errors have, and
//! nothing else. It has no source and no backtrace. Like `anyhow::Error` it converts from every error type,
//! and for that it is none itself.

use serde::Deserialize;
use serde_json::json;
use std::fmt;
use vat_abi::CapData;

use crate::marshal::escape;

/// What methods return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a promise was rejected.
///
/// ```
/// use vat_sdk::{Error, Result, bail};
/// fn half(number: &str) -> Result<u64> {
///     let number: u64 = number.parse()?; // any error converts
///     if number % 2 == 1 {
///         bail!("{number} is odd"); // and so does any text
///     }
///     Ok(number / 2)
/// }
/// assert_eq!(half("7"), Err(Error::new("7 is odd")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Error {
    name: String,
    message: String,
}

impl Error {
    /// An error called `Error`, like most.
    pub fn new(message: impl Into<String>) -> Error {
        Error::named("Error", message)
    }

    /// A `TypeError`: the caller passed something unsuitable.
    pub fn type_error(message: impl Into<String>) -> Error {
        Error::named("TypeError", message)
    }

    /// An error of any name. JavaScript vats know `RangeError`, `ReferenceError` and a few more, and read
    /// others as `Error`.
    pub fn named(name: impl Into<String>, message: impl Into<String>) -> Error {
        Error { name: name.into(), message: message.into() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Says in the message where the error came up.
    pub(crate) fn within(mut self, place: &str) -> Error {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// As smallcaps has it: `#{"#error":"message","name":"TypeError"}`.
    pub fn to_capdata(&self) -> CapData {
        CapData::data(format!("#{}", json!({ "#error": escape(&self.message), "name": escape(&self.name) })))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Error {
        Error::new(error.to_string())
    }
}

/// Returns from the method with an [`Error`]: a message as for `format!`.
#[macro_export]
macro_rules! bail {
    ($($message:tt)+) => {
        return ::core::result::Result::Err($crate::Error::new(::std::format!($($message)+)).into())
    };
}

/// Returns from the method with an [`Error`] unless a condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            $crate::bail!($($message)+);
        }
    };
}
