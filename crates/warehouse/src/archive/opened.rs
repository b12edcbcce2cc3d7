//! An archive in a directory, opened to be compared with vats that are here.
//!
//! Opening reads and checks the manifest. What an artifact holds is verified when it is asked for, by its own hash and by the hash
//! of the span; nothing unverified comes out of here.

use std::io::BufRead as _;
use std::path::Path;

use vat_storage::{SpanHash, SpanRow};

use super::container::Reader;
use super::manifest::{Artifact, Manifest, SpanRecord, VatRecord};
use super::{ArchiveError, check};
use crate::name::VatName;

/// An archive in a directory, its manifest read and checked.
#[derive(Debug)]
pub struct Archive {
    reader: Reader,
    manifest: Manifest,
    hash: String,
}

impl Archive {
    /// Opens the archive in a directory.
    ///
    /// # Errors
    /// [`ArchiveError::Unfinished`], [`ArchiveError::Manifest`], [`ArchiveError::Io`].
    pub fn open(dir: &Path) -> Result<Archive, ArchiveError> {
        let reader = Reader::new(dir);
        let text = reader.manifest()?;
        let manifest = Manifest::decode(&text)?;
        check::check(&manifest)?;
        let hash = blake3::hash(&text).to_hex().to_string();
        Ok(Archive { reader, manifest, hash })
    }

    /// BLAKE3 of the manifest, which names the whole archive.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The vats in it, by name.
    pub fn vats(&self) -> impl Iterator<Item = VatName> + '_ {
        self.manifest.vats.iter().map(|vat| vat.name.parse().expect("checked with the manifest"))
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The reader of artifacts that nothing has verified.
    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    pub(super) fn vat(&self, name: &VatName) -> Result<&VatRecord, ArchiveError> {
        let found = self.manifest.vats.iter().find(|vat| vat.name == name.as_str());
        found.ok_or_else(|| ArchiveError::Absent { vat: name.to_string() })
    }

    /// The wasm of a module, if it is there.
    pub(super) fn module(&self, hash: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        let Some(module) = self.manifest.modules.iter().find(|module| module.hash == hash) else {
            return Ok(None);
        };
        self.reader.verify(&module.artifact)?;
        let path = self.reader.path(&module.artifact);
        std::fs::read(&path).map(Some).map_err(ArchiveError::io("read", &path))
    }

    /// The reader, behind a check of the artifact's bytes.
    pub(super) fn verified(&self, artifact: &Artifact) -> Result<&Reader, ArchiveError> {
        self.reader.verify(artifact)?;
        Ok(&self.reader)
    }

    /// Hands over the entries of a span one by one, as lines without their ends, and fails unless they have its hash.
    pub(super) fn entries(
        &self,
        span: &SpanRecord,
        artifact: &Artifact,
        mut entry: impl FnMut(Vec<u8>) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let reader = self.verified(artifact)?;
        let (mut hash, mut count) = (SpanHash::seed(), 0);
        for line in reader.open(artifact)?.split(b'\n') {
            let line = line.map_err(ArchiveError::io("read", &reader.path(artifact)))?;
            hash = hash.extended(&line);
            count += 1;
            entry(line)?;
        }
        if count != span.end - span.start || hash.as_str() != span.hash {
            let what = format!("its {count} entries do not have the hash that the manifest says of the span");
            return Err(ArchiveError::artifact(&artifact.name, what));
        }
        Ok(())
    }
}

/// A span of a vat here, as the archive has it: its record and artifact, if that is there.
///
/// # Errors
/// [`ArchiveError::OtherVat`] if the same positions have other entries there.
pub(super) fn counterpart<'a>(
    record: &'a VatRecord,
    span: &SpanRow,
) -> Result<Option<(&'a SpanRecord, &'a Artifact)>, ArchiveError> {
    let is_same = |it: &&SpanRecord| (it.start, it.end) == (span.start.0, span.end.0);
    let Some(found) = record.spans.iter().find(is_same) else { return Ok(None) };
    if found.hash != span.hash.as_str() {
        let (start, end) = (found.start, found.end);
        return Err(ArchiveError::OtherVat { vat: record.name.clone(), start, end });
    }
    Ok(found.artifact.as_ref().map(|artifact| (found, artifact)))
}
