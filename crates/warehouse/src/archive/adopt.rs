//! Adding an archive's vats to a data directory that has others.
//!
//! ```text
//!   archive ──► DATA.importing/store     verified, vat by vat, as for a new directory: this can be interrupted and goes on
//!                      │
//!                      └─ copied into DATA's open transaction ──► one commit: all of them are there, or none
//! ```
//!
//! Names that are taken are found before anything is written. Modules that are there already are shared. What was adopted is told by a
//! host key in the same commit, so that a run that was killed after it, and before it had tidied up, is known to be done.
//!
//! Nobody serves the directory meanwhile: this takes its lock.

use std::path::Path;

use vat_image::PageSet;
use vat_storage::{ImportedVat, SpanContent, SpanRow, VatId, VatRow};

use super::import::{ImportOptions, Imported, Source, Staging};
use super::manifest::Manifest;
use super::{Archive, ArchiveError, heap_file};
use crate::anchor::{anchor, put_anchor};
use crate::config::WarehouseConfig;
use crate::error::Error;
use crate::snapshots::{Saved, StateError};
use crate::warehouse::Warehouse;

/// Which archive was adopted last: a host key.
const MARK: &str = "adopted";
/// Rows that are written at once.
const ROWS_PER_WRITE: usize = 256;

/// Adds the vats of an archive to the data directory at `data`, which must exist: all of them, or none. `progress` hears of vats
/// verified, of how many.
///
/// # Errors
/// [`ArchiveError::Taken`] if a vat or another module has a name of the archive's; otherwise as [`import`](super::import()). What was in the
/// directory is then as it was.
pub fn import_into(
    source: Source<'_>,
    data: &Path,
    config: WarehouseConfig,
    options: &ImportOptions,
    mut progress: impl FnMut(u64, u64),
) -> Result<Imported, ArchiveError> {
    let target = Warehouse::open_existing(data, config.clone())?;
    let staging = Staging::of(data);
    let verified = staging.archive(source).and_then(|archive| {
        if staging.store().exists() && is_adopted(&target, &archive)? {
            return Ok(Imported::of_earlier(&archive)); // Only the tidying up was missing.
        }
        require_free(&target, archive.manifest())?;
        // Modules are compiled once for both.
        let code_cache = Some(config.code_cache.clone().unwrap_or_else(|| data.join("code")));
        let config = WarehouseConfig { code_cache, retention: None, ..config.clone() };
        let imported = staging.build(&archive, config.clone(), options, &mut progress)?;
        let verified = Warehouse::open_existing(&staging.store(), config)?;
        adopt(&verified, &target, archive.manifest())?;
        target.storage().host_put(MARK, Some(archive.hash().as_bytes()))?;
        target.checkpoint()?;
        Ok(imported)
    });
    staging.remove()?;
    verified
}

/// Whether this archive was adopted last, and its vats still live.
fn is_adopted(target: &Warehouse, archive: &Archive) -> Result<bool, ArchiveError> {
    let storage = target.storage();
    if storage.host_get(MARK)?.is_none_or(|mark| mark != archive.hash().as_bytes()) {
        return Ok(false);
    }
    for vat in &archive.manifest().vats {
        if storage.vat_by_name(&vat.name)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Fails, naming all of them, if names are taken.
fn require_free(target: &Warehouse, manifest: &Manifest) -> Result<(), ArchiveError> {
    let storage = target.storage();
    let mut names = Vec::new();
    for vat in &manifest.vats {
        if storage.vat_by_name(&vat.name)?.is_some() {
            names.push(format!("vat {}", vat.name));
        }
    }
    for module in &manifest.modules {
        for name in &module.names {
            let other = storage.module_by_name(name)?.filter(|hash| hash.to_string() != module.hash);
            names.extend(other.map(|hash| format!("module {name} ({hash})")));
        }
    }
    if names.is_empty() { Ok(()) } else { Err(ArchiveError::Taken { names: names.join(", ") }) }
}

/// Copies all vats of a store that was just made into another's open transaction.
fn adopt(from: &Warehouse, into: &Warehouse, manifest: &Manifest) -> Result<(), ArchiveError> {
    for module in from.storage().modules()? {
        let wasm = from.storage().module(module.hash)?;
        for name in &module.names {
            let hash = module.hash.to_string();
            into.install(name, &wasm).map_err(|source| ArchiveError::Module { hash, source })?;
        }
    }
    for record in &manifest.vats {
        let row = from.storage().vat_by_name(&record.name)?;
        let row = row.ok_or_else(|| Error::UnknownVat(record.name.clone()))?;
        adopt_vat(from, into, &row)?;
    }
    Ok(())
}

fn adopt_vat(from: &Warehouse, into: &Warehouse, row: &VatRow) -> Result<(), ArchiveError> {
    let (old, new) = (from.storage(), into.storage());
    let vat = new.import_vat(&ImportedVat {
        name: &row.name,
        module: row.module,
        options: &row.options,
        incarnation: row.incarnation,
        status: &row.status,
    })?;
    for span in old.spans(row.id)? {
        adopt_span(from, into, row, vat, &span)?;
    }
    let mut pairs = old.vatstore_after(row.id, "", ROWS_PER_WRITE)?;
    while let Some((last, _)) = pairs.last() {
        new.import_vatstore(vat, &pairs)?;
        pairs = old.vatstore_after(row.id, last, ROWS_PER_WRITE)?;
    }
    if let Some((at, hash)) = anchor(old, row.id)? {
        put_anchor(new, vat, at, hash)?;
    }
    adopt_snapshots(from, into, row, vat)
}

fn adopt_span(
    from: &Warehouse,
    into: &Warehouse,
    row: &VatRow,
    vat: VatId,
    span: &SpanRow,
) -> Result<(), ArchiveError> {
    let content = match span.content {
        SpanContent::Pruned => SpanContent::Pruned,
        SpanContent::Plain | SpanContent::Compressed => {
            let mut first = span.start;
            let mut rows = Vec::new();
            for entry in from.storage().entries(row.id, span.start, span.end) {
                let (position, entry) = entry?;
                rows.push(entry);
                if rows.len() == ROWS_PER_WRITE {
                    into.storage().import_entries(vat, first, &rows)?;
                    first = position.next();
                    rows.clear();
                }
            }
            into.storage().import_entries(vat, first, &rows)?;
            SpanContent::Plain
        }
    };
    Ok(into.storage().import_span(vat, &SpanRow { content, compressed_bytes: 0, ..*span })?)
}

fn adopt_snapshots(from: &Warehouse, into: &Warehouse, row: &VatRow, vat: VatId) -> Result<(), ArchiveError> {
    let snapshots = &into.inner.snapshots;
    let mut stored = from.storage().snapshots(row.id)?;
    stored.reverse(); // Oldest first: the newest is what the vat is left with in memory.
    for (index, snapshot) in stored.iter().enumerate() {
        let Saved { position, incarnation, mut state, .. } =
            from.inner.snapshots.load(snapshot).map_err(|error| unreadable(row, &error))?;
        state.image = heap_file::copy(&state.image, &into.inner.pages)?;
        snapshots.save(vat, Saved { position, incarnation, state, touched: PageSet::new() });
        if index + 1 < stored.len() {
            // Only one state of a vat can be on its way to being a row.
            snapshots.sync()?;
            snapshots.move_pointers()?;
        }
    }
    Ok(())
}

fn unreadable(row: &VatRow, error: &StateError) -> ArchiveError {
    ArchiveError::vat(&row.name, format!("its snapshot cannot be read back: {error}"))
}
