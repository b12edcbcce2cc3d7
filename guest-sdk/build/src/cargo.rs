//! Runs a cargo within the cargo: compiles packages of a workspace to wasm.
//!
//! The nested cargo works in the workspace that it was pointed at, with that workspace's lock file, the
//! profile `guest` (ours unless the workspace defines one) and a target directory of its own. Paths are
//! remapped, so that panics name `src/lib.rs` alike on every machine. It adds no dependencies and changes no
//! manifest.

use crate::environment::isolated;
use crate::{Error, GuestTarget, STACK_BYTES, Toolchain, depfile};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The profile that vats are compiled with, for workspaces that do not say.
const PROFILE: &[&str] = &[
    "profile.guest.inherits=\"release\"",
    "profile.guest.opt-level=\"s\"",
    "profile.guest.lto=true",
    "profile.guest.codegen-units=1",
    "profile.guest.panic=\"abort\"",
    "profile.guest.debug=false",
    "profile.guest.strip=\"debuginfo\"",
];

/// Makes a WASI vat boot once, by an export `_initialize`. rustc links a `cdylib` without it, and then every
/// call of an export runs libc's constructors anew.
const REACTOR: &str = "\u{1f}-Clink-arg=-l:crt1-reactor.o\u{1f}-Clink-arg=--export=_initialize";

/// One run of a nested cargo.
#[derive(Clone, Debug)]
pub struct VatBuild {
    /// The directory that holds the workspace's `Cargo.toml`.
    pub workspace: PathBuf,
    /// What to compile. Packages that are compiled together share their dependencies' features.
    pub packages: Vec<String>,
    /// What to compile it for.
    pub target: GuestTarget,
    /// Where cargo keeps its work. Must not be the directory of a cargo that waits for this one.
    pub target_dir: PathBuf,
}

/// A compiled vat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The module.
    pub wasm: PathBuf,
    /// The local files that it was made from; a change to one of them asks for a new build.
    pub inputs: Vec<PathBuf>,
}

impl VatBuild {
    /// Compiles the packages; returns one [`Built`] for each, in their order.
    ///
    /// # Errors
    /// [`Error::Compile`] with cargo's own words, [`Error::NoModule`] for a package that is not a `cdylib` or
    /// renames its library, [`Error::Io`] where cargo cannot be run.
    pub fn run(&self, toolchain: &Toolchain) -> Result<Vec<Built>, Error> {
        let output = self.command(toolchain).output().map_err(Error::io(|| "run cargo"))?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::Compile { what: self.packages.join(", "), output });
        }
        self.packages.iter().map(|package| self.built(package)).collect()
    }

    fn command(&self, toolchain: &Toolchain) -> std::process::Command {
        let mut command = isolated(cargo());
        command.current_dir(&self.workspace).stdin(Stdio::null()).env("CARGO_TERM_COLOR", "never");
        command.env("CARGO_ENCODED_RUSTFLAGS", self.rustflags());
        command.args([
            "build",
            "--quiet",
            "--profile",
            "guest",
            "--target",
            self.target.triple(),
            "--target-dir",
        ]);
        command.arg(&self.target_dir);
        for package in &self.packages {
            command.args(["--package", package]);
        }
        if !self.defines_profile() {
            command.args(PROFILE.iter().flat_map(|setting| ["--config", setting]));
        }
        toolchain.apply(&mut command);
        command
    }

    /// Flags for the wasm code only: with `--target`, cargo compiles build scripts and macros without them.
    fn rustflags(&self) -> OsString {
        let mut flags = OsString::from(format!("-Clink-arg=-zstack-size={STACK_BYTES}"));
        if self.target == GuestTarget::Wasip1 {
            flags.push(REACTOR);
        }
        let remapped = [(Some(self.workspace.clone()), "/vat"), (cargo_home(), "/cargo")];
        for (from, to) in remapped {
            if let Some(from) = from {
                flags.push("\u{1f}--remap-path-prefix=");
                flags.push(from);
                flags.push(format!("={to}"));
            }
        }
        flags
    }

    fn defines_profile(&self) -> bool {
        let manifest = std::fs::read_to_string(self.workspace.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim_end() == "[profile.guest]")
    }

    fn built(&self, package: &str) -> Result<Built, Error> {
        let stem = self.target_dir.join(self.target.triple()).join("guest").join(package.replace('-', "_"));
        let wasm = stem.with_extension("wasm");
        if !wasm.is_file() {
            return Err(Error::NoModule { path: wasm });
        }
        let depfile = stem.with_extension("d");
        let text =
            std::fs::read_to_string(&depfile).map_err(Error::io(|| format!("read {}", depfile.display())))?;
        Ok(Built { wasm, inputs: depfile::inputs(&text) })
    }
}

/// Finds the workspace that the package in `manifest_dir` belongs to.
///
/// # Errors
/// [`Error::Io`] where cargo cannot be run, [`Error::Compile`] where it knows no such package.
pub fn workspace_root(manifest_dir: &Path) -> Result<PathBuf, Error> {
    let mut command = isolated(cargo());
    command.current_dir(manifest_dir).args(["locate-project", "--workspace", "--message-format", "plain"]);
    let output =
        command.output().map_err(Error::io(|| format!("run cargo in {}", manifest_dir.display())))?;
    let manifest = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end());
    match manifest.parent() {
        Some(root) if output.status.success() => Ok(root.to_owned()),
        _ => Err(Error::Compile {
            what: manifest_dir.display().to_string(),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
    }
}

/// The cargo that runs us, else the shell's.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn cargo_home() -> Option<PathBuf> {
    let chosen = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    chosen.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
}
