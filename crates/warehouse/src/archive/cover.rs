//! Archives as what covers a vat's past: entries go because an archive has them, and come back from it.
//!
//! ```text
//!   here      [0,40)  [40,80)  [80,120)  [120, … open        ▲ newest snapshot whose pages read back right
//!   archive   [0,40)  [40,80)  [80,100) open then                        ▼
//!   prune        ✗       ✗     stays: the archive has not all of it      130
//!   restore      ✓       ✓
//! ```
//!
//! A vat must be able to start from its own store: nothing at or after the newest usable snapshot goes, and in an incarnation without
//! one nothing at all. What is given up is the way back by an *older* snapshot, until the span is restored. So a host keeps the
//! retention level `archival`, and its disk only what it needs. Each span is verified before it goes, byte by byte: the
//! artifact by its hash, its entries by the hash that the store itself has kept. The store remembers the archive.
//!
//! Invariant: as everywhere, nothing here commits.

use std::path::Path;

use vat_storage::{Position, SpanContent, SpanHash, SpanRow, SpanState, Storage, VatId, VatRow};

use super::opened::counterpart;
use super::{Archive, ArchiveError, heap_file};
use crate::anchor::keep_anchor;
use crate::error::Error;
use crate::name::VatName;
use crate::page_in::kept_options;
use crate::warehouse::{Inner, Warehouse};

/// Rows that are deleted while others wait.
const PRUNE_ROWS_PER_STEP: usize = 10_000;

/// What was pruned because an archive has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Archived {
    /// Spans whose entries went.
    pub spans: u64,
    /// Rows that were deleted: entries, or compressed runs of them.
    pub rows: u64,
    /// Spans that stay since a fork shares them.
    pub shared: u64,
    /// Spans that the vat does not need to start, and that the archive does not have.
    pub uncovered: u64,
}

/// What came back from an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Spans whose entries came back.
    pub spans: u64,
    /// Their entries.
    pub entries: u64,
    /// Spans that are missing or damaged here, and that the archive does not have.
    pub absent: u64,
}

/// The archive that was used last to prune a vat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptElsewhere {
    /// BLAKE3 of its manifest.
    pub manifest: String,
    /// Where it was then.
    pub path: String,
}

impl Warehouse {
    /// Prunes what the vat does not need to start and the archive, which is at `path`, has. Durable after the next commit.
    ///
    /// # Errors
    /// [`Error::UnknownVat`]; [`ArchiveError::Absent`], [`ArchiveError::OtherVat`]; whatever is wrong with an artifact. What was
    /// pruned before the error stays pruned, each span behind its own check.
    pub fn prune_archived(
        &self,
        name: &VatName,
        archive: &Archive,
        path: &Path,
    ) -> Result<Archived, ArchiveError> {
        let inner = &self.inner;
        let row = self.vat(name)?;
        let record = archive.vat(name)?;
        let needed_from = inner.needed_from(&row)?;
        let shared = inner.storage.shared_before(row.id)?;
        let mut archived = Archived::default();
        for span in inner.storage.spans(row.id)?.iter().filter(|span| is_spare(span, needed_from)) {
            if span.start < shared {
                archived.shared += 1;
                continue;
            }
            let Some((found, artifact)) = counterpart(record, span)? else {
                archived.uncovered += 1;
                continue;
            };
            archive.entries(found, artifact, |_| Ok(()))?;
            keep_anchor(&inner.storage, row.id, span.end)?;
            loop {
                let step = inner.storage.prune_archived_span(row.id, span.start, PRUNE_ROWS_PER_STEP)?;
                archived.rows += step.rows as u64;
                if step.done {
                    break;
                }
            }
            archived.spans += 1;
        }
        if archived.spans > 0 {
            let path = std::path::absolute(path).map_err(ArchiveError::io("name", path))?;
            let value = format!("{} {}", archive.hash(), path.display());
            inner.storage.host_put(&elsewhere_key(row.id), Some(value.as_bytes()))?;
        }
        Ok(archived)
    }

    /// Puts back from the archive what is missing or damaged of the vat's closed spans. Durable after the next commit.
    ///
    /// # Errors
    /// [`Error::UnknownVat`]; [`ArchiveError::Absent`], [`ArchiveError::OtherVat`]; whatever is wrong with an artifact. What was
    /// restored before the error stays.
    pub fn restore(&self, name: &VatName, archive: &Archive) -> Result<Restored, ArchiveError> {
        let storage = &self.inner.storage;
        let row = self.vat(name)?;
        let record = archive.vat(name)?;
        let mut restored = Restored::default();
        for span in storage.spans(row.id)?.iter().filter(|span| span.state == SpanState::Closed) {
            if self.inner.is_whole(&row, span)? {
                continue;
            }
            let Some((found, artifact)) = counterpart(record, span)? else {
                restored.absent += 1;
                continue;
            };
            let mut entries = Vec::new();
            archive.entries(found, artifact, |entry| {
                entries.push(entry);
                Ok(())
            })?;
            storage.restore_span(row.id, span.start, &entries)?;
            restored.spans += 1;
            restored.entries += entries.len() as u64;
        }
        Ok(restored)
    }
}

impl KeptElsewhere {
    /// Which archive has what was pruned of a vat, as far as its store knows of one.
    ///
    /// # Errors
    /// If the store fails.
    pub fn of(storage: &Storage, vat: VatId) -> Result<Option<KeptElsewhere>, Error> {
        let Some(value) = storage.host_get(&elsewhere_key(vat))? else { return Ok(None) };
        let value = String::from_utf8_lossy(&value);
        let (manifest, path) = value.split_once(' ').unwrap_or((&value, ""));
        Ok(Some(KeptElsewhere { manifest: manifest.to_owned(), path: path.to_owned() }))
    }
}

impl Inner {
    /// The position of the newest snapshot that can be used, whose pages are all as they were written; without one, where the
    /// incarnation begins.
    pub(crate) fn needed_from(&self, row: &VatRow) -> Result<Position, Error> {
        for stored in self.storage.snapshots(row.id)? {
            if stored.incarnation != row.incarnation {
                continue;
            }
            let usable = self.snapshots.load(&stored).map_err(|error| error.to_string());
            match usable.and_then(|saved| heap_file::check(&saved.state.image).map_err(|e| e.to_string())) {
                Ok(()) => return Ok(stored.position),
                Err(error) => {
                    tracing::warn!(vat = %row.name, position = stored.position.0, %error, "a snapshot cannot be used; entries after an older one stay");
                }
            }
        }
        Ok(Position(kept_options(row)?.since))
    }

    /// Whether the entries of a span are here, and have its hash.
    fn is_whole(&self, row: &VatRow, span: &SpanRow) -> Result<bool, Error> {
        if span.content == SpanContent::Pruned {
            return Ok(false);
        }
        let mut entries = self.storage.entries(row.id, span.start, span.end);
        match entries.try_fold(SpanHash::seed(), |hash, entry| entry.map(|(_, bytes)| hash.extended(&bytes)))
        {
            Ok(hash) => Ok(hash == span.hash),
            Err(vat_storage::Error::MissingEntry { .. } | vat_storage::Error::Damaged { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_spare(span: &SpanRow, needed_from: Position) -> bool {
    span.state == SpanState::Closed && span.content != SpanContent::Pruned && span.end <= needed_from
}

fn elsewhere_key(vat: VatId) -> String {
    format!("archived/{vat}")
}
