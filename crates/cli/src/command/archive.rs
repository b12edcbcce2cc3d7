//! `vats export`, `vats import`: vats on their way to another data directory.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;
use vat_warehouse::WarehouseConfig;
use vat_warehouse::archive::{
    ExportOptions, ImportOptions, SnapshotChoice, Source, Target, import, import_into,
};
use vat_warehouse::attest::{SigningKey, TrustList};

use crate::args::{Export, Import};
use crate::context::Context;
use crate::progress;
use crate::table::{counted, grouped};

pub(super) fn export(context: &Context, args: &Export) -> Result<()> {
    let options = ExportOptions {
        retention: args.retention,
        vats: args.vats.clone(),
        snapshots: if args.snapshots { SnapshotChoice::Newest } else { SnapshotChoice::Needed },
        signer: args.sign.as_deref().map(read_key).transpose()?,
    };
    let warehouse = context.open()?;
    if args.to == Path::new("-") {
        // The stream is the output: nothing else goes there.
        let mut stdout = io::stdout().lock();
        warehouse.export(Target::Stream(&mut stdout), &options)?;
        return sync(&stdout).context("cannot make the stream durable");
    }
    let exported = warehouse.export(Target::Dir(args.to.clone()), &options)?;
    let text = format!(
        "exported {}, {} and {} in {} bytes, manifest {}",
        counted(exported.vats, "vat", "vats"),
        counted(exported.entries, "entry", "entries"),
        counted(exported.snapshots, "snapshot", "snapshots"),
        grouped(exported.bytes),
        exported.manifest,
    );
    let json = || {
        json!({ "vats": exported.vats, "entries": exported.entries, "snapshots": exported.snapshots,
                "bytes": exported.bytes, "manifest": exported.manifest })
    };
    Ok(context.out.result(text, json)?)
}

/// Makes the stream durable, if it goes into a file.
fn sync(stdout: &io::StdoutLock<'_>) -> Result<()> {
    let file = fs::File::from(stdout.as_fd().try_clone_to_owned()?);
    match file.metadata()?.is_file() {
        true => Ok(file.sync_all()?),
        false => Ok(()),
    }
}

pub(super) fn run_import(context: &Context, args: &Import) -> Result<()> {
    let options =
        ImportOptions { trust: args.trust.as_deref().map(read_trust).transpose()?.unwrap_or_default() };
    let bar = progress::bar(&context.out, "importing", 0);
    let mut stdin = io::stdin().lock();
    let source = match args.from == Path::new("-") {
        true => Source::Stream(&mut stdin),
        false => Source::Dir(args.from.clone()),
    };
    let progress = |done, of| {
        bar.set_length(of);
        bar.set_position(done);
        tracing::info!(done, of, "vats verified");
    };
    let (data, config) = (context.data()?, WarehouseConfig::default());
    let imported = match args.add {
        true => import_into(source, &data, config, &options, progress)?,
        false => import(source, &data, config, &options, progress)?,
    };
    drop(bar);
    let text = format!(
        "imported {}, replayed {}, trusted {}",
        counted(imported.vats, "vat", "vats"),
        counted(imported.replayed, "delivery", "deliveries"),
        counted(imported.trusted_snapshots, "snapshot", "snapshots"),
    );
    let json = || {
        json!({ "vats": imported.vats, "resumed": imported.resumed, "entries": imported.entries,
                "replayed": imported.replayed, "replayed_snapshots": imported.replayed_snapshots,
                "trusted_snapshots": imported.trusted_snapshots, "manifest": imported.manifest })
    };
    Ok(context.out.result(text, json)?)
}

pub(super) fn read_key(path: &Path) -> Result<SigningKey> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the key {}", path.display()))?;
    Ok(SigningKey::parse(&text)?)
}

pub(super) fn read_trust(path: &Path) -> Result<TrustList> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read the trust list {}", path.display()))?;
    Ok(text.parse()?)
}
