//! Vats in the text format, so that these tests need no compiler for guests.
//!
//! A vat that answers has to name the promise that it was given. The command numbers promises by position (`p-60` for the first), so
//! a vat that counts its deliveries knows: in the texts here, `@` stands for the digit of the current position.

use std::fmt::Write as _;

/// A vat that does nothing at its start, and makes these syscalls in every later delivery, then runs `tail`, which leaves the
/// status.
pub fn vat(syscalls: &[&str], tail: &str) -> String {
    let (mut data, mut code) = (String::new(), String::new());
    let mut address = 0;
    for syscall in syscalls {
        let _ = writeln!(data, "  (data (i32.const {address}) {:?})", syscall.replace('@', "0"));
        for (offset, _) in syscall.match_indices('@') {
            let _ = writeln!(
                code,
                "    (i32.store8 (i32.const {}) (i32.add (i32.const 48) (global.get $position)))",
                address + offset
            );
        }
        let _ =
            writeln!(code, "    (drop (call $syscall (i32.const {address}) (i32.const {})))", syscall.len());
        address += syscall.len();
    }
    module(
        &format!("{data}  (global $position (mut i32) (i32.const -1))"),
        &format!(
            "    (global.set $position (i32.add (global.get $position) (i32.const 1)))
    (if (i32.eqz (global.get $position)) (then (return (i32.const 0))))
{code}    {tail}"
        ),
    )
}

/// A vat that answers every message.
pub fn answering(body: &str) -> String {
    vat(&[&resolve(false, body)], "(i32.const 0)")
}

/// A vat that rejects every message.
pub fn rejecting(body: &str) -> String {
    vat(&[&resolve(true, body)], "(i32.const 0)")
}

/// The syscall that resolves the result of the current message.
pub fn resolve(rejected: bool, body: &str) -> String {
    format!("[\"resolve\",[[\"p-6@\",{rejected},{{\"body\":{body:?},\"slots\":[]}}]]]")
}

/// A vat that answers with the number of messages it was sent, and at the fourth runs this code.
pub fn counting_until(fourth: &str) -> String {
    let tail = format!("(if (i32.eq (global.get $position) (i32.const 4)) (then {fourth})) (i32.const 0)");
    vat(&[&resolve(false, "#@")], &tail)
}

/// A module that hands deliveries to this code, which leaves the status.
pub fn module(declarations: &str, deliver: &str) -> String {
    format!(
        "(module
  (import \"vat\" \"syscall\" (func $syscall (param i32 i32) (result i32)))
  (import \"vat\" \"log\" (func $log (param i32 i32 i32)))
  (import \"vat\" \"fail\" (func $fail (param i32 i32)))
  (memory (export \"memory\") 1)
{declarations}
  (func $recurse (call $recurse))
  (func (export \"vat_deliver\") (param $length i32) (result i32)
{deliver}))"
    )
}
