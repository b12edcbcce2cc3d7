//! A load on a warehouse: messages to vats of which some are asked more often than others.
//!
//! ```text
//!   skew ──► which vat ──► in memory? ── yes ──────────────┐
//!                               no: page in, timed ────────┤
//!                                                       deliver ──► every N cranks: commit
//! ```
//!
//! One thread asks one message after another, so that what is counted is the work of one processor and the waiting for its disk.
//! Which vats are asked follows from a seed; only the number of messages that fit into the time does not.

use std::time::{Duration, Instant};

use vat_abi::{Delivery, VatFault};
use vat_warehouse::{Error, SyscallHandler, VatName, Warehouse};

use crate::random::Random;
use crate::samples::Samples;

/// How unevenly vats are asked: the vat of rank r (from 1) gets a share in proportion to 1/rˢ (Zipf's law). With 0, all are
/// asked equally often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Skew(pub f64);

/// A load.
pub struct Load<'a> {
    /// Who hosts the vats.
    pub warehouse: &'a Warehouse,
    /// The vats, the most popular first. At least one.
    pub vats: &'a [VatName],
    /// How popular.
    pub skew: Skew,
    /// How many of the most popular are brought into memory before anything is counted.
    pub resident: usize,
    /// What to deliver to the vat of this number, as the vat's delivery at this position.
    pub delivery: &'a dyn Fn(usize, u64) -> Delivery,
    /// Cranks that are made durable together; at least one.
    pub cranks_per_commit: u64,
}

/// What a load met with.
#[derive(Debug, Clone, Default)]
pub struct LoadPoint {
    /// Messages delivered and committed.
    pub messages: u64,
    /// How long that took.
    pub taken: Duration,
    /// How long those waited for their vat that had to be paged in, evicting another included.
    pub page_ins: Samples,
}

/// Why a load ended early.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The host failed.
    #[error(transparent)]
    Warehouse(#[from] Error),
    /// A delivery did: a load of faults would measure how fast they are undone.
    #[error("{vat} faulted under load, so there is nothing to measure: {fault}")]
    Faulted {
        /// Whose.
        vat: VatName,
        /// How.
        fault: VatFault,
    },
}

impl LoadPoint {
    /// Messages a second.
    pub fn messages_per_s(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "fewer messages than 2^53")]
        let messages = self.messages as f64;
        messages / self.taken.as_secs_f64()
    }
}

impl Load<'_> {
    /// Fills memory, goes on for a quarter of this time until it holds what the load keeps there, and then counts for about this
    /// time.
    ///
    /// # Errors
    /// The first failure of the warehouse, or of a delivery.
    pub fn run<H: SyscallHandler + Copy>(&self, time: Duration, handler: H) -> Result<LoadPoint, LoadError> {
        let popularity = Popularity::new(self.vats.len(), self.skew);
        let mut random = Random::new(1);
        self.fill()?;
        self.go_on(&popularity, &mut random, time / 4, handler)?;
        self.go_on(&popularity, &mut random, time, handler)
    }

    /// The most popular come last, and so are the last to be evicted.
    fn fill(&self) -> Result<(), LoadError> {
        for vat in self.vats.iter().take(self.resident).rev() {
            drop(self.warehouse.provide_blocking(vat)?);
        }
        // Also so that nothing is written back while something is counted.
        Ok(self.warehouse.checkpoint()?)
    }

    fn go_on<H: SyscallHandler + Copy>(
        &self,
        popularity: &Popularity,
        random: &mut Random,
        time: Duration,
        handler: H,
    ) -> Result<LoadPoint, LoadError> {
        let mut point = LoadPoint::default();
        let started = Instant::now();
        while point.messages == 0 || point.taken < time {
            for _ in 0..self.cranks_per_commit {
                point.page_ins.extend(&self.deliver(popularity.choose(random), handler)?);
            }
            self.warehouse.commit()?;
            point.messages += self.cranks_per_commit;
            point.taken = started.elapsed();
        }
        Ok(point)
    }

    /// One message; how long the page-in took, if there was one.
    fn deliver<H: SyscallHandler>(&self, number: usize, handler: H) -> Result<Samples, LoadError> {
        let vat = &self.vats[number];
        let mut page_in = Samples::new();
        let mut lease = match self.warehouse.try_provide(vat) {
            Some(lease) => lease,
            None => {
                let started = Instant::now();
                let lease = self.warehouse.provide_blocking(vat)?;
                page_in.push(started.elapsed());
                lease
            }
        };
        let delivery = (self.delivery)(number, lease.next_position()?);
        let (report, _) = lease.deliver(delivery, 0, handler);
        match report?.outcome.fault() {
            Some(fault) => Err(LoadError::Faulted { vat: vat.clone(), fault: fault.clone() }),
            None => Ok(page_in),
        }
    }
}

impl std::fmt::Debug for Load<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Load")
            .field("vats", &self.vats.len())
            .field("skew", &self.skew)
            .finish_non_exhaustive()
    }
}

/// Chooses numbers by their popularity.
struct Popularity {
    /// For each number, the shares up to it, its own included.
    sums: Vec<f64>,
}

impl Popularity {
    fn new(count: usize, skew: Skew) -> Popularity {
        assert!(count > 0, "somebody must be popular");
        let mut sum = 0.0;
        #[expect(clippy::cast_precision_loss, reason = "fewer vats than 2^53")]
        let share = |rank: usize| (rank as f64).powf(-skew.0);
        let sums = (1..=count).map(|rank| {
            sum += share(rank);
            sum
        });
        Popularity { sums: sums.collect() }
    }

    fn choose(&self, random: &mut Random) -> usize {
        let all = self.sums[self.sums.len() - 1];
        let point = random.fraction() * all;
        self.sums.partition_point(|sum| *sum <= point).min(self.sums.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use vat_abi::{CapData, LogLevel, Syscall, SyscallResult};
    use vat_warehouse::{SyscallVerdict, VatOptions, WarehouseConfig};

    use super::*;

    /// Takes any delivery; a garbage collection is too much for it.
    const VAT: &str = r#"
        (module
          (import "vat" "delivery_read" (func $read (param i32)))
          (memory (export "memory") 1)
          (func (export "vat_deliver") (param i32) (result i32)
            (call $read (i32.const 0))
            (if (i32.eq (i32.load8_u (i32.const 2)) (i32.const 98)) (then unreachable))
            (i32.const 0)))"#;

    #[derive(Clone, Copy)]
    struct Quiet;

    impl SyscallHandler for Quiet {
        fn syscall(&mut self, _syscall: &Syscall) -> SyscallVerdict {
            SyscallVerdict::Answer(SyscallResult::Ok(None))
        }

        fn log(&mut self, _level: LogLevel, _text: &str) {}
    }

    fn hosted(dir: &std::path::Path, vats: usize) -> (Warehouse, Vec<VatName>) {
        let resident_max = NonZeroUsize::new(2).unwrap();
        let warehouse =
            Warehouse::open(dir, WarehouseConfig { resident_max, ..WarehouseConfig::default() }).unwrap();
        warehouse.install("vat", &wat::parse_str(VAT).unwrap()).unwrap();
        let names: Vec<VatName> = (0..vats).map(|n| format!("vat-{n}").parse().unwrap()).collect();
        for name in &names {
            let args = CapData::undefined();
            warehouse.create(name, "vat", VatOptions::default(), args, 0, Quiet).0.unwrap();
        }
        (warehouse, names)
    }

    #[test]
    fn a_load_counts_what_it_did() {
        let dir = tempfile::tempdir().unwrap();
        let (warehouse, vats) = hosted(dir.path(), 6);
        let before = warehouse.stats();
        let delivery = |_: usize, _: u64| Delivery::StartVat(CapData::undefined());
        let load = Load {
            warehouse: &warehouse,
            vats: &vats,
            skew: Skew(0.0),
            resident: 2,
            delivery: &delivery,
            cranks_per_commit: 5,
        };
        let point = load.run(Duration::from_millis(1), Quiet).unwrap();
        let after = warehouse.stats();
        let delivered = after.deliveries - before.deliveries;
        assert!(delivered >= point.messages + 5, "some are not counted: {delivered}, {point:?}");
        assert!(point.messages >= 5 && point.messages.is_multiple_of(5), "{point:?}");
        assert!(!point.page_ins.is_empty(), "two of six are in memory");
        assert!(point.page_ins.len() as u64 <= after.page_ins - before.page_ins);
        assert!(point.messages_per_s() > 0.0);
    }

    #[test]
    fn a_fault_ends_the_load() {
        let dir = tempfile::tempdir().unwrap();
        let (warehouse, vats) = hosted(dir.path(), 1);
        let delivery = |_: usize, _: u64| Delivery::BringOutYourDead;
        let load = Load {
            warehouse: &warehouse,
            vats: &vats,
            skew: Skew(1.0),
            resident: 2,
            delivery: &delivery,
            cranks_per_commit: 1,
        };
        let error = load.run(Duration::ZERO, Quiet).unwrap_err().to_string();
        assert!(error.starts_with("vat-0 faulted under load"), "{error}");
    }

    #[test]
    fn the_popular_are_chosen_as_often_as_the_law_says() {
        for (skew, expected) in [(0.0, [0.25, 0.25, 0.25, 0.25]), (1.0, [0.48, 0.24, 0.16, 0.12])] {
            let popularity = Popularity::new(4, Skew(skew));
            let mut random = Random::new(7);
            let mut counts = [0_u32; 4];
            for _ in 0..20_000 {
                counts[popularity.choose(&mut random)] += 1;
            }
            for (count, expected) in counts.into_iter().zip(expected) {
                assert!((f64::from(count) / 20_000.0 - expected).abs() < 0.015, "{skew}: {counts:?}");
            }
        }
    }
}
