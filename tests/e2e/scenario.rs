//! A scenario: a module, what is delivered to a vat of it, and how that is run.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};

use vat_abi::{
    CapData, Computrons, Delivery, LogLevel, Message, Outcome, Syscall, SyscallRecord, SyscallResult, Vref,
};
use vat_engine::Globals;
use vat_warehouse::{
    CostModel, HeapRoot, Report, RestoreMethod, SnapshotPolicy, SyscallHandler, SyscallVerdict, Tracking,
    VatName, VatOptions, Warehouse, WarehouseConfig,
};

/// A vat whose state is everywhere that state can be.
pub(crate) const STATE: &str = include_str!("../vats/state.wat");

/// The same; deliveries of more than 500 bytes fault, after they changed everything they could.
pub(crate) fn faulting_state() -> String {
    STATE.replace("(local $reply i32)", "(local $reply i32) (call $maybe_fault (local.get $len))").replace(
        "(func (export \"vat_deliver\")",
        // Long deliveries fault, after they changed everything they could.
        r#"(func $maybe_fault (param $len i32)
             (if (i32.gt_u (local.get $len) (i32.const 500))
               (then
                 (global.set $a (i32.const -7))
                 (i32.store (i32.const 16384) (i32.const -1))
                 (drop (memory.grow (i32.const 3)))
                 (drop (call $syscall (i32.const 2048) (i32.const 36)))
                 (unreachable))))
           (func (export "vat_deliver")"#,
    )
}

/// What is delivered to one vat.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) wasm: Vec<u8>,
    /// What a `startVat` among the deliveries upgrades the vat to.
    pub(crate) successor: Vec<u8>,
    pub(crate) start: CapData,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) options: VatOptions,
}

/// What happens to the vat after a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Nothing: it stays in memory.
    Stay,
    /// Its state is captured, and it stays.
    Snapshot,
    /// It is evicted.
    Evict,
    /// It is evicted, and the layers of its image are merged.
    Merge,
    /// The page store is compacted.
    Compact,
    /// Everything so far is committed.
    Commit,
    /// Everything is made durable, and the warehouse is closed and opened again.
    Restart,
    /// The warehouse is gone without a commit; what was lost is delivered again.
    Crash,
}

impl Event {
    /// Those that lose nothing.
    pub(crate) const UNDISTURBING: [Event; 7] = [
        Event::Stay,
        Event::Snapshot,
        Event::Evict,
        Event::Merge,
        Event::Compact,
        Event::Commit,
        Event::Restart,
    ];
}

/// Everything that can be observed of a vat.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) deliveries: Vec<Observed>,
    pub(crate) heap: Vec<u8>,
    pub(crate) globals: Globals,
    pub(crate) storage: Vec<(String, String)>,
    pub(crate) root: HeapRoot,
}

/// What a vat is between two deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) heap: Vec<u8>,
    pub(crate) globals: Globals,
    pub(crate) storage: Vec<(String, String)>,
}

impl Digest {
    /// Of a heap's bytes, and the rest as it is.
    pub(crate) fn new(heap: &[u8], globals: Globals, storage: Vec<(String, String)>) -> Digest {
        Digest { heap_bytes: heap.len(), heap: blake3::hash(heap), globals, storage }
    }

    pub(crate) fn heap_bytes(&self) -> u64 {
        self.heap_bytes as u64
    }

    pub(crate) fn is_same_heap(&self, other: &Digest) -> bool {
        (self.heap_bytes, self.heap) == (other.heap_bytes, other.heap)
    }

    /// How many globals are not the same.
    pub(crate) fn globals_that_differ(&self, other: &Digest) -> usize {
        let (a, b) = (self.globals.values(), other.globals.values());
        (0..a.len().max(b.len())).filter(|index| a.get(*index) != b.get(*index)).count()
    }

    /// How many keys of vat storage are not there in one, or have another value.
    pub(crate) fn keys_that_differ(&self, other: &Digest) -> usize {
        let pairs = |digest: &Digest| digest.storage.iter().cloned().collect::<BTreeSet<_>>();
        let (a, b) = (pairs(self), pairs(other));
        let keys: BTreeSet<&String> = a.symmetric_difference(&b).map(|(key, _)| key).collect();
        keys.len()
    }
}

impl State {
    /// Brings the vat into memory, and looks at all of it.
    pub(crate) fn of(warehouse: &Warehouse, name: &VatName) -> Result<State, vat_warehouse::Error> {
        let mut lease = warehouse.provide_blocking(name)?;
        let heap = lease.heap()?.to_vec();
        let globals = lease.globals()?;
        drop(lease);
        let id = warehouse.vat(name)?.id;
        let mut storage = Vec::new();
        let mut key = String::new();
        while let Some(next) = warehouse.storage().vatstore_next_key(id, &key)? {
            let value = warehouse.storage().vatstore_get(id, &next)?;
            storage.push((next.clone(), value.expect("it was just listed")));
            key = next;
        }
        Ok(State { heap, globals, storage })
    }

    /// The same with a hash for the heap, to keep for every position.
    pub(crate) fn digest(self) -> Digest {
        let State { heap, globals, storage } = self;
        Digest::new(&heap, globals, storage)
    }
}

/// What a vat is between two deliveries, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest {
    heap_bytes: usize,
    heap: blake3::Hash,
    globals: Globals,
    storage: Vec<(String, String)>,
}

/// What can be observed of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) outcome: Outcome,
    pub(crate) computrons: Computrons,
    pub(crate) syscalls: Vec<SyscallRecord>,
}

impl Observed {
    pub(crate) fn of(report: Report) -> Observed {
        Observed { outcome: report.outcome, computrons: report.computrons, syscalls: report.syscalls }
    }
}

/// How a warehouse is run in a test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host {
    pub(crate) restore: RestoreMethod,
    pub(crate) tracking: Tracking,
    pub(crate) snapshot_interval: u64,
    pub(crate) policy: SnapshotPolicy,
}

impl Host {
    /// All ways of restoring and tracking, and of deciding when to save: every so often, never if it can be helped, and by costs
    /// that make either happen.
    pub(crate) const ALL: [Host; 5] = [
        EVERY_200,
        Host { tracking: Tracking::Compare, snapshot_interval: 3, ..EVERY_200 },
        Host { restore: RestoreMethod::Copy, snapshot_interval: 1, ..EVERY_200 },
        Host { tracking: Tracking::Pagemap, policy: by_cost(2_000, 100), ..EVERY_200 },
        Host { policy: by_cost(u64::MAX, u64::MAX), ..EVERY_200 },
    ];

    pub(crate) fn config(self) -> WarehouseConfig {
        WarehouseConfig {
            restore: self.restore,
            tracking: self.tracking,
            snapshot_interval: self.snapshot_interval,
            snapshot_policy: self.policy,
            check_one_in: 1,
            ..WarehouseConfig::default()
        }
    }
}

const EVERY_200: Host = Host {
    restore: RestoreMethod::Map,
    tracking: Tracking::Best,
    snapshot_interval: 200,
    policy: SnapshotPolicy::EveryN,
};

const fn by_cost(replay_computrons_max: u64, computrons_per_page: u64) -> SnapshotPolicy {
    let computrons_per_page = NonZeroU64::new(computrons_per_page).expect("not zero");
    SnapshotPolicy::ByCost(CostModel { replay_computrons_max, computrons_per_page })
}

/// Answers every syscall and hears every line.
#[derive(Debug, Default, Clone)]
pub(crate) struct Listener {
    pub(crate) heard: Arc<Mutex<Vec<String>>>,
}

impl SyscallHandler for Listener {
    fn syscall(&mut self, _syscall: &Syscall) -> SyscallVerdict {
        SyscallVerdict::Answer(SyscallResult::Ok(None))
    }

    fn log(&mut self, _level: LogLevel, text: &str) {
        self.heard.lock().unwrap().push(text.to_owned());
    }
}

/// A message to the root object: `method` with `args`, a JSON array.
pub(crate) fn message(method: &str, args: &str) -> Delivery {
    Delivery::Message {
        target: Vref::root(),
        message: Message {
            methargs: CapData::data(format!("#[{method:?},{args}]")),
            result: Some("p-60".parse().unwrap()),
        },
    }
}

pub(crate) fn vat() -> VatName {
    "subject".parse().unwrap()
}

impl Scenario {
    pub(crate) fn wat(text: &str, deliveries: usize) -> Scenario {
        let wasm = wat::parse_str(text).expect("the test's own module is well formed");
        Scenario {
            successor: wasm.clone(),
            wasm,
            start: CapData::undefined(),
            deliveries: (0..deliveries).map(|n| message("step", &format!("[{n}]"))).collect(),
            options: VatOptions::default(),
        }
    }

    /// The recorded time of each crank: all different.
    fn time(position: usize) -> u64 {
        1_700_000_000_000_000_000 + position as u64 * 1_000_000_007
    }

    /// Runs everything, with `events[i]` after delivery `i` (position `i`, the start being the first).
    pub(crate) fn run(&self, host: Host, events: impl Fn(usize) -> Event) -> Trace {
        let dir = tempfile::tempdir().unwrap();
        let open = || Warehouse::open(dir.path(), host.config()).unwrap();
        let mut warehouse = open();
        warehouse.install("module", &self.wasm).unwrap();
        let successor = if self.successor == self.wasm { "module" } else { "successor" };
        warehouse.install(successor, &self.successor).unwrap();
        warehouse.commit().unwrap();
        let mut observed: Vec<Observed> = Vec::new();
        let mut crashed_at = std::collections::BTreeSet::new();
        let mut position = 0;
        while position <= self.deliveries.len() {
            let seen = self.deliver(&warehouse, position, successor);
            match observed.get(position) {
                Some(before) => assert_eq!(before, &seen, "position {position} again after a crash"),
                None => observed.push(seen),
            }
            position += 1;
            let event = match events(position - 1) {
                // What is delivered again does not crash again.
                Event::Crash if !crashed_at.insert(position) => Event::Stay,
                event => event,
            };
            match event {
                Event::Stay => {}
                Event::Snapshot => warehouse.provide_blocking(&vat()).unwrap().snapshot().unwrap(),
                Event::Evict => warehouse.evict(&vat()).unwrap(),
                Event::Merge => {
                    warehouse.evict(&vat()).unwrap();
                    warehouse.merge(&vat()).unwrap();
                }
                Event::Compact => drop(warehouse.compact().unwrap()),
                Event::Commit => warehouse.commit().unwrap(),
                Event::Restart => {
                    warehouse.checkpoint().unwrap();
                    drop(warehouse);
                    warehouse = open();
                }
                Event::Crash => {
                    warehouse.abandon().expect("no lease is held");
                    warehouse = open();
                    position =
                        warehouse.vat(&vat()).map_or(0, |row| usize::try_from(row.next_position.0).unwrap());
                }
            }
        }
        let verification = warehouse.verify(&vat()).unwrap();
        assert!(verification.verdict.is_identical(), "replay from birth: {}", verification.verdict);
        assert_eq!(warehouse.stats().disagreements, 0, "the tracker missed a page");
        let scrubbed = warehouse.scrub(|_, _| {}).unwrap();
        assert!(scrubbed.is_clean(), "at rest: {scrubbed:?}");
        let root = warehouse.root(&vat()).unwrap().1;
        self.observe(&warehouse, observed, root)
    }

    fn deliver(&self, warehouse: &Warehouse, position: usize, successor: &str) -> Observed {
        let listener = Listener::default();
        let time = Self::time(position);
        let (report, _) = match position.checked_sub(1) {
            None => {
                let options = self.options.clone();
                warehouse.create(&vat(), "module", options, self.start.clone(), time, listener)
            }
            Some(index) => match self.deliveries[index].clone() {
                Delivery::StartVat(args) => warehouse.upgrade(&vat(), successor, args, time, listener),
                delivery => warehouse.provide_blocking(&vat()).unwrap().deliver(delivery, time, listener),
            },
        };
        let report = report.unwrap();
        assert_eq!(report.position, position as u64);
        Observed::of(report)
    }

    fn observe(&self, warehouse: &Warehouse, deliveries: Vec<Observed>, root: HeapRoot) -> Trace {
        let State { heap, globals, storage } = State::of(warehouse, &vat()).unwrap();
        Trace { deliveries, heap, globals, storage, root }
    }
}

impl Trace {
    /// Fails with the first difference rather than with megabytes of heap.
    #[track_caller]
    pub(crate) fn assert_same(&self, other: &Trace, what: &str) {
        for (position, (a, b)) in self.deliveries.iter().zip(&other.deliveries).enumerate() {
            assert_eq!(a, b, "{what}: delivery {position}");
        }
        assert_eq!(self.deliveries.len(), other.deliveries.len(), "{what}");
        assert_eq!(self.globals, other.globals, "{what}");
        assert_eq!(self.storage, other.storage, "{what}");
        assert_eq!(self.heap.len(), other.heap.len(), "{what}: size of the heap");
        let byte = self.heap.iter().zip(&other.heap).position(|(a, b)| a != b);
        assert_eq!(self.root, other.root, "{what}: heap root");
        assert_eq!(byte, None, "{what}: address of the first byte of the heap that differs");
    }
}
