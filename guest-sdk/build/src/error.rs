//! Why a vat could not be built, in words that say what to do.

use crate::GuestTarget;
use std::fmt;
use std::path::PathBuf;

/// Why a vat could not be built. The text is meant to be shown as it is; it may have several lines.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No rustc with a standard library for these targets could be found or made.
    Toolchain {
        /// What was asked for.
        targets: Vec<GuestTarget>,
        /// What was tried, and what its answers were.
        tried: String,
    },
    /// No C compiler that can produce wasm was found.
    NoCCompiler,
    /// A compiler ran and refused.
    Compile {
        /// What was being compiled.
        what: String,
        /// What the compiler wrote.
        output: String,
    },
    /// The compiler was content, but the module is not where it should be.
    NoModule {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A program or file could not be used.
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// Wraps an I/O error: `.map_err(Error::io(|| format!("read {path}")))`.
    pub(crate) fn io<S: Into<String>>(what: impl FnOnce() -> S) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { what: what().into(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Toolchain { targets, tried } => {
                let names: Vec<_> = targets.iter().map(|target| target.triple()).collect();
                let names = names.join(" ");
                write!(f, "no Rust compiler for {names} here; run `rustup target add {names}`\n{tried}")
            }
            Error::NoCCompiler => write!(
                f,
                "no C compiler for wasm here; install clang (on Debian: `apt-get install clang lld`) or name one in WASM_CC"
            ),
            Error::Compile { what, output } => write!(f, "{what} does not compile:\n{output}"),
            Error::NoModule { path } => write!(
                f,
                "the build succeeded but left no {}; a vat's Cargo.toml needs [lib] crate-type = [\"cdylib\"]",
                path.display()
            ),
            Error::Io { what, source } => write!(f, "cannot {what}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
