//! A lease: a vat that stays in memory, and is nobody else's, until the lease is dropped.

use std::fmt;
use std::sync::Arc;

use vat_abi::{Computrons, Delivery, Outcome, SyscallRecord};
use vat_engine::{Globals, SyscallHandler};
use vat_image::FaultContext;
use vat_storage::{CrankRecord, VatId};

use crate::canary::Canary;
use crate::error::Error;
use crate::page_in::crank_context;
use crate::recorder::{Recorder, Writes};
use crate::residency::{CellGuard, Resident};
use crate::warehouse::Inner;

/// What a delivery did, and where it stands in the transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its position in the vat's transcript.
    pub position: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What it is charged.
    pub computrons: Computrons,
    /// Its syscalls with their results.
    pub syscalls: Vec<SyscallRecord>,
}

/// The sole hold on a vat in memory.
pub struct VatLease {
    inner: Arc<Inner>,
    vat: VatId,
    /// Invariant: present until dropped.
    cell: Option<CellGuard>,
}

impl VatLease {
    /// Of a cell that holds a vat.
    pub(crate) fn new(inner: Arc<Inner>, vat: VatId, cell: CellGuard) -> VatLease {
        VatLease { inner, vat, cell: Some(cell) }
    }

    /// Makes one delivery: runs it, and appends it to the transcript with what it wrote to the vat's storage. Durable after
    /// the next [`commit`](crate::Warehouse::commit).
    ///
    /// On a thread of the usual stack size each call maps a deeper one; see [`on_deep_stack`](crate::on_deep_stack).
    ///
    /// A guest's fault is recorded and reported in the outcome. Its effects on heap and storage are undone: the vat goes on
    /// from before the delivery. The handler comes back in any case.
    ///
    /// # Errors
    /// A host error: the crank left no trace. The vat was dropped from memory and comes back with the next delivery.
    pub fn deliver<H: SyscallHandler>(
        &mut self,
        delivery: Delivery,
        time_ns: u64,
        handler: H,
    ) -> (Result<Report, Error>, H) {
        if let Err(error) = self.ensure_resident() {
            return (Err(error), handler);
        }
        let recorder = Recorder::new(self.vat, Arc::clone(&self.inner.storage), handler);
        let resident = self.resident_mut().expect("just made sure of");
        let context =
            crank_context(&resident.instance, &resident.kept, resident.incarnation, resident.next, time_ns);
        let touching = FaultContext::enter(&resident.label);
        let running = Running(self);
        let instance = &mut running.0.resident_mut().expect("just made sure of").instance;
        let (ran, recorder) = instance.deliver(&delivery, &context, recorder);
        std::mem::forget(running); // It returned.
        drop(touching);
        let Recorder { writes, inner: handler, .. } = recorder;
        let result = ran.map_err(Error::from).and_then(|ran| self.append(ran, &writes));
        let is_kept = self.inner.has(Canary::KeepsAFaultedHeap) && result.is_ok();
        if !is_kept && !matches!(&result, Ok(report) if report.outcome == Outcome::Delivered) {
            self.drop_instance();
        }
        (result, handler)
    }

    /// The heap's bytes now.
    ///
    /// # Errors
    /// If the vat had to be brought back into memory and could not.
    pub fn heap(&mut self) -> Result<&[u8], Error> {
        self.ensure_resident()?;
        Ok(self.resident_mut().expect("just made sure of").instance.heap())
    }

    /// The mutable globals now.
    ///
    /// # Errors
    /// As [`VatLease::heap`].
    pub fn globals(&mut self) -> Result<Globals, Error> {
        self.ensure_resident()?;
        Ok(self.resident_mut().expect("just made sure of").instance.globals())
    }

    /// Position of the next delivery.
    ///
    /// # Errors
    /// As [`VatLease::heap`].
    pub fn next_position(&mut self) -> Result<u64, Error> {
        self.ensure_resident()?;
        Ok(self.resident_mut().expect("just made sure of").next)
    }

    /// Captures the state now, whatever the policy says.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn snapshot(&mut self) -> Result<(), Error> {
        self.with_resident(Inner::capture)
    }

    /// Lets the warehouse itself work on the vat.
    pub(crate) fn with_resident<T>(
        &mut self,
        work: impl FnOnce(&Inner, VatId, &mut Resident) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.ensure_resident()?;
        let (vat, inner) = (self.vat, Arc::clone(&self.inner));
        work(&inner, vat, self.resident_mut().expect("just made sure of"))
    }

    fn append(&mut self, ran: vat_engine::Report, writes: &Writes) -> Result<Report, Error> {
        let vat_engine::Report { outcome, computrons, syscalls, entry } = ran;
        // A faulted delivery wrote nothing.
        let kept = if outcome == Outcome::Delivered { Some(writes) } else { None };
        let vatstore: Vec<_> =
            kept.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        let record = CrankRecord { vat: self.vat, entry: &entry, vatstore: &vatstore };
        let position = self.inner.storage.append_crank(&record)?.0;
        self.inner.counters.deliveries.add(1);
        let inner = Arc::clone(&self.inner);
        let vat = self.vat;
        let resident = self.resident_mut().expect("a delivery just ran");
        assert_eq!(position, resident.next, "position in the store against position in memory");
        resident.next = position + 1;
        if outcome == Outcome::Delivered {
            resident.unsaved = resident.unsaved.saturating_add(computrons.0);
            inner.capture_if_due(vat, resident);
        } else {
            inner.counters.faults.add(1);
        }
        Ok(Report { position, outcome, computrons, syscalls })
    }

    /// After a fault or an error the instance is gone; the lease still holds the place.
    fn ensure_resident(&mut self) -> Result<(), Error> {
        if self.resident_mut().is_none() {
            let resident = self.inner.page_in_counted(self.vat)?;
            **self.cell.as_mut().expect("present until dropped") = Some(resident);
        }
        Ok(())
    }

    fn drop_instance(&mut self) {
        **self.cell.as_mut().expect("present until dropped") = None;
        self.inner.residency.left(self.vat);
    }

    fn resident_mut(&mut self) -> Option<&mut Resident> {
        self.cell.as_mut().expect("present until dropped").as_mut()
    }
}

/// A delivery that has not returned yet. If it never does, since the handler panicked, the instance goes: its heap ran ahead of what
/// is recorded.
struct Running<'a>(&'a mut VatLease);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.drop_instance();
    }
}

impl Drop for VatLease {
    fn drop(&mut self) {
        let resident = self.cell.as_ref().and_then(|cell| cell.as_ref());
        let (is_resident, bytes) = (resident.is_some(), self.inner.measure(resident));
        self.cell = None;
        // One look at the table is all that the usual lease costs here.
        let is_over = self.inner.residency.used(self.vat, bytes);
        if !is_resident {
            self.inner.residency.tidy(self.vat);
        }
        if is_over {
            self.inner.make_room();
        }
    }
}

impl fmt::Debug for VatLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VatLease").field("vat", &self.vat).finish_non_exhaustive()
    }
}
