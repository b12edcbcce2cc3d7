//! Why a value, well formed as it is, may not cross between host and vat.
//!
//! The same rules hold for what a vat writes (where breaking one is a [`DecodeError`](crate::DecodeError)) and
//! for what a host is about to say (where `check` and `try_to_json` report it): what is recorded can always
//! be read back.

use core::fmt;

use crate::limits::VREFS_MAX;
use crate::vref::{RefKind, Vref};

/// A broken rule of the ABI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A list has too many elements.
    TooMany {
        /// What the elements are.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A text is too long.
    TooLong {
        /// What the text is.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// A text that must not be empty is.
    Empty {
        /// What the text is.
        what: &'static str,
    },
    /// A reference is of a kind that cannot stand there.
    WrongKind {
        /// What the reference stands for.
        what: &'static str,
        /// The kind that it has.
        kind: RefKind,
    },
}

impl Violation {
    pub(crate) fn check_count(what: &'static str, count: usize, max: usize) -> Result<(), Violation> {
        if count <= max { Ok(()) } else { Err(Violation::TooMany { what, count, max }) }
    }

    pub(crate) fn check_bytes(what: &'static str, bytes: usize, max: usize) -> Result<(), Violation> {
        if bytes <= max { Ok(()) } else { Err(Violation::TooLong { what, bytes, max }) }
    }

    pub(crate) fn check_promise(what: &'static str, vref: &Vref) -> Result<(), Violation> {
        match vref.kind() {
            RefKind::Promise => Ok(()),
            kind => Err(Violation::WrongKind { what, kind }),
        }
    }

    /// Garbage collection is about objects; a promise leaves when it is resolved.
    pub(crate) fn check_objects(vrefs: &[Vref]) -> Result<(), Violation> {
        Violation::check_count("references", vrefs.len(), VREFS_MAX)?;
        match vrefs.iter().map(Vref::kind).find(|kind| *kind != RefKind::Object) {
            None => Ok(()),
            Some(kind) => Err(Violation::WrongKind { what: "what is dropped or retired", kind }),
        }
    }

    /// Devices take no messages: they are called, which this ABI has no syscall for.
    pub(crate) fn check_target(vref: &Vref) -> Result<(), Violation> {
        match vref.kind() {
            RefKind::Object | RefKind::Promise => Ok(()),
            kind => Err(Violation::WrongKind { what: "the target of a message", kind }),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::TooMany { what, count, max } => {
                write!(f, "{count} {what} are more than the {max} allowed")
            }
            Violation::TooLong { what, bytes, max } => {
                write!(f, "{what} of {bytes} bytes is longer than the {max} allowed")
            }
            Violation::Empty { what } => write!(f, "{what} is empty"),
            Violation::WrongKind { what, kind } => write!(f, "{what} is of the wrong kind: {kind}"),
        }
    }
}

impl core::error::Error for Violation {}
