//! Finding the delivery from which on a replay leads elsewhere.
//!
//! ```text
//!   birth ──────── 40 ──────── 80 ──────── 120 ──── now        snapshots with a stored heap root
//!   replay    ok, root as stored   ok, another root            the first difference is in 40..80
//! ```
//!
//! The transcript is replayed once, from birth on, and compared at every position whose heap root was stored. A syscall, outcome or
//! computron that differs names its delivery. A heap that differs in silence is found at the next stored root: the delivery is between
//! that one and the last that was as stored, and a snapshot that can still be read says in which pages. The more snapshots are kept
//! (`debug` retention keeps all), the closer it comes. There is nothing to halve: states between two stored roots are known from
//! replaying alone, and that is what is in doubt.

use vat_engine::VatInstance;
use vat_image::HeapRoot;
use vat_storage::{SnapshotRow, VatRow};

use crate::contrast::{ChangedPages, changed_pages};
use crate::era::Era;
use crate::error::Error;
use crate::moment::root_of;
use crate::name::VatName;
use crate::options::KeptOptions;
use crate::page_in::kept_options;
use crate::replay::Divergence;
use crate::warehouse::{Inner, Warehouse};

/// What a bisection found.
#[derive(Debug, Clone, PartialEq)]
pub struct Bisection {
    /// Stored roots that the replay reached and had the same of.
    pub roots: u64,
    /// Where the replay differs, if it does.
    pub finding: Option<Finding>,
}

/// Where a replay differs from what is stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// In what a delivery did.
    Delivery(Box<Divergence>),
    /// In the state, somewhere in these deliveries.
    State {
        /// The first delivery that may have led elsewhere.
        first: u64,
        /// The last one.
        last: u64,
        /// The heap root that is stored for after the last one.
        stored: HeapRoot,
        /// That of the replay.
        replayed: HeapRoot,
        /// In which pages they differ; `None` if the snapshot cannot be read any more.
        pages: Option<Vec<ChangedPages>>,
    },
}

impl Warehouse {
    /// Replays the vat's transcript from birth, and finds the first delivery at which that differs from the record or from the stored
    /// heap roots. Changes nothing.
    ///
    /// # Errors
    /// [`Error::UnknownVat`]; [`Error::CodeGone`]; or if the transcript cannot be read from its beginning.
    pub fn bisect(&self, name: &VatName) -> Result<Bisection, Error> {
        let row = self.vat(name)?;
        let kept = kept_options(&row)?;
        let mut bisection = Bisection { roots: 0, finding: None };
        for era in Era::all(&row, &kept, row.next_position.0) {
            if self.inner.is_gone(era.module)? {
                return Err(Error::CodeGone { vat: row.name, incarnation: era.incarnation });
            }
            bisection.finding = self.inner.bisect_era(&row, &kept, era, &mut bisection.roots)?;
            if bisection.finding.is_some() {
                break;
            }
        }
        Ok(bisection)
    }
}

impl Inner {
    fn bisect_era(
        &self,
        row: &VatRow,
        kept: &KeptOptions,
        era: Era,
        roots: &mut u64,
    ) -> Result<Option<Finding>, Error> {
        let row = era.row(row);
        let module = self.module(era.module)?;
        let mut instance = VatInstance::birth(&self.engine, &module, kept.options.memory_pages_max)?;
        let mut reached = era.from;
        let mut snapshots = self.storage.snapshots(row.id)?;
        snapshots.retain(|snapshot| snapshot.incarnation == row.incarnation);
        snapshots.sort_unstable_by_key(|snapshot| snapshot.position);
        for snapshot in &snapshots {
            let (Some(stored), position) = (snapshot.root, snapshot.position.0) else { continue };
            if let Some(divergence) = self.replay(&row, kept, &mut instance, reached..position)? {
                return Ok(Some(Finding::Delivery(Box::new(divergence))));
            }
            let (stored, replayed) = (HeapRoot(stored), root_of(&mut instance));
            if stored != replayed {
                let pages = self.pages_beside(kept, &module, snapshot, &instance);
                let last = position.saturating_sub(1);
                return Ok(Some(Finding::State { first: reached, last, stored, replayed, pages }));
            }
            (reached, *roots) = (position, *roots + 1);
        }
        let divergence = self.replay(&row, kept, &mut instance, reached..era.to)?;
        Ok(divergence.map(|divergence| Finding::Delivery(Box::new(divergence))))
    }

    fn pages_beside(
        &self,
        kept: &KeptOptions,
        module: &vat_engine::VatModule,
        snapshot: &SnapshotRow,
        replayed: &VatInstance,
    ) -> Option<Vec<ChangedPages>> {
        let saved = self.snapshots.load(snapshot).ok()?;
        let stored = self.restore_cold(kept, module, &saved).ok()?;
        Some(changed_pages(stored.heap(), replayed.heap()))
    }
}
