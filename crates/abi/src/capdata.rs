//! Data with references in it: a text, and the references that the text names by index.
//!
//! ```text
//!   {"body":"#[\"pay\",[\"$0.Purse\",\"+10\"]]","slots":["o-52"]}
//!                        └── slot 0 ───────────────────┘
//! ```
//!
//! The body is opaque here. By convention it is smallcaps (`#` and JSON), as JavaScript vats write it; the
//! SDK knows how to read that. Whether every slot is used is nobody's business but the vat's.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::codec::{Bounded, Fields, required};
use crate::elide::{Elided, ElidedList};
use crate::limits::SLOTS_MAX;
use crate::violation::Violation;
use crate::vref::Vref;

/// A marshalled value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CapData {
    /// The value's text; smallcaps by convention.
    pub body: String,
    /// The references in it, at most [`SLOTS_MAX`].
    pub slots: Vec<Vref>,
}

impl CapData {
    /// A value without references.
    pub fn data(body: impl Into<String>) -> CapData {
        CapData { body: body.into(), slots: Vec::new() }
    }

    /// What a JavaScript function returns that returns nothing.
    pub fn undefined() -> CapData {
        CapData::data("#\"#undefined\"")
    }

    /// Whether it may cross between host and vat.
    ///
    /// # Errors
    ///
    /// More than [`SLOTS_MAX`] slots.
    pub fn check(&self) -> Result<(), Violation> {
        Violation::check_count("slots", self.slots.len(), SLOTS_MAX)
    }
}

impl fmt::Display for CapData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Elided(&self.body))?;
        match self.slots.as_slice() {
            [] => Ok(()),
            slots => write!(f, " [{}]", ElidedList(slots, " ")),
        }
    }
}

const FIELDS: &[&str] = &["body", "slots"];

impl<'de> Deserialize<'de> for CapData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CapData, D::Error> {
        deserializer.deserialize_map(CapDataVisitor)
    }
}

struct CapDataVisitor;

impl<'de> Visitor<'de> for CapDataVisitor {
    type Value = CapData;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("capdata: an object with body and slots")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CapData, A::Error> {
        let (mut body, mut slots) = (None, None);
        let mut fields = Fields(map);
        while let Some(name) = fields.name(FIELDS)? {
            match name {
                "body" => fields.fill(&mut body, name)?,
                _ => fields.fill(&mut slots, name)?,
            }
        }
        let slots: Bounded<Vref, SLOTS_MAX> = required(slots, "slots")?;
        Ok(CapData { body: required(body, "body")?, slots: slots.0 })
    }
}
