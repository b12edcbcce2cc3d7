//! What is wrong with bytes that should have been one of the ABI's values.
//!
//! For people and logs only: a transcript records that a vat's bytes were bad (`bad-syscall-bytes`), not
//! this text, which may change with the JSON library.

use alloc::string::{String, ToString};
use core::fmt;

use crate::elide::{Elided, prefix};
use crate::limits::DECODE_REASON_BYTES_MAX;

/// Bytes could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// What was being decoded, such as `"syscall"`.
    pub what: &'static str,
    /// Why it could not be, at most [`DECODE_REASON_BYTES_MAX`] bytes.
    pub why: String,
}

impl DecodeError {
    pub(crate) fn new(what: &'static str, why: &impl ToString) -> DecodeError {
        DecodeError { what, why: prefix(&why.to_string(), DECODE_REASON_BYTES_MAX).into() }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "decode {}: {}", self.what, Elided(&self.why))
    }
}

impl core::error::Error for DecodeError {}
