//! `vats release`: lets a quarantined vat take deliveries again.

use anyhow::{Result, bail};
use serde_json::json;
use vat_warehouse::{Error, Release as How, VatStatus};

use crate::args::Release;
use crate::context::Context;

pub(super) fn run(context: &Context, args: &Release) -> Result<()> {
    let warehouse = context.open()?;
    let was_quarantined = matches!(warehouse.vat(&args.vat)?.status, VatStatus::Quarantined { .. });
    let how = if args.force { How::Forced } else { How::Checked };
    match warehouse.release(&args.vat, how) {
        Ok(()) => warehouse.commit()?,
        Err(Error::ReplayDiffers { divergence, .. }) => bail!(
            "{} stays quarantined, since its replay still differs: {divergence}; `vats replay {}` shows it in full",
            args.vat,
            args.vat
        ),
        Err(error) => return Err(error.into()),
    }
    let text = match was_quarantined {
        true => format!("{} takes deliveries again", args.vat),
        false => format!("{} was not quarantined", args.vat),
    };
    Ok(context.out.result(text, || json!({ "vat": args.vat.as_str(), "released": was_quarantined }))?)
}
