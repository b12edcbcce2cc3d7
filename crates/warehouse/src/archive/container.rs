//! Where an archive's bytes go and come from: a directory, or one stream. The formats are in the [module above](super).
//!
//! The manifest is written last: a directory without it is an export that did not come to its end, and no archive.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::manifest::{Artifact, FILE};
use super::{ArchiveError, Target};

const MAGIC: &[u8] = b"vat-archive 1\n";
const ARTIFACTS: &str = "artifacts";
/// Bytes of one chunk of a stream, at most, as we write it.
const CHUNK_BYTES: usize = 1 << 16;
/// Longest name of a record: those of artifacts fit by far.
const NAME_BYTES_MAX: usize = 512;

/// An archive that is being written.
pub(super) struct Writer<'a>(Kind<'a>);

enum Kind<'a> {
    Dir(PathBuf),
    Stream(BufWriter<&'a mut dyn Write>),
}

impl<'a> Writer<'a> {
    pub(super) fn begin(target: Target<'a>) -> Result<Writer<'a>, ArchiveError> {
        match target {
            Target::Dir(path) => {
                require_empty(&path)?;
                let artifacts = path.join(ARTIFACTS);
                fs::create_dir_all(&artifacts).map_err(ArchiveError::io("make", &artifacts))?;
                Ok(Writer(Kind::Dir(path)))
            }
            Target::Stream(out) => {
                let mut out = BufWriter::with_capacity(CHUNK_BYTES, out);
                out.write_all(MAGIC).map_err(ArchiveError::io("write", Path::new("the stream")))?;
                Ok(Writer(Kind::Stream(out)))
            }
        }
    }

    /// Writes one artifact, whose bytes `fill` gives.
    pub(super) fn artifact(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut Hashing<'_>) -> Result<(), ArchiveError>,
    ) -> Result<Artifact, ArchiveError> {
        match &mut self.0 {
            Kind::Dir(dir) => {
                let path = dir.join(ARTIFACTS).join(name);
                let file = File::create_new(&path).map_err(ArchiveError::io("write", &path))?;
                let mut file = BufWriter::with_capacity(CHUNK_BYTES, file);
                let artifact = Hashing::run(name, &mut file, &path, fill)?;
                file.flush().map_err(ArchiveError::io("write", &path))?;
                Ok(artifact)
            }
            Kind::Stream(out) => {
                let path = Path::new("the stream");
                begin_record(out, name).map_err(ArchiveError::io("write", path))?;
                let mut chunks = BufWriter::with_capacity(CHUNK_BYTES, Chunks(&mut *out));
                let artifact = Hashing::run(name, &mut chunks, path, fill)?;
                chunks.flush().map_err(ArchiveError::io("write", path))?;
                drop(chunks);
                out.write_all(&0u32.to_le_bytes()).map_err(ArchiveError::io("write", path))?;
                Ok(artifact)
            }
        }
    }

    /// Writes the manifest, which makes the archive one.
    pub(super) fn finish(self, manifest: &[u8]) -> Result<(), ArchiveError> {
        match self.0 {
            Kind::Dir(dir) => {
                let (new, path) = (dir.join("manifest.new"), dir.join(FILE));
                let write = || {
                    let mut file = File::create(&new)?;
                    file.write_all(manifest)?;
                    file.sync_all()?;
                    fs::rename(&new, &path)?;
                    File::open(&dir)?.sync_all()
                };
                write().map_err(ArchiveError::io("write", &path))
            }
            Kind::Stream(mut out) => {
                let mut write = || {
                    begin_record(&mut out, FILE)?;
                    Chunks(&mut out).write_all(manifest)?;
                    out.write_all(&0u32.to_le_bytes())?;
                    out.write_all(&0u16.to_le_bytes())?;
                    out.flush()
                };
                write().map_err(ArchiveError::io("write", Path::new("the stream")))
            }
        }
    }
}

fn begin_record(out: &mut dyn Write, name: &str) -> io::Result<()> {
    let len = u16::try_from(name.len()).expect("names of artifacts are short");
    out.write_all(&len.to_le_bytes())?;
    out.write_all(name.as_bytes())
}

/// Cuts what is written into chunks.
struct Chunks<W>(W);

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

/// Counts and hashes what is written through it.
pub(super) struct Hashing<'a> {
    out: &'a mut dyn Write,
    path: &'a Path,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Hashing<'_> {
    fn run(
        name: &str,
        out: &mut dyn Write,
        path: &Path,
        fill: impl FnOnce(&mut Hashing<'_>) -> Result<(), ArchiveError>,
    ) -> Result<Artifact, ArchiveError> {
        let mut hashing = Hashing { out, path, hasher: blake3::Hasher::new(), bytes: 0 };
        fill(&mut hashing)?;
        let blake3 = hashing.hasher.finalize().to_hex().to_string();
        Ok(Artifact { name: name.to_owned(), bytes: hashing.bytes, blake3 })
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(ArchiveError::io("write", self.path))
    }
}

/// Fails unless there is nothing at `path`, or an empty directory.
pub(super) fn require_empty(path: &Path) -> Result<(), ArchiveError> {
    match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(ArchiveError::NotEmpty { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(ArchiveError::io("read", path)(error)),
    }
}

/// An archive in a directory, to be read.
#[derive(Debug)]
pub(super) struct Reader {
    dir: PathBuf,
}

impl Reader {
    pub(super) fn new(dir: &Path) -> Reader {
        Reader { dir: dir.to_owned() }
    }

    pub(super) fn manifest(&self) -> Result<Vec<u8>, ArchiveError> {
        let path = self.dir.join(FILE);
        let file = File::open(&path).map_err(ArchiveError::io("open", &path))?;
        let mut bytes = Vec::new();
        let limit = super::manifest::BYTES_MAX;
        file.take(limit + 1).read_to_end(&mut bytes).map_err(ArchiveError::io("read", &path))?;
        if bytes.len() as u64 > limit {
            return Err(ArchiveError::manifest(format!("it is longer than {limit} bytes")));
        }
        Ok(bytes)
    }

    /// The names of all artifacts, in order.
    pub(super) fn names(&self) -> Result<Vec<String>, ArchiveError> {
        let path = self.dir.join(ARTIFACTS);
        let list = || -> io::Result<Vec<String>> {
            fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        let mut names = list().map_err(ArchiveError::io("read", &path))?;
        names.sort_unstable();
        Ok(names)
    }

    /// Fails unless the artifact's bytes are those that the manifest names.
    pub(super) fn verify(&self, artifact: &Artifact) -> Result<(), ArchiveError> {
        let mut file = self.open(artifact)?;
        let mut hasher = blake3::Hasher::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut bytes = 0;
        loop {
            let count = file.read(&mut chunk).map_err(ArchiveError::io("read", &self.path(artifact)))?;
            if count == 0 {
                break;
            }
            bytes += count as u64;
            hasher.update(&chunk[..count]);
        }
        if bytes != artifact.bytes {
            let what = format!("it has {bytes} bytes, and should have {}", artifact.bytes);
            return Err(ArchiveError::artifact(&artifact.name, what));
        }
        if hasher.finalize().to_hex().as_str() != artifact.blake3 {
            return Err(ArchiveError::artifact(&artifact.name, "its bytes do not have the manifest's hash"));
        }
        Ok(())
    }

    pub(super) fn open(&self, artifact: &Artifact) -> Result<BufReader<File>, ArchiveError> {
        let path = self.path(artifact);
        match File::open(&path) {
            Ok(file) => Ok(BufReader::with_capacity(CHUNK_BYTES, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ArchiveError::artifact(&artifact.name, "it is missing"))
            }
            Err(error) => Err(ArchiveError::io("open", &path)(error)),
        }
    }

    pub(super) fn path(&self, artifact: &Artifact) -> PathBuf {
        self.dir.join(ARTIFACTS).join(&artifact.name)
    }
}

/// Unpacks a stream into an empty directory.
pub(super) fn unpack(stream: &mut dyn Read, dir: &Path) -> Result<(), ArchiveError> {
    let artifacts = dir.join(ARTIFACTS);
    fs::create_dir_all(&artifacts).map_err(ArchiveError::io("make", &artifacts))?;
    let mut stream = BufReader::with_capacity(CHUNK_BYTES, stream);
    let magic = take::<{ MAGIC.len() }>(&mut stream)?;
    if magic != MAGIC {
        return Err(wrong("it does not begin like one"));
    }
    while let Some(name) = record_name(&mut stream)? {
        let path = if name == FILE { dir.join(FILE) } else { artifacts.join(&name) };
        let file = File::create_new(&path).map_err(ArchiveError::io("write", &path))?;
        let mut file = BufWriter::with_capacity(CHUNK_BYTES, file);
        loop {
            let len = u64::from(u32::from_le_bytes(take(&mut stream)?));
            if len == 0 {
                break;
            }
            let copied = io::copy(&mut (&mut stream).take(len), &mut file);
            if copied.map_err(ArchiveError::io("write", &path))? != len {
                return Err(wrong("it ends too early"));
            }
        }
        file.flush().map_err(ArchiveError::io("write", &path))?;
    }
    match stream.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(wrong("something follows its end")),
        Err(error) => Err(ArchiveError::io("read", Path::new("the stream"))(error)),
    }
}

fn record_name(stream: &mut dyn Read) -> Result<Option<String>, ArchiveError> {
    let len = usize::from(u16::from_le_bytes(take(stream)?));
    if len == 0 {
        return Ok(None);
    }
    if len > NAME_BYTES_MAX {
        return Err(wrong("the name of a record is too long"));
    }
    let mut name = vec![0; len];
    read_exact(stream, &mut name)?;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    let name = String::from_utf8(name).ok().filter(|name| name.bytes().all(|byte| is_plain(&byte)));
    match name {
        Some(name) if !name.starts_with('.') => Ok(Some(name)),
        _ => Err(wrong("a record's name is none of an artifact")),
    }
}

fn take<const N: usize>(stream: &mut dyn Read) -> Result<[u8; N], ArchiveError> {
    let mut bytes = [0; N];
    read_exact(stream, &mut bytes)?;
    Ok(bytes)
}

fn read_exact(stream: &mut dyn Read, bytes: &mut [u8]) -> Result<(), ArchiveError> {
    stream.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => wrong("it ends too early"),
        _ => ArchiveError::io("read", Path::new("the stream"))(error),
    })
}

fn wrong(what: &str) -> ArchiveError {
    ArchiveError::Stream { what: what.to_owned() }
}
