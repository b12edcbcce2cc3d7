//! References as a vat knows them: `o+0`, `o-52`, `p-60`, `o+d11/3:1`.
//!
//! ```text
//!   vref      = kind allocator number            o+0  o-52  p+5  p-60  d-70
//!             | "o+" life number "/" number      o+v10/4      a virtual object: kind 10, instance 4
//!               [ ":" number ]                   o+d11/3:1    a durable object, its facet 1
//!   kind      = "o" | "p" | "d"                  object, promise, device
//!   allocator = "+" | "-"                        by the vat (an export), by the kernel (an import)
//!   life      = "v" | "d"                        virtual (this incarnation), durable (survives an upgrade)
//!   number    = "0" | [1-9][0-9]*                at most 2^64 − 1
//! ```
//!
//! Invariant: a [`Vref`] is always well formed, and two are equal when their texts are. This module does
//! not know which references a vat holds; that is the c-list's business, and no kernel reference (`ko20`)
//! can be written as a [`Vref`].

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::de::{Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::elide::prefix;
use crate::limits::DECODE_REASON_BYTES_MAX;

/// What a reference refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefKind {
    /// `o`: an object, in this vat or another.
    Object,
    /// `p`: a promise.
    Promise,
    /// `d`: a device.
    Device,
}

/// Who chose a reference's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Allocator {
    /// `+`: the vat. An object of this kind is the vat's own, exported to others.
    Vat,
    /// `-`: the kernel. An object of this kind belongs to another vat.
    Kernel,
}

/// A well-formed reference, in one vat's numbering.
///
/// The order is that of the texts: total and the same everywhere, but `o+10` comes before `o+9`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vref(
    /// Invariant: matches the grammar above.
    Box<str>,
);

/// A text that is not a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidVref {
    /// The text, elided when long.
    text: String,
}

impl Vref {
    /// `o+0`, the root object that every vat exports from the start.
    pub fn root() -> Vref {
        Vref::object(Allocator::Vat, 0)
    }

    /// An ordinary object.
    pub fn object(allocator: Allocator, number: u64) -> Vref {
        Vref::ordinary(RefKind::Object, allocator, number)
    }

    /// A promise.
    pub fn promise(allocator: Allocator, number: u64) -> Vref {
        Vref::ordinary(RefKind::Promise, allocator, number)
    }

    /// A device.
    pub fn device(allocator: Allocator, number: u64) -> Vref {
        Vref::ordinary(RefKind::Device, allocator, number)
    }

    fn ordinary(kind: RefKind, allocator: Allocator, number: u64) -> Vref {
        Vref(format!("{}{}{number}", kind.letter(), allocator.sign()).into_boxed_str())
    }

    /// What it refers to.
    pub fn kind(&self) -> RefKind {
        match self.0.as_bytes()[0] {
            b'o' => RefKind::Object,
            b'p' => RefKind::Promise,
            _ => RefKind::Device,
        }
    }

    /// Who chose its number.
    pub fn allocator(&self) -> Allocator {
        match self.0.as_bytes()[1] {
            b'+' => Allocator::Vat,
            _ => Allocator::Kernel,
        }
    }

    /// Whether it is a virtual object, which lives in vat storage and ends with the incarnation.
    pub fn is_virtual(&self) -> bool {
        self.0.as_bytes()[2] == b'v'
    }

    /// Whether it is a durable object, which lives in vat storage and survives an upgrade.
    pub fn is_durable(&self) -> bool {
        self.0.as_bytes()[2] == b'd'
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RefKind {
    fn letter(self) -> char {
        match self {
            RefKind::Object => 'o',
            RefKind::Promise => 'p',
            RefKind::Device => 'd',
        }
    }
}

impl fmt::Display for RefKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RefKind::Object => "object",
            RefKind::Promise => "promise",
            RefKind::Device => "device",
        })
    }
}

impl Allocator {
    fn sign(self) -> char {
        match self {
            Allocator::Vat => '+',
            Allocator::Kernel => '-',
        }
    }
}

/// Whether the text matches the grammar of the module's documentation.
fn is_well_formed(text: &str) -> bool {
    match text.as_bytes() {
        [b'o', b'+', b'v' | b'd', ..] => is_instance(&text[3..]),
        [b'o' | b'p' | b'd', b'+' | b'-', ..] => is_number(&text[2..]),
        _ => false,
    }
}

/// `number "/" number [ ":" number ]`.
fn is_instance(text: &str) -> bool {
    let Some((kind, instance)) = text.split_once('/') else { return false };
    let (instance, facet) = match instance.split_once(':') {
        Some((instance, facet)) => (instance, Some(facet)),
        None => (instance, None),
    };
    is_number(kind) && is_number(instance) && facet.is_none_or(is_number)
}

/// One spelling per number, so that equal references have equal texts. `u64::from_str` alone would accept
/// `+1` and `01`.
fn is_number(text: &str) -> bool {
    let canonical = text == "0" || text.starts_with(|first: char| first.is_ascii_digit() && first != '0');
    canonical && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok()
}

impl FromStr for Vref {
    type Err = InvalidVref;

    fn from_str(text: &str) -> Result<Vref, InvalidVref> {
        if is_well_formed(text) { Ok(Vref(text.into())) } else { Err(InvalidVref::of(text)) }
    }
}

impl TryFrom<String> for Vref {
    type Error = InvalidVref;

    fn try_from(text: String) -> Result<Vref, InvalidVref> {
        if is_well_formed(&text) { Ok(Vref(text.into_boxed_str())) } else { Err(InvalidVref::of(&text)) }
    }
}

impl From<Vref> for String {
    fn from(vref: Vref) -> String {
        vref.0.into_string()
    }
}

impl AsRef<str> for Vref {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Vref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Vref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vref({})", self.0)
    }
}

impl Serialize for Vref {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Vref {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Vref, D::Error> {
        deserializer.deserialize_str(VrefVisitor)
    }
}

struct VrefVisitor;

impl Visitor<'_> for VrefVisitor {
    type Value = Vref;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reference such as \"o+0\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vref, E> {
        text.parse().map_err(E::custom)
    }
}

impl InvalidVref {
    fn of(text: &str) -> InvalidVref {
        InvalidVref { text: prefix(text, DECODE_REASON_BYTES_MAX / 4).into() }
    }
}

impl fmt::Display for InvalidVref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a reference such as o+0, o-52, p-60 or o+d11/3:1", self.text)
    }
}

impl core::error::Error for InvalidVref {}
