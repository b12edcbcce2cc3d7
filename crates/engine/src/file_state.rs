//! Which file this is, and in which state: equal states mean equal bytes.
//!
//! ```text
//!   device, inode     which file: one that was renamed into its place is another
//!   length, mtime     what most changes change
//!   ctime             set by the kernel at every change of content, length, name or times, to the present; `touch`
//!                     and its system calls set mtime, and thereby move ctime
//! ```
//!
//! To change bytes and keep the state, one would have to set the machine's clock back, write to the disk beneath the
//! file system, or write through a shared mapping that was made writable before: all of it as the superuser, or as the user whom
//! this process runs as, who can alter the process itself. Damage below the file system is not seen either, and neither is it
//! after a comparison of all bytes, since pages of a mapped file may be read from the disk at any later time.
//!
//! The kernel may stamp by its timer's tick, some milliseconds long, so that two changes in one tick look like one. A state is
//! therefore relied upon only if it was older than the present tick before the bytes were read ([`FileState::is_before`]);
//! the present is asked of the file system, by making a file.
//!
//! Deliberately not here: comparing bytes, and the machine's clock.

use std::fs::File;
use std::io;

/// A file's identity, length and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileState {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileState {
    /// The state of an open file; `None` on systems that do not tell it.
    #[cfg(unix)]
    pub(crate) fn of(file: &File) -> io::Result<Option<FileState>> {
        use std::os::unix::fs::MetadataExt;
        let found = file.metadata()?;
        Ok(Some(FileState {
            file: (found.dev(), found.ino()),
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }))
    }

    /// The state of an open file: not known how on this system.
    #[cfg(not(unix))]
    pub(crate) fn of(_file: &File) -> io::Result<Option<FileState>> {
        Ok(None)
    }

    /// Whether the last change of this file bears an earlier time than that of the other.
    pub(crate) fn is_before(&self, other: &FileState) -> bool {
        self.file.0 == other.file.0 && self.changed < other.changed
    }
}
