//! The corpus: what is tried, how it must end, and how much memory it may take of its host.

use crate::bombs;

/// Builds a module, or what is given as a syscall.
type Bytes = fn() -> Vec<u8>;
/// Builds a message's body.
type Text = fn() -> String;

/// One try.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) guest: Guest,
    pub(crate) ending: Ending,
    /// Mebibytes that the process may grow by.
    pub(crate) mebibytes_max: u64,
}

/// What tries it.
pub(crate) enum Guest {
    /// Nobody: the good vat is alone.
    None,
    /// A module.
    Bomb(Bytes),
    /// A vat that does this, in the text format, in every delivery after its start; see [`doing`].
    Does(&'static str),
    /// A vat that makes a syscall of these bytes.
    Says(Bytes),
    /// A message with this body, to a good vat.
    Told(Text),
}

/// How it must end, and why.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It is accepted, and does as it is told.
    Lives,
    /// The module is refused, with these words among others.
    Refused(&'static str),
    /// No vat comes to be.
    NotCreated(&'static str),
    /// Each delivery is this fault.
    Faults(&'static str),
    /// The delivery is refused before the vat sees it.
    NotDelivered(&'static str),
}

/// No case at all.
pub(crate) const NOBODY: Case =
    Case { name: "nobody", guest: Guest::None, ending: Ending::Lives, mebibytes_max: 16 };

/// A vat whose start succeeds, and whose every later delivery does `body`.
pub(crate) fn doing(body: &str) -> String {
    format!(
        r#"(module
          (import "vat" "delivery_read" (func $delivery_read (param i32)))
          (import "vat" "syscall" (func $syscall (param i32 i32) (result i32)))
          (import "vat" "result_read" (func $result_read (param i32)))
          (import "vat" "log" (func $log (param i32 i32 i32)))
          (import "vat" "fail" (func $fail (param i32 i32)))
          (memory (export "memory") 256)
          (type $nothing (func))
          (table 2 funcref) (elem (i32.const 0) $recurse $through_table)
          (global $started (mut i32) (i32.const 0))
          (data (i32.const 0) "[\"vatstoreGet\",\"k\"]")
          (data (i32.const 100) "[\"vatstoreSet\",\"k\",\"0123456789abcdef0123456789abcdef\"]")
          (data (i32.const 200) "[\"vatstoreGetNextKey\",\"\"]")
          (data (i32.const 300) "[\"vatstoreSet\",\"k\",\"")
          (func $recurse (call $recurse))
          (func $through_table (call_indirect (type $nothing) (i32.const 1)))
          (func $ping (call $pong)) (func $pong (call $ping))
          (func (export "vat_deliver") (param $len i32) (result i32) (local $n i32)
            (if (i32.eqz (global.get $started)) (then (global.set $started (i32.const 1)) (return (i32.const 0))))
            {body}))"#
    )
}

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![NOBODY];
    cases.extend(modules());
    cases.extend(behaviours());
    cases.extend(sayings());
    cases.extend(messages());
    cases
}

/// Modules, built.
fn modules() -> Vec<Case> {
    use Ending::{Lives, NotCreated, Refused};
    let table: Vec<(&'static str, Bytes, Ending, u64)> = vec![
        // Beyond a limit.
        ("module/empty", Vec::new, Refused("not valid"), 16),
        ("module/lengths-beyond-the-end", bombs::lengths_beyond_the_end, Refused("not valid"), 16),
        ("module/64-MiB-and-more", || bombs::custom_section(64 << 20), Refused("at most"), 400),
        ("module/names-of-garbage", bombs::broken_names, Lives, 64),
        ("module/function-too-long", bombs::a_function_that_is_too_long, Refused("bytes"), 64),
        ("module/50,001-functions", || bombs::functions(50_001), Refused("functions"), 64),
        ("module/20,001-types", || bombs::types(20_001), Refused("types"), 32),
        ("module/1,001-values-in-a-signature", || bombs::signature(1_001), Refused("out of bounds"), 32),
        ("module/101-imports", || bombs::imports(101), Refused("imports"), 32),
        ("module/10,001-exports", || bombs::exports(10_001), Refused("exports"), 32),
        ("module/5,001-globals", || bombs::globals(5_001), Refused("globals"), 32),
        ("module/17-tables", || bombs::tables(17, 1), Refused("tables"), 32),
        ("module/4-billion-elements", || bombs::tables(1, u64::from(u32::MAX)), Refused("elements"), 32),
        (
            "module/10,001-element-segments",
            || bombs::element_segments(10_001),
            Refused("element segments"),
            128,
        ),
        ("module/99,001-data-segments", || bombs::data_segments(99_001), Refused("data segments"), 64),
        ("module/4-billion-locals", bombs::four_billion_locals, Refused("locals"), 32),
        ("module/nesting-100,000", || bombs::nesting(100_000), Refused("nested"), 32),
        ("module/100,000-operands", || bombs::operands(100_000), Refused("values on the stack"), 32),
        (
            "module/more-locals-through-loops",
            || bombs::locals_through_loops(19_000, 150),
            Refused("locals carried by loops"),
            64,
        ),
        (
            "module/more-tables-of-branches",
            || bombs::tables_of_branches(990, 500, 990, 900),
            Refused("values passed along by branches"),
            64,
        ),
        (
            "module/more-locals-through-branches",
            || bombs::locals_through_branches(19_000, 20_000),
            Refused("blocks times locals"),
            64,
        ),
        (
            "module/few-locals-through-more-loops",
            || bombs::locals_through_loops(8, 4_900),
            Refused("loops within each other"),
            64,
        ),
        // At the limit: accepted, and bounded.
        ("module/nesting-5,000", || bombs::nesting(4_990), Lives, 64),
        ("module/one-long-function", bombs::one_long_function, Lives, 1_024),
        ("module/many-values-alive", bombs::many_values_alive, Lives, 256),
        ("module/locals-through-few-loops", || bombs::locals_through_loops(1_900, 20), Lives, 256),
        ("module/locals-through-loops", || bombs::locals_through_loops(195, 200), Lives, 256),
        ("module/few-locals-through-loops", || bombs::locals_through_loops(250, 155), Lives, 256),
        ("module/locals-through-branches", || bombs::locals_through_branches(4_000, 4_900), Lives, 1_024),
        ("module/a-table-of-branches", bombs::a_table_of_branches, Lives, 512),
        ("module/many-tables-of-branches", || bombs::tables_of_branches(120, 200, 120, 120), Lives, 512),
        ("module/a-table-of-more-branches", || bombs::tables_of_branches(4_900, 1, 65_000, 3), Lives, 512),
        ("module/50,000-functions", || bombs::functions(50_000), Lives, 512),
        ("module/wide-signatures", bombs::wide_signatures, Lives, 512),
        ("module/many-functions-that-work", bombs::many_functions_that_work, Lives, 512),
        ("module/5,000-globals", || bombs::globals(5_000), Lives, 64),
        ("module/10,000-exports", || bombs::exports(9_000), Lives, 64),
        ("module/100,000-elements", || bombs::tables(1, 100_000), Lives, 64),
        ("module/10,000-element-segments", || bombs::element_segments(10_000), Lives, 256),
        ("module/99,000-data-segments", || bombs::data_segments(99_000), Lives, 1_024),
        ("module/4-GiB-of-memory", || bombs::memory(65_536), NotCreated("memory"), 64),
        ("module/start-without-end", bombs::a_start_without_end, Refused("birth"), 32),
        ("module/start-that-fills-memory", bombs::a_start_that_fills_all_memory, NotCreated("memory"), 128),
    ];
    table
        .into_iter()
        .map(|(name, build, ending, mebibytes_max)| Case {
            name,
            guest: Guest::Bomb(build),
            ending,
            mebibytes_max,
        })
        .collect()
}

/// What vats do, where `tests/e2e/faults.rs` does not have it already: what could take memory or time.
fn behaviours() -> Vec<Case> {
    use Ending::{Faults, Lives};
    let table: Vec<(&'static str, &'static str, Ending, u64)> = vec![
        ("does/recursion", "(call $recurse) (i32.const 0)", Faults("stack overflow"), 96),
        (
            "does/recursion-through-a-table",
            "(call $through_table) (i32.const 0)",
            Faults("stack overflow"),
            96,
        ),
        ("does/recursion-of-two", "(call $ping) (i32.const 0)", Faults("stack overflow"), 96),
        ("does/a-loop", "(loop $l (br $l)) (i32.const 0)", Faults("out of computrons"), 32),
        (
            "does/growth-to-the-limit",
            "(drop (memory.grow (i32.const 256))) (memory.fill (i32.const 0) (local.get $len) (i32.const 0x2000000)) (i32.const 0)",
            Lives,
            160,
        ),
        (
            "does/growth-beyond",
            "(if (i32.ne (memory.grow (i32.const 257)) (i32.const -1)) (then (unreachable))) (i32.const 0)",
            Lives,
            32,
        ),
        (
            "does/growth-again-and-again",
            "(loop $l (drop (memory.grow (i32.const 1))) (br $l)) (i32.const 0)",
            Faults("out of computrons"),
            32,
        ),
        (
            "does/a-flood-of-reads",
            "(loop $l (drop (call $syscall (i32.const 0) (i32.const 19))) (br $l)) (i32.const 0)",
            Faults("syscall limit"),
            256,
        ),
        (
            "does/a-flood-of-writes",
            "(loop $l (drop (call $syscall (i32.const 100) (i32.const 54))) (br $l)) (i32.const 0)",
            Faults("syscall limit"),
            256,
        ),
        (
            "does/a-walk-without-end",
            "(loop $l (drop (call $syscall (i32.const 200) (i32.const 25))) (br $l)) (i32.const 0)",
            Faults("syscall limit"),
            256,
        ),
        (
            "does/values-of-8-MiB",
            // The value is all `a`, then `"]`; 8 MiB and their frame.
            r#"(memory.fill (i32.const 320) (i32.const 97) (i32.const 0x7ffff0))
               (i32.store16 (i32.const 0x800130) (i32.const 0x5d22))
               (loop $l (drop (call $syscall (i32.const 300) (i32.const 0x800006))) (br $l)) (i32.const 0)"#,
            Faults("syscall limit"),
            512,
        ),
        (
            // The bytes are charged before they are looked for.
            "does/a-length-near-2^32",
            "(drop (call $syscall (i32.const 0) (i32.const -1))) (i32.const 0)",
            Faults("out of computrons"),
            32,
        ),
        (
            "does/a-line-that-overlaps-the-end",
            "(call $log (i32.const 0) (i32.const 0xffffff) (i32.const 2)) (i32.const 0)",
            Faults("bad pointer"),
            32,
        ),
        (
            "does/a-flood-of-empty-lines",
            "(loop $l (call $log (i32.const 4) (i32.const 0) (i32.const 0)) (br $l)) (i32.const 0)",
            Faults("out of computrons"),
            32,
        ),
        (
            "does/a-flood-of-reasons",
            "(loop $l (call $fail (i32.const 0) (i32.const 16)) (br $l)) (i32.const 0)",
            Faults("out of computrons"),
            32,
        ),
        (
            "does/a-flood-of-deliveries-read",
            "(loop $l (call $delivery_read (i32.const 0)) (br $l)) (i32.const 0)",
            Faults("out of computrons"),
            32,
        ),
    ];
    table
        .into_iter()
        .map(|(name, body, ending, mebibytes_max)| Case {
            name,
            guest: Guest::Does(body),
            ending,
            mebibytes_max,
        })
        .collect()
}

/// Bytes given as a syscall.
fn sayings() -> Vec<Case> {
    const BAD: &str = "bad syscall bytes";
    const FORGED: &str = "illegal syscall";
    use Ending::{Faults, Lives};
    let table: Vec<(&'static str, Bytes, Ending)> = vec![
        ("says/nothing", Vec::new, Faults(BAD)),
        ("says/half-an-array", || b"[\"vatstoreGet\"".to_vec(), Faults(BAD)),
        ("says/null", || b"null".to_vec(), Faults(BAD)),
        ("says/an-empty-array", || b"[]".to_vec(), Faults(BAD)),
        ("says/what-nobody-knows", || b"[\"callNow\",\"d-1\"]".to_vec(), Faults(BAD)),
        ("says/one-thing-too-many", || b"[\"vatstoreGet\",\"k\",\"k\"]".to_vec(), Faults(BAD)),
        ("says/something-behind-it", || b"[\"vatstoreGet\",\"k\"] []".to_vec(), Faults(BAD)),
        ("says/a-number-for-a-key", || b"[\"vatstoreGet\",7]".to_vec(), Faults(BAD)),
        ("says/an-empty-key", || b"[\"vatstoreGet\",\"\"]".to_vec(), Faults(BAD)),
        ("says/a-key-of-8-KiB", || quoted("[\"vatstoreGet\",\"", 8_192), Lives),
        ("says/a-key-of-8-KiB-and-1", || quoted("[\"vatstoreGet\",\"", 8_193), Faults(BAD)),
        ("says/a-key-of-zeros", || br#"["vatstoreSet","\u0000\u0000","\u0000"]"#.to_vec(), Lives),
        ("says/a-bare-zero", || b"[\"vatstoreGet\",\"\0\"]".to_vec(), Faults(BAD)),
        ("says/half-a-surrogate", || br#"["vatstoreGet","\ud800"]"#.to_vec(), Faults(BAD)),
        ("says/no-utf-8", || b"[\"vatstoreGet\",\"\xff\xfe\"]".to_vec(), Faults(BAD)),
        ("says/utf-8-longer-than-it-need-be", || b"[\"vatstoreGet\",\"\xc0\xaf\"]".to_vec(), Faults(BAD)),
        ("says/a-mark-of-byte-order", || b"\xef\xbb\xbf[\"vatstoreGet\",\"k\"]".to_vec(), Faults(BAD)),
        ("says/brackets", || vec![b'['; 1 << 20], Faults(BAD)),
        ("says/brackets-in-data", || nested("[\"exit\",false,{\"body\":", 1_000_000), Faults(BAD)),
        ("says/braces", || b"{\"a\":".repeat(500_000), Faults(BAD)),
        ("says/a-long-number", || [b"[\"exit\",".as_slice(), &[b'9'; 1 << 20]].concat(), Faults(BAD)),
        ("says/an-infinite-number", || b"[\"exit\",1e99999,{}]".to_vec(), Faults(BAD)),
        (
            "says/a-key-twice",
            || br##"["exit",false,{"body":"#1","body":"#2","slots":[]}]"##.to_vec(),
            Faults(BAD),
        ),
        ("says/65,537-slots", || slots(65_537), Faults(BAD)),
        ("says/65,536-slots", || slots(65_536), Lives),
        ("says/a-reference-of-too-many-digits", || subscribe("p-18446744073709551616"), Faults(BAD)),
        ("says/a-reference-with-zeros", || subscribe("p-007"), Faults(BAD)),
        ("says/a-reference-without-a-number", || subscribe("p-"), Faults(BAD)),
        ("says/a-reference-to-an-object", || subscribe("o-1"), Faults(BAD)),
        ("says/a-forged-promise", || subscribe("p-61"), Faults(FORGED)),
        ("says/its-own-promise", || subscribe("p-60"), Lives),
        (
            "says/to-a-forged-object",
            || br##"["send","o-999",{"methargs":{"body":"#[]","slots":[]}}]"##.to_vec(),
            Faults(FORGED),
        ),
        (
            "says/a-forged-reference-in-a-slot",
            || br##"["send","o+0",{"methargs":{"body":"#[]","slots":["o-1000000"]}}]"##.to_vec(),
            Faults(FORGED),
        ),
        ("says/forged-retirements", || br#"["retireImports",["o-1","o-2"]]"#.to_vec(), Faults(FORGED)),
    ];
    table
        .into_iter()
        .map(|(name, bytes, ending)| Case { name, guest: Guest::Says(bytes), ending, mebibytes_max: 256 })
        .collect()
}

/// Messages that a caller passes on without looking.
fn messages() -> Vec<Case> {
    use Ending::{Lives, NotDelivered};
    let table: Vec<(&'static str, Text, Ending)> = vec![
        ("told/nothing", String::new, Lives),
        ("told/10-MiB", || "a".repeat(10 << 20), Lives),
        ("told/17-MiB", || "a".repeat(17 << 20), NotDelivered("bytes")),
        ("told/4-MiB-that-are-16-as-text", || "\u{1}".repeat(4 << 20), NotDelivered("bytes")),
        ("told/brackets", || "[".repeat(1 << 20), Lives),
        ("told/zeros", || "\0".repeat(1 << 10), Lives),
    ];
    table
        .into_iter()
        .map(|(name, body, ending)| Case { name, guest: Guest::Told(body), ending, mebibytes_max: 384 })
        .collect()
}

/// `start`, as many letters, and the end of string and array.
fn quoted(start: &str, letters: usize) -> Vec<u8> {
    [start.as_bytes(), &vec![b'k'; letters], b"\"]"].concat()
}

fn nested(start: &str, depth: usize) -> Vec<u8> {
    [start.as_bytes(), &vec![b'['; depth]].concat()
}

fn slots(count: usize) -> Vec<u8> {
    let slots = vec!["\"o+1\""; count].join(",");
    format!("[\"exit\",false,{{\"body\":\"#1\",\"slots\":[{slots}]}}]").into_bytes()
}

fn subscribe(promise: &str) -> Vec<u8> {
    format!("[\"subscribe\",\"{promise}\"]").into_bytes()
}
