//! What `soak` and `torture` do to a store beside sending messages, each with its own verdict: conversion in the background, a journey
//! to another directory, looking back, signed claims, new code that does not start.
//!
//! Invariant: none of it changes what a vat is. Whatever is found to differ is an error with the vat's name.

use std::fs;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use vat_warehouse::archive::{ExportOptions, ImportOptions, SnapshotChoice, Source, Target, import};
use vat_warehouse::attest::{SigningKey, Statement};
use vat_warehouse::{
    Budget, Error, Pace, Retention, SpanContent, VatName, Warehouse, WarehouseConfig, module_bytes,
};

use crate::demo::random::Random;
use crate::handler::{Caller, Log};
use crate::marshal;

/// Threads that convert.
const CONVERTERS: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");
/// Computrons after which a converter may be stopped.
const COMPUTRONS_PER_STEP: u64 = 20_000;
/// Steps of a conversion before it is stopped, at most.
const STEPS_MAX: u64 = 40;

/// A module whose start faults.
const REFUSING: &str = "refusing";
const REFUSING_TEXT: &str = r#"(module (memory (export "memory") 1)
  (func (export "vat_deliver") (param i32) (result i32) (unreachable)))"#;

/// Installs what the rest here needs.
pub(crate) fn install(host: &Warehouse) -> Result<()> {
    let wasm = module_bytes(REFUSING_TEXT.as_bytes()).context("our own module is well formed")?;
    host.install(REFUSING, &wasm)?;
    Ok(())
}

/// Converts in the background while `work` is done; then waits for it, or stops it, as chance has it. Answers how many vats it
/// converted.
pub(crate) fn convert_beside(
    host: &Warehouse,
    random: &mut Random,
    work: impl FnOnce() -> Result<()>,
) -> Result<u64> {
    let plan = host.conversion_plan(&[])?;
    let (steps, limit) = (AtomicU64::new(0), random.below(STEPS_MAX));
    let budget = Budget {
        threads: CONVERTERS,
        computrons_per_step: COMPUTRONS_PER_STEP,
        pace: Box::new(move |_| match steps.fetch_add(1, Ordering::Relaxed) < limit {
            true => Pace::Go,
            false => Pace::Stop,
        }),
    };
    let conversion = host.convert_in_background(&plan, budget)?;
    let done = work();
    let progress = if random.below(2) == 0 { conversion.stop() } else { conversion.wait() };
    done?;
    Ok(progress.converted)
}

/// Exports vats, imports them into another directory, and compares the heap roots there. What was not committed does not travel.
pub(crate) fn elsewhere(
    host: &Warehouse,
    names: &[VatName],
    level: Retention,
    config: WarehouseConfig,
) -> Result<()> {
    host.commit()?;
    let place = tempfile::tempdir()?;
    let (archive, data) = (place.path().join("archive"), place.path().join("data"));
    let key = SigningKey::of(&[1; 32]);
    let options = ExportOptions {
        retention: level,
        vats: names.to_vec(),
        snapshots: SnapshotChoice::Newest,
        signer: Some(SigningKey::of(&[1; 32])),
    };
    host.export(Target::Dir(archive.clone()), &options).context("cannot export")?;
    let trust = format!("this-host {}", key.public()).parse()?;
    import(Source::Dir(archive), &data, config.clone(), &ImportOptions { trust }, |_, _| {})
        .context("cannot import")?;
    let there = Warehouse::open_existing(&data, config)?;
    for name in names {
        let (here, there) = (host.root(name)?, there.root(name)?);
        ensure!(here == there, "{name} is {here:?} here, and {there:?} after an import at level {level}");
    }
    drop(there);
    fs::remove_dir_all(place.path()).context("cannot clean up")
}

/// The vat after its newest delivery is the vat as it is; after an earlier one it can be looked at, where that is kept.
pub(crate) fn look_back(host: &Warehouse, name: &VatName, random: &mut Random) -> Result<()> {
    let (next, root) = host.root(name)?;
    let mut now = host.at(name, next - 1)?;
    ensure!(now.root() == root, "{name} after delivery {} is not what it is now", next - 1);
    let position = random.below(next);
    let spans = host.storage().spans(host.vat(name)?.id)?;
    let is_pruned = |position: u64| {
        let span = spans.iter().find(|span| (span.start.0..span.end.0).contains(&position));
        span.is_some_and(|span| span.content == SpanContent::Pruned)
    };
    if is_pruned(position) {
        ensure!(host.at(name, position).is_err(), "{name}: delivery {position} was pruned, and is replayed");
        return Ok(());
    }
    let then = host.at(name, position)?.root();
    ensure!(position + 1 != next || then == root, "{name} after delivery {position} is another vat");
    if !is_pruned(0) {
        let contrast = host.contrast(name, position, next - 1)?;
        let is_same = contrast.pages.is_empty() && contrast.globals.is_empty();
        ensure!(is_same == (then == root), "{name}, {position} beside {}: {contrast:?}", next - 1);
    }
    Ok(())
}

/// What is claimed of the vat can be signed, read, and found true by a replay; a claim about another heap cannot.
pub(crate) fn attest(host: &Warehouse, name: &VatName) -> Result<()> {
    let claim = host.claim(name)?;
    let text = claim.clone().sign(&SigningKey::of(&[2; 32])).to_string();
    let statement: Statement = text.parse()?;
    statement.verify()?;
    if let Some(difference) = host.check_claim(&statement.claim)? {
        bail!("{name}: what was claimed is not so: {difference:?}");
    }
    let mut wrong = claim;
    wrong.root[0] ^= 1;
    ensure!(host.check_claim(&wrong)?.is_some(), "{name}: a wrong claim was found true");
    Ok(())
}

/// New code whose start faults changes nothing.
pub(crate) fn upgrade_in_vain(host: &Warehouse, name: &VatName, time_ns: u64) -> Result<()> {
    let before = host.root(name)?;
    let start = marshal::value(&serde_json::json!({}));
    match host.upgrade(name, REFUSING, start, time_ns, Caller::new(Log::Dropped)).0 {
        Err(Error::UpgradeFaulted { .. }) => {}
        Err(error) => return Err(error).with_context(|| format!("cannot try to upgrade {name}")),
        Ok(_) => bail!("{name} was upgraded to code that faults"),
    }
    ensure!(host.root(name)? == before, "{name} was not upgraded, and changed");
    Ok(())
}

/// What the retention level does not keep of these vats goes.
pub(crate) fn prune(host: &Warehouse, names: &[VatName]) -> Result<()> {
    names.iter().try_for_each(|name| host.prune(name).map(drop)).context("cannot prune")
}

/// Spans of these vats of which only the hash is left.
pub(crate) fn pruned_spans(host: &Warehouse, names: &[VatName]) -> Result<u64> {
    let mut pruned = 0;
    for name in names {
        let spans = host.storage().spans(host.vat(name)?.id).with_context(|| format!("spans of {name}"))?;
        pruned += spans.iter().filter(|span| span.content == SpanContent::Pruned).count() as u64;
    }
    Ok(pruned)
}
