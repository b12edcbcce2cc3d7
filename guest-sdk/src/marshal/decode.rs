//! serde's deserializer: smallcaps JSON and slots to any `Deserialize` value.
//!
//! Strings are interpreted when they are visited, so that an error is about the place where it matters.

use super::text::Text;
use super::{Failure, REFERENCE};
use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};
use std::fmt::Display;
use std::str::FromStr;
use vat_abi::{RefKind, Vref};

/// Deserializes one value.
pub(super) struct Decoder<'a> {
    pub(super) value: Value,
    pub(super) slots: &'a [Vref],
}

fn failure<T>(message: impl Display) -> Result<T, Failure> {
    Err(Failure(message.to_string()))
}

impl<'a> Decoder<'a> {
    /// Whether it is `undefined` or `null`.
    fn is_nothing(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::String(text) => text == super::UNDEFINED,
            _ => false,
        }
    }

    fn reference(self) -> Result<Vref, Failure> {
        let Value::String(text) = self.value else {
            return failure(format_args!("expected a reference, got {}", self.value));
        };
        match Text::read(text)? {
            Text::Slot { index, is_promise } => slot(self.slots, index, is_promise).cloned(),
            Text::Plain(text) => failure(format_args!("expected a reference, got the string {text:?}")),
            other => failure(format_args!("expected a reference, got {other:?}")),
        }
    }

    fn visit_list<'de, V: Visitor<'de>>(
        elements: Vec<Value>,
        slots: &'a [Vref],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let mut list = List { elements: elements.into_iter(), slots };
        let value = visitor.visit_seq(&mut list)?;
        match list.elements.len() {
            0 => Ok(value),
            left => failure(format_args!("{left} elements too many in an array")),
        }
    }

    fn visit_record<'de, V: Visitor<'de>>(
        record: Map<String, Value>,
        slots: &'a [Vref],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let mut fields = Fields { fields: fields(record)?.into_iter(), value: None, slots };
        visitor.visit_map(&mut fields)
    }
}

/// Finds a reference. The body says which kind to expect, the slots say what it is.
fn slot(slots: &[Vref], index: usize, is_promise: bool) -> Result<&Vref, Failure> {
    match slots.get(index) {
        Some(vref) if (vref.kind() == RefKind::Promise) == is_promise => Ok(vref),
        Some(vref) => {
            failure(format_args!("slot {index} holds {vref}, which the body takes for another kind"))
        }
        None => failure(format_args!("there is no slot {index}")),
    }
}

/// The names and values of a record, an error's too.
fn fields(mut record: Map<String, Value>) -> Result<Vec<(String, Value)>, Failure> {
    if let Some(message) = record.remove("#error") {
        let name = record.remove("name").unwrap_or_else(|| Value::from("Error"));
        return Ok(vec![("message".to_owned(), message), ("name".to_owned(), name)]);
    }
    record.into_iter().map(|(name, value)| Ok((field_name(name)?, value))).collect()
}

fn field_name(name: String) -> Result<String, Failure> {
    if name.starts_with('#') {
        return failure(format_args!("records marked {name:?} are not supported"));
    }
    match Text::read(name)? {
        Text::Plain(name) => Ok(name),
        other => failure(format_args!("a record's names are texts, and {other:?} is none")),
    }
}

fn visit_text<'de, V: Visitor<'de>>(text: String, visitor: V) -> Result<V::Value, Failure> {
    match Text::read(text)? {
        Text::Plain(text) => visitor.visit_string(text),
        Text::Undefined => visitor.visit_unit(),
        Text::Number(number) => visitor.visit_f64(number),
        Text::BigInt(digits) => visit_bigint(&digits, visitor),
        Text::Slot { .. } => failure("a reference stands where plain data is expected"),
    }
}

/// In the narrowest type that holds it, which is what serde's integers accept.
fn visit_bigint<'de, V: Visitor<'de>>(digits: &str, visitor: V) -> Result<V::Value, Failure> {
    if let Ok(number) = digits.parse::<u64>() {
        visitor.visit_u64(number)
    } else if let Ok(number) = digits.parse::<i64>() {
        visitor.visit_i64(number)
    } else if let Ok(number) = digits.parse::<u128>() {
        visitor.visit_u128(number)
    } else if let Ok(number) = digits.parse::<i128>() {
        visitor.visit_i128(number)
    } else {
        failure(format_args!("the bigint {digits} has more than 128 bits"))
    }
}

impl<'de> Deserializer<'de> for Decoder<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => {
                number.deserialize_any(visitor).map_err(|error| Failure(error.to_string()))
            }
            Value::String(text) => visit_text(text, visitor),
            Value::Array(elements) => Decoder::visit_list(elements, self.slots, visitor),
            Value::Object(record) => Decoder::visit_record(record, self.slots, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.is_nothing() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if name != REFERENCE {
            return visitor.visit_newtype_struct(self);
        }
        let text = String::from(self.reference()?);
        visitor.visit_newtype_struct(IntoDeserializer::<Failure>::into_deserializer(text))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if self.is_nothing() {
            return Decoder::visit_record(Map::new(), self.slots, visitor);
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let (variant, value) = match self.value {
            Value::String(text) => (field_name(text)?, None),
            Value::Object(record) if record.len() == 1 => {
                let (name, value) =
                    fields(record)?.pop().ok_or_else(|| Failure("an empty record".to_owned()))?;
                (name, Some(value))
            }
            other => {
                return failure(format_args!("expected a variant's name or a record of one, got {other}"));
            }
        };
        visitor.visit_enum(Variant { variant, value, slots: self.slots })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

/// The rest of an array.
struct List<'a> {
    elements: std::vec::IntoIter<Value>,
    slots: &'a [Vref],
}

impl<'de> SeqAccess<'de> for List<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        let slots = self.slots;
        self.elements.next().map(|value| seed.deserialize(Decoder { value, slots })).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.elements.len())
    }
}

/// The rest of a record.
struct Fields<'a> {
    fields: std::vec::IntoIter<(String, Value)>,
    /// The value of the name that was read last.
    value: Option<Value>,
    slots: &'a [Vref],
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        let Some((name, value)) = self.fields.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(Name(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let value =
            self.value.take().ok_or_else(|| Failure("a value was asked for before its name".to_owned()))?;
        seed.deserialize(Decoder { value, slots: self.slots })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.fields.len())
    }
}

/// A record's name as a map's key: a text, or a number's digits.
struct Name(String);

impl Name {
    fn parse<T: FromStr>(&self) -> Result<T, Failure> {
        self.0.parse().or_else(|_| failure(format_args!("the name {:?} is not a number that fits", self.0)))
    }

    fn text(self) -> StringDeserializer<Failure> {
        self.0.into_deserializer()
    }
}

macro_rules! parsed_names {
    ($($method:ident $visit:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            visitor.$visit(self.parse()?)
        }
    )* };
}

impl<'de> Deserializer<'de> for Name {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_string(self.0)
    }

    parsed_names! {
        deserialize_i8 visit_i8  deserialize_i16 visit_i16  deserialize_i32 visit_i32  deserialize_i64 visit_i64
        deserialize_u8 visit_u8  deserialize_u16 visit_u16  deserialize_u32 visit_u32  deserialize_u64 visit_u64
        deserialize_i128 visit_i128  deserialize_u128 visit_u128
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.text().deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

/// A variant's name and content.
struct Variant<'a> {
    variant: String,
    value: Option<Value>,
    slots: &'a [Vref],
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = Failure;
    type Variant = Content<'a>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Content<'a>), Failure> {
        let variant = seed.deserialize(Name(self.variant))?;
        Ok((variant, Content { value: self.value, slots: self.slots }))
    }
}

/// A variant's content; a unit variant has none.
struct Content<'a> {
    value: Option<Value>,
    slots: &'a [Vref],
}

impl<'a> Content<'a> {
    fn decoder(self) -> Result<Decoder<'a>, Failure> {
        let value = self.value.ok_or_else(|| Failure("the variant's content is missing".to_owned()))?;
        Ok(Decoder { value, slots: self.slots })
    }
}

impl<'de> VariantAccess<'de> for Content<'_> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        match self.value {
            None => Ok(()),
            Some(value) => failure(format_args!("the variant has no content, but got {value}")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failure> {
        seed.deserialize(self.decoder()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Failure> {
        self.decoder()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.decoder()?.deserialize_any(visitor)
    }
}
