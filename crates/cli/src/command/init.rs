//! `vats init`: makes the data directory.

use anyhow::Result;
use serde_json::json;
use vat_warehouse::{Warehouse, WarehouseConfig};

use crate::context::Context;

pub(super) fn run(context: &Context) -> Result<()> {
    let data = context.data()?;
    let warehouse = Warehouse::open(&data, WarehouseConfig::default())?;
    warehouse.commit()?;
    let vats = warehouse.storage().stats()?.vats_alive;
    let text = format!("ready for vats: {}", data.display());
    Ok(context.out.result(text, || json!({"data": data.display().to_string(), "vats": vats}))?)
}
