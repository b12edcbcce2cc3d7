//! Ends of a host, clean or not, and what must be there when it begins again.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use vat_image::fault::FaultyDisk;
use vat_warehouse::{Error, Retention, VatName, VatStatus, Warehouse};

use super::disk::lose_power;
use super::world::{Durable, Luck, Vat, World};

impl World {
    /// Everything is made durable, and the host ends and begins again.
    pub(crate) fn restart(&mut self) -> Result<()> {
        let faults = self.summary.faults;
        self.restart_unseen()?;
        if self.summary.faults == faults { self.check_all() } else { Ok(()) }
    }

    /// The same, and no vat is looked at, so that none is in memory.
    pub(super) fn restart_unseen(&mut self) -> Result<()> {
        let faults = self.summary.faults;
        self.commit(Warehouse::checkpoint)?;
        if self.summary.faults != faults {
            return Ok(());
        }
        self.look_back()?;
        drop(self.warehouse.take());
        self.reopen()
    }

    /// The power fails, and the host begins again.
    pub(crate) fn crash(&mut self) -> Result<()> {
        self.summary.crashes += 1;
        self.look_back()?;
        let warehouse = self.warehouse.take().expect("open between two steps");
        lose_power(warehouse, &self.dir, &self.disk, self.log.as_ref(), &mut self.random)?;
        self.reopen()?;
        self.take_back()?;
        self.check_some()
    }

    /// A crash, after which part of the page store is gone.
    pub(super) fn damage(&mut self) -> Result<()> {
        if self.kept < Retention::Replay {
            return Ok(()); // What was pruned is in snapshots only, and those must not be lost.
        }
        let pages = self.dir.join("pages");
        self.is_damaged = true;
        let mut files: Vec<_> = fs::read_dir(&pages)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        // The host must not have them mapped when they are cut.
        self.look_back()?;
        drop(self.warehouse.take());
        for file in files.iter().filter(|file| file.exists()) {
            let bytes = fs::metadata(file)?.len();
            let left = self.random.below(bytes + 1);
            fs::OpenOptions::new().write(true).open(file)?.set_len(left)?;
        }
        self.disk = Arc::new(FaultyDisk::new());
        self.reopen()?;
        self.take_back()?;
        self.check_some()
    }

    /// SQLite's files could not be written or read: the disk is well again, and the same process opens the store again.
    pub(super) fn go_on_after(&mut self, error: &Error) -> Result<()> {
        is_clear(error)?;
        drop(self.warehouse.take());
        self.mend_store_disk();
        self.reopen()?;
        self.take_back()?;
        self.check_all()
    }

    /// What was delivered and not committed is forgotten; the host must have done the same.
    pub(super) fn take_back(&mut self) -> Result<()> {
        let rows = self.warehouse().storage().vats()?;
        let alive = rows.iter().filter(|row| matches!(row.status, VatStatus::Alive));
        let found: BTreeMap<VatName, u64> =
            alive.map(|row| Ok((row.name.parse()?, row.next_position.0))).collect::<Result<_>>()?;
        self.vats = match (left(&self.committed, found.clone()), self.attempted.take()) {
            (Ok(vats), _) => vats,
            (Err(_), Some(attempted)) => left(&attempted, found)?,
            (Err(error), None) => return Err(error),
        };
        self.is_committed();
        Ok(())
    }

    /// The machine stops where the disk did: at once.
    pub(crate) fn crash_if_stopped(&mut self) -> Result<()> {
        if self.has_failed() && self.luck == Luck::Good { self.crash() } else { Ok(()) }
    }
}

/// The vats as they are now, if that is what was made durable.
fn left(
    durable: &BTreeMap<VatName, Durable>,
    mut found: BTreeMap<VatName, u64>,
) -> Result<BTreeMap<VatName, Vat>> {
    let mut vats = BTreeMap::new();
    for (name, Durable { vat, at_least }) in durable {
        let Some(deliveries) = found.remove(name) else { bail!("{name} was committed, and is lost") };
        ensure!(
            (*at_least..=vat.deliveries).contains(&deliveries),
            "{name} has {deliveries} deliveries; {at_least} to {} were committed",
            vat.deliveries
        );
        vats.insert(name.clone(), Vat { deliveries, ..vat.clone() });
    }
    ensure!(found.is_empty(), "never committed, or terminated, and there: {found:?}");
    Ok(vats)
}

/// A failed disk is told as that, and nothing else.
pub(super) fn is_clear(error: &Error) -> Result<()> {
    use vat_storage::Error as Stored;
    let is_clear =
        matches!(error, Error::Storage(Stored::Full { .. } | Stored::Io { .. } | Stored::Poisoned { .. }));
    ensure!(is_clear, "the store's disk failed, and that is told as: {error}");
    Ok(())
}
