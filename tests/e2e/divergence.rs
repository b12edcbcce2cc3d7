//! Every way in which a replay can differ from its record, made by changing the record: each is told by its name, both to whoever
//! verifies the vat and to whoever wants it in memory.
//!
//! Deliberately not here: what becomes of such a vat (`fallback.rs`, `travel.rs`), and how the evidence is printed.

use std::path::Path;

use vat_abi::{CapData, Outcome, Syscall, SyscallRecord, SyscallResult, TranscriptEntry, VatFault};
use vat_warehouse::{Error, VatOptions, Warehouse, WarehouseConfig};

use crate::scenario::{Listener, message, vat};
use crate::steady::code_cache;

const STATE: &str = include_str!("../vats/state.wat");
/// The delivery whose record is changed: one of the middle.
const CHANGED: u64 = 2;
pub(crate) const DELIVERIES: u64 = 4;

struct Case {
    what: &'static str,
    change: fn(&mut TranscriptEntry),
    /// How the divergence begins.
    told: &'static str,
}

/// Each delivery of the vat asks for its count, sets it and resolves a promise.
const CASES: &[Case] = &[
    Case {
        what: "another syscall was recorded",
        change: |entry| {
            let Syscall::VatstoreSet(_, value) = &mut entry.syscalls[1].syscall else { panic!("a write") };
            *value = "another".to_owned();
        },
        told: "wrong syscall at index 1: expected vatstoreSet 'count' 'another', got vatstoreSet 'count' ",
    },
    Case {
        what: "the same syscalls were recorded in another order",
        change: |entry| entry.syscalls.swap(0, 1),
        told: "wrong syscall at index 0: expected vatstoreSet",
    },
    Case {
        what: "one syscall less was recorded",
        change: |entry| drop(entry.syscalls.pop()),
        told: "extra syscall at index 2: resolve p-60",
    },
    Case {
        what: "no syscall was recorded",
        change: |entry| entry.syscalls.clear(),
        told: "extra syscall at index 0: vatstoreGet 'count'",
    },
    Case {
        what: "one syscall more was recorded",
        change: |entry| {
            let syscall = Syscall::VatstoreGet("more".to_owned());
            entry.syscalls.push(SyscallRecord { syscall, result: SyscallResult::Ok(None) });
        },
        told: "missing syscall at index 3: expected vatstoreGet 'more'",
    },
    Case {
        what: "another cost was recorded",
        change: |entry| entry.computrons.0 += 1,
        told: "computrons: expected ",
    },
    Case {
        what: "a longer answer was recorded",
        change: |entry| entry.syscalls[0].result = SyscallResult::Ok(Some("a longer answer".to_owned())),
        told: "computrons: expected ",
    },
];

/// A store at rest without a snapshot, so that everything is replayed.
pub(crate) fn store(dir: &Path) {
    let warehouse = open(dir);
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    let undefined = CapData::undefined();
    let made = warehouse.create(&vat(), "state", VatOptions::default(), undefined, 0, Listener::default());
    made.0.unwrap();
    for n in 1..DELIVERIES {
        let mut lease = warehouse.provide_blocking(&vat()).unwrap();
        lease.deliver(message("step", "[]"), n, Listener::default()).0.unwrap();
    }
    warehouse.commit().unwrap();
}

fn open(dir: &Path) -> Warehouse {
    let config = WarehouseConfig { code_cache: Some(code_cache()), ..WarehouseConfig::default() };
    Warehouse::open(dir, config).unwrap()
}

/// Changes what is recorded of one delivery.
pub(crate) fn change(dir: &Path, position: u64, change: impl FnOnce(&mut TranscriptEntry)) {
    let warehouse = open(dir);
    let entry = warehouse.transcript(&vat(), position).unwrap().next().unwrap().unwrap().1;
    drop(warehouse);
    let mut changed = entry.clone();
    change(&mut changed);
    assert_ne!(changed, entry);
    let sql = "UPDATE transcript SET entry = CAST(?1 AS BLOB) WHERE position = ?2";
    assert_eq!(crate::forged::forge(dir, sql, (changed.to_json(), position)), 1);
}

#[test]
fn each_kind_of_difference_is_told() {
    for Case { what, change: how, told } in CASES {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path());
        change(dir.path(), CHANGED, how);
        let error = open(dir.path()).provide_blocking(&vat()).expect_err(what);
        let Error::Diverged { divergence, .. } = &error else { panic!("{what}: {error}") };
        assert_eq!(divergence.position, CHANGED, "{what}");
        let found = divergence.difference.to_string();
        assert!(found.starts_with(told), "{what}: {found}");
    }
}

#[test]
fn a_fault_that_does_not_happen_again_is_told() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    // A page-in passes over what is recorded as a fault; to verify, it is run again.
    change(dir.path(), DELIVERIES - 1, |entry| entry.outcome = Outcome::Faulted(VatFault::OutputLimit));
    let verified = open(dir.path()).verify(&vat()).unwrap();
    let told = format!("different at delivery {}: outcome: expected ", DELIVERIES - 1);
    assert!(verified.verdict.to_string().starts_with(&told), "{}", verified.verdict);
}

#[test]
fn an_answer_that_no_syscall_shows_is_found_by_the_hash_of_its_span() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    change(dir.path(), CHANGED, |entry| {
        let SyscallResult::Ok(Some(answer)) = &mut entry.syscalls[0].result else { panic!("an answer") };
        *answer = answer.replace('0', "1");
    });
    let error = open(dir.path()).verify(&vat()).expect_err("not what was recorded").to_string();
    assert!(error.contains("do not give the hash of their span"), "{error}");
}
