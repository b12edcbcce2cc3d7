//! One vat of an archive: its entries, storage and snapshots are held against each other on their way into the store.
//!
//! ```text
//!   entry ─┬─► span hash                        = the manifest's
//!          ├─► transcript hash ─► statement     = what a trusted signer said
//!          ├─► writes to vat storage            = the vat storage of the archive, if no entry is missing
//!          ├─► rerun ─► heap root               = the snapshot's, unless a signer vouches for it
//!          └─► row
//! ```

use std::collections::BTreeMap;
use std::io::BufRead;

use vat_abi::{Outcome, Syscall, TranscriptEntry};
use vat_storage::{
    ImportedVat, Incarnation, ModuleHash, Position, SpanContent, SpanHash, SpanRow, SpanState, VatId,
    VatStatus,
};

use super::ArchiveError;
use super::container::Reader;
use super::heap_file;
use super::import::Imported;
use super::manifest::{Artifact, SnapshotRecord, SpanRecord, VatRecord};
use crate::anchor::put_anchor;
use crate::attest::{Claim, Statement, TranscriptHash, TrustList, hex, unhex};
use crate::canary::Canary;
use crate::options::KeptOptions;
use crate::rerun::Rerun;
use crate::snapshots::Saved;
use crate::warehouse::Warehouse;

/// Rows that are written at once.
const ROWS_PER_WRITE: usize = 256;
/// Bytes of entries after which they are written earlier.
const BYTES_PER_WRITE: usize = 1 << 20;

/// Verifies a vat and brings it into the store.
pub(super) fn import(
    warehouse: &Warehouse,
    reader: &Reader,
    record: &VatRecord,
    trust: &TrustList,
    imported: &mut Imported,
) -> Result<(), ArchiveError> {
    let module = ModuleHash(unhex(&record.module).expect("checked with the manifest"));
    let kept = KeptOptions::decode(&record.options).expect("checked with the manifest");
    let vouched = record
        .snapshots
        .iter()
        .map(|snapshot| vouched(reader, record, snapshot, &kept, trust))
        .collect::<Result<Vec<_>, _>>()?;
    let holes = Holes::of(record, kept.since);
    holes.require_a_way(record, &vouched)?;
    let id = put_vat(warehouse, record, module)?;
    let to_replay: Vec<u64> = record
        .snapshots
        .iter()
        .zip(&vouched)
        .filter(|(snapshot, statement)| statement.is_none() && holes.can_replay_to(snapshot.position))
        .map(|(snapshot, _)| snapshot.position)
        .collect();
    let rerun = match to_replay.first() {
        Some(_) => Some(Rerun::new(&warehouse.inner, &record.name, module, record.incarnation, kept)?),
        None => None,
    };
    let mut past = Past {
        record,
        rerun,
        to_replay,
        replay_from: holes.replay_from,
        next: 0,
        hash: Some(TranscriptHash::seed()),
        hashes: BTreeMap::new(),
        roots: BTreeMap::new(),
        vatstore: Some(BTreeMap::new()),
    };
    let skipped = usize::from(warehouse.inner.has(Canary::SkipsTheLastSpan) && record.spans.len() > 1);
    for (index, span) in record.spans[..record.spans.len() - skipped].iter().enumerate() {
        let state = if index + 1 == record.spans.len() { SpanState::Open } else { SpanState::Closed };
        past.span(warehouse, reader, id, span, state, imported)?;
    }
    past.mark()?;
    if record.spans.last().is_some_and(|last| is_missing(&last)) {
        // What comes next must not be taken for part of what is not there.
        warehouse.storage().close_span(id)?;
    }
    put_vatstore(warehouse, reader, record, id, past.vatstore.take())?;
    for (snapshot, statement) in record.snapshots.iter().zip(&vouched).rev() {
        put_snapshot(warehouse, reader, record, id, snapshot, statement.as_ref(), &past, imported)?;
    }
    Ok(())
}

fn put_vat(warehouse: &Warehouse, record: &VatRecord, module: ModuleHash) -> Result<VatId, ArchiveError> {
    let status = match &record.quarantined {
        None => VatStatus::Alive,
        Some(reason) => VatStatus::Quarantined { reason: reason.clone() },
    };
    Ok(warehouse.storage().import_vat(&ImportedVat {
        name: &record.name,
        module,
        options: &record.options,
        incarnation: Incarnation(record.incarnation),
        status: &status,
    })?)
}

/// Whether the archive does not have the span's entries.
fn is_missing(span: &&SpanRecord) -> bool {
    span.start < span.end && span.artifact.is_none()
}

/// Which entries an archive does not have of a vat.
struct Holes {
    /// Where the present incarnation begins.
    replay_from: u64,
    /// The end of the newest stretch that is missing; 0 if nothing is.
    whole_from: u64,
    /// The first position from which on entries of this incarnation are missing.
    replay_to: u64,
}

impl Holes {
    fn of(record: &VatRecord, replay_from: u64) -> Holes {
        let current = |span: &&SpanRecord| span.incarnation == record.incarnation;
        let whole_from = record.spans.iter().rfind(is_missing).map_or(0, |span| span.end);
        let hole = record.spans.iter().filter(current).find(is_missing);
        Holes { replay_from, whole_from, replay_to: hole.map_or(u64::MAX, |span| span.start) }
    }

    fn can_replay_to(&self, position: u64) -> bool {
        position <= self.replay_to
    }

    /// There must be one way back into memory: a replay from the incarnation's beginning, or from a snapshot that can be
    /// believed.
    fn require_a_way(&self, record: &VatRecord, vouched: &[Option<Statement>]) -> Result<(), ArchiveError> {
        if self.whole_from <= self.replay_from {
            return Ok(());
        }
        let reaching = record.snapshots.iter().zip(vouched).filter(|(it, _)| it.position >= self.whole_from);
        match reaching.clone().next() {
            None => {
                let what = format!(
                    "its entries before {} are missing, and there is no snapshot at or after it",
                    self.whole_from
                );
                Err(ArchiveError::vat(&record.name, what))
            }
            Some((snapshot, _)) if !reaching.clone().any(|(_, statement)| statement.is_some()) => {
                Err(ArchiveError::Unvouched { vat: record.name.clone(), position: snapshot.position })
            }
            Some(_) => Ok(()),
        }
    }
}

/// The statement of a trusted signer about a snapshot. One that is forged, or about something else, makes the archive wrong;
/// one of somebody who is not trusted says nothing.
fn vouched(
    reader: &Reader,
    record: &VatRecord,
    snapshot: &SnapshotRecord,
    kept: &KeptOptions,
    trust: &TrustList,
) -> Result<Option<Statement>, ArchiveError> {
    let Some(artifact) = &snapshot.statement else { return Ok(None) };
    let path = reader.path(artifact);
    let text = std::fs::read_to_string(&path).map_err(ArchiveError::io("read", &path))?;
    let parsed = text.parse::<Statement>().and_then(|statement| {
        statement.verify()?;
        Ok(statement)
    });
    let statement =
        parsed.map_err(|source| ArchiveError::Statement { artifact: artifact.name.clone(), source })?;
    let expected = Claim {
        vat: record.name.parse().expect("checked with the manifest"),
        incarnation: snapshot.incarnation,
        position: snapshot.position,
        transcript: statement.claim.transcript, // Compared when the entries were read, as far as they are there.
        root: unhex(&snapshot.root).expect("checked with the manifest"),
        module: unhex(&record.module).expect("checked with the manifest"),
        rules: kept.rules,
    };
    if let Some(difference) = statement.claim.difference(&expected) {
        let what = format!("it says `{}`, the manifest `{}`", difference.claimed, difference.found);
        return Err(ArchiveError::artifact(&artifact.name, what));
    }
    Ok(trust.name_of(&statement.signer).is_some().then_some(statement))
}

/// A vat's past, while it passes by.
struct Past<'a> {
    record: &'a VatRecord,
    rerun: Option<Rerun<'a>>,
    /// Positions of the snapshots that a replay is to vouch for, newest first.
    to_replay: Vec<u64>,
    replay_from: u64,
    next: u64,
    /// `None` after a hole.
    hash: Option<TranscriptHash>,
    /// Transcript hashes at the positions of snapshots.
    hashes: BTreeMap<u64, TranscriptHash>,
    /// Heap roots that a replay led to.
    roots: BTreeMap<u64, [u8; 32]>,
    /// What the vat wrote; `None` after a hole.
    vatstore: Option<BTreeMap<String, String>>,
}

impl Past<'_> {
    fn span(
        &mut self,
        warehouse: &Warehouse,
        reader: &Reader,
        vat: VatId,
        span: &SpanRecord,
        state: SpanState,
        imported: &mut Imported,
    ) -> Result<(), ArchiveError> {
        let hash = SpanHash::parse(&span.hash).expect("checked with the manifest");
        let (start, end) = (Position(span.start), Position(span.end));
        let incarnation = Incarnation(span.incarnation);
        let content = match &span.artifact {
            Some(artifact) => {
                self.entries(warehouse, reader, vat, span, artifact, imported)?;
                SpanContent::Plain
            }
            None if span.start < span.end => {
                (self.next, self.hash, self.vatstore) = (span.end, None, None);
                SpanContent::Pruned
            }
            None if hash != SpanHash::seed() => {
                let what = format!("its empty span at {start} has a hash that is not that of no entries");
                return Err(ArchiveError::vat(&self.record.name, what));
            }
            None => SpanContent::Plain,
        };
        let bytes = span.bytes;
        let row = SpanRow { start, end, hash, incarnation, state, bytes, compressed_bytes: 0, content };
        Ok(warehouse.storage().import_span(vat, &row)?)
    }

    fn entries(
        &mut self,
        warehouse: &Warehouse,
        reader: &Reader,
        vat: VatId,
        span: &SpanRecord,
        artifact: &Artifact,
        imported: &mut Imported,
    ) -> Result<(), ArchiveError> {
        let path = reader.path(artifact);
        let (mut hash, mut rows, mut bytes) = (SpanHash::seed(), Vec::new(), 0);
        let mut first = span.start;
        for line in reader.open(artifact)?.split(b'\n') {
            let line = line.map_err(ArchiveError::io("read", &path))?;
            let wrong = |what: String| ArchiveError::artifact(&artifact.name, what);
            if self.next == span.end {
                return Err(wrong(format!("it has entries beyond position {}", span.end)));
            }
            let entry = TranscriptEntry::from_canonical_json(&line)
                .map_err(|error| wrong(format!("the entry at position {}: {error}", self.next)))?;
            self.live(&line, &entry, imported)?;
            hash = hash.extended(&line);
            bytes += line.len();
            rows.push(line);
            if rows.len() == ROWS_PER_WRITE || bytes >= BYTES_PER_WRITE {
                warehouse.storage().import_entries(vat, Position(first), &rows)?;
                (first, bytes) = (self.next, 0);
                rows.clear();
            }
        }
        warehouse.storage().import_entries(vat, Position(first), &rows)?;
        let wrong = |what: String| ArchiveError::artifact(&artifact.name, what);
        if self.next != span.end {
            return Err(wrong(format!(
                "it ends before position {}, and should before {}",
                self.next, span.end
            )));
        }
        if artifact.bytes.checked_sub(span.end - span.start) != Some(span.bytes) {
            return Err(wrong(format!(
                "its entries do not have the {} bytes that the manifest says",
                span.bytes
            )));
        }
        if hash.as_str() != span.hash {
            return Err(wrong(format!(
                "its entries give the span hash {hash}, the manifest says {}",
                span.hash
            )));
        }
        Ok(())
    }

    /// One entry, at `next`.
    fn live(
        &mut self,
        line: &[u8],
        entry: &TranscriptEntry,
        imported: &mut Imported,
    ) -> Result<(), ArchiveError> {
        self.mark()?;
        let wanted = self.to_replay.first().is_some_and(|last| self.next < *last);
        if let Some(rerun) = self.rerun.as_mut().filter(|_| wanted && self.next >= self.replay_from) {
            rerun.step(self.next, line.to_vec())?;
            imported.replayed += 1;
        }
        if let Some(vatstore) = self.vatstore.as_mut().filter(|_| entry.outcome == Outcome::Delivered) {
            entry.syscalls.iter().for_each(|record| match &record.syscall {
                Syscall::VatstoreSet(key, value) => drop(vatstore.insert(key.clone(), value.clone())),
                Syscall::VatstoreDelete(key) => drop(vatstore.remove(key)),
                _ => {}
            });
        }
        self.hash = self.hash.map(|hash| hash.extended(line));
        self.next += 1;
        imported.entries += 1;
        Ok(())
    }

    /// Before the entry at `next`, and at the end: what snapshots there are held against.
    fn mark(&mut self) -> Result<(), ArchiveError> {
        if let Some(hash) = self.hash
            && self.record.snapshots.iter().any(|snapshot| snapshot.position == self.next)
        {
            self.hashes.insert(self.next, hash);
        }
        if let Some(rerun) = &mut self.rerun
            && self.to_replay.contains(&self.next)
        {
            self.roots.insert(self.next, rerun.root().0);
        }
        Ok(())
    }
}

fn put_vatstore(
    warehouse: &Warehouse,
    reader: &Reader,
    record: &VatRecord,
    vat: VatId,
    written: Option<BTreeMap<String, String>>,
) -> Result<(), ArchiveError> {
    let mut written = written.map(BTreeMap::into_iter);
    if let Some(artifact) = &record.vatstore {
        let path = reader.path(artifact);
        let (mut rows, mut before): (Vec<(String, String)>, Option<String>) = (Vec::new(), None);
        for line in reader.open(artifact)?.split(b'\n') {
            let line = line.map_err(ArchiveError::io("read", &path))?;
            let wrong = |what: String| ArchiveError::artifact(&artifact.name, what);
            let pair: (String, String) =
                serde_json::from_slice(&line).map_err(|error| wrong(error.to_string()))?;
            if before.as_ref().is_some_and(|before| *before >= pair.0) {
                return Err(wrong(format!("the key {:?} is out of order", pair.0)));
            }
            if written.as_mut().is_some_and(|written| written.next().as_ref() != Some(&pair)) {
                return Err(wrong(format!("the key {:?} is not what the transcript wrote", pair.0)));
            }
            before = Some(pair.0.clone());
            rows.push(pair);
            if rows.len() == ROWS_PER_WRITE {
                warehouse.storage().import_vatstore(vat, &rows)?;
                rows.clear();
            }
        }
        warehouse.storage().import_vatstore(vat, &rows)?;
    }
    match written.and_then(|mut written| written.next()) {
        Some((key, _)) => {
            let what = format!("its vat storage lacks the key {key:?}, which the transcript wrote");
            Err(ArchiveError::vat(&record.name, what))
        }
        None => Ok(()),
    }
}

#[expect(clippy::too_many_arguments, reason = "everything that vouches for a snapshot")]
fn put_snapshot(
    warehouse: &Warehouse,
    reader: &Reader,
    record: &VatRecord,
    vat: VatId,
    snapshot: &SnapshotRecord,
    statement: Option<&Statement>,
    past: &Past<'_>,
    imported: &mut Imported,
) -> Result<(), ArchiveError> {
    let name = &snapshot.artifact.name;
    let position = snapshot.position;
    let replayed = past.roots.get(&position);
    if let Some(root) = replayed.filter(|root| hex(*root) != snapshot.root) {
        let what =
            format!("a replay leads to the heap root {}, the manifest says {}", hex(root), snapshot.root);
        return Err(ArchiveError::artifact(name, what));
    }
    if replayed.is_none() && statement.is_none() {
        return Ok(()); // Nobody vouches for it, and the vat has another way back.
    }
    let inner = &warehouse.inner;
    let state = heap_file::read(&mut reader.open(&snapshot.artifact)?, name, &inner.pages)?;
    let module = unhex(&record.module).expect("checked with the manifest");
    let root = state.image.root(&state.globals.encode(), &module).map_err(crate::error::Error::from)?;
    if hex(&root.0) != snapshot.root {
        let what = format!("its heap root is {root}, the manifest says {}", snapshot.root);
        return Err(ArchiveError::artifact(name, what));
    }
    if let Some(statement) = statement {
        let claimed = statement.claim.transcript;
        match past.hashes.get(&position) {
            Some(found) if *found != claimed => {
                let what = format!(
                    "it claims the transcript hash {}, the entries have {}",
                    hex(&claimed.0),
                    hex(&found.0)
                );
                return Err(ArchiveError::artifact(&format!("statement-{}-{position}", record.name), what));
            }
            Some(_) => {}
            None => put_anchor(warehouse.storage(), vat, position, claimed)?,
        }
        imported.trusted_snapshots += 1;
    } else {
        imported.replayed_snapshots += 1;
    }
    let saved =
        Saved { position, incarnation: snapshot.incarnation, state, touched: vat_image::PageSet::new() };
    inner.snapshots.save(vat, saved);
    // Its row is written now, into the transaction that brings the vat: without it the vat might have no way back.
    inner.snapshots.sync()?;
    inner.snapshots.move_pointers()?;
    Ok(())
}
