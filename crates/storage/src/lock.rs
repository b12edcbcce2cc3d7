//! Ownership of a data directory: at most one [`Lock`] per directory on the machine.
//!
//! An advisory lock on an empty file, kept by the operating system for as long as the process lives, so that a crash
//! leaves nothing to clean up. SQLite's own locks cannot say this: in WAL mode they are taken per transaction.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::error::Error;

/// The right to write in one data directory, given back when dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of `dir`, or says at once that somebody else has it.
    pub(crate) fn take(dir: &Path) -> Result<Lock, Error> {
        const ATTEMPT: &str = "take the lock";
        let path = dir.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| Error::from_io(ATTEMPT, &path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path }),
            Err(TryLockError::Error(error)) => Err(Error::from_io(ATTEMPT, &path, error)),
        }
    }
}
