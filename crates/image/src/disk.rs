//! The seam between the page store and the disk: every change to a file goes through [`Disk`].
//!
//! Only changes: reads and mappings use the file directly. One implementation is the real disk; the other
//! ([`fault::FaultyDisk`](crate::fault::FaultyDisk), for tests) counts the changes, fails the n-th, and
//! forgets or tears what was not synced, as a power failure does.
//!
//! The contract is the disk's own, no stronger: a written byte survives a power failure only after
//! `sync_data` of its file; a created or removed name only after `sync_dir` of its directory.

use std::{
    fmt::Debug,
    fs::{File, OpenOptions},
    io::{self, IoSlice},
    path::Path,
};

/// Changes to files.
pub trait Disk: Send + Sync + Debug {
    /// Creates a file that must not exist, for reading and writing.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn create(&self, path: &Path) -> io::Result<File>;

    /// Writes at an offset and returns how many bytes were written, at least one if there are any.
    ///
    /// # Errors
    ///
    /// What the operating system says; nothing is known of the range then.
    fn write_at(&self, path: &Path, file: &File, bytes: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Makes the file's bytes and length durable.
    ///
    /// # Errors
    ///
    /// What the operating system says; what was not yet durable must be taken for lost then.
    fn sync_data(&self, path: &Path, file: &File) -> io::Result<()>;

    /// Cuts or extends a file.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn set_len(&self, path: &Path, file: &File, bytes: u64) -> io::Result<()>;

    /// Removes a file's name; open files and mappings of it stay whole.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// The disk itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    fn write_at(&self, _path: &Path, file: &File, bytes: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::pwritev(file, bytes, offset))?)
    }

    fn sync_data(&self, _path: &Path, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn set_len(&self, _path: &Path, file: &File, bytes: u64) -> io::Result<()> {
        file.set_len(bytes)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}
