//! What the host says to a vat: one delivery, one call of `vat_deliver`, one crank.
//!
//! In JSON an array whose first element is the tag, as SwingSet writes it. SwingSet's `changeVatOptions`
//! is left out: its options steer a JavaScript runtime inside the vat, which this ABI does not have.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::capdata::CapData;
use crate::codec::{Elements, decode, encode, encode_within, unknown};
use crate::decode::DecodeError;
use crate::elide::ElidedList;
use crate::limits::{DELIVERY_BYTES_MAX, RESOLUTIONS_MAX, VREFS_MAX};
use crate::message::{Message, Resolution};
use crate::violation::Violation;
use crate::vref::Vref;

/// One delivery.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Delivery {
    /// The first delivery of an incarnation: the vat's parameters.
    StartVat(CapData),
    /// A message to one of the vat's objects, or to a promise that the vat decides.
    Message {
        /// Who the message is for.
        target: Vref,
        /// The message.
        message: Message,
    },
    /// Promises that the vat subscribed to have ended.
    Notify(Vec<Resolution>),
    /// Nobody can reach these exports any more.
    DropExports(Vec<Vref>),
    /// Nobody can recognise these exports any more.
    RetireExports(Vec<Vref>),
    /// These imports are gone.
    RetireImports(Vec<Vref>),
    /// Collect garbage, and report what is no longer used.
    BringOutYourDead,
    /// The last delivery of an incarnation, with the reason that others will see.
    StopVat(CapData),
}

const WHAT: &str = "delivery";

impl Delivery {
    /// The tag that its JSON begins with.
    pub fn tag(&self) -> &'static str {
        match self {
            Delivery::StartVat(_) => "startVat",
            Delivery::Message { .. } => "message",
            Delivery::Notify(_) => "notify",
            Delivery::DropExports(_) => "dropExports",
            Delivery::RetireExports(_) => "retireExports",
            Delivery::RetireImports(_) => "retireImports",
            Delivery::BringOutYourDead => "bringOutYourDead",
            Delivery::StopVat(_) => "stopVat",
        }
    }

    /// Whether it may be given to a vat; its length in bytes aside.
    ///
    /// # Errors
    ///
    /// A list over its limit, or a reference of a kind that cannot stand where it does.
    pub fn check(&self) -> Result<(), Violation> {
        match self {
            Delivery::StartVat(data) | Delivery::StopVat(data) => data.check(),
            Delivery::Message { target, message } => {
                Violation::check_target(target)?;
                message.check()
            }
            Delivery::Notify(resolutions) => Resolution::check_all(resolutions),
            Delivery::DropExports(vrefs)
            | Delivery::RetireExports(vrefs)
            | Delivery::RetireImports(vrefs) => Violation::check_objects(vrefs),
            Delivery::BringOutYourDead => Ok(()),
        }
    }

    /// Its canonical JSON, whether or not it may be given to a vat.
    pub fn to_json(&self) -> String {
        encode(self)
    }

    /// Its canonical JSON, if it may be given to a vat: then [`Delivery::from_json`] reads it back.
    ///
    /// # Errors
    ///
    /// What [`Delivery::check`] refuses, or more than [`DELIVERY_BYTES_MAX`] bytes.
    pub fn try_to_json(&self) -> Result<String, Violation> {
        self.check()?;
        encode_within(WHAT, DELIVERY_BYTES_MAX, self)
    }

    /// Reads a delivery.
    ///
    /// # Errors
    ///
    /// Anything but one delivery within the limits.
    pub fn from_json(bytes: &[u8]) -> Result<Delivery, DecodeError> {
        decode(WHAT, DELIVERY_BYTES_MAX, bytes)
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())?;
        match self {
            Delivery::StartVat(data) | Delivery::StopVat(data) => write!(f, " {data}"),
            Delivery::Message { target, message } => write!(f, " {target} {message}"),
            Delivery::Notify(resolutions) => write!(f, " {}", ElidedList(resolutions, ", ")),
            Delivery::DropExports(vrefs)
            | Delivery::RetireExports(vrefs)
            | Delivery::RetireImports(vrefs) => {
                write!(f, " {}", ElidedList(vrefs, " "))
            }
            Delivery::BringOutYourDead => Ok(()),
        }
    }
}

impl Serialize for Delivery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tag = self.tag();
        match self {
            Delivery::StartVat(data) | Delivery::StopVat(data) => (tag, data).serialize(serializer),
            Delivery::Message { target, message } => (tag, target, message).serialize(serializer),
            Delivery::Notify(resolutions) => (tag, resolutions).serialize(serializer),
            Delivery::DropExports(vrefs)
            | Delivery::RetireExports(vrefs)
            | Delivery::RetireImports(vrefs) => (tag, vrefs).serialize(serializer),
            Delivery::BringOutYourDead => [tag].serialize(serializer),
        }
    }
}

const TAGS: &[&str] = &[
    "startVat",
    "message",
    "notify",
    "dropExports",
    "retireExports",
    "retireImports",
    "bringOutYourDead",
    "stopVat",
];

impl<'de> Deserialize<'de> for Delivery {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Delivery, D::Error> {
        deserializer.deserialize_seq(DeliveryVisitor)
    }
}

struct DeliveryVisitor;

impl<'de> Visitor<'de> for DeliveryVisitor {
    type Value = Delivery;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a delivery: an array that begins with its tag")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Delivery, A::Error> {
        let mut elements = Elements(seq);
        let tag = elements.tag(TAGS)?;
        let delivery = read_arguments(tag, &mut elements)?;
        elements.end()?;
        delivery.check().map_err(A::Error::custom)?;
        Ok(delivery)
    }
}

fn read_arguments<'de, A: SeqAccess<'de>>(
    tag: &str,
    elements: &mut Elements<A>,
) -> Result<Delivery, A::Error> {
    match tag {
        "startVat" => elements.next("the vat parameters").map(Delivery::StartVat),
        "message" => Ok(Delivery::Message {
            target: elements.next("the target")?,
            message: elements.next("the message")?,
        }),
        "notify" => elements.list::<_, RESOLUTIONS_MAX>("the list of resolutions").map(Delivery::Notify),
        "dropExports" => elements.list::<_, VREFS_MAX>("the list of references").map(Delivery::DropExports),
        "retireExports" => {
            elements.list::<_, VREFS_MAX>("the list of references").map(Delivery::RetireExports)
        }
        "retireImports" => {
            elements.list::<_, VREFS_MAX>("the list of references").map(Delivery::RetireImports)
        }
        "bringOutYourDead" => Ok(Delivery::BringOutYourDead),
        "stopVat" => elements.next("the disconnect object").map(Delivery::StopVat),
        _ => Err(unknown(tag, TAGS)),
    }
}
