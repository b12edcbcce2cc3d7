//! What a vat hears back from a syscall.
//!
//! In JSON an array whose first element is the tag, as SwingSet writes it. SwingSet's third shape, `ok` with
//! capdata, is left out: only its device calls answer so, and this ABI has none.

use alloc::string::String;
use core::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::codec::{Elements, decode, encode, encode_within};
use crate::decode::DecodeError;
use crate::elide::Elided;
use crate::limits::RESULT_BYTES_MAX;
use crate::violation::Violation;

/// What the vat hears back. In JSON: `["ok",null]`, `["ok","text"]`, `["error","message"]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyscallResult {
    /// It was done. The text is the value or key that was asked for, if there is one.
    Ok(Option<String>),
    /// It was not done, for a reason that the vat may handle.
    Error(String),
}

const WHAT: &str = "syscall result";

impl SyscallResult {
    /// Its canonical JSON, of whatever length.
    pub fn to_json(&self) -> String {
        encode(self)
    }

    /// Its canonical JSON, if it may be given to a vat: then [`SyscallResult::from_json`] reads it back.
    ///
    /// # Errors
    ///
    /// More than [`RESULT_BYTES_MAX`] bytes.
    pub fn try_to_json(&self) -> Result<String, Violation> {
        encode_within(WHAT, RESULT_BYTES_MAX, self)
    }

    /// Reads a syscall result.
    ///
    /// # Errors
    ///
    /// Anything but one syscall result within the limits.
    pub fn from_json(bytes: &[u8]) -> Result<SyscallResult, DecodeError> {
        decode(WHAT, RESULT_BYTES_MAX, bytes)
    }
}

impl fmt::Display for SyscallResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyscallResult::Ok(None) => f.write_str("ok"),
            SyscallResult::Ok(Some(text)) => write!(f, "ok '{}'", Elided(text)),
            SyscallResult::Error(message) => write!(f, "error '{}'", Elided(message)),
        }
    }
}

impl Serialize for SyscallResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            SyscallResult::Ok(text) => ("ok", text).serialize(serializer),
            SyscallResult::Error(message) => ("error", message).serialize(serializer),
        }
    }
}

const TAGS: &[&str] = &["ok", "error"];

impl<'de> Deserialize<'de> for SyscallResult {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SyscallResult, D::Error> {
        deserializer.deserialize_seq(ResultVisitor)
    }
}

struct ResultVisitor;

impl<'de> Visitor<'de> for ResultVisitor {
    type Value = SyscallResult;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a syscall result: [\"ok\", text or null] or [\"error\", message]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<SyscallResult, A::Error> {
        let mut elements = Elements(seq);
        let result = match elements.tag(TAGS)? {
            "ok" => SyscallResult::Ok(elements.next("the result's text")?),
            _ => SyscallResult::Error(elements.next("the error's message")?),
        };
        elements.end()?;
        Ok(result)
    }
}
