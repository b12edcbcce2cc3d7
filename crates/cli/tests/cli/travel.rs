//! Looking back, and what to do with a vat whose replay differs.

use expect_test::expect;

use crate::commands::tampered;
use crate::harness::Vats;
use crate::wat::vat;

/// A vat that keeps the number of its last message under `last`, and answers it.
fn counting() -> Vats {
    let syscalls =
        [r#"["vatstoreSet","last","@"]"#, r##"["resolve",[["p-6@",false,{"body":"#@","slots":[]}]]]"##];
    let vats = Vats::with_alice(&vat(&syscalls, "(i32.const 0)"));
    for _ in 0..3 {
        assert!(vats.output(&["send", "alice", "next"]).status.success());
    }
    assert!(vats.output(&["evict", "alice"]).status.success());
    vats
}

#[test]
fn a_vat_as_it_was() {
    let mut vats = counting();
    vats.run(&["at", "alice", "1"])
        .run(&["at", "alice", "1", "--keys", "--json"])
        .run(&["at", "alice", "0", "--send", "next"])
        .run(&["at", "alice", "2", "--send", "next", "[1]", "--json"])
        .run(&["send", "alice", "next"])
        .run(&["at", "alice", "7"])
        .run(&["at", "bob", "0"])
        .run(&["at", "alice", "1", "--dump", "heap.bin"])
        .run(&["bisect", "alice"])
        .run(&["bisect", "alice", "--json"]);
    vats.saw(expect![[r##"
        $ vats at alice 1
        vat             alice
        after delivery  1
        replayed        2 deliveries
        heap            64.0 KiB
        heap root       HASH
        storage keys    1
        $ vats at alice 1 --keys --json
        {"heap_bytes":65536,"position":1,"replayed":2,"root":"db966e1cd841011ff2a6843d9b60df121f0cfb5f638e4fe907fcd1124f9e99dc","storage":{"last":"1"},"storage_keys":1,"vat":"alice"}
        $ vats at alice 0 --send next
        1
        $ vats at alice 2 --send next '[1]' --json
        {"answer":{"capdata":{"body":"#3","slots":[]},"status":"fulfilled","value":3},"computrons":2143,"method":"next","position":2,"vat":"alice"}
        $ vats send alice next
        4
        $ vats at alice 7
        ! error: the vat alice has had no delivery 7; its deliveries are 0 to 4
        = 1
        $ vats at bob 0
        ! error: there is no vat bob; `vats list` shows which there are
        = 1
        $ vats at alice 1 --dump heap.bin
        vat             alice
        after delivery  1
        replayed        2 deliveries
        heap            64.0 KiB
        heap root       HASH
        storage keys    1
        ! note: wrote 64.0 KiB of heap to heap.bin
        $ vats bisect alice
        nothing differs; 1 heap root as stored
        $ vats bisect alice --json
        {"finding":null,"roots":1,"vat":"alice"}
    "##]]);
    assert_eq!(vats.read("heap.bin").len(), 65_536);
}

#[test]
fn what_differs() {
    let mut vats = counting();
    vats.run(&["diff", "alice", "0", "2"])
        .run(&["diff", "alice", "2", "2"])
        .run(&["diff", "alice", "1", "2", "--json"]);
    vats.saw(expect![[r#"
        $ vats diff alice 0 2
        heap of 64.0 KiB: 3 bytes in 1 page differ
          page 0: 3 bytes, first at 0x17: 0x30, then 0x32
        global 0: I32(0), then I32(2)
        key last: none, then "2"
        $ vats diff alice 2 2
        heap of 64.0 KiB: 0 bytes in 0 pages differ
        $ vats diff alice 1 2 --json
        {"a":1,"b":2,"globals":[{"after":"I32(2)","before":"I32(1)","index":0}],"heap_bytes":[65536,65536],"keys":[{"after":"2","before":"1","key":"last"}],"pages":[{"address":23,"after":50,"before":49,"bytes":3,"count":1,"first":0}],"vat":"alice"}
    "#]]);
}

#[test]
fn a_quarantined_vat_is_told_of_and_released_by_force_alone() {
    let mut vats = tampered(false);
    assert!(!vats.output(&["send", "alice", "x"]).status.success());
    vats.run(&["replay", "alice"])
        .run(&["bisect", "alice"])
        .run(&["release", "alice"])
        .run(&["release", "alice", "--force"])
        .run(&["release", "alice"])
        .run(&["release", "bob"]);
    vats.saw(expect![[r##"
        $ vats replay alice
        alice: quarantined: delivery 2: wrong syscall at index 0: expected resolve p-62 fulfilled #7, got resolve p-62 fulfilled #2
          wrong        0  expected  resolve p-62 fulfilled #7
                          got       resolve p-62 fulfilled #2
                          at [1][0][2].body: "#7", not "#2"
        identical: 0 of 1 vat (0 deliveries replayed, 0 bytes of heap compared)
        ! error: 1 of 1 vat could not be shown to be identical to a replay
        = 1
        $ vats bisect alice
        delivery 2: wrong syscall at index 0: expected resolve p-62 fulfilled #7, got resolve p-62 fulfilled #2
          wrong        0  expected  resolve p-62 fulfilled #7
                          got       resolve p-62 fulfilled #2
                          at [1][0][2].body: "#7", not "#2"
        0 heap roots as stored before that
        ! error: a replay of alice differs from what is stored
        = 1
        $ vats release alice
        ! error: alice stays quarantined, since its replay still differs: delivery 2: wrong syscall at index 0: expected resolve p-62 fulfilled #7, got resolve p-62 fulfilled #2; `vats replay alice` shows it in full
        = 1
        $ vats release alice --force
        alice takes deliveries again
        $ vats release alice
        alice was not quarantined
        $ vats release bob
        ! error: there is no vat bob; `vats list` shows which there are
        = 1
    "##]]);
}
