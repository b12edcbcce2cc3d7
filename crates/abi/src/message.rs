//! What one vat says to another, and how a promise ends.
//!
//! Both appear on both sides of the boundary: a message leaves by `send` and arrives by `message`, a
//! resolution leaves by `resolve` and arrives by `notify`.

use core::fmt;

use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::capdata::CapData;
use crate::codec::{Elements, Fields, required};
use crate::limits::RESOLUTIONS_MAX;
use crate::violation::Violation;
use crate::vref::Vref;

/// A method and its arguments, and where the answer goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Message {
    /// The method and the arguments; by convention `#["method",[…]]`.
    pub methargs: CapData,
    /// The promise for the answer, if anyone waits for it. Left out of the JSON when there is none; `null`
    /// is read as none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Vref>,
}

/// How a promise ends. In JSON: `[promise, rejected, data]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resolution {
    /// The promise.
    pub promise: Vref,
    /// Whether it ends in a failure.
    pub rejected: bool,
    /// Its value, or the reason of the failure.
    pub data: CapData,
}

impl Message {
    /// Whether it may cross between host and vat.
    ///
    /// # Errors
    ///
    /// Too many slots, or a result that is not a promise.
    pub fn check(&self) -> Result<(), Violation> {
        self.methargs.check()?;
        self.result
            .as_ref()
            .map_or(Ok(()), |result| Violation::check_promise("the result of a message", result))
    }
}

impl Resolution {
    /// A promise that ends well.
    pub fn fulfilled(promise: Vref, data: CapData) -> Resolution {
        Resolution { promise, rejected: false, data }
    }

    /// A promise that ends in a failure.
    pub fn rejected(promise: Vref, data: CapData) -> Resolution {
        Resolution { promise, rejected: true, data }
    }

    /// Whether it may cross between host and vat.
    ///
    /// # Errors
    ///
    /// Too many slots, or a reference that is not a promise.
    pub fn check(&self) -> Result<(), Violation> {
        Violation::check_promise("what is resolved", &self.promise)?;
        self.data.check()
    }

    /// Whether the batch, and each of it, may cross between host and vat.
    pub(crate) fn check_all(batch: &[Resolution]) -> Result<(), Violation> {
        Violation::check_count("resolutions", batch.len(), RESOLUTIONS_MAX)?;
        batch.iter().try_for_each(Resolution::check)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.methargs)?;
        self.result.as_ref().map_or(Ok(()), |result| write!(f, " result {result}"))
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.rejected { "rejected" } else { "fulfilled" };
        write!(f, "{} {verb} {}", self.promise, self.data)
    }
}

const MESSAGE_FIELDS: &[&str] = &["methargs", "result"];

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Message, D::Error> {
        deserializer.deserialize_map(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = Message;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message: an object with methargs and perhaps result")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Message, A::Error> {
        let (mut methargs, mut result) = (None, None::<Option<Vref>>);
        let mut fields = Fields(map);
        while let Some(name) = fields.name(MESSAGE_FIELDS)? {
            match name {
                "methargs" => fields.fill(&mut methargs, name)?,
                _ => fields.fill(&mut result, name)?,
            }
        }
        let message = Message { methargs: required(methargs, "methargs")?, result: result.flatten() };
        message.check().map_err(A::Error::custom)?;
        Ok(message)
    }
}

impl Serialize for Resolution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.promise, self.rejected, &self.data).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Resolution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Resolution, D::Error> {
        deserializer.deserialize_seq(ResolutionVisitor)
    }
}

struct ResolutionVisitor;

impl<'de> Visitor<'de> for ResolutionVisitor {
    type Value = Resolution;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a resolution: [promise, rejected, data]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Resolution, A::Error> {
        let mut elements = Elements(seq);
        let resolution = Resolution {
            promise: elements.next("the promise of a resolution")?,
            rejected: elements.next("whether a resolution is a rejection")?,
            data: elements.next("the data of a resolution")?,
        };
        elements.end()?;
        resolution.check().map_err(A::Error::custom)?;
        Ok(resolution)
    }
}
