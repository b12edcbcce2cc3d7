//! How fast this machine replays deliveries and captures pages: what a bound in milliseconds is converted by.
//!
//! Replays are measured on the vats of the data directory, which are what will be replayed: whole transcripts from birth, the short
//! ones first, for about [`REPLAY_TIME`]. Where there is too little of them, and for captures, a small guest in a directory of its own
//! stands in. Nothing of the data directory is changed by it.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use vat_abi::CapData;
use vat_warehouse::{Error, Speed, VatName, VatOptions, VatStatus, Warehouse, WarehouseConfig, module_bytes};

use crate::context::Context;
use crate::handler::{Caller, Log, root_message};
use crate::marshal;

/// Time for replays of the directory's own vats.
const REPLAY_TIME: Duration = Duration::from_millis(500);
/// Computrons below which the directory's own vats say nothing.
const COMPUTRONS_MIN: u64 = 1_000_000;
/// A longer transcript is not replayed for this: it would take too long, and shorter ones say the same.
const DELIVERIES_MAX: u64 = 10_000;
/// Deliveries to the guest that stands in.
const GUEST_DELIVERIES: u64 = 50;

/// Each delivery counts for a while, and changes one word in each of 256 pages.
const GUEST: &str = r#"(module
  (memory (export "memory") 17)
  (global $salt (mut i32) (i32.const 1))
  (func (export "vat_deliver") (param i32) (result i32) (local $i i32)
    (loop $next
      (global.set $salt (i32.add (i32.mul (global.get $salt) (i32.const 1103515245)) (i32.const 12345)))
      (i32.store
        (i32.mul (i32.const 4096) (i32.and (local.get $i) (i32.const 255)))
        (global.get $salt))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 2000))))
    (i32.const 0)))"#;

/// Work, and how long it took.
#[derive(Clone, Copy, Default)]
struct Done {
    amount: u64,
    taken: Duration,
}

impl Done {
    fn add(&mut self, amount: u64, since: Instant) {
        self.amount += amount;
        self.taken += since.elapsed();
    }

    fn per_ms(self) -> NonZeroU64 {
        let nanos = self.taken.as_nanos().max(1);
        let per_ms = u128::from(self.amount) * 1_000_000 / nanos;
        u64::try_from(per_ms).ok().and_then(NonZeroU64::new).unwrap_or(NonZeroU64::MIN)
    }
}

/// Measures both, on the data directory and beside it.
pub(crate) fn measure(context: &Context) -> Result<Speed> {
    let own = {
        let warehouse = context.open()?;
        replays(&warehouse)?
    };
    let (guest, captures) = guest()?;
    let replays = if own.amount >= COMPUTRONS_MIN { own } else { guest };
    let speed = Speed { computrons_per_ms: replays.per_ms(), bytes_per_ms: captures.per_ms() };
    tracing::info!(?speed, own_vats = own.amount >= COMPUTRONS_MIN, "speed measured");
    Ok(speed)
}

/// Replays of vats that can be replayed from birth.
fn replays(warehouse: &Warehouse) -> Result<Done> {
    let mut vats: Vec<_> = warehouse
        .storage()
        .vats()?
        .into_iter()
        .filter(|vat| vat.status == VatStatus::Alive && vat.next_position.0 <= DELIVERIES_MAX)
        .collect();
    vats.sort_by_key(|vat| vat.next_position);
    let mut done = Done::default();
    for vat in vats {
        if done.taken >= REPLAY_TIME {
            break;
        }
        let Ok(name) = vat.name.parse::<VatName>() else { continue };
        // One that was pruned, or whose replay differs, says nothing about speed.
        let Ok(computrons) = computrons(warehouse, &name) else { continue };
        let started = Instant::now();
        if let Ok(None) = warehouse.replay(&name) {
            done.add(computrons, started);
        }
    }
    Ok(done)
}

/// What a replay of the vat runs.
fn computrons(warehouse: &Warehouse, name: &VatName) -> Result<u64, Error> {
    let mut sum = 0;
    for entry in warehouse.transcript(name, 0)? {
        let (_, entry) = entry?;
        sum += if entry.outcome.is_delivered() { entry.computrons.0 } else { 0 };
    }
    Ok(sum)
}

/// Replays and captures of the guest that stands in.
fn guest() -> Result<(Done, Done)> {
    let dir = tempfile::Builder::new()
        .prefix("vats-speed-")
        .tempdir()
        .context("cannot make a temporary directory")?;
    let config = WarehouseConfig { snapshot_interval: u64::MAX, ..WarehouseConfig::default() };
    let warehouse = Warehouse::open(dir.path(), config)?;
    warehouse.install("guest", &module_bytes(GUEST.as_bytes())?)?;
    let name: VatName = "guest".parse()?;
    let quiet = || Caller::new(Log::Dropped);
    warehouse.create(&name, "guest", VatOptions::default(), CapData::undefined(), 0, quiet()).0?;
    let mut lease = warehouse.provide_blocking(&name)?;
    let mut captures = Done::default();
    for position in 1..=GUEST_DELIVERIES {
        let (delivery, _) = root_message(marshal::call("step", &[]), position);
        let report = lease.deliver(delivery, 0, quiet()).0?;
        if let Some(fault) = report.outcome.fault() {
            bail!("the guest that the speed is measured by faulted: {fault}");
        }
        let before = warehouse.stats().bytes_written;
        let started = Instant::now();
        lease.snapshot()?;
        captures.add(warehouse.stats().bytes_written - before, started);
    }
    drop(lease);
    let computrons = computrons(&warehouse, &name)?;
    let mut replays = Done::default();
    let started = Instant::now();
    warehouse.replay(&name)?;
    replays.add(computrons, started);
    Ok((replays, captures))
}
