//! What is decided for a vat when it is created, and kept with it.
//!
//! Options are part of what decides a delivery's result, so they are durable and travel with the vat. How the warehouse
//! treats the vat (when it is evicted, when snapshotted) is not here: that is local to a host.
//!
//! ```text
//!   position   0 ─────────── 7 ─────────── 19 ──────► next
//!              past[0]       past[1]       since       one module each; a replay never crosses these borders
//! ```

use serde_json::{Value, json};
use vat_engine::limits::{COMPUTRONS_PER_DELIVERY_DEFAULT, MEMORY_PAGES_DEFAULT, MEMORY_PAGES_MAX};
use vat_storage::ModuleHash;

use crate::name::VatName;

/// A vat's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VatOptions {
    /// Computrons that one delivery may use.
    pub computrons_per_delivery: u64,
    /// Wasm pages (64 KiB) that its memory may have; at most 65,536.
    pub memory_pages_max: u32,
}

impl Default for VatOptions {
    fn default() -> Self {
        VatOptions {
            computrons_per_delivery: COMPUTRONS_PER_DELIVERY_DEFAULT,
            memory_pages_max: MEMORY_PAGES_DEFAULT,
        }
    }
}

/// Options as they are kept: with what is fixed by the vat's creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptOptions {
    pub(crate) options: VatOptions,
    /// The roots of the vat's randomness: each from a position on, the first from 0. A fork has its parent's and one of its own,
    /// so that the shared past replays and the futures differ.
    seeds: Vec<Seed>,
    /// The engine's rules under which the transcript of its incarnation was made.
    pub(crate) rules: u32,
    /// The incarnations before this one, oldest first: as many as the incarnation's number says.
    pub(crate) past: Vec<PastIncarnation>,
    /// Position of the incarnation's first delivery, its `startVat`.
    pub(crate) since: u64,
}

/// An incarnation that an upgrade ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PastIncarnation {
    /// Position of its first delivery.
    pub(crate) since: u64,
    pub(crate) module: ModuleHash,
    pub(crate) rules: u32,
}

/// A root of randomness.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seed {
    from: u64,
    seed: [u8; 32],
}

impl KeptOptions {
    /// Those of a vat that is created now.
    pub(crate) fn new(name: &VatName, options: VatOptions) -> KeptOptions {
        let memory_pages_max = options.memory_pages_max.min(MEMORY_PAGES_MAX);
        KeptOptions {
            options: VatOptions { memory_pages_max, ..options },
            seeds: vec![Seed { from: 0, seed: name.seed() }],
            rules: vat_engine::RULES_VERSION,
            past: Vec::new(),
            since: 0,
        }
    }

    /// Those of the next incarnation, which begins at `position`; the one that ends ran `module`.
    pub(crate) fn upgraded(&self, module: ModuleHash, position: u64) -> KeptOptions {
        let mut upgraded = self.clone();
        upgraded.past.push(PastIncarnation { since: self.since, module, rules: self.rules });
        upgraded.since = position;
        upgraded.rules = vat_engine::RULES_VERSION;
        upgraded
    }

    /// Those of a fork that begins at `position`.
    pub(crate) fn forked(&self, name: &VatName, position: u64) -> KeptOptions {
        let mut forked = self.clone();
        forked.seeds.push(Seed { from: position, seed: name.seed() });
        forked
    }

    /// The seed of one crank's randomness.
    pub(crate) fn crank_seed(&self, incarnation: u32, position: u64) -> [u8; 32] {
        let root = self.seeds.iter().rev().find(|seed| seed.from <= position).expect("the first is from 0");
        let mut hasher = blake3::Hasher::new_keyed(&root.seed);
        hasher.update(&incarnation.to_le_bytes()).update(&position.to_le_bytes());
        *hasher.finalize().as_bytes()
    }

    /// The JSON that is stored.
    pub(crate) fn encode(&self) -> String {
        let mut kept = json!({
            "computrons_per_delivery": self.options.computrons_per_delivery,
            "memory_pages_max": self.options.memory_pages_max,
            "rules": self.rules,
            "seeds": self.seeds.iter().map(Seed::encode).collect::<Vec<_>>(),
        });
        if !self.past.is_empty() {
            kept["past"] = self.past.iter().map(PastIncarnation::encode).collect();
            kept["since"] = self.since.into();
        }
        kept.to_string()
    }

    /// From stored JSON; `None` if it is not what [`KeptOptions::encode`] writes.
    pub(crate) fn decode(text: &str) -> Option<KeptOptions> {
        let value: Value = serde_json::from_str(text).ok()?;
        let (past, since) = match value.get("past") {
            None => (Vec::new(), 0),
            Some(past) => (PastIncarnation::decode_all(past)?, value.get("since")?.as_u64()?),
        };
        Some(KeptOptions {
            options: VatOptions {
                computrons_per_delivery: value.get("computrons_per_delivery")?.as_u64()?,
                memory_pages_max: value.get("memory_pages_max")?.as_u64()?.try_into().ok()?,
            },
            seeds: Seed::decode_all(value.get("seeds")?)?,
            rules: value.get("rules")?.as_u64()?.try_into().ok()?,
            past,
            since,
        })
    }
}

impl PastIncarnation {
    fn encode(&self) -> Value {
        json!({ "since": self.since, "module": self.module.to_string(), "rules": self.rules })
    }

    fn decode(value: &Value) -> Option<PastIncarnation> {
        let module = blake3::Hash::from_hex(value.get("module")?.as_str()?).ok()?;
        Some(PastIncarnation {
            since: value.get("since")?.as_u64()?,
            module: ModuleHash(*module.as_bytes()),
            rules: value.get("rules")?.as_u64()?.try_into().ok()?,
        })
    }

    fn decode_all(value: &Value) -> Option<Vec<PastIncarnation>> {
        value.as_array()?.iter().map(PastIncarnation::decode).collect()
    }
}

impl Seed {
    fn encode(&self) -> Value {
        json!({ "from": self.from, "seed": blake3::Hash::from_bytes(self.seed).to_hex().as_str() })
    }

    fn decode(value: &Value) -> Option<Seed> {
        let seed = blake3::Hash::from_hex(value.get("seed")?.as_str()?).ok()?;
        Some(Seed { from: value.get("from")?.as_u64()?, seed: *seed.as_bytes() })
    }

    fn decode_all(value: &Value) -> Option<Vec<Seed>> {
        let seeds: Vec<Seed> = value.as_array()?.iter().map(Seed::decode).collect::<Option<_>>()?;
        (seeds.first()?.from == 0).then_some(seeds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_options_read_back() {
        let name: VatName = "alice".parse().unwrap();
        let options = VatOptions { computrons_per_delivery: 7, memory_pages_max: 9 };
        let kept = KeptOptions::new(&name, options);
        assert_eq!(KeptOptions::decode(&kept.encode()), Some(kept.clone()));
        assert_eq!(KeptOptions::decode("{}"), None);
        assert_eq!(KeptOptions::decode(""), None);
    }

    #[test]
    fn every_incarnation_is_remembered() {
        let first = KeptOptions::new(&"alice".parse().unwrap(), VatOptions::default());
        let (one, two) = (ModuleHash::of(b"one"), ModuleHash::of(b"two"));
        let third = first.upgraded(one, 7).upgraded(two, 19);
        let past: Vec<_> = third.past.iter().map(|past| (past.since, past.module)).collect();
        assert_eq!((past, third.since), (vec![(0, one), (7, two)], 19));
        assert_eq!(KeptOptions::decode(&third.encode()), Some(third.clone()));
        let fork = third.forked(&"bob".parse().unwrap(), 30);
        assert_eq!((fork.past, fork.since), (third.past, third.since), "a fork shares the past");
    }

    #[test]
    fn every_crank_has_its_own_seed() {
        let kept = KeptOptions::new(&"alice".parse().unwrap(), VatOptions::default());
        let other = KeptOptions::new(&"bob".parse().unwrap(), VatOptions::default());
        let fork = kept.forked(&"carol".parse().unwrap(), 1);
        assert_eq!(fork.crank_seed(0, 0), kept.crank_seed(0, 0), "the past is shared");
        assert_eq!(KeptOptions::decode(&fork.encode()), Some(fork.clone()));
        let seeds = [
            kept.crank_seed(0, 0),
            kept.crank_seed(0, 1),
            kept.crank_seed(1, 0),
            other.crank_seed(0, 0),
            fork.crank_seed(0, 1),
        ];
        for (i, a) in seeds.iter().enumerate() {
            for b in &seeds[i + 1..] {
                assert_ne!(a, b);
            }
        }
    }
}
