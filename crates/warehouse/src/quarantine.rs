//! What to do with a vat that was taken out of service: look into it, and let it go on.
//!
//! A vat is quarantined when its replay differs from its transcript ([`page_in`](crate::page_in)). Its transcript says what it did, and
//! its code, as it runs now, would have done something else: the engine or the module changed, or a record is damaged. Whoever
//! has put that right releases it.

use vat_engine::VatInstance;
use vat_storage::{VatRow, VatStatus};

use crate::era::Era;
use crate::error::Error;
use crate::name::VatName;
use crate::page_in::kept_options;
use crate::replay::Divergence;
use crate::warehouse::{Inner, Warehouse};

/// Whether a release insists on a replay that goes as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// It does.
    Checked,
    /// It does not: the vat will be quarantined again if its replay is needed, and still differs.
    Forced,
}

impl Warehouse {
    /// Replays the vat's transcript from birth, and says how that differs from the record, if it does. The vat's state is not compared,
    /// so that it can be asked of a vat that is quarantined. Changes nothing.
    ///
    /// # Errors
    /// [`Error::UnknownVat`]; or if the transcript cannot be read, or the vat not be born.
    pub fn replay(&self, name: &VatName) -> Result<Option<Divergence>, Error> {
        let row = self.vat(name)?;
        self.inner.replay_from_birth(&row)
    }

    /// Lets a quarantined vat take deliveries again; nothing happens to one that is not quarantined. Durable with the next commit.
    ///
    /// # Errors
    /// [`Error::ReplayDiffers`] if its replay still differs, unless the release is forced; [`Error::UnknownVat`].
    pub fn release(&self, name: &VatName, release: Release) -> Result<(), Error> {
        let row = self.vat(name)?;
        if !matches!(row.status, VatStatus::Quarantined { .. }) {
            return Ok(());
        }
        if release == Release::Checked
            && let Some(divergence) = self.inner.replay_from_birth(&row)?
        {
            return Err(Error::ReplayDiffers { vat: row.name, divergence: Box::new(divergence) });
        }
        Ok(self.inner.storage.set_status(row.id, &VatStatus::Alive)?)
    }
}

impl Inner {
    fn replay_from_birth(&self, row: &VatRow) -> Result<Option<Divergence>, Error> {
        let kept = kept_options(row)?;
        for era in Era::all(row, &kept, row.next_position.0) {
            let is_older = era.incarnation < row.incarnation.0;
            if self.is_gone(era.module)? || is_older && self.is_pruned(row, &era)? {
                continue; // What an older incarnation ran or did can be deleted, and then not be replayed.
            }
            let module = self.module(era.module)?;
            let mut instance = VatInstance::birth(&self.engine, &module, kept.options.memory_pages_max)?;
            let divergence = self.replay(&era.row(row), &kept, &mut instance, era.from..era.to)?;
            if divergence.is_some() {
                return Ok(divergence);
            }
        }
        Ok(None)
    }
}
