//! The test kit itself: what it lets a test see and do, and that a vat which is not deterministic is caught.

use std::sync::atomic::{AtomicU64, Ordering};

use vat_testkit::{
    Aspect, Error, Promise, Rejection, Result, Scenario, Subject, Syscall, SyscallResult, TestVat, object,
};

const SEND: &str =
    r##"["send","o-7",{"methargs":{"body":"#[\"ask\",[1,\"x\"]]","slots":[]},"result":"p+5"}]"##;
const SUBSCRIBE: &str = r#"["subscribe","p+5"]"#;
const RESOLVE: &str = r##"["resolve",[["p-60",false,{"body":"#42","slots":[]}]]]"##;

/// A vat that passes each message on to `o-7`, and when it hears of the answer, answers the first with 42.
fn relay() -> Subject {
    let at = |text: &str, address: usize| {
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        format!("(data (i32.const {address}) \"{escaped}\")")
    };
    let module = format!(
        r#"(module
             (import "vat" "delivery_read" (func $delivery_read (param i32)))
             (import "vat" "syscall" (func $syscall (param i32 i32) (result i32)))
             (memory (export "memory") 1)
             {} {} {}
             (func (export "vat_deliver") (param i32) (result i32)
               (local $tag i32)
               (call $delivery_read (i32.const 4096))
               (local.set $tag (i32.load8_u (i32.const 4098)))
               (if (i32.eq (local.get $tag) (i32.const 109)) ;; message
                 (then
                   (drop (call $syscall (i32.const 0) (i32.const {})))
                   (drop (call $syscall (i32.const 1024) (i32.const {})))))
               (if (i32.eq (local.get $tag) (i32.const 110)) ;; notify
                 (then (drop (call $syscall (i32.const 2048) (i32.const {})))))
               (i32.const 0)))"#,
        at(SEND, 0),
        at(SUBSCRIBE, 1024),
        at(RESOLVE, 2048),
        SEND.len(),
        SUBSCRIBE.len(),
        RESOLVE.len(),
    );
    Subject::wasm(module)
}

/// A host that answers differently each time: what a kernel with a mistake, or a clock, would do.
fn fickle(syscall: &Syscall) -> SyscallResult {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    match syscall {
        Syscall::Subscribe(_) => SyscallResult::Ok(Some(ASKED.fetch_add(1, Ordering::Relaxed).to_string())),
        _ => SyscallResult::Ok(None),
    }
}

/// Sends a message to the relay, and returns the promise for the answer and the one that the relay waits for.
fn ask(vat: &mut TestVat) -> Result<(Promise, Promise)> {
    let answer = vat.send("anything", (object(7),))?;
    let asked = vat.sent()[0].result().expect("the relay wants an answer");
    Ok((answer, asked))
}

#[test]
fn messages_to_others_are_seen_and_their_answers_played() -> Result {
    let mut vat = TestVat::start(relay(), ())?;
    let (answer, asked) = ask(&mut vat)?;
    let sent = vat.sent();
    assert_eq!(sent[0].target().as_str(), "o-7");
    assert_eq!(sent[0].method()?, "ask");
    assert_eq!(sent[0].arguments::<(u64, String)>()?, (1, "x".to_owned()));
    assert_eq!(vat.syscalls().len(), 2);
    assert!(matches!(vat.answer::<u64>(&answer), Err(Error::Unanswered { .. })));
    vat.crash()?; // And with it what the test kit knows of the promises, unless it takes care.
    vat.notify_fulfilled(&asked, "an answer")?;
    assert_eq!(vat.answer::<u64>(&answer)?, 42);
    assert!(matches!(vat.answer::<String>(&answer), Err(Error::Answer { .. })));
    let again = vat.notify_rejected(&asked, &Rejection::new("too late"));
    assert!(matches!(again, Err(Error::NotSubscribed(_))));
    Ok(())
}

#[test]
fn an_answer_that_comes_later_is_not_an_answer_to_a_call() -> Result {
    let mut vat = TestVat::start(relay(), ())?;
    let error = vat.call::<u64>("anything", ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "p-60 is not settled: the vat did not answer within the delivery; `send` and `answer` ask later"
    );
    Ok(())
}

#[test]
fn residency_events_do_what_they_say() -> Result {
    let mut vat = TestVat::start(relay(), ())?;
    assert!(vat.is_resident()?);
    vat.snapshot()?;
    assert!(vat.is_resident()?);
    vat.evict()?;
    assert!(!vat.is_resident()?);
    vat.send_only("anything", ())?;
    assert!(vat.is_resident()?);
    vat.restart()?;
    assert!(!vat.is_resident()?);
    vat.crash()?;
    assert!(!vat.is_resident()?, "a restart makes everything durable, so that a crash loses nothing");
    vat.verify()
}

#[test]
fn a_scenario_with_answers_of_others_is_deterministic() {
    Scenario::of(relay()).call("anything", ()).notify_fulfilled("p+5", 7).assert_deterministic();
}

#[test]
fn a_vat_whose_world_changes_is_caught() {
    let error = Scenario::of(relay().answering(fickle)).call("anything", ()).check().unwrap_err();
    let difference = error.difference().unwrap_or_else(|| panic!("{error}"));
    assert_eq!((difference.position, &difference.aspect), (Some(1), &Aspect::Syscall(1)));
    assert!(difference.expected.starts_with("subscribe p+5 -> ok '"), "{difference}");
}

#[test]
#[should_panic(expected = "the vat is not deterministic")]
fn and_the_assertion_fails() {
    Scenario::of(relay().answering(fickle)).call("anything", ()).assert_deterministic();
}

#[test]
fn a_delivery_that_differs_after_a_crash_is_caught() -> Result {
    let mut vat = TestVat::start(relay().answering(fickle), ())?;
    vat.send("anything", ())?;
    let error = vat.crash().unwrap_err();
    assert!(error.to_string().contains("in delivery 1, syscall 1 is not the same"), "{error}");
    Ok(())
}

#[test]
fn the_answers_of_the_host_are_the_tests_to_choose() -> Result {
    let refusing = |syscall: &Syscall| match syscall {
        Syscall::Send { .. } => SyscallResult::Error("nobody there".to_owned()),
        _ => SyscallResult::Ok(None),
    };
    let mut vat = TestVat::start(relay().answering(refusing), ())?;
    vat.send_only("anything", ())?;
    assert_eq!(vat.syscalls()[0].result, SyscallResult::Error("nobody there".to_owned()));
    Ok(())
}

#[test]
fn what_is_no_module_is_refused_with_the_reason() {
    let error = TestVat::start(Subject::wasm(*b"(module)"), ()).unwrap_err();
    assert!(error.to_string().contains("vat_deliver") || error.to_string().contains("memory"), "{error}");
}
