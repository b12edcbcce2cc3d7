//! Looking into a data directory without taking it: also while a host serves it.
//!
//! A reader sees what was last committed, call by call; a transcript that is read while it grows ends where it ended when the
//! reading began. It brings no vat into memory, so it cannot say how a vat is *now*, only what is recorded.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vat_abi::TranscriptEntry;
use vat_storage::{Position, Storage, VatRow};

use crate::accounting::DiskFigures;
use crate::error::Error;
use crate::name::VatName;
use crate::page_in::decode_entry;

/// A data directory that somebody else may be serving.
#[derive(Debug)]
pub struct Reader {
    storage: Storage,
    pages: PathBuf,
}

impl Reader {
    /// Opens a data directory for reading.
    ///
    /// # Errors
    /// If there is none, it is damaged, or of a newer version.
    pub fn open(dir: &Path) -> Result<Reader, Error> {
        Ok(Reader { storage: Storage::open_read_only(dir)?, pages: dir.join("pages") })
    }

    /// The vat's stored row.
    ///
    /// # Errors
    /// [`Error::UnknownVat`].
    pub fn vat(&self, name: &VatName) -> Result<VatRow, Error> {
        find(&self.storage, name)
    }

    /// The vat's transcript from `from` on, oldest first.
    ///
    /// # Errors
    /// [`Error::UnknownVat`]; within the iteration, [`Error::Damaged`].
    pub fn transcript(
        &self,
        name: &VatName,
        from: u64,
    ) -> Result<impl Iterator<Item = Result<(u64, TranscriptEntry), Error>> + '_, Error> {
        transcript(&self.storage, name, from)
    }

    /// What the page store costs.
    ///
    /// # Errors
    /// If the store or the directory cannot be read.
    pub fn disk_figures(&self) -> Result<DiskFigures, Error> {
        let lengths = segment_lengths(&self.pages)
            .map_err(|source| Error::Directory { path: self.pages.clone(), source })?;
        let live: u64 = self.storage.live_layers()?.iter().map(|row| row.bytes).sum();
        let bytes: u64 = lengths.iter().sum();
        Ok(DiskFigures { segments: lengths.len(), bytes, garbage_bytes: bytes.saturating_sub(live) })
    }

    /// The durable store, for reading what has no place here. Everything that writes is refused.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }
}

/// The vat that has this name.
pub(crate) fn find(storage: &Storage, name: &VatName) -> Result<VatRow, Error> {
    storage.vat_by_name(name.as_str())?.ok_or_else(|| Error::UnknownVat(name.to_string()))
}

/// A vat's transcript from a position on.
pub(crate) fn transcript<'a>(
    storage: &'a Storage,
    name: &VatName,
    from: u64,
) -> Result<impl Iterator<Item = Result<(u64, TranscriptEntry), Error>> + use<'a>, Error> {
    let row = find(storage, name)?;
    let entries = storage.entries(row.id, Position(from), row.next_position);
    Ok(entries.map(move |recorded| {
        let (position, entry) = recorded?;
        Ok((position.0, decode_entry(&row, position, &entry)?))
    }))
}

/// Lengths of the segment files; none if no heap was ever captured.
fn segment_lengths(pages: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(pages) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut lengths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "pages") {
            match fs::metadata(&path) {
                Ok(metadata) => lengths.push(metadata.len()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // Compacted just now.
                Err(error) => return Err(error),
            }
        }
    }
    Ok(lengths)
}
