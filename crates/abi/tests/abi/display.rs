//! The readable forms: what `transcript` prints.

use vat_abi::limits::{DISPLAY_BYTES_MAX, DISPLAY_LIST_MAX};
use vat_abi::{
    CapData, Delivery, LogLevel, Message, Outcome, Resolution, Syscall, SyscallResult, TrapKind, VatFault,
    Vref,
};

use crate::golden::{entry, vref, vrefs};

#[test]
fn an_entry_reads_like_a_story() {
    let expected = "\
message o+0 #[\"increment\",[2]] result p-60
  vatstoreGet 'count' -> ok '1'
  resolve p-60 fulfilled #3, p+5 rejected #\"$0\" [o-50] -> ok
  = ok, 36560 computrons, at 1700000000.000000042";
    assert_eq!(entry().to_string(), expected);

    let mut quiet = entry();
    quiet.syscalls.clear();
    quiet.delivery = Delivery::BringOutYourDead;
    quiet.outcome = Outcome::Faulted(VatFault::failed(b"no such account"));
    quiet.time_ns = 0;
    let expected = "\
bringOutYourDead
  = fault: failed: no such account, 36560 computrons, at 0.000000000";
    assert_eq!(quiet.to_string(), expected);
}

#[test]
fn deliveries_and_syscalls() {
    let message = || Message { methargs: CapData::data("#[]"), result: None };
    let table: &[(&dyn std::fmt::Display, &str)] = &[
        (&Delivery::StartVat(CapData::undefined()), "startVat #\"#undefined\""),
        (&Delivery::Message { target: Vref::root(), message: message() }, "message o+0 #[]"),
        (&Delivery::Notify(vec![]), "notify (none)"),
        (&Delivery::DropExports(vrefs(&["o+1", "o+2"])), "dropExports o+1 o+2"),
        (&Delivery::StopVat(CapData::data("#0")), "stopVat #0"),
        (&Syscall::Send { target: vref("o-50"), message: message() }, "send o-50 #[]"),
        (&Syscall::Subscribe(vref("p-60")), "subscribe p-60"),
        (
            &Syscall::Resolve(vec![Resolution::rejected(vref("p-60"), CapData::data("#1"))]),
            "resolve p-60 rejected #1",
        ),
        (&Syscall::Exit { failure: true, info: CapData::data("#0") }, "exit failure #0"),
        (&Syscall::Exit { failure: false, info: CapData::data("#0") }, "exit success #0"),
        (&Syscall::VatstoreSet("k".into(), "v".into()), "vatstoreSet 'k' 'v'"),
        (&Syscall::AbandonExports(vec![]), "abandonExports (none)"),
        (&SyscallResult::Ok(None), "ok"),
        (&SyscallResult::Error("no kernel".into()), "error 'no kernel'"),
        (&Outcome::Faulted(VatFault::Trap(TrapKind::DivisionByZero)), "fault: trap: division by zero"),
        (&Outcome::Faulted(VatFault::failed(b"")), "fault: failed"),
    ];
    for (value, expected) in table {
        assert_eq!(value.to_string(), *expected);
    }
}

/// A vat's text does not get at the terminal: control characters and invisible ones are escaped.
#[test]
fn what_is_not_printable_is_escaped() {
    let value = Syscall::VatstoreGet("\u{1b}[2J\n\u{202e}\"é\\".into());
    assert_eq!(value.to_string(), r#"vatstoreGet '\u{1b}[2J\n\u{202e}"é\'"#);
}

#[test]
fn what_is_long_is_elided() {
    let long = CapData::data("é".repeat(DISPLAY_BYTES_MAX));
    let expected = format!("startVat {}… (+{DISPLAY_BYTES_MAX} bytes)", "é".repeat(DISPLAY_BYTES_MAX / 2));
    assert_eq!(Delivery::StartVat(long).to_string(), expected);

    let many = Delivery::RetireImports(vec![vref("o-1"); DISPLAY_LIST_MAX + 7]);
    let expected = format!("retireImports {}… (+7)", "o-1 ".repeat(DISPLAY_LIST_MAX));
    assert_eq!(many.to_string(), expected);
    let just = Delivery::RetireImports(vec![vref("o-1"); DISPLAY_LIST_MAX]);
    assert_eq!(just.to_string(), format!("retireImports{}", " o-1".repeat(DISPLAY_LIST_MAX)));
}

#[test]
fn log_levels() {
    let levels = ["error", "warn", "info", "debug", "trace"];
    for (code, name) in (0..).zip(levels) {
        assert_eq!(LogLevel::from_code(code).to_string(), name);
        assert_eq!(LogLevel::from_code(code).code(), code);
    }
    assert_eq!([LogLevel::from_code(-1), LogLevel::from_code(5)], [LogLevel::Trace; 2]);
}
