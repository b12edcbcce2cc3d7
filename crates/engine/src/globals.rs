//! The mutable globals of an instance as a value.
//!
//! They are the part of a vat's state that is not in linear memory (the stack pointer, at least). The encoding is
//! canonical, since it is hashed into the heap root:
//!
//! ```text
//!   count: u32 LE, then for each: tag: u8 (0 i32, 1 i64, 2 f32, 3 f64, 4 v128), bits LE (4, 8, 4, 8, 16 bytes)
//! ```

use wasmtime::Val;

/// One global's value, floats as their bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GlobalValue {
    /// An `i32`.
    I32(i32),
    /// An `i64`.
    I64(i64),
    /// The bits of an `f32`.
    F32(u32),
    /// The bits of an `f64`.
    F64(u64),
    /// A `v128`, little-endian.
    V128(u128),
}

/// All mutable globals, in index order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Globals(Vec<GlobalValue>);

impl Globals {
    /// Of these values.
    pub fn new(values: Vec<GlobalValue>) -> Globals {
        Globals(values)
    }

    /// The values.
    pub fn values(&self) -> &[GlobalValue] {
        &self.0
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.0.len()).expect("a module has at most GLOBALS_MAX globals");
        let mut bytes = count.to_le_bytes().to_vec();
        for value in &self.0 {
            match value {
                GlobalValue::I32(v) => extend(&mut bytes, 0, &v.to_le_bytes()),
                GlobalValue::I64(v) => extend(&mut bytes, 1, &v.to_le_bytes()),
                GlobalValue::F32(v) => extend(&mut bytes, 2, &v.to_le_bytes()),
                GlobalValue::F64(v) => extend(&mut bytes, 3, &v.to_le_bytes()),
                GlobalValue::V128(v) => extend(&mut bytes, 4, &v.to_le_bytes()),
            }
        }
        bytes
    }

    /// From canonical bytes; `None` if they are not.
    pub fn decode(bytes: &[u8]) -> Option<Globals> {
        let (count, mut rest) = split::<4>(bytes)?;
        let mut values = Vec::new();
        for _ in 0..u32::from_le_bytes(count) {
            let ([tag], after) = split::<1>(rest)?;
            let (value, after) = match tag {
                0 => split(after).map(|(v, r)| (GlobalValue::I32(i32::from_le_bytes(v)), r))?,
                1 => split(after).map(|(v, r)| (GlobalValue::I64(i64::from_le_bytes(v)), r))?,
                2 => split(after).map(|(v, r)| (GlobalValue::F32(u32::from_le_bytes(v)), r))?,
                3 => split(after).map(|(v, r)| (GlobalValue::F64(u64::from_le_bytes(v)), r))?,
                4 => split(after).map(|(v, r)| (GlobalValue::V128(u128::from_le_bytes(v)), r))?,
                _ => return None,
            };
            values.push(value);
            rest = after;
        }
        rest.is_empty().then_some(Globals(values))
    }
}

fn extend(bytes: &mut Vec<u8>, tag: u8, bits: &[u8]) {
    bytes.push(tag);
    bytes.extend_from_slice(bits);
}

fn split<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    bytes.split_first_chunk::<N>().map(|(head, rest)| (*head, rest))
}

impl GlobalValue {
    pub(crate) fn from_val(value: &Val) -> Option<GlobalValue> {
        Some(match value {
            Val::I32(v) => GlobalValue::I32(*v),
            Val::I64(v) => GlobalValue::I64(*v),
            Val::F32(v) => GlobalValue::F32(*v),
            Val::F64(v) => GlobalValue::F64(*v),
            Val::V128(v) => GlobalValue::V128(v.as_u128()),
            _ => return None,
        })
    }

    pub(crate) fn to_val(self) -> Val {
        match self {
            GlobalValue::I32(v) => Val::I32(v),
            GlobalValue::I64(v) => Val::I64(v),
            GlobalValue::F32(v) => Val::F32(v),
            GlobalValue::F64(v) => Val::F64(v),
            GlobalValue::V128(v) => Val::V128(v.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Globals {
        Globals::new(vec![
            GlobalValue::I32(-1),
            GlobalValue::I64(i64::MIN),
            GlobalValue::F32(f32::NAN.to_bits()),
            GlobalValue::F64(1.5f64.to_bits()),
            GlobalValue::V128(u128::MAX - 7),
        ])
    }

    #[test]
    fn every_type_survives_encoding() {
        assert_eq!(Globals::decode(&all().encode()), Some(all()));
        assert_eq!(Globals::decode(&Globals::default().encode()), Some(Globals::default()));
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let good = all().encode();
        for cut in 0..good.len() {
            assert_eq!(Globals::decode(&good[..cut]), None, "cut at {cut}");
        }
        let mut long = good.clone();
        long.push(0);
        assert_eq!(Globals::decode(&long), None);
        let mut tag = good;
        tag[4] = 9;
        assert_eq!(Globals::decode(&tag), None);
    }
}
