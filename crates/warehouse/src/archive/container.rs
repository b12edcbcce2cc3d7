//! Where an archive's bytes go and come from: a directory, or one stream. The formats are in the [module above](super),
//! the framing of the stream is [`stream`](super::stream)'s.
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
use super::stream::{CHUNK_BYTES, Chunks, MAGIC, begin_record};
use super::{ArchiveError, Target};

pub(super) const ARTIFACTS: &str = "artifacts";
/// The manifest's name until it is whole.
const NEW: &str = "manifest.new";

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
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync(parent)?,
        _ => sync(Path::new("."))?,
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
