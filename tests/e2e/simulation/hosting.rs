//! How a host is run in one of its lives: the same vats come out of every choice that is made here.

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;

use vat_warehouse::{
    CostModel, Disk, RestoreMethod, Retention, SnapshotPolicy, SpanClosing, SpanPolicy, Tracking,
    WarehouseConfig,
};

use super::world::{Luck, World};
use crate::steady::{Random, code_cache};

impl World {
    /// How the host is run from now on.
    pub(super) fn config(&mut self, disk: Arc<dyn Disk>) -> WarehouseConfig {
        if self.luck == Luck::Good {
            return WarehouseConfig {
                resident_max: NonZeroUsize::new(2).expect("not zero"),
                snapshot_interval: 3,
                check_one_in: 1,
                segment_bytes: 128 << 10,
                code_cache: Some(code_cache()),
                disk,
                ..WarehouseConfig::default()
            };
        }
        let level = self.random.pick(&Retention::ALL).max(self.floor);
        self.kept = self.kept.min(level);
        let random = &mut self.random;
        let count = |random: &mut Random, below| {
            NonZeroUsize::new(1 + usize::try_from(random.below(below)).unwrap()).unwrap()
        };
        WarehouseConfig {
            resident_max: count(random, 4),
            resident_bytes_max: random.pick(&[None, None, Some(200_000)]),
            page_ins_max: count(random, 3),
            snapshot_interval: random.pick(&[1, 3, 7, 1_000]),
            recent_states_max: count(random, 8),
            check_one_in: random.pick(&[0, 1, 4]),
            snapshot_policy: policy(random),
            span_policy: spans(random),
            span_closing: random.pick(&[SpanClosing::Policy, SpanClosing::PolicyAndSnapshots]),
            retention: Some(level),
            segment_bytes: random.pick(&[64 << 10, 512 << 10, 256 << 20]),
            restore: random.pick(&[RestoreMethod::Map, RestoreMethod::Map, RestoreMethod::Copy]),
            tracking: random.pick(&[Tracking::Best, Tracking::Pagemap, Tracking::Compare]),
            code_cache: Some(code_cache()),
            disk,
            canary: self.canary,
            ..WarehouseConfig::default()
        }
    }
}

/// When states are captured; by cost, the machine is as fast as the seed says.
fn policy(random: &mut Random) -> SnapshotPolicy {
    if random.below(2) == 0 {
        return SnapshotPolicy::EveryN;
    }
    let replay_ms_max = random.pick(&[0, 1, 50]);
    let computrons_per_ms = random.pick(&[1, 1_000, 100_000]);
    let bytes_per_ms = random.pick(&[1, 4_096, 1 << 20]);
    SnapshotPolicy::ByCost(CostModel::measured(replay_ms_max, computrons_per_ms, bytes_per_ms))
}

/// When spans are closed: small ones, so that there are many.
fn spans(random: &mut Random) -> SpanPolicy {
    let limit = |number| NonZeroU64::new(number).expect("not zero");
    let entries_max = limit(random.pick(&[2, 5, 2_048]));
    let bytes_max = limit(random.pick(&[1_000, 1 << 20]));
    SpanPolicy { entries_max, bytes_max }
}
