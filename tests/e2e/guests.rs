//! The example vats, built by real toolchains, through the oracle: what evicting, restoring and replaying must not change for
//! code that people write. Their behaviour is tested beside them, with the test kit; here it is residency.

use crate::scenario::{Event, Host, Scenario, message};

/// A scenario of a guest; `None`, with the reason printed, if the toolchain for it is missing where that is allowed.
fn scenario(guest: &str, start: &str, calls: &[(&str, &str)]) -> Scenario {
    let wasm = vat_guests::wasm(guest).unwrap_or_else(|why| panic!("the vat {guest} was not built: {why}"));
    let mut scenario = Scenario::wat("(module)", 0);
    scenario.wasm = wasm.to_vec();
    scenario.successor = wasm.to_vec();
    scenario.start.body = format!("#{start}");
    scenario.deliveries = calls.iter().map(|(method, args)| message(method, args)).collect();
    scenario
}

/// Steady against evicted, captured and restarted after every delivery.
fn indistinguishable(scenario: &Scenario) {
    let steady = scenario.run(Host::ALL[0], |_| Event::Stay);
    for (host, event) in
        [(Host::ALL[0], Event::Evict), (Host::ALL[1], Event::Snapshot), (Host::ALL[2], Event::Restart)]
    {
        steady.assert_same(&scenario.run(host, |_| event), &format!("{event:?}, {host:?}"));
    }
}

/// The body that delivery `position` resolved its promise to.
fn answer(scenario: &Scenario, position: usize) -> String {
    let trace = scenario.run(Host::ALL[0], |_| Event::Evict);
    let resolved = trace.deliveries[position].syscalls.last().expect("a message is answered");
    resolved.syscall.to_string()
}

const UNDEFINED: &str = "\"#undefined\"";

#[test]
fn a_counter_of_the_sdk() {
    let calls = [
        ("add", "[5]"),
        ("increment", "[]"),
        ("nonsense", "[]"),
        ("add", "[\"five\"]"),
        ("crash", "[\"why\"]"),
        ("peek", "[]"),
    ];
    let scenario = scenario("counter", "{\"start\":7}", &calls);
    indistinguishable(&scenario);
    let peeked = answer(&scenario, 6);
    assert!(peeked.contains("13"), "{peeked}");
}

#[test]
fn a_vat_without_the_sdk() {
    let scenario = scenario("raw", UNDEFINED, &[("add", "[3]"), ("add", "[4]"), ("peek", "[]")]);
    indistinguishable(&scenario);
    assert!(answer(&scenario, 3).contains('7'));
}

/// A vat that writes its JSON with white space, escapes and fields in another order. What is recorded is canonical, so that a
/// replay, which compares texts where it can, has to see through it.
#[test]
fn a_vat_with_a_hand_of_its_own() {
    let syscalls = [
        r#" [ "vatstoreSet" , "k\u0065y" , "v\/alue" ] "#,
        r#"["vatstoreGet","key"]"#,
        r##"["resolve",[["p-60",false,{"slots":[],"body":"#\u0031"}]]]"##,
    ];
    let (mut data, mut calls, mut at) = (String::new(), String::new(), 1024);
    for syscall in syscalls {
        data +=
            &format!("(data (i32.const {at}) \"{}\")", syscall.replace('\\', "\\\\").replace('"', "\\\""));
        calls += &format!("(drop (call $syscall (i32.const {at}) (i32.const {})))", syscall.len());
        at += 256;
    }
    let wat = format!(
        r#"(module
          (import "vat" "syscall" (func $syscall (param i32 i32) (result i32)))
          (memory (export "memory") 1) {data}
          (func (export "vat_deliver") (param i32) (result i32) {calls} (i32.const 0)))"#
    );
    let scenario = Scenario::wat(&wat, 3);
    indistinguishable(&scenario);
    let expected = "vatstoreSet 'key' 'v/alue'";
    let trace = scenario.run(Host::ALL[0], |_| Event::Restart);
    assert_eq!(trace.deliveries[2].syscalls[0].syscall.to_string(), expected);
}

/// The vat that the ABI reference shows, taken from its text.
#[test]
fn the_vat_of_the_abi_reference() {
    let reference = include_str!("../../crates/abi/ABI.md");
    let text =
        reference.split("```wat").nth(1).and_then(|rest| rest.split("```").next()).expect("it shows a vat");
    let scenario = Scenario::wat(text, 3);
    indistinguishable(&scenario);
    let answers: Vec<String> = (1..4).map(|position| answer(&scenario, position)).collect();
    assert_eq!(
        answers,
        [
            r##"resolve p-60 fulfilled #0"##,
            r##"resolve p-60 fulfilled #1"##,
            r##"resolve p-60 fulfilled #2"##
        ]
        .map(str::to_owned)
    );
}

#[test]
fn a_ledger_with_storage() {
    let calls = [
        ("open", "[\"alice\"]"),
        ("open", "[\"bob\"]"),
        ("deposit", "[\"alice\",100]"),
        ("transfer", "[\"alice\",\"bob\",30]"),
        ("transfer", "[\"bob\",\"alice\",1000]"),
        ("history", "[0]"),
        ("balance", "[\"bob\"]"),
    ];
    let scenario = scenario("ledger", UNDEFINED, &calls);
    indistinguishable(&scenario);
    assert!(answer(&scenario, 7).contains("30"));
}

#[test]
fn a_full_text_index_on_a_growing_heap() {
    let text = "the vat sleeps while other vats work and wakes as if nothing had been ".repeat(200);
    let add = |n: usize| format!("[\"document {n}\",\"{text} number{n}\"]");
    let added: Vec<String> = (0..6).map(add).collect();
    let mut calls: Vec<(&str, &str)> = added.iter().map(|args| ("add", args.as_str())).collect();
    calls.push(("query", "[\"sleeps number3\"]"));
    calls.push(("remove", "[\"document 3\"]"));
    calls.push(("query", "[\"number3\"]"));
    let scenario = scenario("search", UNDEFINED, &calls);
    indistinguishable(&scenario);
    assert!(answer(&scenario, 7).contains("document 3"));
    assert!(!answer(&scenario, 9).contains("document 3"));
}

#[test]
fn a_wasi_vat_sees_recorded_time_and_its_own_randomness_only() {
    let calls = [
        ("print", "[\"hello\"]"),
        ("now", "[]"),
        ("elapsed", "[]"),
        ("random", "[]"),
        ("random", "[]"),
        ("note", "[\"word\"]"),
        ("note", "[\"other\"]"),
        ("words", "[]"),
        ("outside", "[]"),
    ];
    let scenario = scenario("wasi-vat", UNDEFINED, &calls);
    indistinguishable(&scenario);
    assert!(
        answer(&scenario, 2).contains("1700000002000000014"),
        "the crank's recorded time: {}",
        answer(&scenario, 2)
    );
    assert_ne!(answer(&scenario, 4), answer(&scenario, 5), "every crank has randomness of its own");
    assert_eq!(answer(&scenario, 4), answer(&scenario, 4), "and the same at every run");
}

#[test]
fn a_vat_in_c() {
    if let Err(why) = vat_guests::wasm("c-counter") {
        // The only toolchain that a machine may lack.
        say_skipped(why);
        return;
    }
    let scenario = scenario("c-counter", UNDEFINED, &[("add", "[3]"), ("add", "[4]"), ("peek", "[]")]);
    indistinguishable(&scenario);
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn say_skipped(why: &str) {
    eprintln!("skipped, since the vat in C was not built: {why}");
}
