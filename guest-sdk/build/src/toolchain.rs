//! Finds a rustc that can compile vats, or makes one.
//!
//! The finding is done by `ensure-wasm-target.sh`, which people can also run by hand; this module carries the
//! script's text, asks rustc first (so that a machine with the target never needs a shell), and runs it
//! otherwise. It makes nothing itself and remembers nothing between runs.

use crate::environment::isolated;
use crate::{Error, GuestTarget};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SCRIPT: &str = include_str!("../ensure-wasm-target.sh");

/// A rustc that has a standard library for some [`GuestTarget`]s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// `None` is the rustc that the shell would find.
    rustc: Option<PathBuf>,
}

impl Toolchain {
    /// The environment variables that change what [`Toolchain::find`] finds; for
    /// `cargo::rerun-if-env-changed`.
    pub const VARIABLES: &[&str] =
        &["WASM_TARGET_NO_RUSTUP", "WASM_TARGET_NO_FALLBACK", "WASM_TOOLCHAIN_DIR"];

    /// Finds a rustc for all of `targets`. May download one, once, which takes minutes; `scratch` is an
    /// existing directory for the script.
    ///
    /// # Errors
    /// [`Error::Toolchain`] where there is none and none can be made, [`Error::Io`] where not even a shell
    /// runs.
    pub fn find(targets: &[GuestTarget], scratch: &Path) -> Result<Toolchain, Error> {
        if targets.iter().all(|&target| has_std(target)) {
            return Ok(Toolchain { rustc: None });
        }
        let script = scratch.join("ensure-wasm-target.sh");
        std::fs::write(&script, SCRIPT).map_err(Error::io(|| format!("write {}", script.display())))?;
        let mut command = isolated("sh");
        command.arg(&script).stdin(Stdio::null());
        for target in targets {
            command.args(["--target", target.triple()]);
        }
        let output = command.output().map_err(Error::io(|| "run sh"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if !output.status.success() {
            return Err(Error::Toolchain { targets: targets.to_vec(), tried: text(&output.stderr) });
        }
        let rustc = text(&output.stdout).strip_prefix("RUSTC=").map(PathBuf::from);
        Ok(Toolchain { rustc })
    }

    /// Makes `command`, a cargo, use this rustc.
    pub(crate) fn apply(&self, command: &mut Command) {
        if let Some(rustc) = &self.rustc {
            command.env("RUSTC", rustc);
        }
    }
}

/// Whether plain rustc has a standard library for `target`. Without one, rustc still names the directory.
fn has_std(target: GuestTarget) -> bool {
    let output = isolated("rustc").args(["--print", "target-libdir", "--target", target.triple()]).output();
    let Ok(output) = output else { return false };
    let directory = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end());
    let Ok(entries) = std::fs::read_dir(directory) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}
