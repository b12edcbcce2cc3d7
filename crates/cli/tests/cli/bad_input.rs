//! What people get wrong: one clear line each, and nothing is lost.

use expect_test::{Expect, expect};

use crate::harness::Vats;
use crate::wat::{answering, module};

/// Installing these bytes fails.
fn refused(contents: impl AsRef<[u8]>, expected: Expect) {
    let mut vats = Vats::ready();
    vats.file("bad", contents);
    vats.run(&["install", "bad", "bad"]);
    assert_eq!(vats.json(&["stats"])["modules"], 0);
    vats.saw(expected);
}

fn good_wasm() -> Vec<u8> {
    vat_warehouse::module_bytes(answering("#1").as_bytes()).unwrap().into_owned()
}

#[test]
fn a_module_that_is_cut_short() {
    let wasm = good_wasm();
    refused(
        &wasm[..wasm.len() - 20],
        expect![[r#"
        $ vats install bad bad
        ! error: cannot install bad: the module is not valid: unexpected end-of-file (at byte 0xe3); the file is truncated: build or copy it again
        = 1
    "#]],
    );
}

#[test]
fn a_module_of_which_only_the_start_is_there() {
    refused(
        b"\0asm",
        expect![[r#"
        $ vats install bad bad
        ! error: cannot install bad: the module is not valid: it ends within the header (at byte 0x0); the file is truncated: build or copy it again
        = 1
    "#]],
    );
}

#[test]
fn a_file_that_is_no_module() {
    refused(
        "#!/bin/sh\necho hello\n",
        expect![[r#"
        $ vats install bad bad
        ! error: cannot install bad: it is no WebAssembly module: it neither begins with the bytes `\0asm` nor is it in the text format
        = 1
    "#]],
    );
}

#[test]
fn an_empty_file() {
    refused(
        "",
        expect![[r#"
        $ vats install bad bad
        ! error: cannot install bad: it is no WebAssembly module: it neither begins with the bytes `\0asm` nor is it in the text format
        = 1
    "#]],
    );
}

#[test]
fn bytes_that_are_no_module() {
    refused(
        [0x7f, b'E', b'L', b'F', 0xff],
        expect![[r#"
        $ vats install bad bad
        ! error: cannot install bad: it is no WebAssembly module: it neither begins with the bytes `\0asm` nor is it in the text format
        = 1
    "#]],
    );
}

#[test]
fn text_with_a_mistake() {
    refused(
        "(module\n  (func $f (i32.bogus)))",
        expect![[r#"
        $ vats install bad bad
        ! error: cannot install bad: the module is not valid: unknown operator or unexpected token (line 2, column 13)
        = 1
    "#]],
    );
}

#[test]
fn code_that_does_not_validate() {
    refused(
        module("  (func $f (result i32) (i64.const 1))", "    (i32.const 0)"),
        expect![[r#"
        $ vats install bad bad
        ! error: cannot install bad: the module is not valid in function 3 `f`: type mismatch: expected i32, found i64 (at byte 0x7a)
        = 1
    "#]],
    );
}

#[test]
fn a_refused_instruction() {
    refused(
        module(
            "  (table 1 funcref) (func $f (table.set 0 (i32.const 0) (ref.null func)))",
            "    (i32.const 0)",
        ),
        expect![[r#"
            $ vats install bad bad
            ! error: cannot install bad: the module uses `table.set` in function 3 `f`, which is refused: a table that changes cannot be captured; build without it (compilers fill tables with element segments)
            = 1
        "#]],
    );
}

#[test]
fn shared_memory() {
    refused(
        "(module (memory (export \"memory\") 1 2 shared))",
        expect![[r#"
        $ vats install bad bad
        ! error: cannot install bad: the module is not valid: threads must be enabled for shared memories (at byte 0xb); threads and shared memory are not deterministic; build without atomics
        = 1
    "#]],
    );
}

#[test]
fn relaxed_simd() {
    refused(
        module(
            "  (func $f (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))",
            "    (i32.const 0)",
        ),
        expect![[r#"
            $ vats install bad bad
            ! error: cannot install bad: the module uses `i8x16.relaxed_swizzle` in function 3 `f`, which is refused: relaxed SIMD differs between processors; build without -mrelaxed-simd
            = 1
        "#]],
    );
}

#[test]
fn an_unknown_import() {
    refused(
        "(module (import \"env\" \"now\" (func)) (memory (export \"memory\") 1))",
        expect![[r#"
        $ vats install bad bad
        ! error: cannot install bad: the module imports `env.now`; a vat may import only delivery_read, syscall, result_read, log and fail from `vat`, and what `wasi_snapshot_preview1` has
        = 1
    "#]],
    );
}

#[test]
fn a_missing_export() {
    refused(
        "(module (memory (export \"memory\") 1))",
        expect![[r#"
        $ vats install bad bad
        ! error: cannot install bad: the module exports no function called `vat_deliver`; export `vat_deliver(len: i32) -> i32`, as the SDK's attribute does
        = 1
    "#]],
    );
}

#[test]
fn more_locals_than_a_function_may_have() {
    let locals = "(local i32)".repeat(20_001);
    refused(
        module(&format!("  (func $f {locals})"), "    (i32.const 0)"),
        expect![[r#"
        $ vats install bad bad
        ! error: cannot install bad: the module has 20001 locals in function 3 `f`; at most 20000 are accepted
        = 1
    "#]],
    );
}

#[test]
fn a_birth_that_fails() {
    refused(
        module("  (func $start (unreachable)) (start $start)", "    (i32.const 0)"),
        expect![[r#"
        $ vats install bad bad
        ! error: cannot install bad: the module's birth (start function and `_initialize`) failed: trap: unreachable
        = 1
    "#]],
    );
}

#[test]
fn files_that_cannot_be_read() {
    let mut vats = Vats::ready();
    vats.run(&["install", "bad", "not-there.wasm"]).run(&["install", "bad", "."]);
    vats.saw(expect![[r#"
        $ vats install bad not-there.wasm
        ! error: cannot install not-there.wasm: No such file or directory (os error 2)
        = 1
        $ vats install bad .
        ! error: cannot install .: Is a directory (os error 21)
        = 1
    "#]]);
}

#[test]
fn names_that_are_unknown_or_taken() {
    let mut vats = Vats::with_alice(&answering("#1"));
    vats.file("other.wat", answering("#2"));
    vats.run(&["create", "alice", "program"])
        .run(&["create", "bob", "nothing"])
        .run(&["install", "program", "other.wat"])
        .run(&["install", "program", "alice.wat"]);
    for command in ["show", "evict", "transcript", "terminate", "replay"] {
        vats.run(&[command, "bob"]);
    }
    vats.run(&["send", "bob", "x"]).run(&["replay", "alice", "bob"]).run(&["list"]);
    vats.saw(expect![[r#"
        $ vats create alice program
        ! error: there is already a vat alice; choose another name, or terminate it first
        = 1
        $ vats create bob nothing
        ! error: there is no module nothing; install it first
        = 1
        $ vats install program other.wat
        ! error: cannot install other.wat: there is already another module program; choose another name
        = 1
        $ vats install program alice.wat
        installed program (290 bytes, HASH)
        $ vats show bob
        ! error: there is no vat bob; `vats list` shows which there are
        = 1
        $ vats evict bob
        ! error: there is no vat bob; `vats list` shows which there are
        = 1
        $ vats transcript bob
        ! error: there is no vat bob; `vats list` shows which there are
        = 1
        $ vats terminate bob
        ! error: there is no vat bob; `vats list` shows which there are
        = 1
        $ vats replay bob
        ! error: there is no vat bob; `vats list` shows which there are
        = 1
        $ vats send bob x
        ! error: there is no vat bob; `vats list` shows which there are
        = 1
        $ vats replay alice bob
        ! error: there is no vat bob; `vats list` shows which there are
        = 1
        $ vats list
        VAT    MODULE   DELIVERIES  STATUS
        alice  program  1           alive
    "#]]);
}

#[test]
fn values_that_are_wrong() {
    let mut vats = Vats::with_alice(&answering("#1"));
    vats.run(&["send", "alice", "x", "5"])
        .run(&["send", "alice", "x", "[5"])
        .run(&["send", "alice", "x", "{\"a\":1}"])
        .run(&["send", "a b", "x"])
        .run(&["create", "", "program"])
        .run(&["create", "bob", "program", "--args", "{"])
        .run(&["create", "bob", "program", "--memory-pages", "70000"])
        .run(&["create", "bob", "program", "--computrons", "0"])
        .run(&["replay", "--jobs", "0"])
        .run(&["demo", "--verify", "some"])
        .run(&["demo", "--vats", "0"])
        .run(&["show", "alice"]);
    vats.saw(expect![[r#"
        $ vats send alice x 5
        ! error: invalid value '5' for '[ARGS]': the arguments must be a JSON array such as '[1,"two"]'
        = 2
        $ vats send alice x '[5'
        ! error: invalid value '[5' for '[ARGS]': this is not JSON: EOF while parsing a list at line 1 column 2
        = 2
        $ vats send alice x '{"a":1}'
        ! error: invalid value '{"a":1}' for '[ARGS]': the arguments must be a JSON array such as '[1,"two"]'
        = 2
        $ vats send 'a b' x
        ! error: invalid value 'a b' for '<VAT>': "a b" is not a name for a vat: use 1 to 199 letters, digits, dots, underscores and hyphens
        = 2
        $ vats create '' program
        ! error: invalid value '' for '<VAT>': "" is not a name for a vat: use 1 to 199 letters, digits, dots, underscores and hyphens
        = 2
        $ vats create bob program --args '{'
        ! error: invalid value '{' for '--args <JSON>': this is not JSON: EOF while parsing an object at line 1 column 1
        = 2
        $ vats create bob program --memory-pages 70000
        ! error: invalid value '70000' for '--memory-pages <N>': 70000 is not in 1..=65536
        = 2
        $ vats create bob program --computrons 0
        ! error: invalid value '0' for '--computrons <N>': 0 is not in 1..18446744073709551615
        = 2
        $ vats replay --jobs 0
        ! error: invalid value '0' for '--jobs <N>': number would be zero for non-zero type
        = 2
        $ vats demo --verify some
        ! error: invalid value 'some' for '--verify <N|all>': give a number of vats, or `all`
        = 2
        $ vats demo --vats 0
        ! error: invalid value '0' for '--vats <N>': 0 is not in 1..=1000000
        = 2
        $ vats show alice
        vat           alice
        module        program (HASH)
        status        alive
        incarnation   0
        deliveries    1
        snapshot      none; its next use replays 1 delivery
        heap          64.0 KiB
        at rest       0 bytes in 0 layers, 0 pages copied by a restore
        in memory     MEASURED
        storage keys  0
        memory limit  16384 pages of 64 KiB
        computrons    1000000000 per delivery
    "#]]);
}

#[test]
fn command_lines_that_are_wrong() {
    let mut vats = Vats::nowhere();
    vats.run(&["sned"]).run(&["send"]).run(&["list", "-q", "-v"]);
    vats.saw(expect![[r#"
        $ vats sned
        ! error: unrecognized subcommand 'sned'
        ! 
        !   tip: a similar subcommand exists: 'send'
        ! 
        ! Usage: vats [OPTIONS] <COMMAND>
        ! 
        ! For more information, try '--help'.
        = 2
        $ vats send
        ! error: the following required arguments were not provided:
        !   <VAT>
        !   <METHOD>
        ! 
        ! Usage: vats send <VAT> <METHOD> [ARGS]
        ! 
        ! For more information, try '--help'.
        = 2
        $ vats list -q -v
        ! error: the argument '--quiet' cannot be used with '--verbose...'
        ! 
        ! Usage: vats list --quiet
        ! 
        ! For more information, try '--help'.
        = 2
    "#]]);
}

#[test]
fn memory_below_what_the_module_needs() {
    let mut vats = Vats::ready();
    vats.file("large.wat", answering("#1").replace("\"memory\") 1", "\"memory\") 3"));
    vats.run(&["install", "large", "large.wat"])
        .run(&["create", "alice", "large", "--memory-pages", "2"])
        .run(&["list"]);
    vats.saw(expect![[r#"
        $ vats install large large.wat
        installed large (290 bytes, HASH)
        $ vats create alice large --memory-pages 2
        ! error: the module needs 3 wasm pages of memory to start, the vat may have 2; raise its memory limit
        = 1
        $ vats list
        there are no vats; `vats create` makes one
    "#]]);
}

#[test]
fn a_data_directory_that_is_not_there() {
    let mut vats = Vats::nowhere();
    vats.run(&["list"]).run(&["send", "alice", "x"]);
    assert!(!vats.data().exists(), "only init makes one");
    vats.saw(expect![[r#"
        $ vats list
        ! error: there is no vat store at DIR/data/store.sqlite: run `vats init`, or name the right data directory
        = 1
        $ vats send alice x
        ! error: there is no vat store at DIR/data/store.sqlite: run `vats init`, or name the right data directory
        = 1
    "#]]);
}

#[test]
fn a_data_directory_that_is_a_file() {
    let mut vats = Vats::nowhere();
    vats.file("data", "");
    vats.run(&["init"]).run(&["list"]);
    vats.saw(expect![[r#"
        $ vats init
        ! error: cannot use the data directory DIR/data: File exists (os error 17)
        = 1
        $ vats list
        ! error: cannot look for the store in DIR/data/store.sqlite: Not a directory (os error 20)
        = 1
    "#]]);
}

#[test]
fn a_store_that_is_in_use() {
    let mut vats = Vats::ready();
    let config = vat_warehouse::WarehouseConfig::default();
    let warehouse = vat_warehouse::Warehouse::open_existing(&vats.data(), config).unwrap();
    // Looking into it is possible, changing it is not.
    vats.run(&["list"]).run(&["evict", "alice"]);
    drop(warehouse);
    vats.run(&["evict", "alice"]);
    vats.saw(expect![[r#"
        $ vats list
        there are no vats; `vats create` makes one
        $ vats evict alice
        ! error: the store DIR/data/lock is in use by another process: stop that process, or choose another data directory
        = 1
        $ vats evict alice
        ! error: there is no vat alice; `vats list` shows which there are
        = 1
    "#]]);
}

#[test]
fn a_store_that_is_damaged() {
    let mut vats = Vats::ready();
    std::fs::write(vats.data().join("store.sqlite"), "this was a store").unwrap();
    vats.run(&["list"]).run(&["init"]);
    vats.saw(expect![[r#"
        $ vats list
        ! error: the store is damaged: DIR/data/store.sqlite: file is not a database, found on trying to open the store; restore it from a backup or an export
        = 1
        $ vats init
        ! error: the store is damaged: DIR/data/store.sqlite: file is not a database, found on trying to open the store; restore it from a backup or an export
        = 1
    "#]]);
}

#[test]
fn a_store_in_which_the_row_of_one_vat_is_damaged() {
    let mut vats = Vats::with_alice(&answering("#1"));
    vats.json(&["create", "bob", "program"]);
    let store = vats.data().join("store.sqlite");
    let mut bytes = std::fs::read(&store).unwrap();
    let options = b"\"computrons_per_delivery\":";
    // A page is filled from its end: the last place is that of the first row.
    let at = bytes.windows(options.len()).rposition(|window| window == options).expect("alice's options");
    bytes[at + 1] ^= 1;
    std::fs::write(&store, bytes).unwrap();
    vats.run(&["list"])
        .run(&["list", "--json"])
        .run(&["send", "bob", "x"])
        .run(&["send", "alice", "x"])
        .run(&["scrub", "--repair"])
        .run(&["list"]);
    vats.saw(expect![[r#"
        $ vats list
        VAT  MODULE   DELIVERIES  STATUS
        bob  program  1           alive
        ?    ?        ?           damaged: the row id 1 of the table vats is not what was written
        ! error: 1 vat cannot be read; `vats scrub --repair` mends what can be mended
        = 1
        $ vats list --json
        [{"deliveries":1,"id":2,"incarnation":0,"module":"program","module_hash":"45c287c1056419040568a4160aca96ed0b376a1cb42fdea90e04a5c3daee0779","reason":null,"status":"alive","vat":"bob"},{"reason":"the row id 1 of the table vats is not what was written","status":"damaged","vat":null}]
        ! error: 1 vat cannot be read; `vats scrub --repair` mends what can be mended
        = 1
        $ vats send bob x
        1
        $ vats send alice x
        ! error: the store is damaged: the row id 1 of the table vats is not what was written; `vats scrub --repair` mends what can be mended
        = 1
        $ vats scrub --repair
        read 1 pages in 1 layer, and the records of 2 vats
        mended: the row id 1 of the table vats, found damaged
        $ vats list
        VAT    MODULE   DELIVERIES  STATUS
        alice  program  1           alive
        bob    program  2           alive
    "#]]);
}
