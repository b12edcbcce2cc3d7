//! What is measured: a module, and the message that its vats get.

use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;
use vat_abi::{CapData, Delivery, LogLevel, Syscall, SyscallResult};
use vat_warehouse::{
    SyscallHandler, SyscallVerdict, VatLease, VatName, VatOptions, Warehouse, WarehouseConfig, limits,
};

use crate::handler::{Caller, Log, root_message};
use crate::marshal;

/// The module's name in the temporary stores.
const MODULE: &str = "module";

/// A module and what its vats are told.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) wasm: Vec<u8>,
    pub(super) message: Message,
    /// Parameters of each vat.
    pub(super) args: Option<Value>,
}

/// What is delivered, over and over.
#[derive(Debug)]
pub(super) enum Message {
    /// A call of the root object.
    Call { method: String, arguments: Vec<Value> },
    /// What every vat understands.
    CollectGarbage,
}

/// What one delivery did.
#[derive(Debug)]
pub(super) struct Tried {
    /// What the vat said, if it refused.
    pub(super) rejection: Option<String>,
    /// Messages to others.
    pub(super) sends: usize,
}

/// Answers everything and remembers nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet;

impl SyscallHandler for Quiet {
    fn syscall(&mut self, _syscall: &Syscall) -> SyscallVerdict {
        SyscallVerdict::Answer(SyscallResult::Ok(None))
    }

    fn log(&mut self, _level: LogLevel, _text: &str) {}
}

impl Subject {
    /// A temporary directory.
    pub(super) fn scratch() -> Result<TempDir> {
        tempfile::Builder::new().prefix("vats-bench-").tempdir().context("cannot make a temporary directory")
    }

    /// A store with the module in it.
    pub(super) fn install(&self, dir: &Path, config: WarehouseConfig) -> Result<Warehouse> {
        let warehouse = Warehouse::open(dir, config)?;
        warehouse.install(MODULE, &self.wasm)?;
        Ok(warehouse)
    }

    /// The delivery of the message, at a position of a vat's transcript.
    pub(super) fn delivery(&self, position: u64) -> Delivery {
        match &self.message {
            Message::Call { method, arguments } => root_message(marshal::call(method, arguments), position).0,
            Message::CollectGarbage => Delivery::BringOutYourDead,
        }
    }

    /// Makes a vat.
    pub(super) fn create(&self, warehouse: &Warehouse, vat: &VatName) -> Result<()> {
        let (started, _) = self.create_with(warehouse, vat, Quiet);
        started
    }

    /// Delivers the message.
    pub(super) fn deliver(&self, lease: &mut VatLease) -> Result<()> {
        let delivery = self.delivery(lease.next_position()?);
        let (report, Quiet) = lease.deliver(delivery, 0, Quiet);
        match report?.outcome.fault() {
            Some(fault) => bail!("the delivery faulted, so there is nothing to measure: {fault}"),
            None => Ok(()),
        }
    }

    /// Makes a vat, delivers once, and tells what that did.
    pub(super) fn try_once(&self) -> Result<Tried> {
        let dir = Subject::scratch()?;
        let warehouse = self.install(dir.path(), config(1)?)?;
        let vat = name("probe", 0)?;
        let (started, caller) = self.create_with(&warehouse, &vat, Caller::new(Log::Dropped));
        started?;
        if caller.exit.is_some() {
            bail!("the vat ends itself when it is started, so there is nothing to measure");
        }
        let mut lease = warehouse.provide_blocking(&vat)?;
        let position = lease.next_position()?;
        let (report, caller) = lease.deliver(self.delivery(position), 0, Caller::new(Log::Dropped));
        if let Some(fault) = report?.outcome.fault() {
            bail!("the delivery faulted, so there is nothing to measure: {fault}");
        }
        if caller.exit.is_some() {
            bail!("the delivery ends the vat, so there is nothing to measure");
        }
        let rejected = caller.resolutions.iter().find(|resolution| resolution.rejected);
        let rejection = rejected.map(|resolution| marshal::error_text(&resolution.data));
        Ok(Tried { rejection, sends: caller.sends })
    }

    /// What is delivered, in a few words.
    pub(super) fn told(&self) -> String {
        match &self.message {
            Message::Call { method, arguments } => format!("{method} {}", Value::from(arguments.clone())),
            Message::CollectGarbage => "bringOutYourDead".to_owned(),
        }
    }

    fn create_with<H: SyscallHandler>(
        &self,
        warehouse: &Warehouse,
        vat: &VatName,
        handler: H,
    ) -> (Result<()>, H) {
        let args = self.args.as_ref().map_or_else(CapData::undefined, marshal::value);
        let options = VatOptions { memory_pages_max: limits::MEMORY_PAGES_MAX, ..VatOptions::default() };
        let (started, handler) = warehouse.create(vat, MODULE, options, args, 0, handler);
        (started.map(drop).map_err(Into::into), handler)
    }
}

/// The name of the nth vat of a kind.
pub(super) fn name(kind: &str, nth: usize) -> Result<VatName> {
    Ok(format!("{kind}-{nth}").parse()?)
}

/// Room for this many in memory.
pub(super) fn config(resident: usize) -> Result<WarehouseConfig> {
    let resident_max = NonZeroUsize::new(resident).context("a warehouse has room for a vat")?;
    Ok(WarehouseConfig { resident_max, ..WarehouseConfig::default() })
}
