//! Machines that cannot compile a vat: the tests fail with words that help, and for C say that they were
//! skipped. Each is tried in a child process, this binary again, whose environment is made so.

#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use vat_testkit::{GuestTarget, Result, Subject, TestVat};

/// Set in the child processes.
const CHILD: &str = "VAT_TESTKIT_CHILD";

/// Runs one test of this binary, as `cargo test` would, but with `path` for finding programs.
fn run(test: &str, path: &Path) -> Output {
    let exe = std::env::current_exe().expect("a running test has a file");
    let mut child = Command::new(exe);
    child.args(["--exact", test]).env(CHILD, "1").env("PATH", path).env_remove("WASM_CC");
    child.env("WASM_TARGET_NO_RUSTUP", "1").env("WASM_TARGET_NO_FALLBACK", "1");
    child.env("WASM_TOOLCHAIN_DIR", path.parent().expect("the directory lies in a temporary one"));
    child.output().expect("this binary can be run again")
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
fn child_compiles_rust() -> Result {
    if !is_child() {
        return Ok(());
    }
    let counter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/counter");
    TestVat::start(Subject::package(counter, "counter", GuestTarget::Unknown), ()).map(drop)
}

#[test]
fn child_compiles_c() -> Result {
    if is_child() {
        assert!(Subject::c("some/vat.c", &[])?.is_none());
    }
    Ok(())
}

#[test]
fn without_a_compiler_for_wasm_a_test_fails_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let programs = dir.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    // A rustc that knows no wasm; the shell and its tools stay.
    let rustc = programs.join("rustc");
    std::fs::write(&rustc, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&rustc, std::fs::Permissions::from_mode(0o755)).unwrap();
    for tool in ["sh", "mkdir", "cat", "flock", "rm", "uname", "ls"] {
        let found =
            ["/bin", "/usr/bin"].map(|place| Path::new(place).join(tool)).into_iter().find(|it| it.is_file());
        if let Some(found) = found {
            std::os::unix::fs::symlink(found, programs.join(tool)).unwrap();
        }
    }
    let output = run("child_compiles_rust", &programs);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    let expected = "the vat could not be built: no Rust compiler for wasm32-unknown-unknown here; \
                    run `rustup target add wasm32-unknown-unknown`";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn without_a_c_compiler_a_test_says_that_it_was_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = dir.path().join("bin");
    std::fs::create_dir(&nothing).unwrap();
    let output = run("child_compiles_c", &nothing);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("test skipped, some/vat.c not run: no C compiler for wasm here; install clang"),
        "{said}"
    );
}
