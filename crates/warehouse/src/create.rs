//! Making vats: installing modules, and the first delivery of a vat.
//!
//! Invariant: there is no vat whose `startVat` did not succeed. It runs on an instance that nobody else knows, and only its
//! success lets there be a vat, with the delivery at position 0, in one step.

use std::sync::Arc;

use vat_abi::{CapData, Delivery, Outcome};
use vat_engine::{SyscallHandler, VatInstance};
use vat_storage::{CrankRecord, ModuleHash, NewSnapshot, SnapshotRow, VatId};

use crate::anchor::inherit_anchor;
use crate::descriptor::Descriptor;
use crate::error::Error;
use crate::lease::Report;
use crate::name::VatName;
use crate::options::{KeptOptions, VatOptions};
use crate::page_in::{crank_context, label};
use crate::recorder::Recorder;
use crate::residency::Resident;
use crate::warehouse::{Inner, Warehouse};

impl Warehouse {
    /// Installs a module under a name: accepts it, compiles it, and saves its state after birth for all its vats.
    ///
    /// Installing the same bytes again is not an error.
    ///
    /// # Errors
    /// [`vat_engine::Error::Refused`] if no vat can be made of it; [`Error::DuplicateModule`] if the name is another's.
    pub fn install(&self, name: &str, wasm: &[u8]) -> Result<ModuleHash, Error> {
        let inner = &self.inner;
        let hash = ModuleHash::of(wasm);
        if inner.storage.module_by_name(name)?.is_some_and(|other| other != hash) {
            return Err(Error::DuplicateModule(name.to_owned()));
        }
        let module = inner.engine.module(wasm)?;
        let mut instance = VatInstance::birth(&inner.engine, &module, vat_engine::limits::MEMORY_PAGES_MAX)?;
        let _steps = inner.steps();
        inner.storage.put_module(hash, name, wasm)?;
        if inner.storage.module_row(hash)?.birth.is_none() {
            let birth = instance.capture(&inner.pages, inner.tracker.as_ref(), vat_image::Check::Always)?;
            inner.snapshots.sync()?;
            inner.snapshots.put_birth(hash, &birth.state)?;
            inner.births().put(hash, birth.state);
        }
        Ok(hash)
    }

    /// Makes a vat and delivers `startVat` to it.
    ///
    /// # Errors
    /// [`Error::DuplicateVat`], [`Error::UnknownModule`]; [`Error::StartFaulted`] if the vat's own start did not succeed. In any
    /// case there is then no such vat.
    pub fn create<H: SyscallHandler>(
        &self,
        name: &VatName,
        module: &str,
        options: VatOptions,
        args: CapData,
        time_ns: u64,
        handler: H,
    ) -> (Result<Report, Error>, H) {
        match self.inner.prepare_create(name, module, options) {
            Ok((hash, kept, instance)) => {
                let (started, handler) = self.inner.start(name, hash, kept, instance, args, time_ns, handler);
                self.inner.make_room();
                (started, handler)
            }
            Err(error) => (Err(error), handler),
        }
    }

    /// Makes a vat that goes on from where `name` is now: the same heap, by the same layers, without copying it. Its vat
    /// storage is a copy, its transcript shares the past.
    ///
    /// # Errors
    /// [`Error::UnknownVat`], [`Error::DuplicateVat`]; or if the vat cannot be brought into memory or captured.
    pub fn fork(&self, name: &VatName, new: &VatName) -> Result<u64, Error> {
        let mut lease = self.provide_blocking(name)?;
        lease.with_resident(|inner, vat, resident| {
            if resident.captured != resident.next || inner.snapshots.newest(vat).is_none() {
                inner.capture(vat, resident)?;
            }
            let newest = inner.snapshots.newest(vat).expect("just captured, under the vat's lock");
            let kept = resident.kept.forked(new, resident.next);
            let steps = inner.steps();
            let fork =
                inner.storage.fork_vat(vat, new.as_str(), &kept.encode()).map_err(|error| match error {
                    vat_storage::Error::Duplicate { .. } => Error::DuplicateVat(new.clone()),
                    other => other.into(),
                })?;
            inherit_anchor(&inner.storage, vat, fork)?;
            inner.share_snapshots(vat, fork)?;
            drop(steps);
            inner.snapshots.save(fork, newest);
            Ok(resident.next)
        })
    }
}

impl Inner {
    /// Gives a fork the durable snapshots of its parent. Its own is not durable yet, and where the oldest entries of the shared past
    /// were pruned, a crash after the next commit would otherwise leave it without a way back.
    fn share_snapshots(&self, parent: VatId, fork: VatId) -> Result<(), Error> {
        let incarnation = self.storage.vat(parent)?.incarnation;
        let snapshots = self.storage.snapshots(parent)?;
        for snapshot in snapshots.iter().filter(|snapshot| snapshot.incarnation == incarnation) {
            // One that cannot be read is of no use to the fork either.
            let Ok(Descriptor { layers, .. }) = Descriptor::decode(&snapshot.image) else { continue };
            let SnapshotRow { position, incarnation, ref image, root, .. } = *snapshot;
            self.storage.put_snapshot(&NewSnapshot {
                vat: fork,
                position,
                incarnation,
                image,
                root,
                layers: &layers,
            })?;
        }
        Ok(())
    }

    fn prepare_create(
        &self,
        name: &VatName,
        module: &str,
        options: VatOptions,
    ) -> Result<(ModuleHash, KeptOptions, VatInstance), Error> {
        let hash =
            self.storage.module_by_name(module)?.ok_or_else(|| Error::UnknownModule(module.to_owned()))?;
        if self.storage.vat_by_name(name.as_str())?.is_some() {
            return Err(Error::DuplicateVat(name.clone()));
        }
        let kept = KeptOptions::new(name, options);
        let instance = self.born(hash, &kept, &self.module(hash)?)?;
        Ok((hash, kept, instance))
    }

    /// Delivers `startVat`, and only then lets there be a vat.
    #[expect(clippy::too_many_arguments, reason = "all that a vat is made of, taken apart once")]
    fn start<H: SyscallHandler>(
        &self,
        name: &VatName,
        module: ModuleHash,
        kept: KeptOptions,
        mut instance: VatInstance,
        args: CapData,
        time_ns: u64,
        handler: H,
    ) -> (Result<Report, Error>, H) {
        // Ids begin at 1, so nothing is stored under 0: the storage of a vat that does not exist yet.
        let recorder = Recorder::new(VatId(0), Arc::clone(&self.storage), handler);
        let delivery = Delivery::StartVat(args);
        let context = crank_context(&instance, &kept, 0, 0, time_ns);
        let (ran, Recorder { writes, inner: handler, .. }) = instance.deliver(&delivery, &context, recorder);
        let started = ran.map_err(Error::from).and_then(|report| {
            if let Some(fault) = report.outcome.fault() {
                return Err(Error::StartFaulted { vat: name.clone(), fault: fault.clone() });
            }
            let vatstore: Vec<_> =
                writes.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
            let steps = self.steps();
            let vat =
                self.storage.create_vat(name.as_str(), module, &kept.encode()).map_err(
                    |error| match error {
                        vat_storage::Error::Duplicate { .. } => Error::DuplicateVat(name.clone()),
                        other => other.into(),
                    },
                )?;
            self.storage.append_crank(&CrankRecord { vat, entry: &report.entry, vatstore: &vatstore })?;
            drop(steps);
            self.counters.deliveries.add(1);
            let label = label(name.as_str());
            self.enter(
                vat,
                name,
                Resident {
                    label,
                    instance,
                    kept,
                    incarnation: 0,
                    next: 1,
                    captured: 0,
                    unsaved: report.computrons.0,
                    touched: None,
                },
            );
            Ok(Report {
                position: 0,
                outcome: Outcome::Delivered,
                computrons: report.computrons,
                syscalls: report.syscalls,
            })
        });
        (started, handler)
    }

    /// Puts a vat that was just made into its cell.
    fn enter(&self, vat: VatId, name: &VatName, resident: Resident) {
        self.residency.reserve();
        let bytes = self.measure(Some(&resident));
        // Nobody can know the vat yet, so its cell is free.
        *self.residency.try_lock(vat).expect("the cell of a new vat is free") = Some(resident);
        self.residency.entered(vat, bytes);
        self.names().put(name.clone(), vat);
    }
}
