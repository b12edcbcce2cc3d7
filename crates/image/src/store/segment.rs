//! A segment file: its name and its open file.
//!
//! Open for as long as anything refers to it, whether or not its name still exists.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    os::{fd::AsFd, unix::fs::FileExt},
    path::{Path, PathBuf},
};

use crate::Error;

/// What segment file names begin and end with; the number is between, in eight digits or more.
const PREFIX: &str = "seg-";
const SUFFIX: &str = ".pages";

/// An open segment file.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    path: PathBuf,
    file: File,
}

impl SegmentFile {
    pub(crate) fn new(path: PathBuf, file: File) -> SegmentFile {
        expect_random_reads(&file);
        SegmentFile { path, file }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Fills the buffer from the file.
    pub(crate) fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    /// Fills several buffers, one after another, from the file.
    pub(crate) fn read_scattered(
        &self,
        mut slices: &mut [IoSliceMut<'_>],
        mut offset: u64,
    ) -> io::Result<()> {
        while !slices.is_empty() {
            match rustix::io::retry_on_intr(|| rustix::io::preadv(&self.file, slices, offset))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => {
                    offset += read as u64;
                    IoSliceMut::advance_slices(&mut slices, read);
                }
            }
        }
        Ok(())
    }

    /// Bytes in the file now.
    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

/// The path of a segment.
pub(crate) fn path_of(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{PREFIX}{number:08}{SUFFIX}"))
}

/// The number in a segment's file name; `None` for other files, which are left alone.
pub(crate) fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let number = digits.parse().ok()?;
    (format!("{number:08}") == digits && number > 0).then_some(number)
}

/// An I/O error on a file of the store.
pub(crate) fn io_error(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { action, path: path.to_owned(), source }
}

/// Tells the kernel not to read ahead: a restored heap touches a few pages here and there, and disks are set
/// up to read megabytes ahead. This covers `read`; mappings have to be told one by one.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn expect_random_reads(file: &File) {
    // Advice: a kernel that refuses it is slower, nothing else.
    let _ = rustix::fs::fadvise(file.as_fd(), 0, None, rustix::fs::Advice::Random);
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn expect_random_reads(file: &File) {
    let _ = file.as_fd();
}

impl SegmentFile {
    /// Asks the kernel to bring a part of the file into the page cache, without waiting.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn prefetch(&self, offset: u64, bytes: u64) {
        let bytes = std::num::NonZeroU64::new(bytes);
        // Advice: what is not read now is read when it is touched.
        let _ = rustix::fs::fadvise(self.file.as_fd(), offset, bytes, rustix::fs::Advice::WillNeed);
    }

    /// Asks the kernel to bring a part of the file into the page cache: not known how on this system.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn prefetch(&self, _offset: u64, _bytes: u64) {}
}
