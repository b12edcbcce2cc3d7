//! What a nested compiler may know of the one around it.
//!
//! Cargo tells the build scripts and tests that it runs a great deal through the environment, and a nested
//! cargo would obey all of it: the outer `CARGO_TARGET_DIR` is locked (it would wait for ever),
//! `RUSTC_WORKSPACE_WRAPPER` is clippy, `CARGO_ENCODED_RUSTFLAGS` are the host's. So everything of cargo's
//! and rustc's is dropped but what says where to download from and how many jobs there are.

use std::ffi::OsStr;
use std::process::Command;

/// Variables that pass, and prefixes (with `*`) of such.
const PASSED: &[&str] = &[
    "CARGO_HOME",
    "CARGO_MAKEFLAGS", // the outer cargo's job server: two cargos then share the machine's cores
    "CARGO_HTTP_*",
    "CARGO_NET_*",
    "CARGO_REGISTRIES_*",
    "CARGO_REGISTRY_*",
    "CARGO_SOURCE_*",
];

/// A command that inherits nothing of the cargo or rustc which may be around us.
pub(crate) fn isolated(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_dropped) {
            command.env_remove(&name);
        }
    }
    command
}

fn is_dropped(name: &str) -> bool {
    let of_the_build =
        ["CARGO", "RUSTC", "RUSTFLAGS", "RUSTDOC"].iter().any(|prefix| name.starts_with(prefix));
    of_the_build && !PASSED.iter().any(|pattern| matches(pattern, name))
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::is_dropped;

    #[test]
    fn settings_of_the_outer_build_are_dropped() {
        let dropped = [
            "CARGO",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_INCREMENTAL",
            "CARGO_MANIFEST_DIR",
            "CARGO_PROFILE_GUEST_LTO",
            "CARGO_TARGET_DIR",
            "RUSTC",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
        ];
        for name in dropped {
            assert!(is_dropped(name), "{name} reaches the nested cargo");
        }
    }

    #[test]
    fn where_to_download_from_is_kept() {
        let kept =
            ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_MAKEFLAGS", "PATH", "RUSTUP_TOOLCHAIN", "RUSTUP_HOME"];
        for name in kept {
            assert!(!is_dropped(name), "{name} does not reach the nested cargo");
        }
    }
}
