//! Compiles the example vats and writes the table that the library includes.
//!
//! All vats of one target are compiled by one cargo, in parallel; when that fails, once more one by one, so
//! that a broken vat does not take the others with it. Failures become texts in the table and warnings, never
//! a failed build.
//!
//! The nested cargo's target directory is shared by everything that builds this workspace (debug and release,
//! clippy, the test kit), because guests are the same for all of them. What the library includes is copied to
//! `OUT_DIR`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};
use vat_sdk_build::{Built, CCompiler, Error, GuestTarget, Toolchain, VatBuild};

const RUST: &[(&str, GuestTarget)] = &[
    ("counter", GuestTarget::Unknown),
    ("ledger", GuestTarget::Unknown),
    ("mischief", GuestTarget::Unknown),
    ("raw", GuestTarget::Unknown),
    ("search", GuestTarget::Unknown),
    ("wasi-vat", GuestTarget::Wasip1),
];

/// Vats in C: the file's name without its ending.
const C: &[&str] = &["c-counter"];

/// What became of each vat, by name. The error is a text already: one failure can be several vats'.
type Outcomes = BTreeMap<&'static str, Result<Built, String>>;

fn main() {
    let out_dir = directory("OUT_DIR");
    let guests = directory("CARGO_MANIFEST_DIR");
    let sdk = guests.parent().expect("this package lies in guest-sdk/guests");
    let workspace = sdk.parent().expect("guest-sdk lies in the workspace");

    let mut outcomes = Outcomes::new();
    build_rust(workspace, &shared_target_dir(&out_dir), &mut outcomes);
    build_c(&sdk.join("c"), &out_dir, &mut outcomes);
    write_table(&outcomes, &out_dir);
    watch(workspace, &outcomes);
    warn(&outcomes);
}

fn directory(variable: &str) -> PathBuf {
    env::var_os(variable).expect("cargo sets this for build scripts").into()
}

/// `guests` in the outer cargo's target directory, which is the one that cargo has tagged.
fn shared_target_dir(out_dir: &Path) -> PathBuf {
    let tagged = out_dir.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file());
    tagged.unwrap_or(out_dir).join("guests")
}

fn build_rust(workspace: &Path, target_dir: &Path, outcomes: &mut Outcomes) {
    let of = |target: GuestTarget| -> Vec<&'static str> {
        RUST.iter().filter(|(_, its)| *its == target).map(|(name, _)| *name).collect()
    };
    let targets: Vec<_> =
        [GuestTarget::Unknown, GuestTarget::Wasip1].into_iter().filter(|&t| !of(t).is_empty()).collect();
    if let Err(error) = fs::create_dir_all(target_dir) {
        let reason = format!("cannot create {}: {error}", target_dir.display());
        outcomes.extend(RUST.iter().map(|(name, _)| (*name, Err(reason.clone()))));
        return;
    }
    // Both targets at once are made once; each alone may succeed where both do not.
    let both = Toolchain::find(&targets, target_dir);
    for target in targets {
        let toolchain = match &both {
            Ok(toolchain) => Ok(toolchain.clone()),
            Err(_) => Toolchain::find(&[target], target_dir),
        };
        match toolchain {
            Ok(toolchain) => compile(workspace, target, target_dir, &toolchain, &of(target), outcomes),
            Err(error) => outcomes.extend(of(target).iter().map(|name| (*name, Err(error.to_string())))),
        }
    }
}

fn compile(
    workspace: &Path,
    target: GuestTarget,
    target_dir: &Path,
    toolchain: &Toolchain,
    names: &[&'static str],
    outcomes: &mut Outcomes,
) {
    let run = |names: &[&'static str]| {
        let packages = names.iter().map(|name| (*name).to_owned()).collect();
        let (workspace, target_dir) = (workspace.to_owned(), target_dir.to_owned());
        VatBuild { workspace, packages, target, target_dir }.run(toolchain)
    };
    match run(names) {
        Ok(built) => outcomes.extend(names.iter().copied().zip(built.into_iter().map(Ok))),
        Err(_) => {
            for name in names {
                let alone = run(&[name]).map_err(|error| error.to_string());
                outcomes.insert(name, alone.map(|mut built| built.remove(0)));
            }
        }
    }
}

fn build_c(sources: &Path, out_dir: &Path, outcomes: &mut Outcomes) {
    if C.is_empty() {
        return;
    }
    let headers = [sources.join("vat.h")];
    let compiler = CCompiler::find();
    for name in C {
        let outcome = match &compiler {
            Ok(compiler) => compiler.compile(&sources.join(name).with_extension("c"), &headers, out_dir),
            Err(error) => {
                watch_for_compilers();
                outcomes.insert(name, Err(error.to_string()));
                continue;
            }
        };
        outcomes.insert(name, outcome.map_err(|error: Error| error.to_string()));
    }
}

/// One line for each vat, in Rust: its name, and its bytes or the reason of their absence.
fn write_table(outcomes: &Outcomes, out_dir: &Path) {
    let mut table = String::from("&[\n");
    for (name, outcome) in outcomes {
        let wasm = match outcome {
            Ok(built) => {
                let included = out_dir.join(name).with_extension("wasm");
                if included != built.wasm {
                    fs::copy(&built.wasm, &included).expect("a vat that was just built can be copied");
                }
                format!("Ok(include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}.wasm\")).as_slice())")
            }
            Err(reason) => format!("Err({reason:?})"),
        };
        table.push_str(&format!("    Guest {{ name: {name:?}, wasm: {wasm} }},\n"));
    }
    table.push(']');
    fs::write(out_dir.join("guests.rs"), table).expect("OUT_DIR is writable");
}

/// Has cargo repeat this script when something that went into a vat changes.
fn watch(workspace: &Path, outcomes: &Outcomes) {
    let manifests =
        RUST.iter().map(|(name, _)| workspace.join("guest-sdk/examples").join(name).join("Cargo.toml"));
    let mut files: BTreeSet<PathBuf> = manifests.collect();
    files.extend(
        ["Cargo.toml", "Cargo.lock", "guest-sdk/Cargo.toml", "guest-sdk/guests/build.rs"]
            .map(|f| workspace.join(f)),
    );
    files.extend(C.iter().map(|name| workspace.join("guest-sdk/c").join(name).with_extension("c")));
    files.extend(outcomes.values().flatten().flat_map(|built| built.inputs.iter().cloned()));
    if RUST.iter().any(|(name, _)| outcomes[name].is_err()) {
        files.insert(workspace.join("guest-sdk/guests/retry")); // never exists, so the next build tries again
    }
    for file in files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    for variable in Toolchain::VARIABLES.iter().chain([&CCompiler::VARIABLE]) {
        println!("cargo::rerun-if-env-changed={variable}");
    }
}

/// A missing C compiler is normal, and no reason to repeat this script each time; something new in PATH is.
fn watch_for_compilers() {
    for directory in env::split_paths(&env::var_os("PATH").unwrap_or_default()).filter(|path| path.is_dir()) {
        println!("cargo::rerun-if-changed={}", directory.display());
    }
}

fn warn(outcomes: &Outcomes) {
    let reasons: BTreeSet<&String> = outcomes.values().filter_map(|outcome| outcome.as_ref().err()).collect();
    for reason in reasons {
        let missing = outcomes.iter().filter(|(_, outcome)| outcome.as_ref().err() == Some(reason));
        let names: Vec<_> = missing.map(|(name, _)| *name).collect();
        let mut lines = reason.lines();
        let summary = lines.next().unwrap_or_default();
        let detail = lines.find(|line| line.contains("error")).unwrap_or_default();
        println!("cargo::warning=no example vat {}: {summary} {detail}", names.join(", "));
    }
}
