//! A generated vat in a whole warehouse: evicted, snapshotted, merged, restarted and crashed as a seed has it, beside one that
//! stays in memory.
//!
//! The scenario is the end-to-end tests' own; so is the list of what must be the same.

#[path = "../../e2e/scenario.rs"]
#[expect(dead_code, reason = "the end-to-end tests use what is not used here")]
mod scenario;

use vat_abi::CapData;
use vat_measure::Random;
use vat_warehouse::{Error, VatOptions, Warehouse};

use self::scenario::{Event, Host, Listener, Scenario, vat};
use super::answers::{COMPUTRONS_MAX, PAGES_MAX, delivery};
use super::life::DELIVERIES;
use super::source::{Subject, pick};

/// What happens, each as often as it stands here.
const EVENTS: [Event; 9] = [
    Event::Stay,
    Event::Snapshot,
    Event::Evict,
    Event::Evict,
    Event::Merge,
    Event::Commit,
    Event::Restart,
    Event::Crash,
    Event::Crash,
];

/// Hosts an accepted module in two ways that must not differ. Whether there is such a vat: its start may fault.
///
/// # Panics
/// If they differ.
pub(crate) fn host(subject: &Subject) -> bool {
    let scenario = Scenario {
        wasm: subject.wasm.clone(),
        successor: subject.wasm.clone(),
        start: CapData::undefined(),
        deliveries: (0..DELIVERIES).map(|n| delivery(subject, n)).collect(),
        options: VatOptions { computrons_per_delivery: COMPUTRONS_MAX, memory_pages_max: PAGES_MAX },
    };
    if !is_startable(&scenario) {
        return false;
    }
    let mut random = Random::new(!subject.seed);
    let host = pick(&mut random, &Host::ALL);
    let events: Vec<Event> = (0..=DELIVERIES).map(|_| pick(&mut random, &EVENTS)).collect();
    let steady = scenario.run(Host { snapshot_interval: u64::MAX, ..Host::ALL[0] }, |_| Event::Stay);
    let disturbed = scenario.run(host, |position| events[position]);
    steady.assert_same(&disturbed, &format!("{events:?}, {host:?}"));
    true
}

fn is_startable(scenario: &Scenario) -> bool {
    let dir = tempfile::tempdir().expect("a directory");
    let warehouse = Warehouse::open(dir.path(), Host::ALL[0].config()).expect("a warehouse");
    warehouse.install("module", &scenario.wasm).expect("an accepted module");
    let options = scenario.options.clone();
    let (created, _) =
        warehouse.create(&vat(), "module", options, scenario.start.clone(), 1, Listener::default());
    match created {
        Ok(_) => true,
        Err(Error::StartFaulted { .. }) => false,
        Err(error) => panic!("a generated vat cannot be created: {error}"),
    }
}
