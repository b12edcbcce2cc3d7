//! Compiled code on disk, so that a module is compiled once and not once per run.
//!
//! ```text
//!   <dir>/<key>.code   what wasmtime serialized, mapped back and shared between processes
//!   <dir>/<key>.sum    BLAKE3 of it, 32 bytes
//!   key = BLAKE3(module hash ‖ RULES_VERSION ‖ engine compatibility ‖ version of this crate)
//! ```
//!
//! The engine's compatibility covers its version, all settings and the processor's features. Both files are written under a
//! temporary name and renamed, the sum last; the directory is private to its owner. A missing, foreign, truncated or altered
//! entry is compiled again, never executed and never an error. The cache is not bounded: one entry per installed module and
//! engine version; deleting any file, or all of it, is always safe.

use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::config::RULES_VERSION;
use crate::error::Error;
use crate::native::{VerifiedCode, load_code};

/// The directory.
#[derive(Debug)]
pub(crate) struct CodeCache {
    dir: PathBuf,
    environment: [u8; 32],
}

impl CodeCache {
    /// Opens or makes the directory.
    pub(crate) fn open(dir: &Path, engine: &wasmtime::Engine) -> Result<CodeCache, Error> {
        make_private(dir).map_err(|source| Error::CodeCache { path: dir.to_owned(), source })?;
        let mut hasher = Blake3Hasher(blake3::Hasher::new());
        RULES_VERSION.hash(&mut hasher);
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(CodeCache { dir: dir.to_owned(), environment: *hasher.0.finalize().as_bytes() })
    }

    /// The module's code if it is there and intact.
    pub(crate) fn load(&self, engine: &wasmtime::Engine, module: &[u8; 32]) -> Option<wasmtime::Module> {
        let path = self.path(module, "code");
        let verified = match self.verify(&path, &self.path(module, "sum")) {
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
            write_whole(&self.path(module, "sum"), blake3::hash(&code).as_bytes())
        });
        if let Err(error) = written {
            tracing::warn!(dir = %self.dir.display(), %error, "compiled code is not kept");
        }
    }

    /// Reads the whole file through the handle that is then mapped, and compares.
    fn verify(&self, code: &Path, sum: &Path) -> io::Result<VerifiedCode> {
        let expected = fs::read(sum)?;
        let mut file = File::open(code)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => hasher.update(&buffer[..n]),
            };
        }
        if hasher.finalize().as_bytes().as_slice() != expected.as_slice() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum differs"));
        }
        Ok(VerifiedCode(file))
    }

    fn path(&self, module: &[u8; 32], extension: &str) -> PathBuf {
        let mut key = blake3::Hasher::new();
        key.update(module).update(&self.environment);
        self.dir.join(format!("{}.{extension}", key.finalize().to_hex()))
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
