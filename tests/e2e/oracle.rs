//! The oracle: a vat that was evicted, snapshotted, crashed, restored and replayed at any points is indistinguishable from
//! one that never left memory. Same syscalls, same outcomes, same computrons, same heap bytes, same globals, same storage.

use proptest::prelude::*;

use crate::scenario::{Event, Host, STATE, Scenario, Trace, faulting_state, message};

/// The vat that stays in memory from its first delivery to its last.
pub(crate) fn steady(scenario: &Scenario) -> Trace {
    scenario.run(Host { snapshot_interval: u64::MAX, ..Host::ALL[0] }, |_| Event::Stay)
}

/// Every event after every delivery, in every way of hosting.
pub(crate) fn indistinguishable(scenario: &Scenario) {
    let steady = steady(scenario);
    for host in Host::ALL {
        for event in Event::UNDISTURBING {
            let disturbed = scenario.run(host, |_| event);
            steady.assert_same(&disturbed, &format!("{event:?} after every delivery, {host:?}"));
        }
        // A crash loses what was not committed, so every other delivery is committed.
        let crashed = scenario.run(host, |position| match position % 4 {
            1 => Event::Commit,
            3 => Event::Evict,
            _ => Event::Stay,
        });
        steady.assert_same(&crashed, "commit and evict in turn");
    }
}

/// Crashes once, at `at`, after a commit at `committed`.
pub(crate) fn crash_once(scenario: &Scenario, host: Host, committed: usize, at: usize) -> Trace {
    scenario.run(host, move |position| match position {
        _ if position == at => Event::Crash,
        _ if position == committed => Event::Commit,
        _ => Event::Stay,
    })
}

#[test]
fn state_in_memory_globals_and_storage_survives_everything() {
    indistinguishable(&Scenario::wat(STATE, 12));
}

#[test]
fn a_crash_at_any_delivery_loses_only_what_was_not_committed() {
    let scenario = Scenario::wat(STATE, 8);
    let steady = steady(&scenario);
    for at in 0..=8usize {
        for committed in [0, at / 2, at.saturating_sub(1)] {
            let crashed = crash_once(&scenario, Host::ALL[at % Host::ALL.len()], committed, at);
            steady.assert_same(&crashed, &format!("crash at {at}, committed at {committed}"));
        }
    }
}

#[test]
fn faulted_deliveries_leave_no_trace_in_the_vat() {
    let text = faulting_state();
    let mut scenario = Scenario::wat(&text, 0);
    let long = [false, false, true, false, true, true, false, false, true, false];
    let padding = |long: bool| "7".repeat(if long { 500 } else { 1 });
    scenario.deliveries = long.iter().map(|l| message("step", &format!("[{:?}]", padding(*l)))).collect();
    let trace = steady(&scenario);
    let faulted: Vec<bool> = trace.deliveries[1..].iter().map(|d| d.outcome.fault().is_some()).collect();
    assert_eq!(faulted, long);
    indistinguishable(&scenario);
}

pub(crate) fn events(len: usize) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => Just(Event::Stay),
        2 => Just(Event::Snapshot),
        3 => Just(Event::Evict),
        2 => Just(Event::Commit),
        2 => Just(Event::Merge),
        1 => Just(Event::Compact),
        1 => Just(Event::Restart),
        2 => Just(Event::Crash),
    ];
    proptest::collection::vec(event, len)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_is_invisible(events in events(16), host in 0..Host::ALL.len()) {
        let scenario = Scenario::wat(STATE, 15);
        let disturbed = scenario.run(Host::ALL[host], |position| events[position]);
        steady(&scenario).assert_same(&disturbed, &format!("{events:?}"));
    }
}

/// Writes a page with every odd delivery, and makes it zero again with every even one.
const BACK_AND_FORTH: &str = r#"(module
  (memory (export "memory") 2)
  (global $turn (mut i32) (i32.const 0))
  (func (export "vat_deliver") (param i32) (result i32)
    (global.set $turn (i32.add (global.get $turn) (i32.const 1)))
    (i64.store (i32.const 65536) (i64.extend_i32_u (i32.and (global.get $turn) (i32.const 1))))
    (i32.const 0)))"#;

#[test]
fn a_page_that_is_again_what_it_was_when_the_vat_came_is_captured_as_that() {
    indistinguishable(&Scenario::wat(BACK_AND_FORTH, 6));
}
