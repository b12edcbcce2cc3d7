//! Messages a second when only a part of the vats fits into memory: what a host asks that means to hold more vats than it has room for.

use std::time::Duration;

use anyhow::Result;
use vat_measure::{Load, LoadPoint, Skew};
use vat_warehouse::{VatName, Warehouse};

use super::subject::{Quiet, Subject, config, name};

/// Vats that take turns.
const VATS: usize = 50;
/// Parts of them that are in memory, in percent.
const RESIDENT: [usize; 4] = [100, 50, 20, 4];
/// Few are popular, most are not.
const SKEW: Skew = Skew(1.0);
/// Messages that are made durable together.
const PER_COMMIT: u64 = 20;

/// A load with a part of the vats in memory.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) percent: usize,
    pub(super) found: LoadPoint,
}

/// All parts, in about this time.
pub(super) fn all(subject: &Subject, time: Duration) -> Result<Vec<Place>> {
    let dir = Subject::scratch()?;
    let warehouse = subject.install(dir.path(), config(VATS)?)?;
    let vats = (0..VATS).map(|nth| name("vat", nth)).collect::<Result<Vec<VatName>>>()?;
    vats.iter().try_for_each(|vat| subject.create(&warehouse, vat))?;
    warehouse.evict_all()?;
    warehouse.checkpoint()?;
    drop(warehouse);
    // A quarter as long is not counted.
    let time = time * 4 / 5 / u32::try_from(RESIDENT.len())?;
    let load = |percent: &usize| {
        let resident = VATS * percent / 100;
        let warehouse = Warehouse::open_existing(dir.path(), config(resident)?)?;
        let delivery = |_: usize, position: u64| subject.delivery(position);
        let load = Load {
            warehouse: &warehouse,
            vats: &vats,
            skew: SKEW,
            resident,
            delivery: &delivery,
            cranks_per_commit: PER_COMMIT,
        };
        Ok(Place { percent: *percent, found: load.run(time, Quiet)? })
    };
    RESIDENT.iter().map(load).collect()
}
