//! Compiles vats written in C: clang for the code, the linker that came with rustc (or LLVM's) for the
//! module.
//!
//! No libc, no WASI: a C vat brings what it uses. gcc has no wasm and is not asked.

use crate::environment::isolated;
use crate::{Built, Error, STACK_BYTES};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The newest and the oldest clang that is looked for under its versioned name.
const CLANG_VERSIONS: std::ops::RangeInclusive<u32> = 14..=24;

/// A clang that produces wasm, and a linker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CCompiler {
    clang: OsString,
    /// A program and the arguments that make it LLVM's linker for wasm.
    linker: Vec<OsString>,
}

impl CCompiler {
    /// The environment variable that names the compiler to use; for `cargo::rerun-if-env-changed`.
    pub const VARIABLE: &str = "WASM_CC";

    /// Finds a compiler: `$WASM_CC`, `clang`, then the versioned names from the newest down.
    ///
    /// # Errors
    /// [`Error::NoCCompiler`] where none of them exists and produces wasm, or none of the linkers does.
    pub fn find() -> Result<CCompiler, Error> {
        let named = std::env::var_os(CCompiler::VARIABLE);
        let versioned = CLANG_VERSIONS.rev().map(|version| OsString::from(format!("clang-{version}")));
        let mut clangs = named.into_iter().chain(["clang".into()]).chain(versioned);
        let clang = clangs.find(produces_wasm).ok_or(Error::NoCCompiler)?;
        let versioned = CLANG_VERSIONS.rev().map(|version| OsString::from(format!("wasm-ld-{version}")));
        let mut linkers = rust_lld()
            .into_iter()
            .chain([vec!["wasm-ld".into()]])
            .chain(versioned.map(|linker| vec![linker]));
        let linker = linkers.find(|linker| links_wasm(linker)).ok_or(Error::NoCCompiler)?;
        Ok(CCompiler { clang, linker })
    }

    /// Compiles one C file to a vat that exports `vat_deliver`, leaving everything in `out_dir`; `headers`
    /// are files that it includes, from their own directories.
    ///
    /// # Errors
    /// [`Error::Compile`] with the compiler's words (warnings are errors), [`Error::Io`] where it cannot be
    /// run.
    pub fn compile(&self, source: &Path, headers: &[PathBuf], out_dir: &Path) -> Result<Built, Error> {
        let stem = out_dir.join(source.file_stem().unwrap_or_default());
        let (object, wasm) = (stem.with_extension("o"), stem.with_extension("wasm"));
        let mut compile = isolated(&self.clang);
        compile.args([
            "--target=wasm32-unknown-unknown",
            "-std=c11",
            "-Os",
            "-ffreestanding",
            "-mbulk-memory",
        ]);
        compile.args(["-Wall", "-Wextra", "-Werror"]);
        for directory in headers.iter().filter_map(|header| header.parent()) {
            compile.arg("-I").arg(directory);
        }
        compile.arg("-c").arg(source).arg("-o").arg(&object);
        run(&mut compile, source)?;

        let mut link = isolated(&self.linker[0]);
        link.args(&self.linker[1..]);
        link.args(["--no-entry", "--export=vat_deliver", "--strip-all", "--stack-first", "-z"]);
        link.arg(format!("stack-size={STACK_BYTES}")).arg(&object).arg("-o").arg(&wasm);
        run(&mut link, source)?;
        let inputs = [source.to_owned()].into_iter().chain(headers.iter().cloned()).collect();
        Ok(Built { wasm, inputs })
    }
}

fn run(command: &mut Command, source: &Path) -> Result<(), Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(Error::io(|| format!("run {program}")))?;
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Compile { what: source.display().to_string(), output })
}

/// Some distributors' clangs leave out the wasm backend, so one is asked to compile nothing for it.
fn produces_wasm(clang: &OsString) -> bool {
    let mut command = isolated(clang);
    command.args(["--target=wasm32-unknown-unknown", "-x", "c", "-S", "-o", "-", "-"]);
    succeeds(&mut command)
}

fn links_wasm(linker: &[OsString]) -> bool {
    succeeds(isolated(&linker[0]).args(&linker[1..]).arg("--version"))
}

fn succeeds(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// The linker that rustup installs with rustc, which knows wasm whether or not rustc has a wasm target.
fn rust_lld() -> Option<Vec<OsString>> {
    let print = |arguments: &[&str]| {
        let output = isolated("rustc").args(arguments).output().ok()?;
        String::from_utf8(output.stdout).ok()
    };
    let sysroot = print(&["--print", "sysroot"])?;
    let version = print(&["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "))?;
    let path = Path::new(sysroot.trim_end()).join("lib/rustlib").join(host).join("bin/rust-lld");
    path.is_file().then(|| vec![path.into(), "-flavor".into(), "wasm".into()])
}
