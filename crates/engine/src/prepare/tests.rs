//! What is accepted, what is refused, in which words; and what the rewrite leaves.

use expect_test::{Expect, expect};

use super::prepare;
use crate::limits;

/// A module around `body` that is a vat otherwise.
fn vat(body: &str) -> String {
    format!(
        r#"(module {body} (memory (export "memory") 1) (func (export "vat_deliver") (param i32) (result i32) (i32.const 0)))"#
    )
}

#[track_caller]
fn refused(wat: &str, expected: &Expect) {
    let bytes = wat::parse_str(wat).expect("the test's own text is well formed");
    expected.assert_eq(&prepare(&bytes).expect_err("this must be refused").to_string());
}

#[track_caller]
fn accepted(wat: &str) -> Vec<u8> {
    let bytes = wat::parse_str(wat).expect("the test's own text is well formed");
    let prepared = prepare(&bytes).expect("this must be accepted");
    wasmparser::validate(prepared.wasm()).expect("the rewritten module is valid");
    prepared.wasm().to_vec()
}

#[test]
fn what_is_not_a_module_is_told_apart() {
    let cases: &[(&[u8], Expect)] = &[
        (
            b"",
            expect![
                "the module is not valid: it does not begin with the wasm magic number (at byte 0x0); give a .wasm or .wat file"
            ],
        ),
        (
            b"#!/bin/sh",
            expect![
                "the module is not valid: it does not begin with the wasm magic number (at byte 0x0); give a .wasm or .wat file"
            ],
        ),
        (
            b"\0asm",
            expect![
                "the module is not valid: it ends within the header (at byte 0x0); the file is truncated: build or copy it again"
            ],
        ),
        (
            b"\0asm\x0d\0\x01\0",
            expect![
                "the module is not valid: it is a component, not a core module (at byte 0x0); build for wasm32-unknown-unknown or wasm32-wasip1"
            ],
        ),
        (
            b"\0asm\x02\0\0\0",
            expect![
                "the module is not valid: its version is unknown (at byte 0x0); build it as a core module of version 1"
            ],
        ),
    ];
    for (bytes, expected) in cases {
        expected.assert_eq(&prepare(bytes).expect_err("not a module").to_string());
    }
}

#[test]
fn every_truncation_is_refused_and_none_panics() {
    let whole =
        wat::parse_str(vat(r#"(func (export "f") (result i64) (i64.const 7)) (data (i32.const 8) "hello")"#))
            .unwrap();
    assert!(prepare(&whole).is_ok());
    // A cut between two sections can leave a complete module; any other cut cannot.
    let is_complete = |bytes: &[u8]| wasmparser::validate(bytes).is_ok();
    for end in (0..whole.len()).filter(|end| !is_complete(&whole[..*end])) {
        assert!(prepare(&whole[..end]).is_err(), "truncated at {end}");
    }
}

#[test]
fn refused_features_are_named() {
    let of_vats = [
        "(func (drop (i32.atomic.load (i32.const 0))))",
        "(func (drop (i32.atomic.rmw8.add_u (i32.const 0) (i32.const 0))))",
        "(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))",
        "(type (struct (field i32)))",
        "(tag (param i32))",
        "(func $f (return_call $f))",
        "(memory 1)",
        "(func (param externref))",
    ];
    let alone =
        ["(module (memory 1 1 shared))", "(module (memory i64 1))", "(module (memory 1 (pagesize 1)))"];
    let modules = of_vats.iter().map(|body| vat(body)).chain(alone.map(str::to_owned));
    let messages: String = modules
        .map(|text| {
            prepare(&wat::parse_str(&text).unwrap()).expect_err("this must be refused").to_string() + "\n"
        })
        .collect();
    expect![[r#"
        the module uses `i32.atomic.load` in function 0, which is refused: threads and shared memory are not deterministic; build without atomics
        the module uses `i32.atomic.rmw8.add_u` in function 0, which is refused: threads and shared memory are not deterministic; build without atomics
        the module uses `i8x16.relaxed_swizzle` in function 0, which is refused: relaxed SIMD differs between processors; build without -mrelaxed-simd
        the module is not valid: struct indexed types not supported without the gc feature (at byte 0xb); garbage-collected objects and external references cannot be captured; use linear memory
        the module is not valid: exceptions proposal not enabled (at byte 0x1f); exceptions are not accepted; build with panic=abort or -fno-exceptions
        the module uses `return_call` in function 0 `f`, which is refused: tail calls are not accepted; build without -mtail-call
        the module is not valid: multiple memories (at byte 0x16); a vat has one memory; build with one
        the module is not valid: gc types are disallowed but found type which requires gc (at byte 0xb); garbage-collected objects and external references cannot be captured; use linear memory
        the module is not valid: threads must be enabled for shared memories (at byte 0xb); threads and shared memory are not deterministic; build without atomics
        the module is not valid: memory64 must be enabled for 64-bit memories (at byte 0xb); 64-bit memories are not accepted; build for wasm32
        the module is not valid: the custom page sizes proposal must be enabled to customize a memory's page size (at byte 0xb)
    "#]].assert_eq(&messages);
}

#[test]
fn instructions_whose_effect_cannot_be_captured_are_named_with_their_function() {
    let table = "(table 1 funcref) (elem $e func $victim) (data $d \"x\")";
    let cases: &[(&str, Expect)] = &[
        (
            "(table.set (i32.const 0) (ref.null func))",
            expect![
                "the module uses `table.set` in function 0 `victim`, which is refused: a table that changes cannot be captured; build without it (compilers fill tables with element segments)"
            ],
        ),
        (
            "(table.init 0 $e (i32.const 0) (i32.const 0) (i32.const 1))",
            expect![
                "the module uses `table.init` in function 0 `victim`, which is refused: a table that changes cannot be captured; build without it (compilers fill tables with element segments)"
            ],
        ),
        (
            "(table.copy (i32.const 0) (i32.const 0) (i32.const 1))",
            expect![
                "the module uses `table.copy` in function 0 `victim`, which is refused: a table that changes cannot be captured; build without it (compilers fill tables with element segments)"
            ],
        ),
        (
            "(table.fill (i32.const 0) (ref.null func) (i32.const 1))",
            expect![
                "the module uses `table.fill` in function 0 `victim`, which is refused: a table that changes cannot be captured; build without it (compilers fill tables with element segments)"
            ],
        ),
        (
            "(drop (table.grow (ref.null func) (i32.const 1)))",
            expect![
                "the module uses `table.grow` in function 0 `victim`, which is refused: a table that changes cannot be captured; build without it (compilers fill tables with element segments)"
            ],
        ),
        (
            "(data.drop $d)",
            expect![
                "the module uses `data.drop` in function 0 `victim`, which is refused: which segments are dropped cannot be captured; leave the segment in place"
            ],
        ),
        (
            "(elem.drop $e)",
            expect![
                "the module uses `elem.drop` in function 0 `victim`, which is refused: which segments are dropped cannot be captured; leave the segment in place"
            ],
        ),
    ];
    for (instruction, expected) in cases {
        refused(&vat(&format!("{table} (func $victim {instruction})")), expected);
    }
}

#[test]
fn declarations_imports_and_exports_are_checked() {
    let cases: &[(&str, Expect)] = &[
        (
            r#"(module (import "env" "now" (func (result i64))) (memory (export "memory") 1))"#,
            expect![
                "the module imports `env.now`; a vat may import only delivery_read, syscall, result_read, log and fail from `vat`, and what `wasi_snapshot_preview1` has"
            ],
        ),
        (
            r#"(module (import "vat" "memory" (memory 1)))"#,
            expect![
                "the module imports `vat.memory` as a memory; a vat may import only delivery_read, syscall, result_read, log and fail from `vat`, and what `wasi_snapshot_preview1` has"
            ],
        ),
        (
            r#"(module (import "vat" "syscall" (func (param i64))))"#,
            expect![
                "the module imports `vat.syscall` as (i64) -> (), which has the type (i32, i32) -> (i32); a vat may import only delivery_read, syscall, result_read, log and fail from `vat`, and what `wasi_snapshot_preview1` has"
            ],
        ),
        (
            r#"(module (import "wasi_snapshot_preview1" "thread_spawn" (func)))"#,
            expect![
                "the module imports `wasi_snapshot_preview1.thread_spawn`; a vat may import only delivery_read, syscall, result_read, log and fail from `vat`, and what `wasi_snapshot_preview1` has"
            ],
        ),
        (
            r#"(module (import "vat" "log" (global i32)))"#,
            expect![
                "the module imports `vat.log` as a global; a vat may import only delivery_read, syscall, result_read, log and fail from `vat`, and what `wasi_snapshot_preview1` has"
            ],
        ),
        (
            r#"(module (memory 1))"#,
            expect![
                "the module exports no memory called `memory`; a vat must define one memory and export it under that name"
            ],
        ),
        (
            r#"(module (memory (export "memory") 1))"#,
            expect![
                "the module exports no function called `vat_deliver`; export `vat_deliver(len: i32) -> i32`, as the SDK's attribute does"
            ],
        ),
        (
            r#"(module (memory (export "memory") 1) (func (export "vat_deliver")))"#,
            expect![
                "the module exports `vat_deliver` as () -> (); the type must be as the ABI reference says: vat_deliver (i32) -> (i32), _initialize () -> ()"
            ],
        ),
        (
            r#"(module (memory (export "memory") 1) (func (export "vat:init")))"#,
            expect![
                "the module exports `vat:init`; names that begin with `vat:` are reserved for the host: rename it"
            ],
        ),
    ];
    for (wat, expected) in cases {
        refused(wat, expected);
    }
    refused(
        &vat("(global (mut funcref) (ref.null func))"),
        &expect![
            "the module declares global 0 as a mutable funcref, which is refused: a reference cannot be saved in a snapshot; keep an index into a table instead"
        ],
    );
    refused(
        &vat(r#"(func (export "_initialize") (param i32))"#),
        &expect![
            "the module exports `_initialize` as (i32) -> (); the type must be as the ABI reference says: vat_deliver (i32) -> (i32), _initialize () -> ()"
        ],
    );
}

#[test]
fn limits_are_named() {
    let globals = "(global i32 (i32.const 0))".repeat(limits::GLOBALS_MAX as usize + 1);
    refused(&vat(&globals), &expect!["the module has 5001 globals; at most 5000 are accepted"]);
    let locals = format!("(func $big (local {}))", "i64 ".repeat(limits::LOCALS_MAX as usize + 1));
    refused(
        &vat(&locals),
        &expect!["the module has 20001 locals in function 0 `big`; at most 20000 are accepted"],
    );
    let nested = format!(
        "(func $deep {} {})",
        "block ".repeat(limits::NESTING_MAX + 1),
        "end ".repeat(limits::NESTING_MAX + 1)
    );
    refused(
        &vat(&nested),
        &expect!["the module has 5001 nested blocks in function 0 `deep`; at most 5000 are accepted"],
    );
    refused(
        &vat("(table 100001 funcref)"),
        &expect!["the module has 100001 table elements; at most 100000 are accepted"],
    );
}

#[test]
fn state_is_exported_and_nothing_happens_at_instantiation() {
    let wasm = accepted(&vat(
        r#"(global $a (mut i32) (i32.const 1)) (global i64 (i64.const 2)) (global $b (mut f64) (f64.const 3))
           (func $start (global.set $a (i32.const 9))) (start $start) (data (i32.const 4) "hi")"#,
    ));
    let text = outline(&wasm);
    for expected in ["vat:init", "vat:memory", "vat:stack", "vat:global:0", "vat:global:1"] {
        assert!(text.contains(expected), "{expected}");
    }
    assert!(!text.contains("(start"), "start is called by vat:init only");
    assert!(!text.contains("(data (;0;) (i32.const"), "no active segment is left");
}

/// The parts of a module that the test above looks for, without a printer of the whole text format.
fn outline(wasm: &[u8]) -> String {
    use wasmparser::{DataKind, Parser, Payload};
    let mut text = String::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.unwrap() {
            Payload::ExportSection(section) => {
                text.extend(section.into_iter().map(|export| format!("(export {:?})", export.unwrap().name)));
            }
            Payload::StartSection { .. } => text.push_str("(start"),
            Payload::DataSection(section) => {
                for data in section {
                    if let DataKind::Active { .. } = data.unwrap().kind {
                        text.push_str("(data (;0;) (i32.const");
                    }
                }
            }
            _ => {}
        }
    }
    text
}

#[test]
fn functions_of_every_shape_stay_valid() {
    accepted(&vat(r#"(table funcref (elem $none $one $many))
           (func $none (call $none))
           (func $one (param i32) (result i32)
             (block (br_if 0 (local.get 0)) (return (i32.const 1)))
             (loop $l (br_if $l (i32.eqz (local.get 0))))
             (if (result i32) (local.get 0) (then (return (call $one (i32.const 2)))) (else (i32.const 3))))
           (func $many (param i32) (result i32 i64 f64)
             (if (local.get 0) (then (i32.const 1) (i64.const 2) (f64.const 3) (return)))
             (call_indirect (param i32) (result i32 i64 f64) (i32.const 0) (i32.const 2)))
           (func $more (result i32 i64 f64) (call $many (i32.const 1)))
           (func (param i32) (block (block (block (br_table 0 1 2 3 (local.get 0))))) (call $none))"#));
}
