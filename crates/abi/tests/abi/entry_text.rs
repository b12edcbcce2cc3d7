//! What an entry's text refuses while it is written, and what is not arranged as one.

use vat_abi::limits::{ENTRY_BYTES_MAX, FAIL_BYTES_MAX, RESULT_BYTES_MAX, VATSTORE_VALUE_BYTES_MAX};
use vat_abi::{
    Computrons, Delivery, EntryText, Outcome, RecordedEntry, Syscall, SyscallResult, VatFault, Violation,
};

fn begun() -> EntryText {
    EntryText::begin(&Delivery::BringOutYourDead, 7).unwrap()
}

#[track_caller]
fn says(refused: Result<impl Sized, Violation>, expected: &str) {
    assert_eq!(refused.err().expect("refused").to_string(), expected);
}

#[test]
fn a_delivery_that_no_vat_may_be_given_is_not_begun() {
    let object = "o-1".parse().unwrap();
    let promise = "p-1".parse().unwrap();
    says(
        EntryText::begin(&Delivery::DropExports(vec![object, promise]), 7),
        "what is dropped or retired is of the wrong kind: promise",
    );
}

#[test]
fn a_result_that_is_too_long_leaves_no_trace() {
    let mut text = begun();
    let get = Syscall::VatstoreGet("key".to_owned());
    text.push(&get, &SyscallResult::Ok(Some("value".to_owned()))).unwrap();
    let before = text.clone().end(&Outcome::Delivered, Computrons(1)).unwrap();
    // Each of these bytes is six characters of JSON.
    let long = SyscallResult::Ok(Some("\u{1}".repeat(RESULT_BYTES_MAX / 6)));
    says(text.push(&get, &long), "syscall result of 16777221 bytes is longer than the 16777216 allowed");
    assert_eq!(text.reply(), b"", "nobody may read it");
    assert_eq!(text.end(&Outcome::Delivered, Computrons(1)).unwrap(), before);
}

#[test]
fn an_outcome_that_nobody_may_record_does_not_end_an_entry() {
    let reason = VatFault::Failed { message: "x".repeat(FAIL_BYTES_MAX + 1) };
    says(
        begun().end(&Outcome::Faulted(reason), Computrons(1)),
        "a fault's message of 1025 bytes is longer than the 1024 allowed",
    );
}

#[test]
fn an_entry_that_is_too_long_is_not_ended() {
    let mut text = begun();
    let value = "v".repeat(VATSTORE_VALUE_BYTES_MAX);
    for _ in 0..=ENTRY_BYTES_MAX / VATSTORE_VALUE_BYTES_MAX {
        text.push(&Syscall::VatstoreGet("key".to_owned()), &SyscallResult::Ok(Some(value.clone()))).unwrap();
    }
    says(
        text.end(&Outcome::Delivered, Computrons(1)),
        "transcript entry of 109052526 bytes is longer than the 100663296 allowed",
    );
}

#[test]
fn what_is_not_arranged_as_an_entry_is_refused_with_the_place() {
    let get = || Syscall::VatstoreGet("]\\\"[".to_owned());
    let mut text = begun();
    for _ in 0..2 {
        text.push(&get(), &SyscallResult::Ok(None)).unwrap();
    }
    let whole = text.end(&Outcome::Delivered, Computrons(1)).unwrap();
    assert!(RecordedEntry::read(whole.clone()).is_ok());
    for cut in 0..whole.len() {
        assert!(RecordedEntry::read(whole[..cut].to_vec()).is_err(), "cut at {cut}");
    }
    let whole = String::from_utf8(whole).unwrap();
    let changes = [
        ("no comma between syscalls", "},{\"s\"", "}{\"s\""),
        ("a space", "{\"d\":", "{\"d\": "),
        ("no time", "\"t\":7", "\"t\":"),
        ("time beyond 64 bits", "\"t\":7", "\"t\":99999999999999999999"),
        ("a syscall that is no array", "{\"s\":[", "{\"s\":{"),
        ("no result", "\"r\":[\"ok\"", "\"q\":[\"ok\""),
        ("something behind it", "}}", "}} "),
    ];
    for (what, from, to) in changes {
        let changed = whole.replacen(from, to, 1);
        assert_ne!(changed, whole, "{what}: {whole}");
        assert!(RecordedEntry::read(changed.into_bytes()).is_err(), "{what}");
    }
    let error = RecordedEntry::read(whole.replacen("},{", "}{", 1).into_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "decode transcript entry: it is not arranged as one, from byte 84");
}
