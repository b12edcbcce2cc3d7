//! A file that may have been written before, as far as an earlier run came.
//!
//! ```text
//!   there   A B C D ? ?          what an interrupted run left
//!   put     A B C D E F          compared while it is equal, written from the first difference on
//!                   ^
//! ```
//!
//! Invariant: when it is finished, the file has exactly the bytes that were put. Nothing that is right is written twice. Not
//! here: making it durable.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes that are read or written at once.
const BUFFER_BYTES: usize = 1 << 16;

#[derive(Debug)]
pub(super) enum Mending {
    /// All that was put so far is there.
    Comparing { file: File, equal: u64, buffer: Vec<u8> },
    /// From here on it is written.
    Writing(BufWriter<File>),
}

impl Mending {
    /// Begins with the file at `path`, which is made if there is none.
    pub(super) fn open(path: &Path) -> io::Result<Mending> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(match file.metadata()?.len() {
            0 => Mending::Writing(BufWriter::with_capacity(BUFFER_BYTES, file)),
            _ => Mending::Comparing { file, equal: 0, buffer: Vec::new() },
        })
    }

    /// Ends it: what the file has beyond goes.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Mending::Comparing { file, equal, .. } => match file.metadata()?.len() == equal {
                true => Ok(()),
                false => file.set_len(equal),
            },
            Mending::Writing(mut out) => out.flush(),
        }
    }
}

impl Write for Mending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(BUFFER_BYTES)];
        if let Mending::Comparing { file, equal, buffer } = self {
            buffer.clear();
            file.take(bytes.len() as u64).read_to_end(buffer)?;
            if buffer.as_slice() == bytes {
                *equal += bytes.len() as u64;
                return Ok(bytes.len());
            }
            let mut rest = file.try_clone()?;
            rest.set_len(*equal)?;
            rest.seek(SeekFrom::Start(*equal))?;
            *self = Mending::Writing(BufWriter::with_capacity(BUFFER_BYTES, rest));
        }
        match self {
            Mending::Writing(out) => out.write(bytes),
            Mending::Comparing { .. } => unreachable!("it was just turned"),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Mending::Comparing { .. } => Ok(()),
            Mending::Writing(out) => out.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_was_there_the_file_has_what_was_put() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for before in ["", "a", "ab", "abcdef", "abcdefgh", "abXdef", "X"] {
            std::fs::write(&path, before).unwrap();
            let mut file = Mending::open(&path).unwrap();
            for part in ["ab", "cd", "", "ef"] {
                file.write_all(part.as_bytes()).unwrap();
            }
            file.finish().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"abcdef", "{before:?}");
        }
    }

    #[test]
    fn what_is_right_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        let mut file = Mending::open(&path).unwrap();
        file.write_all(b"abc").unwrap();
        assert!(matches!(file, Mending::Comparing { equal: 3, .. }));
        file.write_all(b"d").unwrap();
        assert!(matches!(file, Mending::Writing(_)));
    }
}
