//! Compiled code on disk, so that a module is compiled once and not once per run.
//!
//! ```text
//!   <dir>/<key>.code   what wasmtime serialized, mapped back and shared between processes
//!   <dir>/<key>.sum    BLAKE3 of it, keyed by the key, 32 bytes
//!   key = BLAKE3(module hash ‖ RULES_VERSION ‖ engine compatibility ‖ version of this crate)
//! ```
//!
//! The engine's compatibility covers its version, all settings and the processor's features. Both files are written under a
//! temporary name and renamed, the sum last; the directory is private to its owner. A missing, foreign, truncated or altered
//! entry is compiled again, never executed and never an error; so is a whole one of another module or another engine that got
//! the name of this one, since the sum holds for one key only. What is no plain file (a link, a directory, a pipe, a device) is
//! not opened. The sum keeps out accidents and mix-ups; it is no signature, and who can write into the directory can make one. The cache is not bounded: one entry per installed module and
//! engine version; deleting any file, or all of it, is always safe.
//!
//! A file is hashed when this process sees it for the first time, and again whenever it is not the same file in the same
//! state ([`FileState`]): another file under its name, or a change to it, which the kernel stamps with a time that no
//! program can set. As long as it is the same, its bytes are those that were hashed.

use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use lru::LruCache;

use crate::config::RULES_VERSION;
use crate::error::Error;
use crate::file_state::FileState;
use crate::native::{VerifiedCode, load_code};

/// Files whose verification is remembered. One that is forgotten is hashed once more.
const VERIFIED_MAX: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// Bytes hashed at once: what the nearer caches of a processor hold.
const CHUNK_BYTES: usize = 64 << 10;

/// The directory.
#[derive(Debug)]
pub(crate) struct CodeCache {
    dir: PathBuf,
    environment: [u8; 32],
    /// By module, the state in which its file was when its bytes were hashed and found good.
    verified: Mutex<LruCache<[u8; 32], FileState>>,
}

impl CodeCache {
    /// Opens or makes the directory.
    pub(crate) fn open(dir: &Path, engine: &wasmtime::Engine) -> Result<CodeCache, Error> {
        make_private(dir).map_err(|source| Error::CodeCache { path: dir.to_owned(), source })?;
        let mut hasher = Blake3Hasher(blake3::Hasher::new());
        RULES_VERSION.hash(&mut hasher);
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let environment = *hasher.0.finalize().as_bytes();
        let verified = Mutex::new(LruCache::new(VERIFIED_MAX));
        Ok(CodeCache { dir: dir.to_owned(), environment, verified })
    }

    /// The module's code if it is there and intact.
    pub(crate) fn load(&self, engine: &wasmtime::Engine, module: &[u8; 32]) -> Option<wasmtime::Module> {
        let path = self.path(module, "code");
        let verified = match self.verify(module, &path) {
            Ok(verified) => verified,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled code is not used; compiling again");
                return None;
            }
        };
        load_code(engine, verified)
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "compiled code is not used; compiling again"))
            .ok()
    }

    /// Keeps the module's code. Failure costs only time at the next start, so it is logged and not returned.
    pub(crate) fn save(&self, module: &[u8; 32], compiled: &wasmtime::Module) {
        let written = compiled.serialize().map_err(io::Error::other).and_then(|code| {
            write_whole(&self.path(module, "code"), &code)?;
            write_whole(&self.path(module, "sum"), blake3::keyed_hash(&self.key(module), &code).as_bytes())
        });
        if let Err(error) = written {
            tracing::warn!(dir = %self.dir.display(), %error, "compiled code is not kept");
        }
    }

    /// Opens the file that is then mapped, and compares its bytes with the sum, unless that was done before and the file is
    /// the same as it was then.
    fn verify(&self, module: &[u8; 32], path: &Path) -> io::Result<VerifiedCode> {
        let file = open_plain(path)?;
        // Before the bytes are read: what changes while they are read leaves another state behind than this one.
        let state = FileState::of(&file)?;
        if state.is_some() && self.verified().get(module).copied() == state {
            return Ok(VerifiedCode(file));
        }
        self.verified().pop(module);
        let was_settled = state.filter(|state| self.is_settled(state));
        if hash(&file, blake3::Hasher::new_keyed(&self.key(module)))? != self.expected_sum(module)? {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum differs"));
        }
        if let Some(state) = was_settled {
            self.verified().put(*module, state);
        }
        Ok(VerifiedCode(file))
    }

    /// Whether every change from now on leaves another state behind: a file that is made now bears a later time.
    fn is_settled(&self, state: &FileState) -> bool {
        let path = self.dir.join(format!("now-{}", std::process::id()));
        let made = fs::write(&path, [0]).and_then(|()| FileState::of(&File::open(&path)?));
        // A name that stays is written over the next time, and harms nobody.
        let _ = fs::remove_file(&path);
        made.is_ok_and(|made| made.is_some_and(|made| state.is_before(&made)))
    }

    fn verified(&self) -> MutexGuard<'_, LruCache<[u8; 32], FileState>> {
        self.verified.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What the file beside the code says that its hash is.
    fn expected_sum(&self, module: &[u8; 32]) -> io::Result<blake3::Hash> {
        let mut sum = Vec::new();
        let one_too_many = blake3::OUT_LEN as u64 + 1;
        open_plain(&self.path(module, "sum"))?.take(one_too_many).read_to_end(&mut sum)?;
        blake3::Hash::from_slice(&sum)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "its checksum is not 32 bytes long"))
    }

    fn key(&self, module: &[u8; 32]) -> [u8; 32] {
        *blake3::Hasher::new().update(module).update(&self.environment).finalize().as_bytes()
    }

    fn path(&self, module: &[u8; 32], extension: &str) -> PathBuf {
        let key = blake3::Hash::from_bytes(self.key(module));
        self.dir.join(format!("{}.{extension}", key.to_hex()))
    }
}

/// Opens a file for reading, if it is one: a pipe would be waited for, a device may never end.
fn open_plain(path: &Path) -> io::Result<File> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a plain file"));
    }
    File::open(path)
}

/// The hash of a whole file, by a hasher that has seen nothing yet.
fn hash(mut file: &File, mut hasher: blake3::Hasher) -> io::Result<blake3::Hash> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            n => hasher.update(&buffer[..n]),
        };
    }
}

/// Makes `dir` and lets only its owner enter.
fn make_private(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Writes under another name, then renames: a reader sees all of it or none.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, path)
}

/// Feeds what implements `Hash` to BLAKE3, whose result is the same in every build.
struct Blake3Hasher(blake3::Hasher);

impl Hasher for Blake3Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let bytes = self.0.finalize();
        u64::from_le_bytes(bytes.as_bytes()[..8].try_into().expect("eight bytes of 32"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: [u8; 32] = [7; 32];

    fn compiled(engine: &wasmtime::Engine) -> wasmtime::Module {
        wasmtime::Module::new(engine, wat::parse_str("(module)").unwrap()).unwrap()
    }

    /// The sum is good and was made for this very key; what is behind it was compiled with other settings.
    #[test]
    fn code_of_an_engine_with_other_settings_is_not_loaded_even_under_a_good_sum() {
        let dir = tempfile::tempdir().unwrap();
        let ours = wasmtime::Engine::default();
        let theirs = wasmtime::Engine::new(wasmtime::Config::new().consume_fuel(true)).unwrap();
        let cache = CodeCache::open(dir.path(), &ours).unwrap();
        cache.save(&MODULE, &compiled(&theirs));
        assert!(cache.load(&ours, &MODULE).is_none());
        cache.save(&MODULE, &compiled(&ours));
        assert!(cache.load(&ours, &MODULE).is_some());
    }

    /// The files of one environment (engine, settings, processor) under the names of another.
    #[test]
    fn code_of_another_environment_is_not_loaded_under_a_name_of_this_one() {
        let dir = tempfile::tempdir().unwrap();
        let engine = wasmtime::Engine::default();
        let ours = CodeCache::open(dir.path(), &engine).unwrap();
        let theirs = CodeCache { environment: [1; 32], ..CodeCache::open(dir.path(), &engine).unwrap() };
        theirs.save(&MODULE, &compiled(&engine));
        for extension in ["code", "sum"] {
            fs::rename(theirs.path(&MODULE, extension), ours.path(&MODULE, extension)).unwrap();
        }
        assert!(ours.load(&engine, &MODULE).is_none());
    }
}
