//! Bytes that are none of the ABI's values, and the reason that is given for each.

use vat_abi::limits::{DECODE_REASON_BYTES_MAX, FAIL_BYTES_MAX, SYSCALL_BYTES_MAX};
use vat_abi::{DecodeError, Delivery, Outcome, Syscall, SyscallResult, TranscriptEntry};

use crate::golden::ENTRY;

type Table<'a> = &'a [(&'a str, &'a str)];

fn check<T: std::fmt::Debug>(decode: fn(&[u8]) -> Result<T, DecodeError>, table: Table<'_>) {
    for (json, why) in table {
        let error = decode(json.as_bytes()).expect_err(json);
        assert!(error.why.contains(why), "{json}\n  expected: {why}\n       got: {}", error.why);
    }
}

#[test]
fn neither_json_nor_the_right_shape() {
    let table: Table<'_> = &[
        ("", "EOF while parsing"),
        ("[", "EOF while parsing"),
        ("nonsense", "expected ident"),
        ("null", "invalid type: null, expected a syscall"),
        ("\"send\"", "invalid type: string \"send\", expected a syscall"),
        ("{\"send\":1}", "invalid type: map, expected a syscall"),
        ("[]", "missing the tag"),
        ("[1]", "invalid type: integer `1`, expected one of send"),
        ("[{\"send\":null}]", "invalid type: map, expected one of send"),
        ("[\"Send\"]", "\"Send\" is not one of send, subscribe"),
        ("[\"callNow\",\"d-70\",\"f\",[]]", "\"callNow\" is not one of send"),
        ("[\"vatstoreGet\",\"k\"] x", "trailing characters"),
        ("[\"vatstoreGet\",\"k\"][]", "trailing characters"),
        ("[\"vatstoreGet\",\"k\",]", "trailing comma"),
        ("[\"vatstoreGet\",'k']", "expected value"),
        ("[\"vatstoreGet\",\"\\ud800\"]", "unexpected end of hex escape"),
        ("[\"vatstoreGet\",\"a\nb\"]", "control character"),
        ("\u{feff}[\"vatstoreGet\",\"k\"]", "expected value"),
    ];
    check(Syscall::from_json, table);
}

#[test]
fn syscalls() {
    let table: Table<'_> = &[
        ("[\"send\"]", "missing the target"),
        ("[\"send\",\"o-50\"]", "missing the message"),
        ("[\"send\",\"o-50\",{}]", "missing the field \"methargs\""),
        ("[\"send\",\"o-50\",[{\"body\":\"\",\"slots\":[]}]]", "invalid type: sequence, expected a message"),
        ("[\"send\",\"o-50\",{\"method\":\"f\"}]", "\"method\" is not one of methargs, result"),
        (
            "[\"send\",\"d-70\",{\"methargs\":{\"body\":\"\",\"slots\":[]}}]",
            "the target of a message is of the wrong kind: device",
        ),
        (
            "[\"send\",\"o-50\",{\"methargs\":{\"body\":\"\",\"slots\":[]},\"result\":\"o-51\"}]",
            "the result of a message is of the wrong kind: object",
        ),
        (
            "[\"send\",\"o-50\",{\"methargs\":{\"body\":\"\",\"slots\":[]},\"result\":null,\"result\":null}]",
            "the field \"result\" is there twice",
        ),
        ("[\"send\",\"o-50\",{\"methargs\":[\"\",[]]}]", "invalid type: sequence, expected capdata"),
        ("[\"send\",\"o-50\",{\"methargs\":{\"body\":\"\"}}]", "missing the field \"slots\""),
        ("[\"send\",\"o-50\",{\"methargs\":{\"slots\":[]}}]", "missing the field \"body\""),
        (
            "[\"send\",\"o-50\",{\"methargs\":{\"body\":\"\",\"body\":\"\"}}]",
            "the field \"body\" is there twice",
        ),
        (
            "[\"send\",\"o-50\",{\"methargs\":{\"body\":\"\",\"slots\":[],\"x\":0}}]",
            "\"x\" is not one of body, slots",
        ),
        ("[\"send\",\"o-50\",{\"methargs\":{\"body\":1,\"slots\":[]}}]", "invalid type: integer `1`"),
        (
            "[\"send\",\"o-50\",{\"methargs\":{\"body\":\"\",\"slots\":\"o-1\"}}]",
            "a list of at most 65536 elements",
        ),
        ("[\"send\",\"o-50\",{\"methargs\":{\"body\":\"\",\"slots\":[null]}}]", "expected a reference"),
        ("[\"send\",\"ko20\",{\"methargs\":{\"body\":\"\",\"slots\":[]}}]", "\"ko20\" is not a reference"),
        ("[\"subscribe\"]", "missing the promise"),
        ("[\"subscribe\",\"o-50\"]", "what is subscribed to is of the wrong kind: object"),
        ("[\"subscribe\",\"p-60\",\"p-61\"]", "more elements than there may be"),
        ("[\"resolve\"]", "missing the list of resolutions"),
        ("[\"resolve\",[[]]]", "missing the promise of a resolution"),
        ("[\"resolve\",[[\"p-60\"]]]", "missing whether a resolution is a rejection"),
        ("[\"resolve\",[[\"p-60\",false]]]", "missing the data of a resolution"),
        (
            "[\"resolve\",[[\"p-60\",0,{\"body\":\"\",\"slots\":[]}]]]",
            "invalid type: integer `0`, expected a boolean",
        ),
        (
            "[\"resolve\",[[\"o+1\",false,{\"body\":\"\",\"slots\":[]}]]]",
            "what is resolved is of the wrong kind: object",
        ),
        (
            "[\"resolve\",[[\"p-60\",false,{\"body\":\"\",\"slots\":[]},1]]]",
            "more elements than there may be",
        ),
        ("[\"resolve\",{}]", "invalid type: map, expected a list"),
        ("[\"exit\",\"true\",{\"body\":\"\",\"slots\":[]}]", "expected a boolean"),
        ("[\"exit\",true]", "missing the exit's data"),
        ("[\"vatstoreGet\"]", "missing the key"),
        ("[\"vatstoreGet\",\"\"]", "a key is empty"),
        ("[\"vatstoreGet\",null]", "invalid type: null"),
        ("[\"vatstoreSet\",\"k\"]", "missing the value"),
        ("[\"vatstoreSet\",\"k\",null]", "invalid type: null"),
        ("[\"vatstoreSet\",\"\",\"v\"]", "a key is empty"),
        ("[\"vatstoreDelete\",\"\"]", "a key is empty"),
        ("[\"vatstoreGetNextKey\"]", "missing the prior key"),
        ("[\"dropImports\"]", "missing the list of references"),
        ("[\"dropImports\",[\"p-60\"]]", "what is dropped or retired is of the wrong kind: promise"),
        ("[\"retireImports\",[\"o-01\"]]", "\"o-01\" is not a reference"),
        ("[\"retireExports\",\"o+1\"]", "expected a list"),
        ("[\"abandonExports\",[\"o+1\"],[]]", "more elements than there may be"),
    ];
    check(Syscall::from_json, table);
}

#[test]
fn deliveries() {
    let table: Table<'_> = &[
        ("[\"startVat\"]", "missing the vat parameters"),
        ("[\"startVat\",null]", "invalid type: null, expected capdata"),
        ("[\"message\",\"o+0\"]", "missing the message"),
        (
            "[\"message\",\"d+0\",{\"methargs\":{\"body\":\"\",\"slots\":[]}}]",
            "the target of a message is of the wrong kind: device",
        ),
        (
            "[\"notify\",[[\"o+1\",false,{\"body\":\"\",\"slots\":[]}]]]",
            "what is resolved is of the wrong kind: object",
        ),
        ("[\"bringOutYourDead\",null]", "more elements than there may be"),
        ("[\"dropExports\",[\"d-70\"]]", "what is dropped or retired is of the wrong kind: device"),
        ("[\"changeVatOptions\",{}]", "\"changeVatOptions\" is not one of startVat"),
        ("[\"stopVat\"]", "missing the disconnect object"),
    ];
    check(Delivery::from_json, table);
}

#[test]
fn syscall_results() {
    let table: Table<'_> = &[
        ("[\"ok\"]", "missing the result's text"),
        ("[\"ok\",1]", "invalid type: integer `1`"),
        ("[\"ok\",null,null]", "more elements than there may be"),
        ("[\"error\",null]", "invalid type: null"),
        ("[\"fine\"]", "\"fine\" is not one of ok, error"),
    ];
    check(SyscallResult::from_json, table);
}

#[test]
fn outcomes() {
    let long =
        format!("[\"fault\",{{\"kind\":\"failed\",\"message\":\"{}\"}}]", "m".repeat(FAIL_BYTES_MAX + 1));
    let table: Table<'_> = &[
        ("[\"ok\",null]", "more elements than there may be"),
        ("[\"fault\"]", "missing the fault"),
        ("[\"fault\",{}]", "missing the field \"kind\""),
        ("[\"fault\",\"trap\"]", "expected a fault"),
        ("[\"fault\",{\"kind\":\"tired\"}]", "\"tired\" is not one of out-of-computrons"),
        ("[\"fault\",{\"kind\":\"trap\"}]", "a fault \"trap\" with the wrong fields"),
        ("[\"fault\",{\"kind\":\"trap\",\"trap\":\"x\"}]", "\"x\" is not one of unreachable"),
        (
            "[\"fault\",{\"kind\":\"trap\",\"trap\":\"exit\",\"trap\":\"exit\"}]",
            "the field \"trap\" is there twice",
        ),
        ("[\"fault\",{\"kind\":\"failed\"}]", "a fault \"failed\" with the wrong fields"),
        (
            "[\"fault\",{\"kind\":\"bad-pointer\",\"message\":\"\"}]",
            "a fault \"bad-pointer\" with the wrong fields",
        ),
        (&long, "a fault's message of 1025 bytes is longer than the 1024 allowed"),
    ];
    check(Outcome::from_json, table);
}

#[test]
fn transcript_entries() {
    let changes = [
        ("\"t\":", "\"time\":", "\"time\" is not one of d, t, sc, r"),
        ("\"t\":1700000000000000042,", "", "missing the field \"t\""),
        ("1700000000000000042", "-1", "invalid value: integer `-1`"),
        ("1700000000000000042", "1.0", "invalid type: floating point"),
        ("1700000000000000042", "18446744073709551616", "invalid type: floating point"),
        ("\"r\":[\"ok\",null]", "\"r\":[\"ok\",null],\"x\":1", "\"x\" is not one of s, r"),
        ("{\"s\":[\"vatstoreGet\",\"count\"],", "{", "missing the field \"s\""),
        ("\"computrons\":36560", "\"computrons\":\"36560\"", "invalid type: string"),
        ("\"status\":[\"ok\"],", "", "missing the field \"status\""),
        ("\"status\":[\"ok\"],", "\"status\":\"ok\",", "expected an outcome"),
    ];
    for (part, replacement, why) in changes {
        assert!(ENTRY.contains(part), "{part}");
        check(TranscriptEntry::from_json, &[(&ENTRY.replacen(part, replacement, 1), why)]);
    }
    check(TranscriptEntry::from_json, &[("[]", "expected a transcript entry")]);
}

#[test]
fn bytes_that_are_not_utf8() {
    for bytes in
        [&b"[\"vatstoreGet\",\"\xff\"]"[..], b"[\"vatstoreGet\",\"\xed\xa0\x80\"]", b"\xff", b"[\"\xc3"]
    {
        assert!(Syscall::from_json(bytes).is_err(), "{bytes:?}");
    }
}

/// Nesting costs no stack, wherever it is put: what does not belong there is refused unread.
#[test]
fn nesting_of_any_depth_is_refused() {
    for open in ["[", "{\"body\":", "[[\"p-60\",", "{\"methargs\":"] {
        let nest = open.repeat(200_000);
        for before in
            ["", "[", "[\"resolve\",", "[\"vatstoreGet\",\"k\",", "[\"send\",\"o-1\",{\"methargs\":"]
        {
            let bytes = format!("{before}{nest}");
            assert!(Syscall::from_json(bytes.as_bytes()).is_err());
            assert!(Delivery::from_json(bytes.as_bytes()).is_err());
            assert!(SyscallResult::from_json(bytes.as_bytes()).is_err());
            assert!(Outcome::from_json(bytes.as_bytes()).is_err());
            assert!(TranscriptEntry::from_json(bytes.as_bytes()).is_err());
        }
    }
}

/// The reason quotes what the vat wrote, but never all of it.
#[test]
fn reasons_are_short() {
    let long = "é".repeat(SYSCALL_BYTES_MAX / 4);
    for json in [format!("\"{long}\""), format!("[\"{long}\"]"), format!("[\"subscribe\",\"{long}\"]")] {
        let error = Syscall::from_json(json.as_bytes()).unwrap_err();
        assert!(error.why.len() <= DECODE_REASON_BYTES_MAX, "{}", error.why.len());
        assert_eq!(error.what, "syscall");
        assert!(error.to_string().starts_with("decode syscall: "));
    }
}
