//! Modules put together from pieces by hand: every kind of state, and every way to fault, that wasm-smith finds seldom or never; and
//! every kind of state that cannot be captured, to show that it is refused, or else what comes of it.
//!
//! A piece stands alone: it declares what it uses, and has functions that a dispatcher can call. A module has a random half of
//! them, and a memory. `{n}` in a text stands for a random number, another one each time.

use std::fmt::Write as _;

use vat_measure::Random;

use super::source::{below, pick};

/// The imports of all pieces, since text wants imports first.
const IMPORTS: &str = r#"
  (import "vat" "log" (func $log (param i32 i32 i32)))
  (import "vat" "fail" (func $fail (param i32 i32)))
  (import "vat" "syscall" (func $syscall (param i32 i32) (result i32)))"#;

const MEMORIES: [&str; 4] = ["(memory 1)", "(memory 2 5)", "(memory 4)", "(memory 3 3)"];

const PIECES: &[&str] = &[
    // Mutable globals of every type.
    r"(global $i32 (mut i32) (i32.const {n}))
      (func (param i32) (result i32)
        (global.set $i32 (i32.add (i32.mul (global.get $i32) (i32.const 31)) (local.get 0))) (global.get $i32))",
    r"(global $i64 (mut i64) (i64.const {n}))
      (func (param i64) (global.set $i64 (i64.xor (i64.rotl (global.get $i64) (i64.const 9)) (local.get 0))))
      (func (result i64) (global.get $i64))",
    r"(global $f32 (mut f32) (f32.const {n}))
      (func (param f32) (result f32)
        (global.set $f32 (f32.add (f32.div (local.get 0) (global.get $f32)) (f32.const 1.5))) (global.get $f32))",
    r"(global $f64 (mut f64) (f64.const {n}))
      (func (param f64) (global.set $f64 (f64.sub (f64.sqrt (global.get $f64)) (local.get 0))))
      (func (result f64) (global.get $f64))",
    r"(global $v128 (mut v128) (v128.const i32x4 {n} {n} {n} {n}))
      (func (param v128) (result v128)
        (global.set $v128 (i32x4.add (i8x16.swizzle (global.get $v128) (i8x16.splat (i32.const 3))) (local.get 0)))
        (global.get $v128))",
    // A global that nothing sets, between others: indices of the mutable ones are not those of all.
    r"(global $constant i64 (i64.const {n})) (global $after (mut i32) (i32.const {n}))
      (func (global.set $after (i32.add (global.get $after) (i32.wrap_i64 (global.get $constant)))))",
    // A table: two functions of its type, one of another, an empty place, and what lies beyond.
    r"(type $unary (func (param i32) (result i32)))
      (table $t 5 funcref)
      (elem (table $t) (i32.const 1) func $double $negative $other)
      (func $double (type $unary) (i32.shl (local.get 0) (i32.const 1)))
      (func $negative (type $unary) (i32.sub (i32.const {n}) (local.get 0)))
      (func $other (result f32) (f32.const 0.5))
      (func (param i32 i32) (result i32)
        (call_indirect $t (type $unary) (local.get 1) (i32.add (i32.const 1) (i32.and (local.get 0) (i32.const 1)))))
      (func (param i32 i32) (result i32) (call_indirect $t (type $unary) (local.get 1) (i32.and (local.get 0) (i32.const 7))))",
    r"(table $u 3 9 funcref) (elem (table $u) (i32.const 2) func $there) (elem $passive func $there) (elem declare func $there)
      (global $reference funcref (ref.func $there))
      (func $there)
      (func (param i32) (result i32 funcref)
        (ref.is_null (table.get $u (i32.rem_u (local.get 0) (table.size $u)))) (global.get $reference))",
    // Data: passive, active over each other, and active that is named afterwards.
    r#"(data $p "passive \00\01\02\03")
      (func (param i32 i32 i32)
        (memory.init $p (i32.and (local.get 0) (i32.const 0x7fff)) (i32.and (local.get 1) (i32.const 3))
          (i32.and (local.get 2) (i32.const 7))))
      (func (param i32 i32 i32) (memory.init $p (local.get 0) (local.get 1) (local.get 2)))"#,
    r#"(data (i32.const 300) "first") (data $a (i32.add (i32.const 298) (i32.const 4)) "second") (data (i32.const 301) "3")
      (func (result i64) (i64.load (i32.const 300)))
      (func (i64.store (i32.const 300) (i64.add (i64.load (i32.const 300)) (i64.const {n}))))
      (func (memory.init $a (i32.const 500) (i32.const 0) (i32.const 0)))
      (func (param i32) (memory.init $a (i32.const 500) (i32.const 0) (i32.and (local.get 0) (i32.const 1))))"#,
    // Birth: a start function, and one that `_initialize` names.
    r"(global $born (mut i32) (i32.const {n}))
      (func $start
        (global.set $born (i32.add (global.get $born) (i32.const 1)))
        (i32.store (i32.const 200) (i32.add (i32.load (i32.const 200)) (global.get $born))))
      (start $start)",
    r#"(global $awake (mut i64) (i64.const {n}))
      (func (export "_initialize")
        (global.set $awake (i64.add (global.get $awake) (i64.const 1)))
        (i64.store (i32.const 208) (global.get $awake)))"#,
    // Memory: grown, copied, filled, written here and there.
    r"(func (param i32 i64) (result i32)
        (memory.grow (i32.and (local.get 0) (i32.const 1)))
        (i64.store (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 8)) (local.get 1)))
      (func (param i32) (result i32) (memory.grow (local.get 0)))",
    r"(func (param i32 i32 i32)
        (memory.copy (i32.and (local.get 0) (i32.const 0x7fff)) (i32.and (local.get 1) (i32.const 0x7fff))
          (i32.and (local.get 2) (i32.const 0x3fff))))
      (func (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))",
    r"(func (param i32 i32 i32)
        (memory.fill (i32.and (local.get 0) (i32.const 0x7fff)) (local.get 1) (i32.and (local.get 2) (i32.const 0x1fff))))
      (func (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))",
    r"(func (param i32 i64) (i64.store (i32.and (local.get 0) (i32.const 0xfff8)) (local.get 1)))
      (func (param i32 i64) (i64.store offset=65000 (local.get 0) (local.get 1)))
      (func (param i32 v128) (v128.store (i32.and (local.get 0) (i32.const 0xffe0)) (local.get 1)))",
    // NaN of any bits, into memory and out of it.
    r"(func (param f32 f32) (f32.store (i32.const 400) (f32.mul (f32.add (local.get 0) (local.get 1)) (f32.load (i32.const 400)))))
      (func (param f64) (result f32) (f64.store (i32.const 408) (f64.max (local.get 0) (f64.div (f64.const 0) (f64.load (i32.const 416)))))
        (f32.demote_f64 (local.get 0)))
      (func (param v128 v128) (result v128)
        (f64x2.min (f64x2.promote_low_f32x4 (f32x4.sub (local.get 0) (local.get 1))) (f64x2.neg (local.get 1))))",
    // Calls, and ways out of them: what counting the stack rewrites.
    r"(func $down (param i32 i64) (result i64) (local v128)
        (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
        (call $down (i32.sub (local.get 0) (i32.const 1)) (i64.add (local.get 1) (i64.const {n}))))
      (func (param i32) (result i64) (call $down (i32.and (local.get 0) (i32.const 0xff)) (i64.const 1)))",
    r"(func $many (param i32) (result i64 f64 i32)
        (block $out (result i64 f64 i32)
          (block $a (block $b (block $c (block $d (br_table $d $c $b $a (i32.and (local.get 0) (i32.const 7))))
                (return (i64.const {n}) (f64.const 1) (i32.const 2)))
              (loop $l (local.set 0 (i32.add (local.get 0) (i32.const 3)))
                (if (i32.and (local.get 0) (i32.const 64)) (then (return (call $many (i32.const 0)))))
                (br $l)))
            (br $out (call $many (i32.const 1))))
          (i64.const 5) (f64.const {n}) (local.get 0)))
      (func (param i32) (result i64 f64 i32)
        (if (result i64 f64 i32) (i32.and (local.get 0) (i32.const 1))
          (then (call $many (i32.shr_u (local.get 0) (i32.const 1))))
          (else (return (i64.const 1) (f64.const 2) (i32.const 3)))))",
    // Ways to fault.
    r"(func (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
      (func (param i32) (result i32) (i32.rem_u (i32.const {n}) (i32.and (local.get 0) (i32.const 3))))
      (func (result i32) (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
    r"(func (param f64) (result i32) (i32.trunc_f64_s (local.get 0))) (func (param f32) (result i64) (i64.trunc_sat_f32_u (local.get 0)))",
    r"(func (param i32) (loop $l (br_if $l (i32.eqz (i32.and (local.get 0) (i32.const 3))))))",
    r"(func (param i32) (call $log (i32.const 2) (i32.and (local.get 0) (i32.const 0x3fff)) (i32.shr_u (local.get 0) (i32.const 25))))",
    r"(func (param i32) (call $fail (i32.and (local.get 0) (i32.const 0xffff)) (i32.const 5))
        (if (i32.and (local.get 0) (i32.const 1)) (then (unreachable))))",
    r"(func (param i32 i32) (result i32) (call $syscall (local.get 0) (i32.and (local.get 1) (i32.const 0xff))))",
];

/// State that a capture does not save. Each would show it within two deliveries, were it accepted.
const FORBIDDEN: &[&str] = &[
    r#"(data $gone "abc") (func (memory.init $gone (i32.const 600) (i32.const 0) (i32.const 3)) (data.drop $gone))"#,
    r"(table $x 2 funcref) (elem $gone func $f) (func $f)
      (func (table.init $x $gone (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $gone))",
    r"(table $x 2 funcref) (elem $e func $f) (func $f)
      (func (result i32) (ref.is_null (table.get $x (i32.const 1)))
        (table.init $x $e (i32.const 1) (i32.const 0) (i32.const 1)))",
    r"(table $x 2 funcref) (elem declare func $f) (func $f)
      (func (result i32) (ref.is_null (table.get $x (i32.const 1))) (table.set $x (i32.const 1) (ref.func $f)))",
    r"(table $x 2 funcref) (elem (table $x) (i32.const 0) func $f) (func $f)
      (func (result i32) (ref.is_null (table.get $x (i32.const 1)))
        (table.copy $x $x (i32.const 1) (i32.const 0) (i32.const 1)))",
    r"(table $x 2 funcref) (elem declare func $f) (func $f)
      (func (result i32) (ref.is_null (table.get $x (i32.const 1)))
        (table.fill $x (i32.const 0) (ref.func $f) (i32.const 2)))",
    r"(table $x 2 100 funcref) (func (result i32) (table.grow $x (ref.null func) (i32.const 1)))",
    r"(global $x (mut funcref) (ref.null func)) (elem declare func $f) (func $f)
      (func (result i32) (ref.is_null (global.get $x)) (global.set $x (ref.func $f)))",
];

/// A module of these pieces.
pub(crate) fn module(random: &mut Random) -> Vec<u8> {
    let mut text = format!("(module {IMPORTS} {}", pick(random, &MEMORIES));
    for piece in PIECES {
        if below(random, 2) == 0 {
            text.push_str(piece);
        }
    }
    if below(random, 8) == 0 {
        wide_frame(&mut text);
    }
    text.push(')');
    wat::parse_str(filled(&text, random)).expect("the pieces are well formed")
}

/// A module with state that cannot be captured, and hardly anything else.
pub(crate) fn forbidden(random: &mut Random) -> Vec<u8> {
    let (memory, forbidden, other) = (pick(random, &MEMORIES), pick(random, FORBIDDEN), pick(random, PIECES));
    let text = format!("(module {IMPORTS} {memory} {forbidden} {other})");
    wat::parse_str(filled(&text, random)).expect("the pieces are well formed")
}

/// A leaf whose frame is so large that it is counted.
fn wide_frame(text: &mut String) {
    let locals = "i64 ".repeat(1_100);
    write!(
        text,
        "(func (param i64) (result i64) (local {locals}) (local.set 1_000 (local.get 0)) (local.get 1_000))"
    )
    .expect("text can always be written");
}

/// The text with a number for each `{n}`.
fn filled(text: &str, random: &mut Random) -> String {
    let mut parts = text.split("{n}");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        write!(filled, "{}{part}", below(random, 1 << 31)).expect("text can always be written");
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_a_valid_module_with_any_memory() {
        for piece in PIECES.iter().chain(FORBIDDEN) {
            for memory in MEMORIES {
                let text = filled(&format!("(module {IMPORTS} {memory} {piece})"), &mut Random::new(1));
                let wasm = wat::parse_str(&text).unwrap_or_else(|error| panic!("{piece}: {error}"));
                wasmparser::validate(&wasm).unwrap_or_else(|error| panic!("{piece}: {error}"));
            }
        }
    }
}
