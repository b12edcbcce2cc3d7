//! `vats restore`: entries of transcripts come back from an archive.
//!
//! Every vat is made durable when it is done; run again after an interruption, it finds only what is still missing.

use anyhow::{Result, bail};
use serde_json::json;
use vat_warehouse::Retention;
use vat_warehouse::archive::{Archive, Restored};

use super::prune::archived_vats;
use crate::args::Restore;
use crate::context::Context;
use crate::progress;
use crate::table::counted;

pub(super) fn run(context: &Context, args: &Restore) -> Result<()> {
    let archive = Archive::open(&args.archive)?;
    let warehouse = context.open()?;
    let vats = archived_vats(&warehouse, &archive, &args.vats)?;
    let bar = progress::bar(&context.out, "restoring", vats.len() as u64);
    let mut sum = Restored::default();
    for vat in &vats {
        let Restored { spans, entries, absent } = warehouse.restore(vat, &archive)?;
        warehouse.commit()?;
        sum.spans += spans;
        sum.entries += entries;
        sum.absent += absent;
        bar.inc(1);
    }
    drop(bar);
    let text = format!(
        "restored {} ({}) of {}",
        counted(sum.spans, "span", "spans"),
        counted(sum.entries, "entry", "entries"),
        counted(vats.len() as u64, "vat", "vats"),
    );
    let json =
        || json!({"vats": vats.len(), "spans": sum.spans, "entries": sum.entries, "absent": sum.absent});
    context.out.result(text, json)?;
    let level = warehouse.retention();
    if sum.spans > 0 && level <= Retention::Replay {
        context.out.note(format_args!(
            "the retention level is {level}: what it does not keep is pruned again, unless you `vats prune --retention archival`"
        ));
    }
    if sum.absent > 0 {
        let spans = counted(sum.absent, "span is", "spans are");
        bail!("{spans} still missing, and not in this archive; try another, exported at a higher level");
    }
    Ok(())
}
