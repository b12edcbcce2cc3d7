//! Upgrade: a vat's code is replaced, its vat storage stays, its heap begins anew.
//!
//! ```text
//!   old code   … ─ 5 ─ 6 ┐                      replay of the vat as it is now
//!                        │ upgrade              begins here
//!   new code             └ 7 startVat ─ 8 ─ 9 … ◄┘
//!                          sees the vat storage that 6 left
//! ```
//!
//! Invariant: an upgrade is whole or leaves no trace. The new code's `startVat` runs on an instance that nobody else knows, over
//! vat storage that it does not change yet; only its success closes the span, begins the incarnation and appends the delivery, in
//! one step. Until then the old instance stays where it is, and it answers the next delivery if anything failed.
//!
//! What a vat means to others is a kernel's business and not done here: no `bringOutYourDead` before the upgrade, no promise
//! rejected, no export abandoned. A kernel makes these deliveries and syscalls itself, in the same block.

use std::sync::Arc;

use vat_abi::{CapData, Delivery};
use vat_engine::{SyscallHandler, VatInstance};
use vat_storage::{CrankRecord, ModuleHash, VatRow};

use crate::canary::Canary;
use crate::error::Error;
use crate::lease::Report;
use crate::name::VatName;
use crate::options::KeptOptions;
use crate::page_in::{check_alive, crank_context, kept_options, label};
use crate::recorder::{Recorder, Writes};
use crate::residency::Resident;
use crate::warehouse::{Inner, Warehouse};

/// The next incarnation of a vat, before anybody knows of it.
struct Successor {
    row: VatRow,
    module: ModuleHash,
    kept: KeptOptions,
    instance: VatInstance,
}

impl Warehouse {
    /// Replaces the vat's code by an installed module and delivers `startVat` to it. Vat storage is kept; the heap is that of the
    /// new module after birth. Upgrading to the module that it has already is an upgrade, too. Waits while somebody has the vat.
    ///
    /// # Errors
    /// [`Error::UnknownVat`], [`Error::UnknownModule`], [`Error::Quarantined`]; [`Error::UpgradeFaulted`] if the new code's start did
    /// not succeed; or a host error. In any case the vat is then as it was before, and so is its transcript.
    pub fn upgrade<H: SyscallHandler>(
        &self,
        name: &VatName,
        module: &str,
        args: CapData,
        time_ns: u64,
        handler: H,
    ) -> (Result<Report, Error>, H) {
        let inner = &self.inner;
        let vat = match inner.find(name) {
            Ok(vat) => vat,
            Err(error) => return (Err(error), handler),
        };
        let mut cell = inner.residency.lock_blocking(vat);
        let (started, handler) = match inner.successor(name, module) {
            Ok(successor) => inner.start_successor(name, successor, args, time_ns, handler),
            Err(error) => (Err(error), handler),
        };
        let upgraded = started.map(|(report, resident)| {
            inner.replace(&mut cell, vat, resident);
            report
        });
        drop(cell);
        inner.residency.tidy(vat);
        inner.make_room();
        (upgraded, handler)
    }
}

impl Inner {
    /// What the vat is to become. The caller holds its cell.
    fn successor(&self, name: &VatName, module: &str) -> Result<Successor, Error> {
        let row =
            self.storage.vat_by_name(name.as_str())?.ok_or_else(|| Error::UnknownVat(name.to_string()))?;
        check_alive(&row)?;
        let hash =
            self.storage.module_by_name(module)?.ok_or_else(|| Error::UnknownModule(module.to_owned()))?;
        let kept = kept_options(&row)?.upgraded(row.module, row.next_position.0);
        let instance = self.born(hash, &kept, &self.module(hash)?)?;
        Ok(Successor { row, module: hash, kept, instance })
    }

    /// Delivers `startVat`, and only then makes the successor the vat.
    fn start_successor<H: SyscallHandler>(
        &self,
        name: &VatName,
        mut successor: Successor,
        args: CapData,
        time_ns: u64,
        handler: H,
    ) -> (Result<(Report, Resident), Error>, H) {
        let recorder = Recorder::new(successor.row.id, Arc::clone(&self.storage), handler);
        let delivery = Delivery::StartVat(args);
        let incarnation = successor.row.incarnation.0 + 1;
        let context =
            crank_context(&successor.instance, &successor.kept, incarnation, successor.kept.since, time_ns);
        let (ran, recorder) = successor.instance.deliver(&delivery, &context, recorder);
        let Recorder { writes, inner: handler, .. } = recorder;
        let begun = ran.map_err(Error::from).and_then(|report| {
            if let Some(fault) = report.outcome.fault() {
                return Err(Error::UpgradeFaulted { vat: name.clone(), fault: fault.clone() });
            }
            self.begin_incarnation(successor, report, &writes)
        });
        (begun, handler)
    }

    /// Makes the new incarnation, its options, its first entry and what that wrote the vat's, in one step.
    fn begin_incarnation(
        &self,
        successor: Successor,
        started: vat_engine::Report,
        writes: &Writes,
    ) -> Result<(Report, Resident), Error> {
        let Successor { row, module, kept, instance } = successor;
        let vat_engine::Report { outcome, computrons, syscalls, entry } = started;
        let vatstore: Vec<_> = writes.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        let steps = self.steps();
        let incarnation = self.storage.begin_incarnation(row.id, module)?;
        self.storage.set_options(row.id, &kept.encode())?;
        let record = CrankRecord { vat: row.id, entry: &entry, vatstore: &vatstore };
        let position = self.storage.append_crank(&record)?.0;
        for old in self.storage.snapshots(row.id)? {
            self.storage.delete_snapshot(row.id, old.position)?; // A heap of code that is no longer run.
        }
        drop(steps);
        assert_eq!(position, kept.since, "an incarnation begins with its start");
        assert_eq!(incarnation.0, row.incarnation.0 + 1, "nobody else upgrades a vat whose cell is held");
        self.counters.deliveries.add(1);
        self.counters.upgrades.add(1);
        let resident = Resident {
            label: label(&row.name),
            instance,
            kept,
            incarnation: incarnation.0,
            next: position + 1,
            captured: position,
            unsaved: computrons.0,
            touched: None,
        };
        Ok((Report { position, outcome, computrons, syscalls }, resident))
    }

    /// Puts the new incarnation where the old one was, or would have been.
    fn replace(&self, cell: &mut Option<Resident>, vat: vat_storage::VatId, mut resident: Resident) {
        // States of the old code are of no use, and must not be taken for a base of the new heap.
        self.snapshots.forget(vat);
        if let Some(old) = cell.take() {
            self.residency.left(vat);
            if self.has(Canary::KeepsTheOldCode) {
                resident.instance = old.instance;
            }
        }
        self.residency.reserve();
        let bytes = self.measure(Some(&resident));
        *cell = Some(resident);
        self.residency.entered(vat, bytes);
    }
}
