//! Values of the specification's scripts: arguments, and results that were expected.
//!
//! Floats are compared by their bits. Where a script expects some NaN, `nan:canonical` is the one with only the highest bit
//! of its payload set, and `nan:arithmetic` any with that bit set; the sign is free for both. What the
//! scripts leave open stays open here: that we make one NaN only is proved elsewhere.

use vat_engine::{CallValue, GlobalValue};
use wast::core::{AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};
use wast::{WastArg, WastRet};

/// An argument; `None` if it is of a kind that no accepted module takes.
pub(crate) fn argument(argument: &WastArg<'_>) -> Option<CallValue> {
    let WastArg::Core(argument) = argument else { return None };
    Some(CallValue::Number(match argument {
        WastArgCore::I32(value) => GlobalValue::I32(*value),
        WastArgCore::I64(value) => GlobalValue::I64(*value),
        WastArgCore::F32(value) => GlobalValue::F32(value.bits),
        WastArgCore::F64(value) => GlobalValue::F64(value.bits),
        WastArgCore::V128(value) => GlobalValue::V128(u128::from_le_bytes(value.to_le_bytes())),
        WastArgCore::RefNull(HeapType::Abstract { shared: false, ty: AbstractHeapType::Func }) => {
            return Some(CallValue::NullFunction);
        }
        _ => return None,
    }))
}

/// Whether the results are those that were expected.
pub(crate) fn all_match(found: &[CallValue], expected: &[WastRet<'_>]) -> bool {
    found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| matches(*found, expected))
}

fn matches(found: CallValue, expected: &WastRet<'_>) -> bool {
    match expected {
        WastRet::Core(expected) => matches_core(found, expected),
        _ => false,
    }
}

fn matches_core(found: CallValue, expected: &WastRetCore<'_>) -> bool {
    match (found, expected) {
        (CallValue::Number(found), expected) => matches_number(found, expected),
        (CallValue::NullFunction, WastRetCore::RefNull(_)) => true,
        (CallValue::Function, WastRetCore::RefFunc(_)) => true,
        (found, WastRetCore::Either(options)) => options.iter().any(|option| matches_core(found, option)),
        _ => false,
    }
}

fn matches_number(found: GlobalValue, expected: &WastRetCore<'_>) -> bool {
    match (found, expected) {
        (GlobalValue::I32(found), WastRetCore::I32(expected)) => found == *expected,
        (GlobalValue::I64(found), WastRetCore::I64(expected)) => found == *expected,
        (GlobalValue::F32(found), WastRetCore::F32(expected)) => matches_f32(found, expected),
        (GlobalValue::F64(found), WastRetCore::F64(expected)) => matches_f64(found, expected),
        (GlobalValue::V128(found), WastRetCore::V128(expected)) => matches_v128(found, expected),
        (found, WastRetCore::Either(options)) => options.iter().any(|option| matches_number(found, option)),
        _ => false,
    }
}

fn matches_f32(found: u32, expected: &NanPattern<F32>) -> bool {
    const CANONICAL: u32 = 0x7fc0_0000;
    match expected {
        NanPattern::CanonicalNan => found & 0x7fff_ffff == CANONICAL,
        NanPattern::ArithmeticNan => found & CANONICAL == CANONICAL,
        NanPattern::Value(expected) => found == expected.bits,
    }
}

fn matches_f64(found: u64, expected: &NanPattern<F64>) -> bool {
    const CANONICAL: u64 = 0x7ff8_0000_0000_0000;
    match expected {
        NanPattern::CanonicalNan => found & 0x7fff_ffff_ffff_ffff == CANONICAL,
        NanPattern::ArithmeticNan => found & CANONICAL == CANONICAL,
        NanPattern::Value(expected) => found == expected.bits,
    }
}

fn matches_v128(found: u128, expected: &V128Pattern) -> bool {
    let bytes = found.to_le_bytes();
    match expected {
        V128Pattern::I8x16(lanes) => lanes_of(&bytes, i8::from_le_bytes).eq(lanes.iter().copied()),
        V128Pattern::I16x8(lanes) => lanes_of(&bytes, i16::from_le_bytes).eq(lanes.iter().copied()),
        V128Pattern::I32x4(lanes) => lanes_of(&bytes, i32::from_le_bytes).eq(lanes.iter().copied()),
        V128Pattern::I64x2(lanes) => lanes_of(&bytes, i64::from_le_bytes).eq(lanes.iter().copied()),
        V128Pattern::F32x4(lanes) => lanes_of(&bytes, u32::from_le_bytes)
            .zip(lanes)
            .all(|(lane, expected)| matches_f32(lane, expected)),
        V128Pattern::F64x2(lanes) => lanes_of(&bytes, u64::from_le_bytes)
            .zip(lanes)
            .all(|(lane, expected)| matches_f64(lane, expected)),
    }
}

fn lanes_of<'a, const N: usize, T: 'a>(
    bytes: &'a [u8; 16],
    lane: fn([u8; N]) -> T,
) -> impl Iterator<Item = T> + 'a {
    bytes.as_chunks::<N>().0.iter().map(move |bytes| lane(*bytes))
}

#[test]
fn a_nan_is_told_from_another() {
    // Bits of an `f32`, of an `f64` like it, whether they are a canonical NaN, and whether an arithmetic one.
    let cases: &[(u32, u64, bool, bool)] = &[
        (0x7fc0_0000, 0x7ff8_0000_0000_0000, true, true),
        (0xffc0_0000, 0xfff8_0000_0000_0000, true, true),
        (0x7fc0_0001, 0x7ff8_0000_0000_0001, false, true),
        (0xffff_ffff, 0xffff_ffff_ffff_ffff, false, true),
        (0x7fa0_0000, 0x7ff4_0000_0000_0000, false, false),
        (0x7f80_0000, 0x7ff0_0000_0000_0000, false, false),
        (0, 0, false, false),
    ];
    for (small, wide, canonical, arithmetic) in cases {
        assert_eq!(matches_f32(*small, &NanPattern::CanonicalNan), *canonical, "{small:#x}");
        assert_eq!(matches_f32(*small, &NanPattern::ArithmeticNan), *arithmetic, "{small:#x}");
        assert_eq!(matches_f64(*wide, &NanPattern::CanonicalNan), *canonical, "{wide:#x}");
        assert_eq!(matches_f64(*wide, &NanPattern::ArithmeticNan), *arithmetic, "{wide:#x}");
    }
    let zero = NanPattern::Value(F32 { bits: 0 });
    assert!(matches_f32(0, &zero) && !matches_f32(0x8000_0000, &zero));
}
