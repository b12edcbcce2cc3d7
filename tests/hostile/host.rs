//! The child: one host with a good vat and, in one case each, a bad one. It tells its parent in a line of JSON how that ended, how much
//! memory it took, and what the good vat was like afterwards.

use std::num::NonZeroUsize;
use std::ops::Range;

use anyhow::{Context, Result};
use serde_json::json;
use vat_abi::{CapData, Delivery, Message, Outcome, Syscall, SyscallResult, Vref};
use vat_warehouse::{Error, SyscallHandler, SyscallVerdict, VatName, VatOptions, Warehouse, WarehouseConfig};

use crate::corpus::{Case, Guest};
use crate::fuzz::Fuzzer;

/// What a bad vat may use in a delivery.
const COMPUTRONS: u64 = 200_000_000;
/// Wasm pages that a bad vat's memory may have: 32 MiB.
const MEMORY_PAGES: u32 = 512;
/// Deliveries to a bad vat; what it does, it does each time.
const DELIVERIES: usize = 3;

/// A kernel that knows no references but the vat's own objects and the promise of its message.
pub(crate) struct Kernel;

impl SyscallHandler for Kernel {
    fn syscall(&mut self, syscall: &Syscall) -> SyscallVerdict {
        let known = |vref: &Vref| vref.to_string().starts_with("o+") || vref.to_string() == "p-60";
        let is_known = match syscall {
            Syscall::Send { target, message } => known(target) && message.methargs.slots.iter().all(known),
            Syscall::Subscribe(promise) => known(promise),
            Syscall::Resolve(resolutions) => resolutions.iter().all(|resolution| known(&resolution.promise)),
            Syscall::DropImports(vrefs) | Syscall::RetireImports(vrefs) => vrefs.iter().all(known),
            _ => true,
        };
        match is_known {
            true => SyscallVerdict::Answer(SyscallResult::Ok(None)),
            false => SyscallVerdict::Illegal(format!("{syscall} names what this vat was never given")),
        }
    }
}

/// What a bad vat may use.
pub(crate) fn options() -> VatOptions {
    VatOptions { computrons_per_delivery: COMPUTRONS, memory_pages_max: MEMORY_PAGES }
}

/// Runs a case in this process.
pub(crate) fn run(case: &Case) -> Result<String> {
    beside_a_good_vat(|warehouse| misbehave(warehouse, case))
}

/// Runs the fuzzer in this process; how its runs ended.
pub(crate) fn fuzz(seeds: Range<u64>) -> Result<String> {
    beside_a_good_vat(|warehouse| {
        let mut fuzzer = Fuzzer::new(warehouse)?;
        for seed in seeds {
            fuzzer.run(seed).with_context(|| format!("seed {seed}"))?;
        }
        Ok(fuzzer
            .tally()
            .iter()
            .map(|(what, count)| format!("{count} {what}"))
            .collect::<Vec<_>>()
            .join(", "))
    })
}

/// What the process is like after something was done in it that may harm.
fn beside_a_good_vat(harm: impl FnOnce(&Warehouse) -> Result<String>) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let config = WarehouseConfig {
        resident_max: NonZeroUsize::new(2).context("two are some")?,
        ..WarehouseConfig::default()
    };
    let warehouse = Warehouse::open(dir.path(), config)?;
    let good = Neighbour::new(&warehouse)?;
    good.lives_on()?;
    warehouse.commit()?;
    let before = peak_memory()?;
    let ended = harm(&warehouse)?;
    let neighbour = good.lives_on()?;
    let peak = peak_memory()?;
    warehouse.checkpoint()?;
    Ok(json!({
        "ended": ended,
        "grown": peak - before,
        "neighbour": neighbour,
    })
    .to_string())
}

/// The good vat.
struct Neighbour<'a> {
    warehouse: &'a Warehouse,
    name: VatName,
}

impl<'a> Neighbour<'a> {
    fn new(warehouse: &'a Warehouse) -> Result<Neighbour<'a>> {
        let name: VatName = "neighbour".parse()?;
        warehouse.install("good", &wat::parse_str(include_str!("../vats/state.wat"))?)?;
        let (started, Kernel) =
            warehouse.create(&name, "good", VatOptions::default(), CapData::undefined(), 0, Kernel);
        started?;
        Ok(Neighbour { warehouse, name })
    }

    /// Some deliveries, with an eviction between any two, and everything that can be seen of them.
    fn lives_on(&self) -> Result<String> {
        let mut seen = blake3::Hasher::new();
        for n in 0..3 {
            let delivery = message(format!("#[\"step\",[{n}]]"));
            let (report, Kernel) = self.warehouse.provide_blocking(&self.name)?.deliver(delivery, n, Kernel);
            let report = report?;
            seen.update(
                format!("{:?} {:?} {:?}", report.outcome, report.computrons, report.syscalls).as_bytes(),
            );
            self.warehouse.evict(&self.name)?;
        }
        let (position, root) = self.warehouse.root(&self.name)?;
        seen.update(format!("{position} {root}").as_bytes());
        Ok(seen.finalize().to_hex().to_string())
    }
}

/// Installs, creates and asks the bad vat, as far as it comes; how it ended, in words.
fn misbehave(warehouse: &Warehouse, case: &Case) -> Result<String> {
    let (module, delivery) = match &case.guest {
        Guest::None => return Ok("delivered".to_owned()),
        Guest::Bomb(build) => (build(), message("#[\"step\",[]]".to_owned())),
        Guest::Does(body) => {
            (wat::parse_str(crate::corpus::doing(body))?, message("#[\"step\",[]]".to_owned()))
        }
        Guest::Says(bytes) => {
            let hex: String = bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            (wat::parse_str(include_str!("../vats/says.wat"))?, message(format!("<{hex}>")))
        }
        Guest::Told(body) => (wat::parse_str(include_str!("../vats/says.wat"))?, message(body())),
    };
    if let Err(refused) = warehouse.install("bad", &module) {
        return Ok(format!("refused: {}", chain(&refused)));
    }
    let name: VatName = "bad".parse()?;
    let (started, Kernel) = warehouse.create(&name, "bad", options(), CapData::undefined(), 0, Kernel);
    if let Err(failed) = started {
        return Ok(format!("not created: {}", chain(&failed)));
    }
    let mut endings = Vec::new();
    for _ in 0..DELIVERIES {
        let (report, Kernel) = warehouse.provide_blocking(&name)?.deliver(delivery.clone(), 1, Kernel);
        endings.push(match report {
            Ok(report) => match report.outcome {
                Outcome::Delivered => "delivered".to_owned(),
                Outcome::Faulted(fault) => format!("faulted: {fault}"),
            },
            Err(error) => format!("not delivered: {}", chain(&error)),
        });
        warehouse.evict(&name)?;
        warehouse.commit()?;
    }
    endings.dedup();
    anyhow::ensure!(warehouse.verify(&name)?.verdict.is_identical(), "a replay of it differs");
    Ok(endings.join(", then "))
}

pub(crate) fn message(body: String) -> Delivery {
    let methargs = CapData { body, slots: Vec::new() };
    Delivery::Message { target: Vref::root(), message: Message { methargs, result: None } }
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The most memory that this process ever had (`VmHWM`), in bytes.
fn peak_memory() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kibibytes: u64 = line.split_whitespace().next().context("VmHWM is empty")?.parse()?;
    Ok(kibibytes << 10)
}
