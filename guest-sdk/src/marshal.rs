//! Rust values as capdata, and back: serde on one side, smallcaps on the other.
//!
//! *Smallcaps* is how JavaScript vats write their values: `#` and then JSON, in which strings with a special
//! first character stand for what JSON lacks (see `text`), and references are indices into the slots.
//!
//! ```text
//!   (7u64, u64::MAX, "+1", (), remote)   ◄── serde ──►   [7, "+18446744073709551615", "!+1", "#undefined", "$0"]
//!                                                        slots: [o-52]
//! ```
//!
//! | Rust | smallcaps |
//! |---|---|
//! | `bool`, `String`, sequences, tuples | the same in JSON |
//! | integers | a number up to ±(2⁵³ − 1), beyond that a bigint `"+N"`; both are read |
//! | `f32`, `f64` | a number, `"#NaN"`, `"#Infinity"`, `"#-Infinity"` |
//! | `()`, `None` | `"#undefined"`; `null` is read as them too |
//! | structs, maps | a record, its names in order; maps need keys that are texts, numbers or unit variants |
//! | enums | the variant's name, or a record with that one name |
//! | bytes | an array of numbers |
//! | [`Remote`](crate::Remote), [`Promise`](crate::Promise) | `"$0"`, `"&0"`, and a slot |
//!
//! Reading is strict: what smallcaps reserves, symbols and tagged records are errors, never taken for
//! strings. A struct whose fields all have defaults may be left out by the caller. `serde_json::Value` reads
//! any data without references or bigints beyond 64 bits.

mod decode;
mod encode;
mod text;

use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;
use std::rc::Rc;
pub(crate) use text::escape;
use text::{Text, UNDEFINED};
use vat_abi::{CapData, Vref};

/// The name of the newtype that references are, between their serde implementations and ours.
pub(crate) const REFERENCE: &str = "$vat_sdk::Reference";

/// Marshals a value.
///
/// # Errors
/// A map with keys that are no texts, or what the value's own `Serialize` refuses.
pub fn to_capdata<T: Serialize + ?Sized>(value: &T) -> Result<CapData> {
    let mut slots = encode::Slots::default();
    let value = value.serialize(encode::Encoder(&mut slots))?;
    Ok(CapData { body: format!("#{value}"), slots: slots.list })
}

/// Marshals a message: `["method", [argument, …]]`. serde's `()` stands for no arguments.
pub(crate) fn call<T: Serialize + ?Sized>(method: &str, arguments: &T) -> Result<CapData> {
    let mut slots = encode::Slots::default();
    let arguments = match arguments.serialize(encode::Encoder(&mut slots))? {
        Value::Array(arguments) => arguments,
        Value::String(text) if text == UNDEFINED => Vec::new(),
        other => {
            return Err(Error::type_error(format!(
                "the arguments of {method} are {other}, which is no list"
            )));
        }
    };
    let message = Value::from(vec![Value::from(text::escape(method)), Value::Array(arguments)]);
    Ok(CapData { body: format!("#{message}"), slots: slots.list })
}

/// Unmarshals a value.
///
/// # Errors
/// A `TypeError`, where the data is no smallcaps or no `T`.
pub fn from_capdata<T: DeserializeOwned>(data: &CapData) -> Result<T> {
    from_body(Body::parse(data)?)
}

pub(crate) fn from_body<T: DeserializeOwned>(body: Body) -> Result<T> {
    let decoder = decode::Decoder { value: body.value, slots: &body.slots };
    T::deserialize(decoder).map_err(|failure| Error::type_error(failure.0))
}

/// A value as it arrived: JSON whose strings are not interpreted yet.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    value: Value,
    slots: Rc<[Vref]>,
}

impl Body {
    pub(crate) fn parse(data: &CapData) -> Result<Body> {
        let json =
            data.body.strip_prefix('#').ok_or_else(|| Error::type_error("the body is not smallcaps"))?;
        let value = serde_json::from_str(json)
            .map_err(|error| Error::type_error(format!("the body is not smallcaps: {error}")))?;
        Ok(Body { value, slots: data.slots.as_slice().into() })
    }

    pub(crate) fn undefined() -> Body {
        Body { value: Value::from(UNDEFINED), slots: Rc::new([]) }
    }

    /// Splits `["method", [argument, …]]`; `None` where it is something else.
    pub(crate) fn into_method_and_arguments(self) -> Option<(String, Vec<Body>)> {
        let Value::Array(parts) = self.value else { return None };
        let [Value::String(method), Value::Array(values)] = <[Value; 2]>::try_from(parts).ok()? else {
            return None;
        };
        let Ok(Text::Plain(method)) = Text::read(method) else { return None };
        let body = |value| Body { value, slots: Rc::clone(&self.slots) };
        Some((method, values.into_iter().map(body).collect()))
    }
}

/// Why serde could not go on; becomes an [`Error`] at the edge, which cannot be a `std::error::Error` itself.
#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl serde::ser::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Failure {
        Failure(message.to_string())
    }
}

impl serde::de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Failure {
        Failure(message.to_string())
    }
}

#[cfg(test)]
mod tests;
