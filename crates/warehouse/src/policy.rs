//! When a vat's state is captured: a value that the caller chooses, asked at the two points where there is a choice.
//!
//! ```text
//!   after a delivery   computrons since the last snapshot ≥ the replay that is allowed?       capture : later
//!   at an eviction     replaying them costs more than writing the changed pages?              capture : drop, replay later
//! ```
//!
//! Costs are compared in computrons, since there is no clock here: whoever has one measures how fast this machine replays and
//! writes, and says so in a [`CostModel`]. Invariant: a decision changes when something is written, never what a vat is, so two
//! hosts with different policies have the same vats.

use std::num::NonZeroU64;

use vat_image::PAGE_BYTES;

/// When a vat's state is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SnapshotPolicy {
    /// What the data directory keeps ([`Warehouse::keep_policy`](crate::Warehouse::keep_policy)); as `EveryN` if it keeps none.
    #[default]
    OfDirectory,
    /// After every [`snapshot_interval`](crate::WarehouseConfig::snapshot_interval) deliveries, and at every eviction.
    EveryN,
    /// By what a replay would cost against what writing costs.
    ByCost(CostModel),
}

/// What replaying and writing cost on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostModel {
    /// Computrons that a page-in may have to replay.
    pub replay_computrons_max: u64,
    /// Computrons whose replay takes as long as capturing one changed page.
    pub computrons_per_page: NonZeroU64,
}

/// What the caller knows about a vat's future.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hint {
    /// Nothing: it is evicted when it is the least recently used.
    #[default]
    Automatic,
    /// There is work for it in the caller's queue: it is not evicted to make room, and a snapshot of it waits for twice as long.
    Queued,
    /// It is not evicted to make room.
    Pinned,
}

/// What would have to be replayed, were the vat lost from memory now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsaved {
    pub(crate) deliveries: u64,
    pub(crate) computrons: u64,
}

/// What the policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Now,
    Later,
}

impl CostModel {
    /// From measured speeds, and from the longest replay that a page-in may have.
    ///
    /// `computrons_per_ms` is the speed of replays, `bytes_per_ms` that of captures. A speed of 0 is taken for 1.
    pub fn measured(replay_ms_max: u64, computrons_per_ms: u64, bytes_per_ms: u64) -> CostModel {
        let speed = computrons_per_ms.max(1);
        let per_page = speed.saturating_mul(PAGE_BYTES as u64) / bytes_per_ms.max(1);
        CostModel {
            replay_computrons_max: replay_ms_max.saturating_mul(speed),
            computrons_per_page: NonZeroU64::new(per_page).unwrap_or(NonZeroU64::MIN),
        }
    }
}

impl SnapshotPolicy {
    /// After a delivery, of a vat that stays in memory. The hint is asked for only if it matters.
    pub(crate) fn while_resident(
        self,
        unsaved: Unsaved,
        interval: u64,
        hint: impl FnOnce() -> Hint,
    ) -> Decision {
        match self {
            SnapshotPolicy::OfDirectory | SnapshotPolicy::EveryN => now_if(unsaved.deliveries >= interval),
            SnapshotPolicy::ByCost(model) => {
                // A vat with queued work will soon have more to save; one capture then stands for two.
                let bound = model.replay_computrons_max;
                let reached = unsaved.deliveries > 0 && unsaved.computrons >= bound;
                let far = || unsaved.computrons >= bound.saturating_mul(2);
                now_if(reached && (far() || hint() != Hint::Queued))
            }
        }
    }

    /// Of a vat that is to leave memory. `dirty_bytes` is measured only if it matters.
    pub(crate) fn at_eviction(self, unsaved: Unsaved, dirty_bytes: impl FnOnce() -> u64) -> Decision {
        if unsaved.deliveries == 0 {
            return Decision::Later;
        }
        match self {
            SnapshotPolicy::OfDirectory | SnapshotPolicy::EveryN => Decision::Now,
            SnapshotPolicy::ByCost(model) if unsaved.computrons >= model.replay_computrons_max => {
                Decision::Now
            }
            SnapshotPolicy::ByCost(model) => {
                let pages = dirty_bytes().div_ceil(PAGE_BYTES as u64);
                now_if(unsaved.computrons > pages.saturating_mul(model.computrons_per_page.get()))
            }
        }
    }
}

fn now_if(condition: bool) -> Decision {
    if condition { Decision::Now } else { Decision::Later }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsaved(deliveries: u64, computrons: u64) -> Unsaved {
        Unsaved { deliveries, computrons }
    }

    #[test]
    fn speeds_become_computrons() {
        // 5 ms at 1,000 computrons a ms; a page of 4,096 bytes takes 2 ms at 2,048 bytes a ms.
        let model = CostModel::measured(5, 1_000, 2_048);
        assert_eq!((model.replay_computrons_max, model.computrons_per_page.get()), (5_000, 2_000));
        assert_eq!(CostModel::measured(5, 0, 0).replay_computrons_max, 5);
    }

    #[test]
    fn decisions_follow_costs() {
        let policy = SnapshotPolicy::ByCost(CostModel::measured(5, 1_000, 2_048));
        let cases = [
            // deliveries, computrons, dirty pages; while resident, with queued work, at eviction
            (0, 0, 0, Decision::Later, Decision::Later, Decision::Later),
            (1, 4_999, 3, Decision::Later, Decision::Later, Decision::Later),
            (1, 4_999, 2, Decision::Later, Decision::Later, Decision::Now),
            (1, 5_000, 9, Decision::Now, Decision::Later, Decision::Now),
            (9, 10_000, 9, Decision::Now, Decision::Now, Decision::Now),
        ];
        for (deliveries, computrons, pages, resident, queued, evicted) in cases {
            let unsaved = unsaved(deliveries, computrons);
            let what = format!("{unsaved:?}, {pages} pages");
            assert_eq!(policy.while_resident(unsaved, 1, || Hint::Automatic), resident, "{what}");
            assert_eq!(policy.while_resident(unsaved, 1, || Hint::Queued), queued, "{what}, queued");
            assert_eq!(policy.at_eviction(unsaved, || pages * 4_096), evicted, "{what}, evicted");
        }
    }

    #[test]
    fn every_n_counts_deliveries_and_saves_at_each_eviction() {
        let policy = SnapshotPolicy::EveryN;
        assert_eq!(policy.while_resident(unsaved(2, u64::MAX), 3, || Hint::Automatic), Decision::Later);
        assert_eq!(policy.while_resident(unsaved(3, 0), 3, || Hint::Queued), Decision::Now);
        assert_eq!(policy.at_eviction(unsaved(1, 0), || 0), Decision::Now);
        assert_eq!(policy.at_eviction(unsaved(0, 0), || 0), Decision::Later);
    }
}
