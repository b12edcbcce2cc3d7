//! The vat that is measured: a heap of a given size, of which each delivery writes as many pages as the message says.
//!
//! ```text
//!   page 0          delivery at 1 KiB, syscall at 2 KiB: written by every delivery
//!   pages 1..       filled with varied content at birth
//!   message         #["write",[K,S]]: write page 0 and K - 1 pages scattered over the heap, which ones S decides
//! ```
//!
//! The pages of one delivery are distinct (a stride that divides no heap's length), so K is the number of dirty pages after
//! a restore. With [`Syscalls::Store`] it also writes three keys of ten thousand, as `commit` figures want it.

use vat_abi::{CapData, Delivery, LogLevel, Message, Syscall, SyscallResult, Vref};
use vat_warehouse::{SyscallHandler, SyscallVerdict};

/// 4 KiB pages in a page of WebAssembly.
const PAGES_PER_WASM_PAGE: u32 = 16;

/// Keys that a vat with [`Syscalls::Store`] writes over and over.
pub(crate) const KEYS: u32 = 10_000;

/// A heap's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HeapSize(pub(crate) u32);

impl HeapSize {
    /// One mebibyte.
    pub(crate) const MIB: HeapSize = HeapSize(1);

    /// Pages of 64 KiB.
    fn wasm_pages(self) -> u32 {
        self.0 * 16
    }
}

impl std::fmt::Display for HeapSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            mib if mib >= 1024 && mib.is_multiple_of(1024) => write!(f, "{}GiB", mib / 1024),
            mib => write!(f, "{mib}MiB"),
        }
    }
}

/// What a delivery asks of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syscalls {
    /// Nothing.
    None,
    /// To resolve the message's result.
    Resolve,
    /// To store a value under three keys.
    Store,
}

/// The module's binary.
pub(crate) fn module(heap: HeapSize, syscalls: Syscalls) -> Vec<u8> {
    let asked = syscall_text(syscalls);
    // Where the key's number is put; elsewhere a place that nobody reads.
    let number = asked.find("00000").map_or(3072, |at| 2048 + at);
    let text = TEMPLATE
        .replace("$HEAP", &heap.wasm_pages().to_string())
        .replace("$PAGES", &(heap.wasm_pages() * PAGES_PER_WASM_PAGE).to_string())
        .replace("$ARGUMENTS", &(1024 + arguments_offset()).to_string())
        .replace("$TEXT", &asked.replace('"', "\\\""))
        .replace("$LENGTH", &asked.len().to_string())
        .replace("$TIMES", &times(syscalls).to_string())
        .replace("$NUMBER", &number.to_string());
    wat::parse_str(text).expect("the bench's own module is well formed")
}

/// A delivery that writes `pages` pages, which ones `seed` decides.
pub(crate) fn write(pages: u32, seed: u32) -> Delivery {
    let methargs = CapData::data(body(pages, seed));
    let result = Some("p-60".parse().expect("a promise"));
    Delivery::Message { target: Vref::root(), message: Message { methargs, result } }
}

/// The body of that delivery's message.
pub(crate) fn body(pages: u32, seed: u32) -> String {
    format!("#[\"write\",[{pages},{seed}]]")
}

/// The keys and values that a delivery with this seed stores.
pub(crate) fn stored(seed: u32) -> Vec<(String, String)> {
    let key = |n: u32| (u64::from(seed) * 3 + u64::from(n)) * 7919 % u64::from(KEYS);
    (0..3).map(|n| (format!("k.{:05}", key(n)), VALUE.to_owned())).collect()
}

/// Answers everything at once and remembers nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quiet;

impl SyscallHandler for Quiet {
    fn syscall(&mut self, _syscall: &Syscall) -> SyscallVerdict {
        SyscallVerdict::Answer(SyscallResult::Ok(None))
    }

    fn log(&mut self, _level: LogLevel, _text: &str) {}
}

/// Where the numbers begin in a delivery's JSON.
fn arguments_offset() -> usize {
    let json = write(777, 0).to_json();
    json.find("777").expect("the number stands in the message")
}

/// A hundred bytes.
const VALUE: &str = "the value of a key, a hundred bytes long, of which nobody reads any; they are written again and again...";

/// Syscalls that a delivery makes.
fn times(syscalls: Syscalls) -> u32 {
    match syscalls {
        Syscalls::None => 0,
        Syscalls::Resolve => 1,
        Syscalls::Store => 3,
    }
}

/// What a syscall's bytes are.
fn syscall_text(syscalls: Syscalls) -> String {
    match syscalls {
        Syscalls::None => String::new(),
        Syscalls::Resolve => r##"["resolve",[["p-60",false,{"body":"#1","slots":[]}]]]"##.to_owned(),
        Syscalls::Store => format!(r#"["vatstoreSet","k.00000","{VALUE}"]"#),
    }
}

const TEMPLATE: &str = r#"
(module
  (import "vat" "delivery_read" (func $delivery_read (param i32)))
  (import "vat" "syscall" (func $syscall (param i32 i32) (result i32)))
  (memory (export "memory") $HEAP)
  (global $at (mut i32) (i32.const 0))
  (global $deliveries (mut i64) (i64.const 0))
  (data (i32.const 2048) "$TEXT")

  ;; The finalizer of SplitMix64: varied content from a counter.
  (func $mix (param $x i64) (result i64)
    (local.set $x (i64.mul (i64.add (local.get $x) (i64.const 1)) (i64.const 0x9e3779b97f4a7c15)))
    (local.set $x (i64.mul (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 30))) (i64.const 0xbf58476d1ce4e5b9)))
    (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 31))))

  ;; Writes a word to the first page, behind what it is used for, and eight words to every other.
  (func $fill
    (local $page i32) (local $word i32)
    (i64.store (i32.const 4088) (call $mix (i64.const 0)))
    (local.set $page (i32.const 1))
    (loop $pages
      (local.set $word (i32.const 0))
      (loop $words
        (i64.store
          (i32.add (i32.shl (local.get $page) (i32.const 12)) (i32.shl (local.get $word) (i32.const 9)))
          (call $mix (i64.extend_i32_u (i32.add (i32.shl (local.get $page) (i32.const 3)) (local.get $word)))))
        (local.set $word (i32.add (local.get $word) (i32.const 1)))
        (br_if $words (i32.lt_u (local.get $word) (i32.const 8))))
      (local.set $page (i32.add (local.get $page) (i32.const 1)))
      (br_if $pages (i32.lt_u (local.get $page) (i32.const $PAGES)))))
  (start $fill)

  ;; Reads a decimal number at $at, and goes past the byte behind it.
  (func $number (result i32)
    (local $n i32) (local $digit i32)
    (loop $digits
      (local.set $digit (i32.sub (i32.load8_u (global.get $at)) (i32.const 48)))
      (global.set $at (i32.add (global.get $at) (i32.const 1)))
      (if (i32.lt_u (local.get $digit) (i32.const 10))
        (then
          (local.set $n (i32.add (i32.mul (local.get $n) (i32.const 10)) (local.get $digit)))
          (br $digits))))
    (local.get $n))

  ;; Writes five decimal digits.
  (func $digits (param $to i32) (param $n i32)
    (local $end i32)
    (local.set $end (local.get $to))
    (local.set $to (i32.add (local.get $to) (i32.const 5)))
    (loop $next
      (local.set $to (i32.sub (local.get $to) (i32.const 1)))
      (i32.store8 (local.get $to) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
      (br_if $next (i32.gt_u (local.get $to) (local.get $end)))))

  (func (export "vat_deliver") (param $len i32) (result i32)
    (local $left i32) (local $seed i32) (local $page i32) (local $times i32)
    (global.set $deliveries (i64.add (global.get $deliveries) (i64.const 1)))
    (call $delivery_read (i32.const 1024))
    (global.set $at (i32.const $ARGUMENTS))
    (local.set $left (call $number))
    (local.set $seed (call $number))
    (local.set $page (i32.wrap_i64 (i64.rem_u (call $mix (i64.extend_i32_u (local.get $seed))) (i64.const 0x7fffffff))))
    (block $written
      (loop $write
        (br_if $written (i32.le_u (local.get $left) (i32.const 1)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        ;; A prime stride over the pages behind the first: no page twice.
        (local.set $page
          (i32.rem_u (i32.add (local.get $page) (i32.const 104729)) (i32.sub (i32.const $PAGES) (i32.const 1))))
        (i64.store
          (i32.add (i32.const 8) (i32.shl (i32.add (local.get $page) (i32.const 1)) (i32.const 12)))
          (i64.add
            (call $mix (i64.extend_i32_u (i32.add (local.get $seed) (local.get $left))))
            (global.get $deliveries)))
        (br $write)))
    (block $asked
      (loop $ask
        (br_if $asked (i32.eq (local.get $times) (i32.const $TIMES)))
        (call $digits
          (i32.const $NUMBER)
          (i32.wrap_i64 (i64.rem_u
            (i64.mul
              (i64.add (i64.mul (i64.extend_i32_u (local.get $seed)) (i64.const 3)) (i64.extend_i32_u (local.get $times)))
              (i64.const 7919))
            (i64.const 10000))))
        (drop (call $syscall (i32.const 2048) (i32.const $LENGTH)))
        (local.set $times (i32.add (local.get $times) (i32.const 1)))
        (br $ask)))
    (i32.const 0)))
"#;
