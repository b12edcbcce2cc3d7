//! What a run must have seen, so that it cannot pass because everything was refused, or because nothing was changed.
//!
//! The bounds are for the usual number of modules, and about a third of what these are; a larger run meets them all the more.

use super::source::Origin;
use super::tally::Tally;

/// Modules of the repaired and handwritten ones that are accepted, of a hundred: the others fail in their own birth.
const ACCEPTED_PERCENT: u64 = 90;
/// Different reasons for which modules are refused.
const REASONS: usize = 12;
/// Modules of which the interpreter may misread one, in two versions.
const MISREAD_ONE_IN: u64 = 2_000;
/// Deliveries that the interpreter made, too; vats that lived in a warehouse.
const INTERPRETED: u64 = 4_000;
const HOSTED: u64 = 8;

/// Accepted modules with each of these kinds.
const MODULES_OF_KIND: u64 = 20;
const KINDS: [&str; 31] = [
    "_initialize",
    "active data",
    "active elements",
    "call_indirect",
    "constant global",
    "declared elements",
    "floats",
    "memory with a maximum",
    "memory without a maximum",
    "memory.copy",
    "memory.fill",
    "memory.grow",
    "memory.init",
    "memory.init of active data",
    "mutable f32",
    "mutable f64",
    "mutable i32",
    "mutable i64",
    "mutable v128",
    "one table",
    "passive data",
    "passive elements",
    "ref.func",
    "reference global",
    "return",
    "several tables",
    "start",
    "table.get",
    "v128",
    "made syscalls",
    "wrote to its memory",
];

/// Deliveries that changed something of each of these.
const CHANGES: u64 = 10;
const CHANGED: [&str; 6] = [
    "changed a v128",
    "changed an f32",
    "changed an f64",
    "changed an i32",
    "changed an i64",
    "grew its memory",
];

/// Modules refused for each of these.
const REFUSALS: u64 = 2;
const REFUSED: [&str; 8] = [
    "data.drop",
    "elem.drop",
    "mutable reference global",
    "table.copy",
    "table.fill",
    "table.grow",
    "table.init",
    "table.set",
];

/// Deliveries with each of these faults.
const FAULTS: u64 = 2;
const FAULTED: [&str; 13] = [
    "bad-conversion",
    "bad-pointer",
    "bad-signature",
    "bad-syscall-bytes",
    "division-by-zero",
    "failed",
    "indirect-call-to-null",
    "integer-overflow",
    "out-of-bounds-memory",
    "out-of-bounds-table",
    "out-of-computrons",
    "stack-overflow",
    "unreachable",
];

/// What was seen too seldom.
pub(crate) fn missing(tally: &Tally) -> Vec<String> {
    let mut missing = Vec::new();
    for (names, least) in [(&KINDS[..], MODULES_OF_KIND), (&CHANGED, CHANGES), (&FAULTED, FAULTS)] {
        for name in names {
            let seen = tally.seen(name);
            if seen < least {
                missing.push(format!("{name}: {seen}, at least {least}"));
            }
        }
    }
    for reason in REFUSED {
        let seen = tally.refused_for(reason);
        if seen < REFUSALS {
            missing.push(format!("refused for {reason}: {seen}, at least {REFUSALS}"));
        }
    }
    let (modules, _) = tally.of(|_| true);
    let misread = 2 * (modules / MISREAD_ONE_IN + 1);
    if tally.misread > misread {
        missing.push(format!("modules that the interpreter reads: it misread {}", tally.misread));
    }
    let (generated, accepted) = tally.of(|origin| matches!(origin, Origin::Repaired | Origin::Pieces));
    let counts = [
        ("modules accepted", accepted, (generated * ACCEPTED_PERCENT / 100).max(1)),
        ("reasons to refuse", tally.reasons() as u64, REASONS as u64),
        ("deliveries interpreted", tally.interpreted, INTERPRETED),
        ("vats in a warehouse", tally.hosted, HOSTED),
    ];
    for (name, seen, least) in counts {
        if seen < least {
            missing.push(format!("{name}: {seen}, at least {least}"));
        }
    }
    missing
}

#[test]
fn a_run_that_saw_nothing_is_not_enough() {
    let all = KINDS.len() + CHANGED.len() + REFUSED.len() + FAULTED.len() + 4;
    assert_eq!(missing(&Tally::default()).len(), all);
}
