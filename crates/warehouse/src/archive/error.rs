//! What can go wrong with an archive.

use std::io;
use std::path::PathBuf;

use crate::attest::StatementError;
use crate::error::Error;

/// Why an archive cannot be written or read. After a failed import there is no new store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The store does not have what the level asks for.
    #[error(
        "vat {vat} cannot be exported at level {level}: {missing}; choose a lower level, or `debug` for what there is"
    )]
    Incomplete {
        /// Its name.
        vat: String,
        /// The level.
        level: vat_storage::Retention,
        /// What is not there.
        missing: String,
    },
    /// There is something where the result should go.
    #[error("{} is not empty: choose a new directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The export into the directory did not come to its end.
    #[error(
        "{} is no archive yet: the export into it was interrupted before its manifest was written; run that again, and it goes on",
        path.display()
    )]
    Unfinished {
        /// The directory.
        path: PathBuf,
    },
    /// There is something where the new data directory should go.
    #[error("{} is not empty: choose a new data directory, or add the vats to it (`--add`)", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// Names of the archive's are in use.
    #[error(
        "nothing was imported, since these names are taken: {names}; terminate the vats, or choose another data directory"
    )]
    Taken {
        /// The vats and modules.
        names: String,
    },
    /// The archive does not have the vat.
    #[error("the archive has no vat {vat}")]
    Absent {
        /// Its name.
        vat: String,
    },
    /// A vat here has the name of one in the archive, and another past.
    #[error(
        "vat {vat} here is not the one in the archive: their entries {start}..{end} have different hashes"
    )]
    OtherVat {
        /// Its name.
        vat: String,
        /// The first position of the span that differs.
        start: u64,
        /// The position after its last.
        end: u64,
    },
    /// The manifest is not one, or of a later version, or says what cannot be.
    #[error("the manifest is wrong: {what}")]
    Manifest {
        /// What was found.
        what: String,
    },
    /// An artifact is not what the manifest says, or what it should be.
    #[error("artifact {artifact} is wrong: {what}")]
    Artifact {
        /// Its name.
        artifact: String,
        /// What was found.
        what: String,
    },
    /// The stream is not an archive, or ends too early.
    #[error("the stream is not a whole archive: {what}")]
    Stream {
        /// What was found.
        what: String,
    },
    /// What the archive says of a vat contradicts itself.
    #[error("vat {vat} cannot be imported: {what}")]
    Vat {
        /// Its name.
        vat: String,
        /// What was found.
        what: String,
    },
    /// Neither a replay nor a signature can vouch for the snapshot that the vat needs.
    #[error(
        "vat {vat} cannot be imported: the archive lacks the entries before its snapshot at {position}, and nobody who is trusted \
         has signed it; give a trust list with its signer, or an archive at level replay"
    )]
    Unvouched {
        /// Its name.
        vat: String,
        /// Position of the snapshot.
        position: u64,
    },
    /// The engine does not take a module.
    #[error("module {hash} cannot be imported: {source}")]
    Module {
        /// Its hash.
        hash: String,
        /// Why.
        source: Error,
    },
    /// A statement about a snapshot is no good.
    #[error("artifact {artifact} is wrong: {source}")]
    Statement {
        /// Its name.
        artifact: String,
        /// Why.
        source: StatementError,
    },
    /// The operating system failed.
    #[error("cannot {attempt} {}: {source}", path.display())]
    Io {
        /// What was being done.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The warehouse failed.
    #[error(transparent)]
    Warehouse(#[from] Error),
}

impl From<vat_storage::Error> for ArchiveError {
    fn from(error: vat_storage::Error) -> ArchiveError {
        ArchiveError::Warehouse(error.into())
    }
}

impl ArchiveError {
    pub(super) fn io(
        attempt: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(io::Error) -> ArchiveError {
        let path = path.to_owned();
        move |source| ArchiveError::Io { attempt, path, source }
    }

    pub(super) fn artifact(artifact: &str, what: impl Into<String>) -> ArchiveError {
        ArchiveError::Artifact { artifact: artifact.to_owned(), what: what.into() }
    }

    pub(super) fn vat(vat: &str, what: impl Into<String>) -> ArchiveError {
        ArchiveError::Vat { vat: vat.to_owned(), what: what.into() }
    }

    pub(super) fn manifest(what: impl Into<String>) -> ArchiveError {
        ArchiveError::Manifest { what: what.into() }
    }
}
