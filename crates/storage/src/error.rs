//! What can go wrong, and how SQLite's result codes become it.
//!
//! Two families. *The caller's*: [`Error::Duplicate`], [`Error::Unknown`], [`Error::InUse`], [`Error::TooLarge`],
//! [`Error::Refused`], [`Error::MissingEntry`], [`Error::Pruned`], and [`Error::DamagedRow`], which is nobody's fault; the call left no trace and the storage goes on. *The host's*: all the others;
//! if one of them strikes during a write, the storage is poisoned.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::id::{Position, VatId};
use crate::row_sum::RowDamage;

/// Why a call to the storage failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process has the store open for writing.
    #[error(
        "the store {} is in use by another process: stop that process, or choose another data directory",
        path.display()
    )]
    Locked {
        /// The file that is locked.
        path: PathBuf,
    },
    /// A later version of this program wrote the store.
    #[error(
        "the store {} has schema version {found}, this program reads up to {supported}: use the program that wrote it",
        path.display()
    )]
    NewerVersion {
        /// The store's file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The newest version that this program knows.
        supported: u32,
    },
    /// An earlier version of this program wrote the store, and it was opened for reading only.
    #[error(
        "the store {} has schema version {found}, this program reads {supported}: open it for writing once, which migrates it",
        path.display()
    )]
    OlderVersion {
        /// The store's file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The version that this program reads.
        supported: u32,
    },
    /// There is no store in the directory, or the file belongs to some other program.
    #[error("there is no vat store at {}: run `vats init`, or name the right data directory", path.display())]
    NotAStore {
        /// Where the store's file was looked for.
        path: PathBuf,
    },
    /// The bytes on disk are not what was written.
    #[error("the store is damaged: {what}; restore it from a backup or an export")]
    Damaged {
        /// Which file or record, and how it is wrong.
        what: String,
    },
    /// One row on disk is not what was written.
    #[error(
        "the store is damaged: the row {row} of the table {table} is not what was written; `vats scrub --repair` mends what can be mended"
    )]
    DamagedRow {
        /// Its table.
        table: &'static str,
        /// Its key, as far as it can be read.
        row: String,
    },
    /// The store may not be written: its permissions, its file system, or because it was opened for reading only.
    #[error("the store {} is read-only: open it for writing, and check its permissions and file system", path.display())]
    ReadOnly {
        /// The file that may not be written.
        path: PathBuf,
    },
    /// The disk, or the quota, is full.
    #[error("no space left to write {}: free some, then open the store again", path.display())]
    Full {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// The operating system failed to read, write or sync.
    #[error("cannot {attempt} in {}: {source}", path.display())]
    Io {
        /// What was being done.
        attempt: &'static str,
        /// The file concerned.
        path: PathBuf,
        /// What SQLite or the operating system said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// An earlier write failed; nothing that was not committed before it is in the store.
    #[error(
        "the storage stopped after a failed write ({cause}): open the store again to go on from its last commit"
    )]
    Poisoned {
        /// The message of that earlier failure.
        cause: String,
    },
    /// The name is taken.
    #[error("there is already a {kind} named {name}: choose another name")]
    Duplicate {
        /// What the name is of.
        kind: Kind,
        /// The name.
        name: String,
    },
    /// Nothing has this name or id.
    #[error("there is no {kind} {name}")]
    Unknown {
        /// What was looked for.
        kind: Kind,
        /// Its name or id.
        name: String,
    },
    /// Something else still needs it.
    #[error("cannot delete {kind} {name}: {user} uses it")]
    InUse {
        /// What was to be deleted.
        kind: Kind,
        /// Its name or id.
        name: String,
        /// Who needs it.
        user: String,
    },
    /// The transcript has a hole: the entry was pruned or lost.
    #[error(
        "the transcript of vat {vat} has no entry at position {position}: import that span from an archive"
    )]
    MissingEntry {
        /// The vat.
        vat: VatId,
        /// The first position that is missing.
        position: Position,
    },
    /// The entries were pruned; only the span's hash is left.
    #[error(
        "the entries {start}..{end} of vat {vat} were pruned: restore that span from an archive (`vats restore`), or go on from a snapshot"
    )]
    Pruned {
        /// The vat.
        vat: VatId,
        /// Position of the span's first entry.
        start: Position,
        /// The position after its last entry.
        end: Position,
    },
    /// A text or byte string is longer than SQLite accepts (1,000,000,000 bytes).
    #[error("cannot {attempt}: a value is longer than the store can hold")]
    TooLarge {
        /// What was being done.
        attempt: &'static str,
    },
    /// The values contradict the tables' rules.
    #[error("cannot {attempt}: {reason}")]
    Refused {
        /// What was being done.
        attempt: &'static str,
        /// The rule that they break.
        reason: String,
    },
}

/// What a name or an id in an [`Error`] belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A vat, by name or id.
    Vat,
    /// A module, by name or hash.
    Module,
    /// A snapshot, as `vat@position`.
    Snapshot,
    /// A layer of the page store, by id.
    Layer,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Vat => "vat",
            Kind::Module => "module",
            Kind::Snapshot => "snapshot",
            Kind::Layer => "layer",
        })
    }
}

impl Error {
    pub(crate) fn unknown(kind: Kind, name: impl fmt::Display) -> Error {
        Error::Unknown { kind, name: name.to_string() }
    }

    pub(crate) fn duplicate(kind: Kind, name: impl fmt::Display) -> Error {
        Error::Duplicate { kind, name: name.to_string() }
    }

    /// Whether the call itself was at fault, so that undoing it is enough.
    pub(crate) fn is_callers(&self) -> bool {
        matches!(
            self,
            Error::Duplicate { .. }
                | Error::Unknown { .. }
                | Error::InUse { .. }
                | Error::MissingEntry { .. }
                | Error::Pruned { .. }
                | Error::TooLarge { .. }
                | Error::Refused { .. }
                // Found before anything was written because of it: other rows, and other vats, go on.
                | Error::DamagedRow { .. }
        )
    }

    /// What `error` means when it stopped us from doing `attempt` on the file `path`.
    pub(crate) fn from_io(attempt: &'static str, path: &Path, error: io::Error) -> Error {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Error::ReadOnly { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full { path },
            _ => Error::Io { attempt, path, source: Box::new(error) },
        }
    }

    /// What `error` means when it stopped us from doing `attempt` on the store's file `path`.
    pub(crate) fn from_sqlite(attempt: &'static str, path: &Path, error: rusqlite::Error) -> Error {
        let Some(code) = error.sqlite_error_code() else {
            return Error::from_conversion(attempt, error);
        };
        let path = path.to_owned();
        match code {
            ErrorCode::DiskFull => Error::Full { path },
            ErrorCode::ReadOnly => Error::ReadOnly { path },
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error::Locked { path },
            ErrorCode::TooBig => Error::TooLarge { attempt },
            ErrorCode::ConstraintViolation => Error::Refused { attempt, reason: error.to_string() },
            // `Unknown` is SQLITE_ERROR: our SQL is fixed, so a table or column that it names is not there.
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown => {
                Error::Damaged { what: format!("{}: {error}, found on trying to {attempt}", path.display()) }
            }
            _ => Error::Io { attempt, path, source: Box::new(error) },
        }
    }

    /// Errors that rusqlite found between SQLite's values and ours.
    fn from_conversion(attempt: &'static str, error: rusqlite::Error) -> Error {
        let error = match RowDamage::of(error) {
            Ok(RowDamage { table, row }) => return Error::DamagedRow { table, row },
            Err(error) => error,
        };
        match error {
            rusqlite::Error::ToSqlConversionFailure(reason) => {
                Error::Refused { attempt, reason: reason.to_string() }
            }
            // A value of the wrong type or out of range is in a column, where our own writes never put one.
            other => Error::Damaged { what: format!("{other}, found on trying to {attempt}") },
        }
    }
}

/// Either kind of failure inside an operation, before the attempt and the file are known.
#[derive(Debug)]
pub(crate) enum Fault {
    Sqlite(rusqlite::Error),
    Ours(Error),
}

impl Fault {
    pub(crate) fn into_error(self, attempt: &'static str, path: &Path) -> Error {
        match self {
            Fault::Sqlite(error) => Error::from_sqlite(attempt, path, error),
            Fault::Ours(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Sqlite(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Ours(error)
    }
}
