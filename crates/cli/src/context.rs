//! What every subcommand works with: the output, and the data directory.

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use vat_warehouse::{Reader, Warehouse, WarehouseConfig};

use crate::args::Global;
use crate::output::Output;

/// Names the data directory, where `--data` does not.
const DATA_VARIABLE: &str = "VATS_DATA";

/// What every subcommand works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) out: Output,
    /// What `--data` said.
    pub(crate) given: Option<PathBuf>,
}

impl Context {
    pub(crate) fn new(global: &Global) -> Context {
        Context { out: Output::new(global), given: global.data.clone() }
    }

    /// The data directory.
    pub(crate) fn data(&self) -> Result<PathBuf> {
        if let Some(given) = &self.given {
            return Ok(given.clone());
        }
        let named = |variable| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        named(DATA_VARIABLE)
            // The XDG specification has relative paths ignored.
            .or_else(|| named("XDG_DATA_HOME").filter(|dir| dir.is_absolute()).map(|dir| dir.join("vats")))
            .or_else(|| named("HOME").map(|home| home.join(".local/share/vats")))
            .context("no data directory: give --data DIR, or set VATS_DATA")
    }

    /// The data directory, which must be there, for looking into it: a host may be serving it.
    pub(crate) fn read(&self) -> Result<Reader> {
        Ok(Reader::open(&self.data()?)?)
    }

    /// The warehouse of the data directory, which must be there.
    pub(crate) fn open(&self) -> Result<Warehouse> {
        self.open_with(WarehouseConfig::default())
    }

    /// The same, run in some other way.
    pub(crate) fn open_with(&self, config: WarehouseConfig) -> Result<Warehouse> {
        Ok(Warehouse::open_existing(&self.data()?, config)?)
    }
}
