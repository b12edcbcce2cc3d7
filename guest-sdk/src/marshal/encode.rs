//! serde's serializer: any `Serialize` value to smallcaps JSON and slots.
//!
//! It builds a [`Value`], whose maps are ordered, so that equal values give equal bytes.

use super::text::{INFINITY, NAN, NEGATIVE_INFINITY, UNDEFINED, escape, reference};
use super::{Failure, REFERENCE};
use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;
use vat_abi::Vref;

/// 2⁵³ − 1: the largest integer that a JavaScript number holds exactly, with all below it.
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// The references met so far. A reference that occurs twice has one slot.
#[derive(Default)]
pub(super) struct Slots {
    pub(super) list: Vec<Vref>,
    indices: BTreeMap<Vref, usize>,
}

impl Slots {
    fn index(&mut self, vref: &Vref) -> usize {
        if let Some(index) = self.indices.get(vref) {
            return *index;
        }
        let index = self.list.len();
        self.list.push(vref.clone());
        self.indices.insert(vref.clone(), index);
        index
    }
}

/// Serializes one value.
pub(super) struct Encoder<'a>(pub(super) &'a mut Slots);

fn integer(negative: bool, magnitude: u128) -> Value {
    let sign = if negative { "-" } else { "+" };
    match u64::try_from(magnitude) {
        Ok(small) if small <= SAFE_INTEGER_MAX && negative => Value::from(-small.cast_signed()),
        Ok(small) if small <= SAFE_INTEGER_MAX => Value::from(small),
        _ => Value::from(format!("{sign}{magnitude}")),
    }
}

fn float(number: f64) -> Value {
    if number.is_nan() {
        return Value::from(NAN);
    }
    if number.is_infinite() {
        return Value::from(if number > 0.0 { INFINITY } else { NEGATIVE_INFINITY });
    }
    #[expect(clippy::cast_precision_loss, reason = "the constant is exact: that is its point")]
    let is_integer = number.trunc() == number && number.abs() <= SAFE_INTEGER_MAX as f64;
    if is_integer {
        #[expect(clippy::cast_possible_truncation, reason = "an integer below 2^53")]
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::from(NAN), Value::Number)
}

impl<'a> Serializer for Encoder<'a> {
    type Ok = Value;
    type Error = Failure;
    type SerializeSeq = List<'a>;
    type SerializeTuple = List<'a>;
    type SerializeTupleStruct = List<'a>;
    type SerializeTupleVariant = List<'a>;
    type SerializeMap = Record<'a>;
    type SerializeStruct = Record<'a>;
    type SerializeStructVariant = Record<'a>;

    fn serialize_bool(self, value: bool) -> Result<Value, Failure> {
        Ok(Value::from(value))
    }

    fn serialize_i8(self, value: i8) -> Result<Value, Failure> {
        Ok(Value::from(value))
    }

    fn serialize_i16(self, value: i16) -> Result<Value, Failure> {
        Ok(Value::from(value))
    }

    fn serialize_i32(self, value: i32) -> Result<Value, Failure> {
        Ok(Value::from(value))
    }

    fn serialize_i64(self, value: i64) -> Result<Value, Failure> {
        self.serialize_i128(value.into())
    }

    fn serialize_i128(self, value: i128) -> Result<Value, Failure> {
        Ok(integer(value < 0, value.unsigned_abs()))
    }

    fn serialize_u8(self, value: u8) -> Result<Value, Failure> {
        Ok(Value::from(value))
    }

    fn serialize_u16(self, value: u16) -> Result<Value, Failure> {
        Ok(Value::from(value))
    }

    fn serialize_u32(self, value: u32) -> Result<Value, Failure> {
        Ok(Value::from(value))
    }

    fn serialize_u64(self, value: u64) -> Result<Value, Failure> {
        Ok(integer(false, value.into()))
    }

    fn serialize_u128(self, value: u128) -> Result<Value, Failure> {
        Ok(integer(false, value))
    }

    fn serialize_f32(self, value: f32) -> Result<Value, Failure> {
        Ok(float(value.into()))
    }

    fn serialize_f64(self, value: f64) -> Result<Value, Failure> {
        Ok(float(value))
    }

    fn serialize_char(self, value: char) -> Result<Value, Failure> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<Value, Failure> {
        Ok(Value::from(escape(value)))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Value, Failure> {
        Ok(Value::from(value))
    }

    fn serialize_none(self) -> Result<Value, Failure> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Failure> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, Failure> {
        Ok(Value::from(UNDEFINED))
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, Failure> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Value, Failure> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Value, Failure> {
        if name != REFERENCE {
            return value.serialize(self);
        }
        let vref: Vref = serde_json::from_value(plain(value)?).map_err(|error| Failure(error.to_string()))?;
        let index = self.0.index(&vref);
        Ok(Value::from(reference(&vref, index)))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, Failure> {
        Ok(tagged(variant, value.serialize(self)?))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<List<'a>, Failure> {
        Ok(List { slots: self.0, elements: Vec::with_capacity(len.unwrap_or(0)), variant: None })
    }

    fn serialize_tuple(self, len: usize) -> Result<List<'a>, Failure> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<List<'a>, Failure> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<List<'a>, Failure> {
        Ok(List { variant: Some(variant), ..self.serialize_seq(Some(len))? })
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Record<'a>, Failure> {
        Ok(Record { slots: self.0, fields: Map::new(), key: None, variant: None })
    }

    fn serialize_struct(self, _name: &'static str, len: usize) -> Result<Record<'a>, Failure> {
        self.serialize_map(Some(len))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Record<'a>, Failure> {
        Ok(Record { variant: Some(variant), ..self.serialize_map(Some(len))? })
    }
}

/// Serializes as plain JSON: for texts that are not values themselves.
fn plain<T: Serialize + ?Sized>(value: &T) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|error| Failure(error.to_string()))
}

fn tagged(variant: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(escape(variant), value)]))
}

fn finished(variant: Option<&str>, value: Value) -> Value {
    match variant {
        Some(variant) => tagged(variant, value),
        None => value,
    }
}

/// A sequence, tuple or tuple variant that is being serialized.
pub(super) struct List<'a> {
    slots: &'a mut Slots,
    elements: Vec<Value>,
    variant: Option<&'static str>,
}

impl List<'_> {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        self.elements.push(value.serialize(Encoder(self.slots))?);
        Ok(())
    }

    fn finish(self) -> Value {
        finished(self.variant, Value::Array(self.elements))
    }
}

impl SerializeSeq for List<'_> {
    type Ok = Value;
    type Error = Failure;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        self.push(value)
    }

    fn end(self) -> Result<Value, Failure> {
        Ok(self.finish())
    }
}

impl SerializeTuple for List<'_> {
    type Ok = Value;
    type Error = Failure;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        self.push(value)
    }

    fn end(self) -> Result<Value, Failure> {
        Ok(self.finish())
    }
}

impl SerializeTupleStruct for List<'_> {
    type Ok = Value;
    type Error = Failure;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        self.push(value)
    }

    fn end(self) -> Result<Value, Failure> {
        Ok(self.finish())
    }
}

impl SerializeTupleVariant for List<'_> {
    type Ok = Value;
    type Error = Failure;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        self.push(value)
    }

    fn end(self) -> Result<Value, Failure> {
        Ok(self.finish())
    }
}

/// A map, struct or struct variant that is being serialized.
pub(super) struct Record<'a> {
    slots: &'a mut Slots,
    fields: Map<String, Value>,
    /// The key whose value comes next.
    key: Option<String>,
    variant: Option<&'static str>,
}

impl Record<'_> {
    fn insert<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Failure> {
        let value = value.serialize(Encoder(self.slots))?;
        self.fields.insert(escape(name), value);
        Ok(())
    }

    fn finish(self) -> Value {
        finished(self.variant, Value::Object(self.fields))
    }
}

impl SerializeMap for Record<'_> {
    type Ok = Value;
    type Error = Failure;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Failure> {
        self.key = Some(match plain(key)? {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            other => return Err(Failure(format!("a record's names are texts, and {other} is none"))),
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        let key = self.key.take().ok_or_else(|| Failure("a value came without its key".to_owned()))?;
        self.insert(&key, value)
    }

    fn end(self) -> Result<Value, Failure> {
        Ok(self.finish())
    }
}

impl SerializeStruct for Record<'_> {
    type Ok = Value;
    type Error = Failure;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        self.insert(name, value)
    }

    fn end(self) -> Result<Value, Failure> {
        Ok(self.finish())
    }
}

impl SerializeStructVariant for Record<'_> {
    type Ok = Value;
    type Error = Failure;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        self.insert(name, value)
    }

    fn end(self) -> Result<Value, Failure> {
        Ok(self.finish())
    }
}
