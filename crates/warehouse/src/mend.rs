//! Damage at rest: what is mended without being asked, and what on request.
//!
//! ```text
//!   a row, one byte of it      from its own sum                     `Warehouse::mend`, and by opening if it cannot do without the row
//!   vat storage, any damage    from the writes in the transcript    `Warehouse::restore_vat_storage`
//!   a snapshot                 not at all: an older one, or birth   by every page-in
//! ```
//!
//! Whoever reads a damaged row is refused, with the row's name: a delivery that needs it is abandoned, and leaves no trace. So
//! nothing is ever computed from it, and the delivery can be made again when the row is mended. Rows of other vats are not
//! concerned.

use std::path::Path;

use vat_storage::{Repaired, Storage};

use crate::config::WarehouseConfig;
use crate::error::Error;
use crate::name::VatName;
use crate::warehouse::Warehouse;

/// Vat storage that was restored from a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredStorage {
    /// Whose it is.
    pub vat: String,
    /// Keys that it has now.
    pub keys: u64,
}

impl Warehouse {
    /// Mends the rows of a data directory that nobody has open, as far as their own sums say what they were. Durable when it returns.
    ///
    /// # Errors
    /// If the directory is in use, is no data directory, or cannot be written.
    pub fn mend(dir: &Path) -> Result<Repaired, Error> {
        Ok(Storage::repair(dir)?)
    }

    /// Opens a data directory; if that needs a row that is damaged, the rows are mended first, and all is tried again.
    pub(crate) fn open_mended(
        open: fn(&Path) -> Result<Storage, vat_storage::Error>,
        dir: &Path,
        config: WarehouseConfig,
    ) -> Result<Warehouse, Error> {
        let damage = match Self::with_storage(open(dir)?, dir, config.clone()) {
            Err(Error::Storage(damage @ vat_storage::Error::DamagedRow { .. })) => damage,
            opened => return opened,
        };
        let Repaired { mended, left } = Storage::repair(dir)?;
        tracing::warn!(%damage, mended = mended.len(), left = left.len(), "rows of the store were damaged, and are mended");
        Self::with_storage(open(dir)?, dir, config)
    }

    /// Writes anew the storage of each vat whose rows are damaged, or not what its transcript says. A vat whose transcript cannot
    /// be read whole keeps what it has. Durable with the next commit.
    ///
    /// # Errors
    /// If the store fails, or a vat is in use.
    pub fn restore_vat_storage(&self) -> Result<Vec<RestoredStorage>, Error> {
        let mut restored = Vec::new();
        for id in self.inner.storage.vat_ids()? {
            let Ok(row) = self.inner.storage.vat(id) else { continue };
            let Ok(name) = row.name.parse::<VatName>() else { continue };
            if self.inner.differing_keys(&row).is_ok_and(|keys| keys.is_empty()) {
                continue;
            }
            restored.extend(self.restore_storage_of(&name)?);
        }
        Ok(restored)
    }

    fn restore_storage_of(&self, name: &VatName) -> Result<Option<RestoredStorage>, Error> {
        let vat = self.inner.find(name)?;
        // Nobody delivers to it meanwhile.
        let cell = self.inner.residency.lock_blocking(vat);
        let row = self.inner.storage.vat(vat)?;
        let is_whole = self.inner.storage.verify_spans(vat).is_ok();
        let recorded = self.inner.recorded_keys(&row, row.next_position);
        let restored = match recorded {
            Ok(keys) if is_whole => {
                let pairs: Vec<(String, String)> = keys.into_iter().collect();
                self.inner.storage.restore_vatstore(vat, &pairs)?;
                Some(RestoredStorage { vat: row.name, keys: pairs.len() as u64 })
            }
            _ => None,
        };
        drop(cell);
        self.inner.residency.tidy(vat);
        Ok(restored)
    }
}
