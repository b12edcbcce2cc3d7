//! The exact JSON of every variant, read and written.

use vat_abi::{
    Allocator, CapData, Computrons, Delivery, Message, Outcome, Resolution, Syscall, SyscallRecord,
    SyscallResult, TranscriptEntry, TrapKind, VatFault, Vref,
};

/// A reference that the test knows to be well formed.
pub(crate) fn vref(text: &str) -> Vref {
    text.parse().unwrap()
}

pub(crate) fn vrefs(texts: &[&str]) -> Vec<Vref> {
    texts.iter().map(|text| vref(text)).collect()
}

fn data(body: &str, slots: &[&str]) -> CapData {
    CapData { body: body.into(), slots: vrefs(slots) }
}

fn increment() -> Message {
    Message { methargs: data(r##"#["increment",[2]]"##, &[]), result: Some(vref("p-60")) }
}

fn endings() -> Vec<Resolution> {
    vec![
        Resolution::fulfilled(vref("p-60"), data("#3", &[])),
        Resolution::rejected(vref("p+5"), data(r##"#"$0""##, &["o-50"])),
    ]
}

const INCREMENT: &str = r##"{"methargs":{"body":"#[\"increment\",[2]]","slots":[]},"result":"p-60"}"##;
const ENDINGS: &str =
    r##"[["p-60",false,{"body":"#3","slots":[]}],["p+5",true,{"body":"#\"$0\"","slots":["o-50"]}]]"##;

/// Checks both ways, and that the checked encoding agrees.
macro_rules! check {
    ($type:ty, $cases:expr) => {
        for (json, value) in $cases {
            let json: &str = &json;
            assert_eq!(value.to_json(), json);
            assert_eq!(<$type>::from_json(json.as_bytes()).as_ref(), Ok(&value), "{json}");
        }
    };
}

#[test]
fn deliveries() {
    let list = r#"["o+1","o+v10/4:1"]"#;
    let objects = || vrefs(&["o+1", "o+v10/4:1"]);
    check!(
        Delivery,
        [
            (
                r##"["startVat",{"body":"#{\"x\":\"$0\"}","slots":["o-50"]}]"##.to_owned(),
                Delivery::StartVat(data(r##"#{"x":"$0"}"##, &["o-50"])),
            ),
            (
                format!(r#"["message","o+0",{INCREMENT}]"#),
                Delivery::Message { target: Vref::root(), message: increment() },
            ),
            (
                r#"["message","p+7",{"methargs":{"body":"","slots":[]}}]"#.to_owned(),
                Delivery::Message {
                    target: Vref::promise(Allocator::Vat, 7),
                    message: Message { methargs: CapData::data(""), result: None },
                },
            ),
            (format!(r#"["notify",{ENDINGS}]"#), Delivery::Notify(endings())),
            (r#"["notify",[]]"#.to_owned(), Delivery::Notify(vec![])),
            (format!(r#"["dropExports",{list}]"#), Delivery::DropExports(objects())),
            (format!(r#"["retireExports",{list}]"#), Delivery::RetireExports(objects())),
            (format!(r#"["retireImports",{list}]"#), Delivery::RetireImports(objects())),
            (r#"["bringOutYourDead"]"#.to_owned(), Delivery::BringOutYourDead),
            (
                r##"["stopVat",{"body":"#\"#undefined\"","slots":[]}]"##.to_owned(),
                Delivery::StopVat(CapData::undefined()),
            ),
        ]
    );
}

#[test]
fn syscalls() {
    let list = r#"["o-1","o-22"]"#;
    let objects = || vrefs(&["o-1", "o-22"]);
    check!(
        Syscall,
        [
            (
                format!(r#"["send","o-50",{INCREMENT}]"#),
                Syscall::Send { target: vref("o-50"), message: increment() },
            ),
            (r#"["subscribe","p-60"]"#.to_owned(), Syscall::Subscribe(vref("p-60"))),
            (format!(r#"["resolve",{ENDINGS}]"#), Syscall::Resolve(endings())),
            (
                r##"["exit",true,{"body":"#\"bye\"","slots":[]}]"##.to_owned(),
                Syscall::Exit { failure: true, info: data(r##"#"bye""##, &[]) },
            ),
            (
                r##"["exit",false,{"body":"#0","slots":[]}]"##.to_owned(),
                Syscall::Exit { failure: false, info: CapData::data("#0") },
            ),
            (r#"["vatstoreGet","a b"]"#.to_owned(), Syscall::VatstoreGet("a b".into())),
            (r#"["vatstoreSet","k","v\n\"é🦀\u001f"]"#.to_owned(), {
                Syscall::VatstoreSet("k".into(), "v\n\"é🦀\u{1f}".into())
            }),
            (r#"["vatstoreSet","k",""]"#.to_owned(), Syscall::VatstoreSet("k".into(), String::new())),
            (r#"["vatstoreDelete","k"]"#.to_owned(), Syscall::VatstoreDelete("k".into())),
            (r#"["vatstoreGetNextKey",""]"#.to_owned(), Syscall::VatstoreGetNextKey(String::new())),
            (format!(r#"["dropImports",{list}]"#), Syscall::DropImports(objects())),
            (format!(r#"["retireImports",{list}]"#), Syscall::RetireImports(objects())),
            (format!(r#"["retireExports",{list}]"#), Syscall::RetireExports(objects())),
            (format!(r#"["abandonExports",{list}]"#), Syscall::AbandonExports(objects())),
        ]
    );
}

#[test]
fn syscall_results() {
    check!(
        SyscallResult,
        [
            (r#"["ok",null]"#.to_owned(), SyscallResult::Ok(None)),
            (r#"["ok","text"]"#.to_owned(), SyscallResult::Ok(Some("text".into()))),
            (r#"["ok",""]"#.to_owned(), SyscallResult::Ok(Some(String::new()))),
            (r#"["error","no kernel"]"#.to_owned(), SyscallResult::Error("no kernel".into())),
        ]
    );
}

#[test]
fn outcomes() {
    let fault = |kind: &str| format!(r#"["fault",{{"kind":"{kind}"}}]"#);
    let trap = |name: &str| format!(r#"["fault",{{"kind":"trap","trap":"{name}"}}]"#);
    let plain = [
        ("out-of-computrons", VatFault::OutOfComputrons),
        ("stack-overflow", VatFault::StackOverflow),
        ("memory-limit", VatFault::MemoryLimit),
        ("illegal-syscall", VatFault::IllegalSyscall),
        ("bad-syscall-bytes", VatFault::BadSyscallBytes),
        ("bad-pointer", VatFault::BadPointer),
        ("syscall-limit", VatFault::SyscallLimit),
        ("output-limit", VatFault::OutputLimit),
    ];
    let traps = [
        ("unreachable", TrapKind::Unreachable),
        ("out-of-bounds-memory", TrapKind::OutOfBoundsMemory),
        ("out-of-bounds-table", TrapKind::OutOfBoundsTable),
        ("indirect-call-to-null", TrapKind::IndirectCallToNull),
        ("bad-signature", TrapKind::BadSignature),
        ("integer-overflow", TrapKind::IntegerOverflow),
        ("division-by-zero", TrapKind::DivisionByZero),
        ("bad-conversion", TrapKind::BadConversion),
        ("exit", TrapKind::Exit),
        ("other", TrapKind::Other),
    ];
    assert_eq!(traps.map(|(_, kind)| kind), TrapKind::ALL);
    check!(Outcome, [(r#"["ok"]"#.to_owned(), Outcome::Delivered)]);
    check!(Outcome, plain.map(|(kind, value)| (fault(kind), Outcome::Faulted(value))));
    check!(Outcome, traps.map(|(name, kind)| (trap(name), Outcome::Faulted(VatFault::Trap(kind)))));
    check!(
        Outcome,
        [(
            r#"["fault",{"kind":"failed","message":"no such \"account\""}]"#.to_owned(),
            Outcome::Faulted(VatFault::failed(br#"no such "account""#)),
        )]
    );
}

/// An entry with two syscalls, used by the other tests as well.
pub(crate) fn entry() -> TranscriptEntry {
    TranscriptEntry {
        delivery: Delivery::Message { target: Vref::root(), message: increment() },
        time_ns: 1_700_000_000_000_000_042,
        syscalls: vec![
            SyscallRecord {
                syscall: Syscall::VatstoreGet("count".into()),
                result: SyscallResult::Ok(Some("1".into())),
            },
            SyscallRecord { syscall: Syscall::Resolve(endings()), result: SyscallResult::Ok(None) },
        ],
        outcome: Outcome::Delivered,
        computrons: Computrons(36_560),
    }
}

pub(crate) const ENTRY: &str = concat!(
    r##"{"d":["message","o+0",{"methargs":{"body":"#[\"increment\",[2]]","slots":[]},"result":"p-60"}],"##,
    r##""t":1700000000000000042,"sc":[{"s":["vatstoreGet","count"],"r":["ok","1"]},"##,
    r##"{"s":["resolve",[["p-60",false,{"body":"#3","slots":[]}],"##,
    r##"["p+5",true,{"body":"#\"$0\"","slots":["o-50"]}]]],"r":["ok",null]}],"##,
    r##""r":{"status":["ok"],"computrons":36560}}"##,
);

#[test]
fn transcript_entries() {
    let extreme = TranscriptEntry {
        delivery: Delivery::BringOutYourDead,
        time_ns: u64::MAX,
        syscalls: vec![],
        outcome: Outcome::Faulted(VatFault::Trap(TrapKind::DivisionByZero)),
        computrons: Computrons(u64::MAX),
    };
    let json = r#"{"d":["bringOutYourDead"],"t":18446744073709551615,"sc":[],"r":{"status":["fault",{"kind":"trap","trap":"division-by-zero"}],"computrons":18446744073709551615}}"#;
    check!(TranscriptEntry, [(ENTRY.to_owned(), entry()), (json.to_owned(), extreme)]);
}

/// What other writers of JSON may do differently is read as the same value, and written our way.
#[test]
fn other_spellings_are_read_and_made_canonical() {
    let canonical = r##"["send","o-50",{"methargs":{"body":"#é/","slots":[]}}]"##;
    let spellings = [
        " [ \"send\" ,\n\t\"o-50\" , { \"methargs\" : { \"body\" : \"#é/\" , \"slots\" : [ ] } } ]\r\n",
        r##"["send","o-50",{"methargs":{"slots":[],"body":"#é/"}}]"##,
        r##"["send","o-50",{"result":null,"methargs":{"body":"#é/","slots":[]}}]"##,
        r##"["\u0073end","o\u002d50",{"meth\u0061rgs":{"body":"#\u00e9\/","slots":[]}}]"##,
    ];
    for spelling in spellings {
        assert_eq!(Syscall::from_json(spelling.as_bytes()).unwrap().to_json(), canonical, "{spelling}");
    }
}
