//! What the demo's vats are made of: the example modules, as far as they could be built here, and how many vats each gets.

use anyhow::{Context as _, Result, bail};
use vat_guests::Guest;
use vat_warehouse::Warehouse;

use super::random::Random;
use super::script::Kind;
use super::shard::Shard;
use crate::output::Output;

/// The modules that can be used.
#[derive(Debug)]
pub(crate) struct Modules {
    built: Vec<(Kind, &'static [u8])>,
}

impl Modules {
    /// Those that were built together with this program; a note tells of each that was not.
    pub(crate) fn built(out: &Output) -> Result<Modules> {
        let mut built = Vec::new();
        let mut missing = Vec::new();
        for kind in Kind::ALL {
            match guest(kind.module()) {
                Ok(wasm) => built.push((kind, wasm)),
                Err(reason) => missing.push((kind, reason)),
            }
        }
        if built.is_empty() {
            let reason = missing.first().map_or("there are none", |(_, reason)| *reason);
            bail!("the example vats were not built together with this program: {reason}");
        }
        for (kind, reason) in missing {
            out.note(format_args!("without {}, which was not built: {reason}", kind.module()));
        }
        Ok(Modules { built })
    }

    /// Installs them.
    pub(crate) fn install(&self, warehouse: &Warehouse) -> Result<()> {
        for (kind, wasm) in &self.built {
            let name = kind.module();
            warehouse.install(name, wasm).with_context(|| format!("cannot install {name}"))?;
        }
        Ok(())
    }

    /// A kind of vat, by the kinds' shares.
    pub(crate) fn choose(&self, random: &mut Random) -> Kind {
        let total = self.built.iter().map(|(kind, _)| kind.share()).sum();
        let mut point = random.below(total);
        for (kind, _) in &self.built {
            match point.checked_sub(kind.share()) {
                Some(beyond) => point = beyond,
                None => return *kind,
            }
        }
        unreachable!("the point is below the sum of the shares")
    }

    /// How many vats each module has.
    pub(crate) fn counts(&self, shards: &[Shard]) -> Vec<(&'static str, u64)> {
        let count = |kind| shards.iter().map(|shard| shard.count(kind)).sum();
        self.built.iter().map(|(kind, _)| (kind.module(), count(*kind))).collect()
    }
}

fn guest(name: &str) -> Result<&'static [u8], &'static str> {
    let found: Option<&Guest> = vat_guests::ALL.iter().find(|guest| guest.name == name);
    found.map_or(Err("there is no such example"), |guest| guest.wasm)
}
