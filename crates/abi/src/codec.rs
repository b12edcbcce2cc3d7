//! How the ABI's values become JSON and come back: the pieces that every noun's codec is made of.
//!
//! Decoding is strict. Serde's derived code is too kind for bytes that a stranger wrote: it takes an array
//! for a struct, an object for a unit variant. Here a tagged array is an array, an object is an object, and
//! nothing may be missing, doubled, unknown or left over. Nothing is skipped either: an element that should
//! not be there is refused before it is parsed, so depth of nesting costs no stack.
//!
//! Encoding is canonical: fields in one order, no white space, strings escaped only where JSON demands it.
//! Equal values give equal bytes, and our encoding of a decoded value is never longer than what it was
//! decoded from.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::decode::DecodeError;
use crate::elide::prefix;
use crate::violation::Violation;

/// The canonical JSON of a value of this crate.
///
/// # Panics
///
/// If the value's `Serialize` fails, which none of this crate's does.
pub fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("the values of the ABI have no map keys and no fallible parts")
}

/// Encodes a value whose own rules the caller has checked, if it is not longer than `bytes_max`.
pub(crate) fn encode_within(
    what: &'static str,
    bytes_max: usize,
    value: &impl Serialize,
) -> Result<String, Violation> {
    let json = encode(value);
    Violation::check_bytes(what, json.len(), bytes_max)?;
    Ok(json)
}

/// Decodes one value and nothing after it, from at most `bytes_max` bytes.
pub(crate) fn decode<'de, T: Deserialize<'de>>(
    what: &'static str,
    bytes_max: usize,
    bytes: &'de [u8],
) -> Result<T, DecodeError> {
    Violation::check_bytes(what, bytes.len(), bytes_max).map_err(|why| DecodeError::new(what, &why))?;
    serde_json::from_slice(bytes).map_err(|why| DecodeError::new(what, &why))
}

/// The elements of a tagged array, in order.
pub(crate) struct Elements<A>(pub(crate) A);

impl<'de, A: SeqAccess<'de>> Elements<A> {
    /// The first element, one of `tags`.
    pub(crate) fn tag(&mut self, tags: &'static [&'static str]) -> Result<&'static str, A::Error> {
        self.0.next_element_seed(OneOf(tags))?.ok_or_else(|| A::Error::custom("missing the tag"))
    }

    /// The next element.
    pub(crate) fn next<T: Deserialize<'de>>(&mut self, what: &'static str) -> Result<T, A::Error> {
        self.0.next_element()?.ok_or_else(|| A::Error::custom(format_args!("missing {what}")))
    }

    /// The next element, a list of at most `MAX`.
    pub(crate) fn list<T: Deserialize<'de>, const MAX: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<Vec<T>, A::Error> {
        self.next::<Bounded<T, MAX>>(what).map(|list| list.0)
    }

    /// Refuses whatever is left.
    pub(crate) fn end(mut self) -> Result<(), A::Error> {
        self.0.next_element::<Refused>().map(|_| ())
    }
}

/// The fields of an object, in whatever order they come.
pub(crate) struct Fields<A>(pub(crate) A);

impl<'de, A: MapAccess<'de>> Fields<A> {
    /// The name of the next field, one of `names`.
    pub(crate) fn name(&mut self, names: &'static [&'static str]) -> Result<Option<&'static str>, A::Error> {
        self.0.next_key_seed(OneOf(names))
    }

    /// Reads the value of the field just named into its place, which must still be empty.
    pub(crate) fn fill<T: Deserialize<'de>>(
        &mut self,
        place: &mut Option<T>,
        name: &'static str,
    ) -> Result<(), A::Error> {
        empty(place, name)?;
        *place = Some(self.0.next_value()?);
        Ok(())
    }

    /// The same for a value that is one of a fixed set.
    pub(crate) fn fill_one_of(
        &mut self,
        place: &mut Option<&'static str>,
        name: &'static str,
        set: &'static [&'static str],
    ) -> Result<(), A::Error> {
        empty(place, name)?;
        *place = Some(self.0.next_value_seed(OneOf(set))?);
        Ok(())
    }
}

fn empty<T, E: Error>(place: &Option<T>, name: &'static str) -> Result<(), E> {
    match place {
        None => Ok(()),
        Some(_) => Err(E::custom(format_args!("the field {name:?} is there twice"))),
    }
}

/// The value of a field that must have been there.
pub(crate) fn required<T, E: Error>(place: Option<T>, name: &'static str) -> Result<T, E> {
    place.ok_or_else(|| E::custom(format_args!("missing the field {name:?}")))
}

/// A string out of a fixed set, read without keeping a copy.
pub(crate) struct OneOf(pub(crate) &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for OneOf {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for OneOf {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {}", self.0.join(", "))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<&'static str, E> {
        let found = self.0.iter().find(|known| **known == text);
        found.copied().ok_or_else(|| unknown(text, self.0))
    }
}

/// The error for a tag or name outside its set. Quotes a bounded part of it: it is a stranger's text.
pub(crate) fn unknown<E: Error>(text: &str, known: &[&str]) -> E {
    E::custom(format!("{:?} is not one of {}", prefix(text, 32), known.join(", ")))
}

/// A list that stops being read at its limit, so that its size in memory is bounded by it as well.
pub(crate) struct Bounded<T, const MAX: usize>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BoundedVisitor(PhantomData))
    }
}

struct BoundedVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for BoundedVisitor<T, MAX> {
    type Value = Bounded<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while list.len() < MAX {
            match elements.next_element()? {
                Some(element) => list.push(element),
                None => return Ok(Bounded(list)),
            }
        }
        elements.next_element::<Refused>()?;
        Ok(Bounded(list))
    }
}

/// Stands where nothing may be: refuses without looking at what is there.
struct Refused;

impl<'de> Deserialize<'de> for Refused {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Refused, D::Error> {
        Err(D::Error::custom("more elements than there may be"))
    }
}
