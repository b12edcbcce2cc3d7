//! The framing of an archive as one stream.
//!
//! ```text
//!   "vat-archive 1\n"   record   record   …   record of the manifest   0: u16
//!                       │
//!                       └ length of the name: u16, the name, (length: u32, bytes)*, 0: u32
//! ```
//!
//! A stream cannot be gone back in, so whoever writes it says how long something is only chunk by chunk. One that ends early is told by the
//! record in which it ends. What the records hold is verified when it is unpacked, as in any directory.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::ArchiveError;
use super::container::ARTIFACTS;
use super::manifest::FILE;

pub(super) const MAGIC: &[u8] = b"vat-archive 1\n";
/// Bytes of one chunk, at most, as we write it.
pub(super) const CHUNK_BYTES: usize = 1 << 16;
/// Longest name of a record: those of artifacts fit by far.
const NAME_BYTES_MAX: usize = 512;

pub(super) fn begin_record(out: &mut dyn Write, name: &str) -> io::Result<()> {
    let len = u16::try_from(name.len()).expect("names of artifacts are short");
    out.write_all(&len.to_le_bytes())?;
    out.write_all(name.as_bytes())
}

/// Cuts what is written into chunks.
pub(super) struct Chunks<W>(pub(super) W);

impl<W: Write> Write for Chunks<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(CHUNK_BYTES)];
        if !bytes.is_empty() {
            let len = u32::try_from(bytes.len()).expect("a chunk is short");
            self.0.write_all(&len.to_le_bytes())?;
            self.0.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // What is below has its own buffer.
    }
}

/// Unpacks a stream into an empty directory.
pub(super) fn unpack(stream: &mut dyn Read, dir: &Path) -> Result<(), ArchiveError> {
    let artifacts = dir.join(ARTIFACTS);
    fs::create_dir_all(&artifacts).map_err(ArchiveError::io("make", &artifacts))?;
    let mut stream = BufReader::with_capacity(CHUNK_BYTES, stream);
    let magic = take::<{ MAGIC.len() }>(&mut stream, "in its first line")?;
    if magic != MAGIC {
        return Err(wrong("it does not begin like one"));
    }
    let mut before = "before its first record".to_owned();
    while let Some(name) = record_name(&mut stream, &before)? {
        let path = if name == FILE { dir.join(FILE) } else { artifacts.join(&name) };
        unpack_record(&mut stream, &name, &path)?;
        before = format!("after {name}");
    }
    match stream.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(wrong("something follows its end")),
        Err(error) => Err(ArchiveError::io("read", Path::new("the stream"))(error)),
    }
}

fn unpack_record(stream: &mut dyn Read, name: &str, path: &Path) -> Result<(), ArchiveError> {
    let file = File::create_new(path).map_err(ArchiveError::io("write", path))?;
    let mut file = BufWriter::with_capacity(CHUNK_BYTES, file);
    let within = format!("within {name}");
    loop {
        let len = u64::from(u32::from_le_bytes(take(stream, &within)?));
        if len == 0 {
            return file.flush().map_err(ArchiveError::io("write", path));
        }
        let copied = io::copy(&mut stream.take(len), &mut file);
        if copied.map_err(ArchiveError::io("write", path))? != len {
            return Err(cut(&within));
        }
    }
}

fn record_name(stream: &mut dyn Read, place: &str) -> Result<Option<String>, ArchiveError> {
    let len = usize::from(u16::from_le_bytes(take(stream, place)?));
    if len == 0 {
        return Ok(None);
    }
    if len > NAME_BYTES_MAX {
        return Err(wrong("the name of a record is too long"));
    }
    let mut name = vec![0; len];
    read_exact(stream, &mut name, place)?;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    let name = String::from_utf8(name).ok().filter(|name| name.bytes().all(|byte| is_plain(&byte)));
    match name {
        Some(name) if !name.starts_with('.') => Ok(Some(name)),
        _ => Err(wrong("a record's name is none of an artifact")),
    }
}

fn take<const N: usize>(stream: &mut dyn Read, place: &str) -> Result<[u8; N], ArchiveError> {
    let mut bytes = [0; N];
    read_exact(stream, &mut bytes, place)?;
    Ok(bytes)
}

fn read_exact(stream: &mut dyn Read, bytes: &mut [u8], place: &str) -> Result<(), ArchiveError> {
    stream.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => cut(place),
        _ => ArchiveError::io("read", Path::new("the stream"))(error),
    })
}

fn cut(place: &str) -> ArchiveError {
    wrong(&format!(
        "it ends too early, {place}: the export that wrote it was interrupted, or a part was lost"
    ))
}

fn wrong(what: &str) -> ArchiveError {
    ArchiveError::Stream { what: what.to_owned() }
}
