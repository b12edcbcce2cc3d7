//! `vats policy`: when the vats of this data directory are snapshotted.

use anyhow::{Result, bail};
use serde_json::{Value, json};
use vat_warehouse::{KeptPolicy, WarehouseConfig};

use crate::args::Policy;
use crate::context::Context;
use crate::speed;
use crate::table::{counted, grouped};

pub(super) fn run(context: &Context, args: &Policy) -> Result<()> {
    let kept = context.read()?.kept_policy()?;
    let wanted = match (args.max_replay_ms, args.every) {
        (Some(replay_ms_max), _) => {
            Some(KeptPolicy::ReplayTime { replay_ms_max, speed: speed::measure(context)? })
        }
        (_, Some(deliveries)) => Some(KeptPolicy::Every(deliveries)),
        _ if args.measure => match kept {
            Some(KeptPolicy::ReplayTime { replay_ms_max, .. }) => {
                Some(KeptPolicy::ReplayTime { replay_ms_max, speed: speed::measure(context)? })
            }
            _ => bail!(
                "no bound in milliseconds is set, so no speed is needed: set one with --max-replay-ms N"
            ),
        },
        _ if args.default => None,
        _ => return show(context, kept.as_ref()),
    };
    let warehouse = context.open()?;
    warehouse.keep_policy(wanted.as_ref())?;
    warehouse.commit()?;
    show(context, wanted.as_ref())
}

fn show(context: &Context, policy: Option<&KeptPolicy>) -> Result<()> {
    Ok(context.out.result(text(policy), || in_json(policy))?)
}

fn text(policy: Option<&KeptPolicy>) -> String {
    match policy {
        None => {
            let every = WarehouseConfig::default().snapshot_interval;
            format!("a snapshot every {}; nothing is set", counted(every, "delivery", "deliveries"))
        }
        Some(KeptPolicy::Every(every)) => {
            format!("a snapshot every {}", counted(every.get(), "delivery", "deliveries"))
        }
        Some(kept @ KeptPolicy::ReplayTime { replay_ms_max, speed }) => format!(
            "bringing a vat back replays for at most {} ms: {} computrons, at {} computrons a ms as measured",
            grouped(replay_ms_max.get()),
            grouped(kept.replay_computrons_max().unwrap_or(u64::MAX)),
            grouped(speed.computrons_per_ms.get()),
        ),
    }
}

fn in_json(policy: Option<&KeptPolicy>) -> Value {
    match policy {
        None => json!({ "set": false, "every": WarehouseConfig::default().snapshot_interval }),
        Some(KeptPolicy::Every(every)) => json!({ "set": true, "every": every }),
        Some(kept @ KeptPolicy::ReplayTime { replay_ms_max, speed }) => json!({
            "set": true,
            "max_replay_ms": replay_ms_max,
            "max_replay_computrons": kept.replay_computrons_max(),
            "computrons_per_ms": speed.computrons_per_ms,
            "bytes_per_ms": speed.bytes_per_ms,
        }),
    }
}
