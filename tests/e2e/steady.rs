//! The host that never stops: what any other host is compared with.
//!
//! ```text
//!   Script (module, seeds) ── message(n) ──► Steady: one warehouse, all vats in memory, no snapshot, no commit
//!                                               └─► at every position: what was observed, and what the vat then was
//! ```
//!
//! A [`Script`] says what a vat is told at each position, for ever: a delivery that is made again after a crash is the same
//! delivery. A fork's script is its parent's up to the fork. Nothing is compared here; whoever disturbs vats asks this for what
//! must be.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use tempfile::TempDir;
use vat_abi::{CapData, Delivery};
use vat_warehouse::{Error, VatName, VatOptions, Warehouse, WarehouseConfig};

use crate::scenario::{Digest, Listener, Observed, STATE, State, faulting_state, message};

const SCATTER: &str = include_str!("../vats/scatter.wat");

/// A module of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// State of every kind.
    State,
    /// The same, with deliveries that fault.
    Faulting,
    /// Pages here and there.
    Scatter,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::State, Kind::Faulting, Kind::Scatter];

    pub(crate) fn module(self) -> &'static str {
        match self {
            Kind::State => "state",
            Kind::Faulting => "faulting",
            Kind::Scatter => "scatter",
        }
    }

    fn wasm(self) -> Vec<u8> {
        let text = match self {
            Kind::State => STATE.to_owned(),
            Kind::Faulting => faulting_state(),
            Kind::Scatter => SCATTER.to_owned(),
        };
        wat::parse_str(text).expect("the tests' own modules are well formed")
    }
}

/// The module whose every delivery faults, its start included.
pub(crate) const REFUSING: &str = "refusing";

/// Its text: all changes are made that can be, and then it faults.
fn refusing_state() -> String {
    let long = "(i32.gt_u (local.get $len) (i32.const 500))";
    let text = faulting_state();
    assert!(text.contains(long), "what makes it fault is no longer there");
    text.replace(long, "(i32.const 1)")
}

/// Installs all modules.
pub(crate) fn install(warehouse: &Warehouse) -> Result<(), Error> {
    Kind::ALL.iter().try_for_each(|kind| warehouse.install(kind.module(), &kind.wasm()).map(drop))?;
    let refusing = wat::parse_str(refusing_state()).expect("the tests' own modules are well formed");
    warehouse.install(REFUSING, &refusing).map(drop)
}

/// Where the tests' compiled code is kept from one warehouse to the next.
pub(crate) fn code_cache() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("e2e-code")
}

/// What a vat is told, at every position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Script {
    kind: Kind,
    /// Each from a position on.
    seeds: Vec<(u64, u64)>,
    /// Where its code is replaced, and by what.
    upgrades: Vec<(u64, Kind)>,
}

impl Script {
    pub(crate) fn new(kind: Kind, seed: u64) -> Script {
        Script { kind, seeds: vec![(0, seed)], upgrades: Vec::new() }
    }

    /// That of a fork made at `position`.
    pub(crate) fn forked(&self, position: u64, seed: u64) -> Script {
        let mut forked = self.clone();
        forked.seeds.push((position, seed));
        forked
    }

    /// The same up to `position`, where new code starts.
    pub(crate) fn upgraded(&self, position: u64, kind: Kind) -> Script {
        let mut upgraded = self.clone();
        upgraded.upgrades.push((position, kind));
        upgraded
    }

    /// Whether its vat began as a copy of another.
    pub(crate) fn is_fork(&self) -> bool {
        self.seeds.len() > 1
    }

    /// Where the newest code starts.
    pub(crate) fn incarnation_start(&self) -> u64 {
        self.upgrades.last().map_or(0, |(position, _)| *position)
    }

    /// Whether new code starts there.
    pub(crate) fn is_upgrade(&self, position: u64) -> bool {
        self.successor(position).is_some()
    }

    fn successor(&self, position: u64) -> Option<Kind> {
        self.upgrades.iter().find(|(at, _)| *at == position).map(|(_, kind)| *kind)
    }

    /// What is delivered at a position where no code starts, and when.
    pub(crate) fn said(&self, position: u64) -> (Delivery, u64) {
        (self.delivery(position), Self::time(position))
    }

    /// What is delivered at a position; not 0, which is the start.
    fn delivery(&self, position: u64) -> Delivery {
        let (_, seed) =
            self.seeds.iter().rev().find(|(from, _)| *from <= position).expect("the first is from 0");
        let mut random = Random::new(seed ^ position.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let word = random.below(1_000_000);
        let padding = if random.below(6) == 0 { "7".repeat(500) } else { String::new() };
        message("step", &format!("[{word},{padding:?}]"))
    }

    fn time(position: u64) -> u64 {
        1_700_000_000_000_000_000 + position * 1_000_000_007
    }

    /// Makes the delivery of a position, or the vat itself.
    pub(crate) fn deliver(
        &self,
        warehouse: &Warehouse,
        name: &VatName,
        position: u64,
    ) -> Result<Observed, Error> {
        let time = Self::time(position);
        let start = CapData::undefined();
        let (report, _) = match position {
            0 => {
                let module = self.kind.module();
                warehouse.create(name, module, VatOptions::default(), start, time, Listener::default())
            }
            _ if self.is_upgrade(position) => {
                let kind = self.successor(position).expect("just asked");
                warehouse.upgrade(name, kind.module(), start, time, Listener::default())
            }
            _ => {
                let delivery = self.delivery(position);
                warehouse.provide_blocking(name)?.deliver(delivery, time, Listener::default())
            }
        };
        let report = report?;
        assert_eq!(report.position, position, "{name}: position of a delivery");
        Ok(Observed::of(report))
    }
}

/// Vats that never leave memory.
#[derive(Debug)]
pub(crate) struct Steady {
    warehouse: Warehouse,
    _dir: TempDir,
    lives: BTreeMap<Script, Life>,
}

#[derive(Debug)]
struct Life {
    name: VatName,
    observed: Vec<Observed>,
    /// After each delivery.
    states: Vec<Digest>,
}

impl Steady {
    pub(crate) fn new() -> Steady {
        let dir = tempfile::tempdir().unwrap();
        let config = WarehouseConfig {
            resident_max: NonZeroUsize::new(1_000).unwrap(),
            snapshot_interval: u64::MAX,
            code_cache: Some(code_cache()),
            ..WarehouseConfig::default()
        };
        let warehouse = Warehouse::open(dir.path(), config).unwrap();
        install(&warehouse).unwrap();
        Steady { warehouse, _dir: dir, lives: BTreeMap::new() }
    }

    /// What must be observed of the delivery at `position`.
    pub(crate) fn observed(&mut self, script: &Script, position: u64) -> &Observed {
        &self.live(script, position + 1).observed[index(position)]
    }

    /// What the vat must be after its first `deliveries`, in short; at least one.
    pub(crate) fn state(&mut self, script: &Script, deliveries: u64) -> &Digest {
        &self.live(script, deliveries).states[index(deliveries - 1)]
    }

    fn live(&mut self, script: &Script, deliveries: u64) -> &Life {
        let number = self.lives.len();
        let life = self.lives.entry(script.clone()).or_insert_with(|| Life {
            name: format!("life-{number}").parse().unwrap(),
            observed: Vec::new(),
            states: Vec::new(),
        });
        for position in life.observed.len() as u64..deliveries {
            let observed = script.deliver(&self.warehouse, &life.name, position).unwrap();
            life.observed.push(observed);
            life.states.push(State::of(&self.warehouse, &life.name).unwrap().digest());
        }
        life
    }
}

fn index(position: u64) -> usize {
    usize::try_from(position).expect("a test's transcript fits memory")
}

/// Numbers that follow from a seed (splitmix64), so that a seed names a run.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// One of them.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[index(self.below(choices.len() as u64))]
    }
}
