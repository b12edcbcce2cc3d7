//! Where an archive's bytes go and come from: a directory, or one stream. The formats are in the [module above](super).
//!
//! ```text
//!   DIR/manifest.new      made first, empty: an export has begun here
//!   DIR/artifacts/…       compared with what an interrupted run left, and written where it differs
//!                         all synced, and what the manifest does not name removed
//!   DIR/manifest.new      written, synced, renamed to manifest.json: the archive is one, and whole
//! ```
//!
//! So a directory with `manifest.new` in place of the manifest is an export that did not come to its end: running it again completes
//! it, and an import says so. Nothing else that is there is ever written into.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::manifest::{Artifact, FILE};
use super::mending::Mending;
use super::{ArchiveError, Target};

const MAGIC: &[u8] = b"vat-archive 1\n";
const ARTIFACTS: &str = "artifacts";
/// The manifest's name until it is whole.
const NEW: &str = "manifest.new";
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
                if !is_unfinished(&path) {
                    require_empty(&path)?;
                }
                begin_dir(&path).map_err(ArchiveError::io("make an archive in", &path))?;
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
                let mut file = Mending::open(&path).map_err(ArchiveError::io("write", &path))?;
                let artifact = Hashing::run(name, &mut file, &path, fill)?;
                file.finish().map_err(ArchiveError::io("write", &path))?;
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

    /// Writes the manifest, which makes the archive one. `names` are the artifacts that it names, in order.
    pub(super) fn finish(self, manifest: &[u8], names: &[&str]) -> Result<(), ArchiveError> {
        match self.0 {
            Kind::Dir(dir) => {
                sync_artifacts(&dir.join(ARTIFACTS), names)?;
                let (new, path) = (dir.join(NEW), dir.join(FILE));
                let write = || {
                    let mut file = File::create(&new)?;
                    file.write_all(manifest)?;
                    file.sync_all()?;
                    fs::rename(&new, &path)?;
                    sync(&dir)
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

/// Whether an export into this directory did not come to its end.
pub(super) fn is_unfinished(dir: &Path) -> bool {
    let names = list(dir).unwrap_or_default();
    let is_ours = |name: &String| name == NEW || name == ARTIFACTS;
    names.iter().any(|name| name == NEW) && names.iter().all(is_ours)
}

fn begin_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    File::options().write(true).create(true).truncate(false).open(dir.join(NEW))?.sync_all()?;
    sync(dir)?;
    // A place for it may be only what was just made.
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync(parent)?;
    }
    fs::create_dir_all(dir.join(ARTIFACTS))
}

/// Makes the artifacts durable, and removes what an interrupted run left that is not one of them.
fn sync_artifacts(dir: &Path, names: &[&str]) -> Result<(), ArchiveError> {
    for left in list(dir).map_err(ArchiveError::io("read", dir))? {
        let path = dir.join(&left);
        let settle = || match names.binary_search(&left.as_str()) {
            Ok(_) => sync(&path),
            Err(_) => fs::remove_file(&path),
        };
        settle().map_err(ArchiveError::io("sync", &path))?;
    }
    let sync_dirs = || {
        sync(dir)?;
        dir.parent().map_or(Ok(()), sync)
    };
    sync_dirs().map_err(ArchiveError::io("sync", dir))
}

/// Makes a file, or the names in a directory, durable.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn list(dir: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<String>>>()?;
    names.sort_unstable();
    Ok(names)
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
        if is_unfinished(&self.dir) {
            return Err(ArchiveError::Unfinished { path: self.dir.clone() });
        }
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
        list(&path).map_err(ArchiveError::io("read", &path))
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
