//! How a delivery ended, in words that are the same on every host.
//!
//! ```text
//!   ["ok"]                                             the vat returned 0
//!   ["fault",{"kind":"trap","trap":"unreachable"}]     the vat's own fault
//!   ["fault",{"kind":"failed","message":"…"}]
//! ```
//!
//! An outcome holds no text of an engine and nothing about the host; see [`VatFault`].

use alloc::string::String;
use core::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::codec::{Elements, decode, encode};
use crate::decode::DecodeError;
use crate::fault::VatFault;
use crate::limits::OUTCOME_BYTES_MAX;
use crate::violation::Violation;

/// Work done by a vat, in units that are the same on every host. A faulted delivery costs its whole
/// allowance.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Computrons(pub u64);

impl Computrons {
    /// The sum, or the greatest count there is.
    pub fn saturating_add(self, more: Computrons) -> Computrons {
        Computrons(self.0.saturating_add(more.0))
    }
}

impl fmt::Display for Computrons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} computrons", self.0)
    }
}

/// How a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The vat returned 0, and what it did stands.
    Delivered,
    /// The vat failed. The delivery is recorded with the syscalls made before; its effects on heap and vat
    /// storage are undone.
    Faulted(VatFault),
}

const WHAT: &str = "outcome";

impl Outcome {
    /// Whether the delivery's effects stand.
    pub fn is_delivered(&self) -> bool {
        matches!(self, Outcome::Delivered)
    }

    /// The fault, if there is one.
    pub fn fault(&self) -> Option<&VatFault> {
        match self {
            Outcome::Delivered => None,
            Outcome::Faulted(fault) => Some(fault),
        }
    }

    /// Whether it can be recorded.
    ///
    /// # Errors
    ///
    /// A fault that [`VatFault::check`] refuses.
    pub fn check(&self) -> Result<(), Violation> {
        self.fault().map_or(Ok(()), VatFault::check)
    }

    /// Its canonical JSON.
    pub fn to_json(&self) -> String {
        encode(self)
    }

    /// Reads an outcome.
    ///
    /// # Errors
    ///
    /// Anything but one outcome within the limits.
    pub fn from_json(bytes: &[u8]) -> Result<Outcome, DecodeError> {
        decode(WHAT, OUTCOME_BYTES_MAX, bytes)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Delivered => f.write_str("ok"),
            Outcome::Faulted(fault) => write!(f, "fault: {fault}"),
        }
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Outcome::Delivered => ["ok"].serialize(serializer),
            Outcome::Faulted(fault) => ("fault", fault).serialize(serializer),
        }
    }
}

const TAGS: &[&str] = &["ok", "fault"];

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Outcome, D::Error> {
        deserializer.deserialize_seq(OutcomeVisitor)
    }
}

struct OutcomeVisitor;

impl<'de> Visitor<'de> for OutcomeVisitor {
    type Value = Outcome;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an outcome: [\"ok\"] or [\"fault\", why]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Outcome, A::Error> {
        let mut elements = Elements(seq);
        let outcome = match elements.tag(TAGS)? {
            "ok" => Outcome::Delivered,
            _ => Outcome::Faulted(elements.next("the fault")?),
        };
        elements.end()?;
        Ok(outcome)
    }
}
