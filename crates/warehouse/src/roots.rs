//! Heap roots of snapshots: computed beside the deliveries, and kept with the snapshot's row.
//!
//! A root costs what changed since the last one that was computed. It is computed for the states that the snapshot policy asks for, in the
//! background when the page store is synced, and for all that are not yet durable at a checkpoint. An eviction alone does not pay for one.
//! A snapshot without a root is as good as any; it is only that [`bisect`](crate::Warehouse::bisect) passes it over.

use vat_storage::{Error as StorageError, Position, VatId};

use crate::error::Error;
use crate::snapshots::Saved;
use crate::warehouse::Inner;

impl Inner {
    /// Computes the roots that the snapshot policy asked for.
    pub(crate) fn root_wanted(&self) -> Result<(), Error> {
        self.snapshots.take_wanted().into_iter().try_for_each(|(vat, saved)| self.keep_root(vat, &saved))
    }

    /// Computes the roots of all states that are on their way to being durable.
    pub(crate) fn root_pending(&self) -> Result<(), Error> {
        self.snapshots.take_wanted();
        self.snapshots.pending().into_iter().try_for_each(|(vat, saved)| self.keep_root(vat, &saved))
    }

    fn keep_root(&self, vat: VatId, saved: &Saved) -> Result<(), Error> {
        let row = match self.storage.vat(vat) {
            Ok(row) if row.incarnation.0 == saved.incarnation => row,
            Ok(_) | Err(StorageError::Unknown { .. }) => return Ok(()), // Upgraded or terminated meanwhile.
            Err(error) => return Err(error.into()),
        };
        let root = match saved.state.image.root(&saved.state.globals.encode(), &row.module.0) {
            Ok(root) => root.0,
            Err(error) => {
                // A layer that cannot be read is found when it is needed; a root is not worth stopping for.
                tracing::warn!(%vat, %error, "the heap root of a snapshot cannot be computed");
                return Ok(());
            }
        };
        let _steps = self.steps();
        self.snapshots.remember_root(vat, saved, root);
        match self.storage.set_snapshot_root(vat, Position(saved.position), root) {
            // Not a row yet: it will be made with its root.
            Ok(()) | Err(StorageError::Unknown { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
