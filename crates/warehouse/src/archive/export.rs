//! Writing an archive.
//!
//! Everything is read through one [view](vat_storage::Storage::view) of the store as it was last committed; transcripts and
//! vat storage pass in bounded chunks. Heaps come from the page store: a snapshot whose pages cannot be read as they were written is passed over, and an
//! older one, or the transcript, is exported in its place.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use vat_image::HeapRoot;
use vat_storage::{ModuleHash, Position, SpanHash, SpanState, Storage, VatRow, VatStatus};

use super::container::Writer;
use super::lineage::{PastSpan, hash_of, past};
use super::manifest::{
    Artifact, FORMAT, Manifest, ModuleRecord, SnapshotRecord, SpanRecord, VERSION, VatRecord, module_name,
    snapshot_name, span_name, statement_name, vatstore_name,
};
use super::{ArchiveError, Retention, heap_file};
use crate::anchor::transcript_hash;
use crate::attest::{Claim, SigningKey, TranscriptHash, hex};
use crate::error::Error;
use crate::name::VatName;
use crate::page_in::kept_options;
use crate::snapshots::Saved;
use crate::warehouse::Warehouse;

/// Keys of vat storage that are in memory at once.
const PAIRS_PER_READ: usize = 256;

/// Where an archive goes.
pub enum Target<'a> {
    /// Into a directory that is empty, does not exist, or has an export that was interrupted, which is then completed.
    Dir(PathBuf),
    /// Into a stream.
    Stream(&'a mut dyn Write),
}

impl fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Dir(path) => f.debug_tuple("Dir").field(path).finish(),
            Target::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// Whether snapshots go along that the level does not need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SnapshotChoice {
    /// Those that the level needs; and of a vat of which only the newest incarnation goes along, the newest one if there is a signer: its
    /// statement is all that tells what the entries before hash to.
    #[default]
    Needed,
    /// The newest of each vat goes along.
    Newest,
}

/// What is exported.
#[derive(Debug)]
pub struct ExportOptions {
    /// How much of the past.
    pub retention: Retention,
    /// Which vats; all that live if there is none.
    pub vats: Vec<VatName>,
    /// Which snapshots.
    pub snapshots: SnapshotChoice,
    /// Signs a statement about each snapshot.
    pub signer: Option<SigningKey>,
}

/// What was exported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// Vats.
    pub vats: u64,
    /// Transcript entries.
    pub entries: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Bytes of artifacts.
    pub bytes: u64,
    /// BLAKE3 of the manifest, which names the whole archive.
    pub manifest: String,
}

impl Warehouse {
    /// Writes an archive of what was last committed. Vats go on meanwhile.
    ///
    /// # Errors
    /// [`ArchiveError::Incomplete`] if the store does not have what the level asks for (at level `debug`, never);
    /// [`ArchiveError::NotEmpty`]; [`Error::UnknownVat`]; or if something cannot be read or written.
    pub fn export(&self, target: Target<'_>, options: &ExportOptions) -> Result<Exported, ArchiveError> {
        let view = self.storage().view()?;
        let rows = chosen(&view, &options.vats)?;
        let writer = Writer::begin(target)?;
        let mut export =
            Export { warehouse: self, view: &view, options, writer, exported: Exported::default() };
        let modules = export.modules(&rows)?;
        let modules = modules.into_iter().map(|hash| export.module(hash)).collect::<Result<Vec<_>, _>>()?;
        let vats = rows.iter().map(|row| export.vat(row)).collect::<Result<Vec<_>, _>>()?;
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            version: VERSION,
            retention: options.retention.to_string(),
            rules: vat_engine::RULES_VERSION,
            modules,
            vats,
        };
        let Export { writer, mut exported, .. } = export;
        exported.bytes = manifest.artifacts().iter().map(|(artifact, _)| artifact.bytes).sum();
        let text = manifest.encode();
        let mut names: Vec<&str> =
            manifest.artifacts().iter().map(|(artifact, _)| artifact.name.as_str()).collect();
        names.sort_unstable();
        writer.finish(&text, &names)?;
        exported.manifest = blake3::hash(&text).to_hex().to_string();
        Ok(exported)
    }
}

/// The rows of the vats that were asked for, by name.
fn chosen(view: &Storage, names: &[VatName]) -> Result<Vec<VatRow>, ArchiveError> {
    let is_there = |row: &VatRow| !matches!(row.status, VatStatus::Terminated { .. });
    let mut rows: Vec<VatRow> = if names.is_empty() {
        view.vats()?.into_iter().filter(is_there).collect()
    } else {
        let names: BTreeSet<&VatName> = names.iter().collect();
        let find = |name: &VatName| {
            view.vat_by_name(name.as_str())?.ok_or_else(|| Error::UnknownVat(name.to_string()))
        };
        names.into_iter().map(find).collect::<Result<_, Error>>()?
    };
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}

struct Export<'a, 'w> {
    warehouse: &'a Warehouse,
    view: &'a Storage,
    options: &'a ExportOptions,
    writer: Writer<'w>,
    exported: Exported,
}

impl Export<'_, '_> {
    /// The code of the vats, of earlier incarnations too, as far as it is there and their entries may go along.
    fn modules(&self, rows: &[VatRow]) -> Result<BTreeSet<ModuleHash>, ArchiveError> {
        let mut modules: BTreeSet<ModuleHash> = rows.iter().map(|row| row.module).collect();
        if self.options.retention >= Retention::Archival {
            for row in rows {
                for past in kept_options(row)?.past {
                    if !self.warehouse.inner.is_gone(past.module)? {
                        modules.insert(past.module);
                    }
                }
            }
        }
        Ok(modules)
    }

    fn module(&mut self, hash: ModuleHash) -> Result<ModuleRecord, ArchiveError> {
        let row = self.view.module_row(hash)?;
        let wasm = self.view.module(hash)?;
        let hash = hash.to_string();
        let artifact = self.writer.artifact(&module_name(&hash), |out| out.put(&wasm))?;
        Ok(ModuleRecord { hash, names: row.names, artifact })
    }

    fn vat(&mut self, row: &VatRow) -> Result<VatRecord, ArchiveError> {
        let kept = kept_options(row)?;
        let first = kept.since;
        let spans = past(self.view, row, &kept)?;
        let snapshots = self.snapshots(row)?;
        let needed = match self.options.retention {
            Retention::Operational => snapshots.first().map_or(first, |(saved, _)| saved.position),
            Retention::Replay => first,
            Retention::Archival | Retention::Debug => 0,
        };
        let spans = spans.iter().map(|span| self.span(row, span, needed)).collect::<Result<_, _>>()?;
        let vatstore = self.vatstore(row)?;
        let snapshots = snapshots
            .iter()
            .map(|(saved, root)| self.snapshot(row, saved, *root))
            .collect::<Result<_, _>>()?;
        self.exported.vats += 1;
        Ok(VatRecord {
            name: row.name.clone(),
            module: row.module.to_string(),
            incarnation: row.incarnation.0,
            options: row.options.clone(),
            quarantined: match &row.status {
                VatStatus::Quarantined { reason } => Some(reason.clone()),
                VatStatus::Alive | VatStatus::Terminated { .. } => None,
            },
            next_position: row.next_position.0,
            spans,
            vatstore,
            snapshots,
        })
    }

    /// The snapshots that go along, newest first.
    fn snapshots(&self, row: &VatRow) -> Result<Vec<(Saved, HeapRoot)>, ArchiveError> {
        let is_first = || Ok::<_, Error>(kept_options(row)?.since == 0);
        // Only for what is signed about it.
        let mut is_witness = false;
        let limit = match (self.options.retention, self.options.snapshots) {
            (Retention::Debug, _) => usize::MAX,
            (Retention::Operational, _) | (_, SnapshotChoice::Newest) => 1,
            (Retention::Replay, SnapshotChoice::Needed) if self.options.signer.is_some() && !is_first()? => {
                is_witness = true;
                1
            }
            (Retention::Replay | Retention::Archival, SnapshotChoice::Needed) => 0,
        };
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut usable = Vec::new();
        for stored in self.view.snapshots(row.id)? {
            let saved = self.warehouse.inner.snapshots.load(&stored).map_err(|error| error.to_string());
            let read = saved.and_then(|saved| {
                let image = &saved.state.image;
                heap_file::check(image).map_err(|error| error.to_string())?;
                let globals = saved.state.globals.encode();
                let root = image.root(&globals, &row.module.0).map_err(|error| error.to_string())?;
                Ok((saved, root))
            });
            match read {
                Ok((saved, _)) if is_witness && !self.is_past_known(row, saved.position)? => {}
                Ok((saved, root)) if saved.incarnation == row.incarnation.0 => usable.push((saved, root)),
                Ok(_) => {} // Of code that the vat has no more: nothing can be restored from it.
                Err(error) => {
                    tracing::warn!(vat = %row.name, position = stored.position.0, %error, "a snapshot cannot be exported");
                }
            }
            if usable.len() == limit {
                break;
            }
        }
        Ok(usable)
    }

    fn is_past_known(&self, row: &VatRow, position: u64) -> Result<bool, Error> {
        match transcript_hash(self.view, row.id, position) {
            Err(Error::PastUnknown { .. }) => Ok(false),
            hashed => hashed.map(|_| true),
        }
    }

    fn span(&mut self, row: &VatRow, span: &PastSpan, needed: u64) -> Result<SpanRecord, ArchiveError> {
        // The open span goes along whole: what comes after it is recorded in the same span, which has one hash.
        let is_needed = span.end > needed || span.state == SpanState::Open;
        let is_wanted = span.start < span.end && is_needed;
        let whole = match is_wanted && self.options.retention == Retention::Debug {
            true => hash_of(self.view, row.id, span.start, span.end).ok(),
            false => None,
        };
        let can = self.options.retention != Retention::Debug
            || whole.is_some_and(|(found, _)| span.hash.is_none_or(|hash| hash == found));
        let (hash, bytes, artifact) = if is_wanted && can {
            let (hash, artifact) = self.entries(row, span)?;
            (hash, artifact.bytes - (span.end - span.start), Some(artifact)) // Less the line feeds.
        } else {
            let (hash, bytes) = self.hash(row, span)?;
            (hash, bytes, None)
        };
        if span.hash.is_some_and(|kept| kept != hash) {
            let missing = format!("the entries {}..{} are damaged", span.start, span.end);
            return Err(self.incomplete(row, missing));
        }
        let hash = hash.to_string();
        Ok(SpanRecord {
            start: span.start,
            end: span.end,
            incarnation: span.incarnation,
            hash,
            bytes,
            artifact,
        })
    }

    /// The hash of a span that stays. That of a cut one is nowhere but in its entries.
    fn hash(&self, row: &VatRow, span: &PastSpan) -> Result<(SpanHash, u64), ArchiveError> {
        match span.hash {
            Some(hash) => Ok((hash, span.bytes)),
            None => match hash_of(self.view, row.id, span.start, span.end) {
                Ok(found) => Ok(found),
                // Nobody can know it; whoever brings the entries back gets it right.
                Err(_) if self.options.retention == Retention::Debug => Ok((SpanHash::seed(), 0)),
                Err(error) => Err(self.missing(row, error)),
            },
        }
    }

    fn entries(&mut self, row: &VatRow, span: &PastSpan) -> Result<(SpanHash, Artifact), ArchiveError> {
        let entries = self.view.entries(row.id, Position(span.start), Position(span.end));
        let mut hash = SpanHash::seed();
        let (mut failed, mut count) = (None, 0);
        let artifact = self.writer.artifact(&span_name(&row.name, span.start, span.end), |out| {
            for entry in entries {
                let entry = match entry {
                    Ok((_, entry)) => entry,
                    Err(error) => {
                        failed = Some(error);
                        return Ok(());
                    }
                };
                // A JSON text as we write it has none; one that had would be two lines.
                let is_line = !entry.contains(&b'\n');
                if !is_line {
                    let what = "an entry is not one line of JSON".to_owned();
                    return Err(Error::Damaged { vat: row.name.clone(), what }.into());
                }
                hash = hash.extended(&entry);
                count += 1;
                out.put(&entry)?;
                out.put(b"\n")?;
            }
            Ok(())
        })?;
        if let Some(error) = failed {
            return Err(self.missing(row, error));
        }
        self.exported.entries += count;
        Ok((hash, artifact))
    }

    fn vatstore(&mut self, row: &VatRow) -> Result<Option<Artifact>, ArchiveError> {
        let view = self.view;
        let mut pairs = view.vatstore_after(row.id, "", PAIRS_PER_READ)?;
        if pairs.is_empty() {
            return Ok(None);
        }
        let artifact = self.writer.artifact(&vatstore_name(&row.name), |out| {
            while let Some((last, _)) = pairs.last() {
                let last = last.clone();
                for pair in &pairs {
                    let mut line = serde_json::to_vec(pair).expect("two texts can be written");
                    line.push(b'\n');
                    out.put(&line)?;
                }
                pairs = view.vatstore_after(row.id, &last, PAIRS_PER_READ)?;
            }
            Ok(())
        })?;
        Ok(Some(artifact))
    }

    fn snapshot(
        &mut self,
        row: &VatRow,
        saved: &Saved,
        root: HeapRoot,
    ) -> Result<SnapshotRecord, ArchiveError> {
        let (name, position) = (&row.name, saved.position);
        let artifact = self
            .writer
            .artifact(&snapshot_name(name, position), |out| heap_file::write(&saved.state, out))?;
        let signer = self.options.signer.as_ref();
        let transcript = signer.map(|_| transcript_hash(self.view, row.id, position)).transpose();
        let transcript = match transcript {
            // Of a past that is not known nothing can be said; at this level, what there is goes along.
            Err(Error::PastUnknown { .. }) if self.options.retention == Retention::Debug => None,
            transcript => transcript?,
        };
        let statement = match signer.zip(transcript) {
            None => None,
            Some((key, transcript)) => {
                let text = self.claim(row, saved, root, transcript)?.sign(key).to_string();
                Some(self.writer.artifact(&statement_name(name, position), |out| out.put(text.as_bytes()))?)
            }
        };
        self.exported.snapshots += 1;
        Ok(SnapshotRecord {
            position,
            incarnation: saved.incarnation,
            root: hex(&root.0),
            artifact,
            statement,
        })
    }

    fn claim(
        &self,
        row: &VatRow,
        saved: &Saved,
        root: HeapRoot,
        transcript: TranscriptHash,
    ) -> Result<Claim, Error> {
        Ok(Claim {
            vat: row.name.parse().map_err(|_| Error::UnknownVat(row.name.clone()))?,
            incarnation: saved.incarnation,
            position: saved.position,
            transcript,
            root: root.0,
            module: row.module.0,
            rules: kept_options(row)?.rules,
        })
    }

    fn missing(&self, row: &VatRow, error: vat_storage::Error) -> ArchiveError {
        match error {
            vat_storage::Error::MissingEntry { position, .. } => {
                self.incomplete(row, format!("its transcript has no entry at position {position}"))
            }
            vat_storage::Error::Pruned { start, end, .. } => {
                self.incomplete(row, format!("its entries {start}..{end} were pruned"))
            }
            other => other.into(),
        }
    }

    fn incomplete(&self, row: &VatRow, missing: String) -> ArchiveError {
        ArchiveError::Incomplete { vat: row.name.clone(), level: self.options.retention, missing }
    }
}
