//! Vats that misbehave: the delivery faults and is recorded, and nothing else notices.

use expect_test::{Expect, expect};

use crate::harness::Vats;
use crate::wat::counting_until;

/// Three messages are answered, the fourth faults; what the vat knows is as before, so that the one after it is its fourth again.
/// A second vat of the same module does not notice, and the replay of both is identical.
fn check(fourth: &str, expected: Expect) {
    check_limited(fourth, &["--computrons", "100000"], expected);
}

fn check_limited(fourth: &str, limits: &[&str], expected: Expect) {
    let mut vats = Vats::with_alice_limited(&counting_until(fourth), limits);
    assert!(vats.output(&["create", "bob", "program"]).status.success());
    for position in 1..=3 {
        assert_eq!(vats.json(&["send", "alice", "x"])["value"], position);
    }
    vats.run(&["send", "alice", "x"]);
    assert_eq!(vats.json(&["send", "bob", "x"])["value"], 1);
    assert_eq!(vats.json(&["show", "alice"])["deliveries"], 5);
    assert_eq!(vats.json(&["replay"])["verdict"], "identical");
    assert_eq!(
        vats.output(&["send", "alice", "x"]).status.code(),
        Some(1),
        "it goes on from before the fault"
    );
    vats.saw(expected);
}

#[test]
fn a_vat_that_loops() {
    check(
        "(loop (br 0))",
        expect![[r#"
        $ vats send alice x
        ! error: alice faulted in x, and what that changed is undone: out of computrons
        = 1
    "#]],
    );
}

#[test]
fn a_vat_that_overflows_its_stack() {
    check_limited(
        "(call $recurse)",
        &[],
        expect![[r#"
        $ vats send alice x
        ! error: alice faulted in x, and what that changed is undone: stack overflow
        = 1
    "#]],
    );
}

#[test]
fn a_vat_that_traps() {
    check(
        "(unreachable)",
        expect![[r#"
        $ vats send alice x
        ! error: alice faulted in x, and what that changed is undone: trap: unreachable
        = 1
    "#]],
    );
}

#[test]
fn a_vat_that_divides_by_zero() {
    check(
        "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
        expect![[r#"
        $ vats send alice x
        ! error: alice faulted in x, and what that changed is undone: trap: division by zero
        = 1
    "#]],
    );
}

#[test]
fn a_vat_that_reads_outside_its_memory() {
    check(
        "(drop (i32.load (i32.const -8)))",
        expect![[r#"
        $ vats send alice x
        ! error: alice faulted in x, and what that changed is undone: trap: out of bounds memory access
        = 1
    "#]],
    );
}

#[test]
fn a_vat_that_asks_for_4_gib() {
    // It is told that there is no more, and gives up, as an allocator does.
    check_limited(
        "(if (i32.eq (memory.grow (i32.const 65535)) (i32.const -1)) (then (unreachable)))",
        &["--memory-pages", "100"],
        expect![[r#"
            $ vats send alice x
            ! error: alice faulted in x, and what that changed is undone: trap: unreachable
            = 1
        "#]],
    );
}

#[test]
fn a_vat_that_passes_a_pointer_outside_its_memory() {
    check(
        "(drop (call $syscall (i32.const -8) (i32.const 100)))",
        expect![[r#"
        $ vats send alice x
        ! error: alice faulted in x, and what that changed is undone: bad pointer
        = 1
    "#]],
    );
}

#[test]
fn a_vat_whose_syscall_is_broken_json() {
    check(
        "(drop (call $syscall (i32.const 0) (i32.const 5)))",
        expect![[r#"
            $ vats send alice x
            ! ERROR guest: the bytes of a syscall are not one: decode syscall: EOF while parsing a string at line 1 column 5 vat=alice
            ! error: alice faulted in x, and what that changed is undone: bad syscall bytes
            = 1
        "#]],
    );
}

#[test]
fn a_vat_that_returns_another_status() {
    check(
        "(return (i32.const 7))",
        expect![[r#"
        $ vats send alice x
        ! error: alice faulted in x, and what that changed is undone: failed
        = 1
    "#]],
    );
}

#[test]
fn a_vat_that_says_why_it_fails() {
    check(
        "(call $fail (i32.const 2) (i32.const 7)) (return (i32.const 1))",
        expect![[r#"
        $ vats send alice x
        ! error: alice faulted in x, and what that changed is undone: failed: resolve
        = 1
    "#]],
    );
}

#[test]
fn a_vat_whose_start_faults_is_not_made() {
    let mut vats = Vats::ready();
    vats.file("bad.wat", crate::wat::module("", "    (unreachable)"));
    vats.run(&["install", "bad", "bad.wat"]).run(&["create", "alice", "bad"]).run(&["list", "--all"]);
    vats.saw(expect![[r#"
        $ vats install bad bad.wat
        installed bad (174 bytes, HASH)
        $ vats create alice bad
        ! error: the vat alice was not created, since its start faulted: trap: unreachable
        = 1
        $ vats list --all
        there are no vats; `vats create` makes one
    "#]]);
}
