//! One vat in a warehouse of its own, and the record of what was delivered to it.
//!
//! The record is what lets a crash happen at any time without the test noticing: what the crash lost is
//! delivered again, and has to do the same again.
//!
//! ```text
//!   done      d0  d1  d2  d3  d4
//!   durable   ─────────┘           a crash here makes d3 and d4 again, and compares
//! ```
//!
//! Time is the test's: the first delivery happens at a fixed moment, each later one a little after the one
//! before.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tempfile::TempDir;
use vat_abi::{Delivery, Outcome};
use vat_warehouse::{
    Error as WarehouseError, Report, RestoreMethod, Tracking, VatName, Warehouse, WarehouseConfig,
};

use crate::compile;
use crate::error::{Error, Result};
use crate::listener::Listener;
use crate::promises::Promises;
use crate::subject::Subject;
use crate::trace::{Observed, State, Trace};

/// The name of the only module.
const MODULE: &str = "module";

/// When the first delivery happens, in nanoseconds since the Unix epoch.
pub(crate) const TIME_START: u64 = 1_700_000_000_000_000_000;

/// How much later each further delivery happens. Not a round number, so that its digits are seen.
pub(crate) const TIME_STEP: u64 = 1_000_000_007;

/// How the warehouse is run; none of it may be noticed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hosting {
    pub(crate) restore: RestoreMethod,
    pub(crate) tracking: Tracking,
    pub(crate) snapshot_interval: u64,
}

/// A vat and where it lives.
#[derive(Debug)]
pub(crate) struct Host {
    subject: Subject,
    module: Arc<[u8]>,
    config: WarehouseConfig,
    /// Absent only while it is being opened again.
    warehouse: Option<Warehouse>,
    done: Vec<Done>,
    promises: Promises,
    /// Last, so that it is deleted after the warehouse is closed.
    dir: TempDir,
}

#[derive(Clone, Debug)]
struct Done {
    delivery: Delivery,
    time_ns: u64,
    observed: Observed,
}

impl Host {
    /// Opens a warehouse in a new temporary directory. There is no vat until the first delivery.
    pub(crate) fn open(subject: &Subject, hosting: Hosting) -> Result<Host> {
        let module = subject.module()?;
        let dir = tempfile::tempdir()
            .map_err(|source| Error::Io { what: "make a temporary directory for the warehouse", source })?;
        let config = WarehouseConfig {
            resident_max: NonZeroUsize::MIN,
            restore: hosting.restore,
            tracking: hosting.tracking,
            snapshot_interval: hosting.snapshot_interval,
            check_one_in: 1,
            code_cache: compile::code_dir(),
            ..WarehouseConfig::default()
        };
        let mut host = Host {
            subject: subject.clone(),
            module,
            config,
            warehouse: None,
            done: Vec::new(),
            promises: Promises::default(),
            dir,
        };
        host.reopen()?;
        host.warehouse().install(MODULE, &host.module)?;
        host.warehouse().commit()?;
        Ok(host)
    }

    /// Makes a delivery; the first one has to be `startVat`. A fault is an outcome, except for the start's.
    pub(crate) fn deliver(&mut self, delivery: Delivery, time_ns: u64) -> Result<&Observed> {
        let observed = self.perform(&delivery, time_ns)?;
        self.done.push(Done { delivery, time_ns, observed });
        Ok(&self.done[self.done.len() - 1].observed)
    }

    fn perform(&mut self, delivery: &Delivery, time_ns: u64) -> Result<Observed> {
        let mut promises = self.promises.clone();
        promises.receive(delivery);
        let listener = Listener::new(promises.clone(), self.subject.answers());
        let (report, listener) = self.hand_over(delivery.clone(), time_ns, listener);
        let report = report.map_err(|error| match error {
            WarehouseError::StartFaulted { fault, .. } => {
                Error::Faulted { call: "startVat".to_owned(), fault }
            }
            other => Error::Host(other),
        })?;
        if report.outcome == Outcome::Delivered {
            for record in &report.syscalls {
                promises.perform(&record.syscall).expect("the listener let it pass just now");
            }
            self.promises = promises;
        }
        let Report { outcome, computrons, syscalls, .. } = report;
        Ok(Observed { outcome, computrons, syscalls, logs: listener.logs })
    }

    fn hand_over(
        &self,
        delivery: Delivery,
        time_ns: u64,
        listener: Listener,
    ) -> (Result<Report, WarehouseError>, Listener) {
        let (warehouse, vat) = (self.warehouse(), name());
        match (delivery, self.done.is_empty()) {
            (Delivery::StartVat(parameters), true) => {
                let options = self.subject.vat_options();
                warehouse.create(&vat, MODULE, options, parameters, time_ns, listener)
            }
            (delivery, _) => match warehouse.provide_blocking(&vat) {
                Ok(mut lease) => lease.deliver(delivery, time_ns, listener),
                Err(error) => (Err(error), listener),
            },
        }
    }

    /// Lets the vat's memory go.
    pub(crate) fn evict(&self) -> Result {
        Ok(self.warehouse().evict(&name())?)
    }

    /// Captures the vat's state, and leaves it in memory.
    pub(crate) fn snapshot(&self) -> Result {
        Ok(self.warehouse().provide_blocking(&name())?.snapshot()?)
    }

    /// Makes everything so far durable.
    pub(crate) fn commit(&self) -> Result {
        Ok(self.warehouse().commit()?)
    }

    /// Closes the warehouse properly and opens it again.
    pub(crate) fn restart(&mut self) -> Result {
        self.warehouse().checkpoint()?;
        self.reopen()
    }

    /// Ends the warehouse without any ado, opens it again, and makes the lost deliveries again.
    pub(crate) fn crash(&mut self) -> Result {
        let warehouse = self.warehouse.take().expect("a warehouse is open between two calls");
        warehouse.abandon().expect("leases live no longer than a call, and there are no clones");
        self.reopen()?;
        let durable = match self.warehouse().vat(&name()) {
            Ok(row) => usize::try_from(row.next_position.0).expect("positions of a test fit into memory"),
            Err(WarehouseError::UnknownVat(_)) => 0,
            Err(other) => return Err(other.into()),
        };
        let lost = self.done.split_off(durable);
        self.forget_promises();
        for (index, Done { delivery, time_ns, observed }) in lost.into_iter().enumerate() {
            let again = self.deliver(delivery.clone(), time_ns)?;
            if let Some(difference) = observed.difference(again) {
                let difference = Box::new(difference.at(durable + index, &delivery));
                let situation = "delivered again after a crash had lost it".to_owned();
                return Err(Error::Different { situation, difference });
            }
        }
        Ok(())
    }

    /// Goes back to the promises that the record tells of.
    fn forget_promises(&mut self) {
        self.promises = Promises::default();
        for done in self.done.iter().filter(|done| done.observed.outcome == Outcome::Delivered) {
            self.promises.receive(&done.delivery);
            for record in &done.observed.syscalls {
                self.promises.perform(&record.syscall).expect("it was legal when it was recorded");
            }
        }
    }

    /// Replays everything from birth beside the vat's state, and looks back on whether the tracker of changed
    /// pages was ever wrong.
    pub(crate) fn verify(&self, situation: &str) -> Result {
        let verdict = self.warehouse().verify(&name())?.verdict;
        let disagreements = self.warehouse().stats().disagreements;
        let replay = |verdict: String| Error::Replay { situation: situation.to_owned(), verdict };
        if !verdict.is_identical() {
            return Err(replay(verdict.to_string()));
        }
        if disagreements != 0 {
            return Err(replay("identical, but the tracker of changed pages missed some".to_owned()));
        }
        Ok(())
    }

    /// The state that the vat has now.
    pub(crate) fn state(&self) -> Result<State> {
        let warehouse = self.warehouse();
        let mut lease = warehouse.provide_blocking(&name())?;
        let heap = lease.heap()?.to_vec();
        let globals = lease.globals()?.values().iter().map(|value| format!("{value:?}")).collect();
        drop(lease);
        let (id, storage) = (warehouse.vat(&name())?.id, warehouse.storage());
        let mut entries = std::collections::BTreeMap::new();
        let mut prior = String::new();
        while let Some(key) = storage.vatstore_next_key(id, &prior).map_err(WarehouseError::from)? {
            let value = storage.vatstore_get(id, &key).map_err(WarehouseError::from)?;
            entries.insert(key.clone(), value.expect("the key was found just now"));
            prior = key;
        }
        Ok(State { heap, globals, storage: entries })
    }

    /// Everything that was observed.
    pub(crate) fn trace(&self) -> Result<Trace> {
        let deliveries = self.done.iter().map(|done| (done.delivery.clone(), done.observed.clone()));
        Ok(Trace { deliveries: deliveries.collect(), state: self.state()? })
    }

    /// What was observed of each delivery, the start's first.
    pub(crate) fn observed(&self) -> impl DoubleEndedIterator<Item = &Observed> {
        self.done.iter().map(|done| &done.observed)
    }

    pub(crate) fn promises(&self) -> &Promises {
        &self.promises
    }

    /// Whether the vat is in memory.
    pub(crate) fn is_resident(&self) -> Result<bool> {
        Ok(self.warehouse().is_resident(&name())?)
    }

    fn warehouse(&self) -> &Warehouse {
        self.warehouse.as_ref().expect("a warehouse is open between two calls")
    }

    fn reopen(&mut self) -> Result {
        self.warehouse = None; // Closes it, so that the directory is free.
        self.warehouse = Some(Warehouse::open(self.dir.path(), self.config.clone())?);
        Ok(())
    }
}

/// The vat's name, on which its randomness depends.
fn name() -> VatName {
    "vat".parse().expect("a name by the rule")
}
