//! Every limit: the greatest value that passes, the next one that does not, in `check` and in decoding alike.

use vat_abi::limits::{
    DELIVERY_BYTES_MAX, FAIL_BYTES_MAX, RESOLUTIONS_MAX, RESULT_BYTES_MAX, SLOTS_MAX, SYSCALL_BYTES_MAX,
    SYSCALLS_PER_DELIVERY_MAX, VATSTORE_KEY_BYTES_MAX, VATSTORE_VALUE_BYTES_MAX, VREFS_MAX,
};
use vat_abi::{
    CapData, Delivery, Resolution, Syscall, SyscallRecord, SyscallResult, VatFault, Violation, Vref,
};

use crate::golden::{entry, vref};

/// The syscall is refused exactly when `expected` says so, by `check` and by decoding, in the same words
/// where decoding gets to see the whole value.
fn check(syscall: &Syscall, expected: Option<&str>) {
    let decoded = Syscall::from_json(syscall.to_json().as_bytes());
    assert_eq!(syscall.check().map_err(|why| why.to_string()).err().as_deref(), expected);
    assert_eq!(syscall.try_to_json().is_err(), expected.is_some());
    assert_eq!(decoded.is_err(), expected.is_some(), "{decoded:?}");
}

fn slots(count: usize) -> CapData {
    CapData { body: String::new(), slots: vec![Vref::root(); count] }
}

#[test]
fn counts() {
    let exit = |count| Syscall::Exit { failure: false, info: slots(count) };
    check(&exit(SLOTS_MAX), None);
    check(&exit(SLOTS_MAX + 1), Some("65537 slots are more than the 65536 allowed"));

    let one = Resolution::fulfilled(vref("p-1"), CapData::data(""));
    let resolve = |count| Syscall::Resolve(vec![one.clone(); count]);
    check(&resolve(RESOLUTIONS_MAX), None);
    check(&resolve(RESOLUTIONS_MAX + 1), Some("65537 resolutions are more than the 65536 allowed"));

    let drop = |count| Syscall::DropImports(vec![vref("o-1"); count]);
    check(&drop(VREFS_MAX), None);
    check(&drop(VREFS_MAX + 1), Some("65537 references are more than the 65536 allowed"));
}

#[test]
fn keys_and_values() {
    let key = |bytes| "k".repeat(bytes);
    for bytes in [1, VATSTORE_KEY_BYTES_MAX] {
        check(&Syscall::VatstoreGet(key(bytes)), None);
        check(&Syscall::VatstoreSet(key(bytes), String::new()), None);
        check(&Syscall::VatstoreDelete(key(bytes)), None);
        check(&Syscall::VatstoreGetNextKey(key(bytes)), None);
    }
    let long = Some("a key of 8193 bytes is longer than the 8192 allowed");
    check(&Syscall::VatstoreGet(key(VATSTORE_KEY_BYTES_MAX + 1)), long);
    check(&Syscall::VatstoreSet(key(VATSTORE_KEY_BYTES_MAX + 1), String::new()), long);
    check(&Syscall::VatstoreDelete(key(VATSTORE_KEY_BYTES_MAX + 1)), long);
    check(&Syscall::VatstoreGetNextKey(key(VATSTORE_KEY_BYTES_MAX + 1)), long);
    check(&Syscall::VatstoreGet(String::new()), Some("a key is empty"));
    check(&Syscall::VatstoreGetNextKey(String::new()), None);

    let set = |bytes| Syscall::VatstoreSet("k".into(), "v".repeat(bytes));
    check(&set(VATSTORE_VALUE_BYTES_MAX), None);
    check(
        &set(VATSTORE_VALUE_BYTES_MAX + 1),
        Some("a value of 8388609 bytes is longer than the 8388608 allowed"),
    );
}

/// A value that could be written can always be read: its JSON fits a result, whatever its escapes.
#[test]
fn every_value_that_can_be_set_can_be_got() {
    let overhead = Syscall::VatstoreSet("k".into(), String::new()).to_json().len();
    let value = "\u{1}".repeat((SYSCALL_BYTES_MAX - overhead) / "\\u0001".len());
    let set = Syscall::VatstoreSet("k".into(), value.clone());
    assert_eq!(Syscall::from_json(set.try_to_json().unwrap().as_bytes()), Ok(set));
    assert!(SyscallResult::Ok(Some(value)).try_to_json().is_ok());
}

#[test]
fn lengths_in_bytes() {
    let delivery = |bytes: usize| {
        let overhead = Delivery::StartVat(CapData::data("")).to_json().len();
        Delivery::StartVat(CapData::data("x".repeat(bytes - overhead)))
    };
    let json = delivery(DELIVERY_BYTES_MAX).try_to_json().unwrap();
    assert_eq!(json.len(), DELIVERY_BYTES_MAX);
    assert!(Delivery::from_json(json.as_bytes()).is_ok());
    let over =
        Violation::TooLong { what: "delivery", bytes: DELIVERY_BYTES_MAX + 1, max: DELIVERY_BYTES_MAX };
    assert_eq!(delivery(DELIVERY_BYTES_MAX + 1).try_to_json(), Err(over));
    let error = Delivery::from_json(&[b' '; DELIVERY_BYTES_MAX + 1]).unwrap_err();
    assert_eq!(error.why, "delivery of 16777217 bytes is longer than the 16777216 allowed");

    let result = |bytes: usize| SyscallResult::Error("x".repeat(bytes - "[\"error\",\"\"]".len()));
    assert!(result(RESULT_BYTES_MAX).try_to_json().is_ok());
    assert!(result(RESULT_BYTES_MAX + 1).try_to_json().is_err());
}

#[test]
fn syscalls_of_an_entry() {
    let one = SyscallRecord { syscall: Syscall::VatstoreGet("k".into()), result: SyscallResult::Ok(None) };
    let mut entry = entry();
    entry.syscalls = vec![one.clone(); SYSCALLS_PER_DELIVERY_MAX];
    let json = entry.try_to_json().unwrap();
    assert_eq!(vat_abi::TranscriptEntry::from_json(json.as_bytes()).as_ref(), Ok(&entry));
    entry.syscalls.push(one);
    assert_eq!(
        entry.try_to_json().unwrap_err().to_string(),
        "100001 syscalls are more than the 100000 allowed"
    );
    assert!(vat_abi::TranscriptEntry::from_json(entry.to_json().as_bytes()).is_err());
}

/// An entry is refused for each of its parts.
#[test]
fn an_entry_is_as_good_as_its_parts() {
    assert_eq!(entry().check(), Ok(()));
    let mut bad = entry();
    bad.delivery = Delivery::StartVat(slots(SLOTS_MAX + 1));
    assert!(bad.check().is_err());
    let mut bad = entry();
    bad.syscalls[1].syscall = Syscall::Subscribe(Vref::root());
    assert!(bad.check().is_err());
    let mut bad = entry();
    bad.outcome = vat_abi::Outcome::Faulted(VatFault::Failed { message: "m".repeat(FAIL_BYTES_MAX + 1) });
    assert!(bad.check().is_err());
}

#[test]
fn fail_messages_are_made_to_fit() {
    let message = |bytes: &[u8]| match VatFault::failed(bytes) {
        VatFault::Failed { message } => message,
        other => panic!("{other}"),
    };
    assert_eq!(message(b""), "");
    assert_eq!(message(b"no \xff such"), "no \u{fffd} such");
    assert_eq!(message(&[b'm'; FAIL_BYTES_MAX + 1]), "m".repeat(FAIL_BYTES_MAX));
    // The crab has four bytes and does not fit behind the others; nothing of it is left.
    let crab = format!("{}🦀", "m".repeat(FAIL_BYTES_MAX - 1));
    assert_eq!(message(crab.as_bytes()), "m".repeat(FAIL_BYTES_MAX - 1));
    // It does fit here, and what follows does not make it look damaged.
    let crab = format!("{}🦀🦀", "m".repeat(FAIL_BYTES_MAX - 4));
    assert_eq!(message(crab.as_bytes()), format!("{}🦀", "m".repeat(FAIL_BYTES_MAX - 4)));
    // Three of its bytes are not taken for one damaged character, which would just fit.
    let crab = format!("{}🦀", "m".repeat(FAIL_BYTES_MAX - 3));
    assert_eq!(message(crab.as_bytes()), "m".repeat(FAIL_BYTES_MAX - 3));
    assert!(message(&[0xff; 4 * FAIL_BYTES_MAX]).len() <= FAIL_BYTES_MAX);
}
