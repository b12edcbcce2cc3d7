//! The snapshot policy of a data directory: a setting that is kept in it, so that every program that opens it keeps to it.
//!
//! A bound on the time of a replay is kept with the speeds that it was converted by, since there is no clock here: whoever sets it
//! has measured them. It is obeyed in computrons. Local to a host, as every policy: it is in no transcript, in no archive, and no vat
//! can tell.

use std::num::NonZeroU64;

use serde_json::{Value, json};
use vat_storage::Storage;

use crate::config::WarehouseConfig;
use crate::error::Error;
use crate::policy::{CostModel, SnapshotPolicy};
use crate::reader::Reader;
use crate::warehouse::Warehouse;

/// Where it is kept among the host's metadata.
const KEY: &str = "snapshot_policy";

/// A policy as it is set and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptPolicy {
    /// After every so many deliveries, and at every eviction.
    Every(NonZeroU64),
    /// So that no page-in replays for longer than this.
    ReplayTime {
        /// Milliseconds.
        replay_ms_max: NonZeroU64,
        /// What a millisecond is worth on this machine.
        speed: Speed,
    },
}

/// How fast a machine brings states back, and writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speed {
    /// Computrons of deliveries that it replays in a millisecond.
    pub computrons_per_ms: NonZeroU64,
    /// Bytes of changed pages that it captures in a millisecond.
    pub bytes_per_ms: NonZeroU64,
}

impl KeptPolicy {
    /// Computrons that a page-in may have to replay; `None` if only deliveries count.
    pub fn replay_computrons_max(&self) -> Option<u64> {
        self.cost_model().map(|model| model.replay_computrons_max)
    }

    fn cost_model(&self) -> Option<CostModel> {
        match self {
            KeptPolicy::Every(_) => None,
            KeptPolicy::ReplayTime { replay_ms_max, speed } => Some(CostModel::measured(
                replay_ms_max.get(),
                speed.computrons_per_ms.get(),
                speed.bytes_per_ms.get(),
            )),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let value = match self {
            KeptPolicy::Every(deliveries) => json!({ "every": deliveries }),
            KeptPolicy::ReplayTime { replay_ms_max, speed } => json!({
                "replay_ms_max": replay_ms_max,
                "computrons_per_ms": speed.computrons_per_ms,
                "bytes_per_ms": speed.bytes_per_ms,
            }),
        };
        value.to_string().into_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<KeptPolicy> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let number = |name: &str| value.get(name).and_then(Value::as_u64).and_then(NonZeroU64::new);
        if let Some(deliveries) = number("every") {
            return Some(KeptPolicy::Every(deliveries));
        }
        let speed =
            Speed { computrons_per_ms: number("computrons_per_ms")?, bytes_per_ms: number("bytes_per_ms")? };
        Some(KeptPolicy::ReplayTime { replay_ms_max: number("replay_ms_max")?, speed })
    }

    fn read(storage: &Storage) -> Result<Option<KeptPolicy>, Error> {
        let Some(bytes) = storage.host_get(KEY)? else { return Ok(None) };
        let what = || "the snapshot policy that it keeps cannot be read".to_owned();
        KeptPolicy::decode(&bytes)
            .map(Some)
            .ok_or_else(|| vat_storage::Error::Damaged { what: what() }.into())
    }
}

impl Warehouse {
    /// Keeps a policy in the data directory, or none. Durable with the next commit; obeyed from the next opening on by everyone
    /// whose configuration leaves it to the directory.
    ///
    /// # Errors
    /// If the store fails.
    pub fn keep_policy(&self, policy: Option<&KeptPolicy>) -> Result<(), Error> {
        let encoded = policy.map(KeptPolicy::encode);
        Ok(self.inner.storage.host_put(KEY, encoded.as_deref())?)
    }
}

impl Reader {
    /// The policy that the data directory keeps, if it keeps one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn kept_policy(&self) -> Result<Option<KeptPolicy>, Error> {
        KeptPolicy::read(self.storage())
    }
}

impl WarehouseConfig {
    /// With the policy that the data directory keeps, if that is what the caller wants.
    pub(crate) fn with_kept_policy(mut self, storage: &Storage) -> Result<WarehouseConfig, Error> {
        if self.snapshot_policy != SnapshotPolicy::OfDirectory {
            return Ok(self);
        }
        self.snapshot_policy = SnapshotPolicy::EveryN;
        match KeptPolicy::read(storage)? {
            None => {}
            Some(KeptPolicy::Every(deliveries)) => self.snapshot_interval = deliveries.get(),
            Some(kept @ KeptPolicy::ReplayTime { .. }) => {
                self.snapshot_policy =
                    kept.cost_model().map_or(SnapshotPolicy::EveryN, SnapshotPolicy::ByCost);
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_reads_back() {
        let number = |number| NonZeroU64::new(number).expect("not zero");
        let speed = Speed { computrons_per_ms: number(1_000), bytes_per_ms: number(2) };
        let timed = KeptPolicy::ReplayTime { replay_ms_max: number(50), speed };
        for policy in [KeptPolicy::Every(number(7)), timed] {
            assert_eq!(KeptPolicy::decode(&policy.encode()), Some(policy));
        }
        assert_eq!(timed.replay_computrons_max(), Some(50_000));
        for damaged in ["", "{}", "{\"every\":0}", "{\"replay_ms_max\":1}"] {
            assert_eq!(KeptPolicy::decode(damaged.as_bytes()), None, "{damaged}");
        }
    }
}
