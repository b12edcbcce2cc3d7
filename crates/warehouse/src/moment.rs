//! A vat as it was after one of its deliveries.
//!
//! ```text
//!   positions   0 ── … ── 40 ─────── 57 ──── … ── now
//!                     snapshot ─ replay ─► moment: ask it, read its heap, name its root
//! ```
//!
//! The nearest state before the position is restored and the transcript replayed up to it. Nothing is written: no snapshot, no
//! transcript, no status; the vat that lives goes on beside it and knows nothing. What is asked of a moment happens on a copy
//! of it, so that each question finds the vat as it was then. Vat storage as it was is computed from the recorded syscalls.
//!
//! A vat that is quarantined has moments, too, up to where its replay differs: they are what one looks at then.

use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;

use vat_abi::Delivery;
use vat_engine::{Globals, SyscallHandler, VatInstance};
use vat_image::{FaultContext, HeapRoot, HeapTree, PAGE_BYTES, PageHash, PageNo};
use vat_storage::{Position, VatRow};

use crate::canary::Canary;
use crate::era::Era;
use crate::error::Error;
use crate::lease::Report;
use crate::name::VatName;
use crate::options::KeptOptions;
use crate::page_in::{crank_context, kept_options, label};
use crate::recorder::{Before, Recorder};
use crate::records::Keys;
use crate::warehouse::{Inner, Warehouse};

/// A vat as it was after one of its deliveries, in memory, apart from the vat that lives.
pub struct Moment {
    inner: Arc<Inner>,
    /// Its row, as it was in the incarnation that the moment is of.
    row: VatRow,
    kept: KeptOptions,
    instance: VatInstance,
    /// Position of the delivery that came next.
    next: u64,
    /// Deliveries that were replayed to get there.
    replayed: u64,
    keys: OnceCell<Arc<Keys>>,
}

impl Warehouse {
    /// The vat as it was after the delivery at `position`.
    ///
    /// # Errors
    /// [`Error::UnknownVat`]; [`Error::NoSuchPosition`]; [`Error::ReplayDiffers`] if the transcript up to there cannot be replayed as it
    /// was recorded; or if it cannot be read.
    pub fn at(&self, name: &VatName, position: u64) -> Result<Moment, Error> {
        let row = self.vat(name)?;
        if position >= row.next_position.0 {
            return Err(Error::NoSuchPosition { vat: row.name, position, deliveries: row.next_position.0 });
        }
        let inner = Arc::clone(&self.inner);
        let kept = kept_options(&row)?;
        let era = Era::of(&row, &kept, position);
        if inner.is_gone(era.module)? {
            return Err(Error::CodeGone { vat: row.name, incarnation: era.incarnation });
        }
        let row = era.row(&row);
        let (instance, replayed) = inner.instance_at(&row, &kept, era, position + 1)?;
        Ok(Moment { inner, row, kept, instance, next: position + 1, replayed, keys: OnceCell::new() })
    }
}

impl Moment {
    /// The position of the delivery after which this is.
    pub fn position(&self) -> u64 {
        self.next - 1
    }

    /// Deliveries that were replayed to get here; the rest came from a snapshot.
    pub fn replayed(&self) -> u64 {
        self.replayed
    }

    /// The heap's bytes.
    pub fn heap(&self) -> &[u8] {
        self.instance.heap()
    }

    /// The mutable globals.
    pub fn globals(&mut self) -> Globals {
        self.instance.globals()
    }

    /// The heap root: see [`Warehouse::root`]. Takes as long as hashing the heap.
    pub fn root(&mut self) -> HeapRoot {
        root_of(&mut self.instance)
    }

    /// Vat storage, as the transcript says it was.
    ///
    /// # Errors
    /// If the transcript cannot be read from its beginning.
    pub fn storage(&self) -> Result<&Arc<Keys>, Error> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys);
        }
        let keys = self.inner.recorded_keys(&self.row, Position(self.next))?;
        Ok(self.keys.get_or_init(|| Arc::new(keys)))
    }

    /// Delivers to a copy of the vat: what it would have answered then. Nothing is recorded, and the next question finds the vat as it
    /// was.
    ///
    /// # Errors
    /// A host error. A guest's fault is an outcome.
    pub fn ask<H: SyscallHandler>(
        &mut self,
        delivery: &Delivery,
        time_ns: u64,
        handler: H,
    ) -> (Result<Report, Error>, H) {
        let prepared = self.storage().cloned().and_then(|keys| {
            let copy = self.instance.duplicate(&self.inner.engine)?;
            Ok((keys, copy))
        });
        let (keys, mut copy) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return (Err(error), handler),
        };
        let context = crank_context(&self.instance, &self.kept, self.row.incarnation.0, self.next, time_ns);
        let _touching = FaultContext::enter(&label(&self.row.name));
        let (ran, recorder) = copy.deliver(delivery, &context, Recorder::over(Before::Then(keys), handler));
        let position = self.next;
        let report = ran.map(|ran| Report {
            position,
            outcome: ran.outcome,
            computrons: ran.computrons,
            syscalls: ran.syscalls,
        });
        (report.map_err(Error::from), recorder.inner)
    }
}

impl Inner {
    /// An instance of the vat as it was before the delivery at `next`, and how many deliveries were replayed for it.
    fn instance_at(
        &self,
        row: &VatRow,
        kept: &KeptOptions,
        era: Era,
        next: u64,
    ) -> Result<(VatInstance, u64), Error> {
        let _touching = FaultContext::enter(&label(&row.name));
        let (mut instance, from) = self.nearest(row, kept, era, next)?;
        match self.replay(row, kept, &mut instance, from..next)? {
            None => Ok((instance, next - from)),
            Some(divergence) => {
                Err(Error::ReplayDiffers { vat: row.name.clone(), divergence: Box::new(divergence) })
            }
        }
    }

    /// The newest usable state that covers no delivery at `next` or after.
    fn nearest(
        &self,
        row: &VatRow,
        kept: &KeptOptions,
        era: Era,
        next: u64,
    ) -> Result<(VatInstance, u64), Error> {
        let module = self.module(row.module)?;
        for snapshot in self.storage.snapshots(row.id)? {
            let is_later = snapshot.position.0 > next && !self.has(Canary::LooksBackFromLater);
            if is_later || snapshot.incarnation != row.incarnation {
                continue;
            }
            let loaded = self.snapshots.load(&snapshot).map_err(|error| error.to_string());
            let restored = loaded.and_then(|saved| {
                self.restore_cold(kept, &module, &saved).map_err(|error| error.to_string())
            });
            match restored {
                Ok(instance) => return Ok((instance, snapshot.position.0.min(next))),
                Err(error) => self.fall_back(row, snapshot.position.0, &error),
            }
        }
        Ok((self.born(row.module, kept, &module)?, era.from))
    }
}

/// The heap root of an instance, from its bytes.
pub(crate) fn root_of(instance: &mut VatInstance) -> HeapRoot {
    let heap = instance.heap();
    let size = u32::try_from(heap.len() / PAGE_BYTES).expect("a heap has at most 2^20 pages");
    let (pages, _) = heap.as_chunks::<PAGE_BYTES>();
    let hashed = (0..).zip(pages).map(|(page, bytes)| (PageNo(page), PageHash::of(bytes)));
    let tree: HeapTree = hashed.filter(|(_, hash)| *hash != PageHash::ZERO).collect();
    let module = instance.module().hash();
    tree.root(size, &instance.globals().encode(), &module)
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moment")
            .field("vat", &self.row.name)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}
