//! Rules about the source itself: who may depend on whom, where unsafe code may be, that every file says what it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The layers: each package of ours and those of ours it may depend on, lowest first. Tests of a package may use more.
const LAYERS: &[(&str, &[&str])] = &[
    ("vat-abi", &[]),
    ("vat-image", &[]),
    ("vat-engine", &["vat-abi", "vat-image"]),
    ("vat-storage", &["vat-abi", "vat-image"]),
    ("vat-warehouse", &["vat-abi", "vat-image", "vat-engine", "vat-storage"]),
    ("vat-measure", &["vat-abi", "vat-warehouse"]),
    ("vat-sdk-macros", &[]),
    ("vat-sdk-build", &[]),
    ("vat-sdk", &["vat-abi", "vat-sdk-macros"]),
    ("vat-guests", &["vat-sdk-build"]),
    ("vat-testkit", &["vat-abi", "vat-sdk", "vat-sdk-build", "vat-warehouse"]),
    ("vats", &["vat-abi", "vat-warehouse", "vat-measure", "vat-guests"]),
];

/// Packages of others that only some of ours may name.
const CONFINED: &[(&str, &[&str])] = &[
    ("wasmtime", &["vat-engine"]),
    ("wasmtime-wasi", &["vat-engine"]),
    ("rusqlite", &["vat-storage"]),
    ("zstd", &["vat-storage"]),
    ("clap", &["vats"]),
    ("indicatif", &["vats"]),
    ("tokio", &["vat-warehouse", "vats"]),
];

/// Where unsafe code may be. Each entry is a file or a folder; all else is checked by the compiler, too.
const UNSAFE: &[&str] = &[
    "crates/image/src/mapping.rs", // mapping heap images
    "crates/image/src/mapping/",
    "crates/engine/src/native.rs", // compiled code from disk, and memories of our own
    "guest-sdk/src/host.rs",       // the imports and exports of a vat, which are C functions
    "guest-sdk/examples/raw/",     // a vat without the SDK, to show the ABI bare
    "guest-sdk/examples/mischief/src/raw.rs", // a vat that passes bad pointers on request
    "tests/e2e/simulation/store_disk.rs", // SQLite's files on a disk that fails
    "benches/floor",               // the bare system calls that figures are compared with
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder` with this ending, build output left out.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

/// Names of the packages in the sections `[dependencies]` and `[build-dependencies]` (those for tests may be any).
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut names = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
        } else if section.ends_with("dependencies") && !section.ends_with("dev-dependencies") {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            if !name.is_empty() && !name.starts_with('#') {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

fn package_name(manifest: &str) -> &str {
    manifest
        .lines()
        .find_map(|line| line.strip_prefix("name = "))
        .expect("a package has a name")
        .trim_matches('"')
}

fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let manifests =
        ["crates", "guest-sdk"].iter().flat_map(|folder| files(&root().join(folder), "Cargo.toml"));
    manifests
        .map(|path| fs::read_to_string(path).unwrap())
        .map(|manifest| (package_name(&manifest).to_owned(), dependencies(&manifest)))
        .collect()
}

#[test]
fn every_edge_between_packages_is_in_the_table() {
    let packages = packages();
    for (name, allowed) in LAYERS {
        let found =
            packages.get(*name).unwrap_or_else(|| panic!("the table names {name}, which does not exist"));
        let ours: Vec<&str> =
            found.iter().map(String::as_str).filter(|d| packages.contains_key(*d)).collect();
        for dependency in ours {
            assert!(
                allowed.contains(&dependency),
                "{name} depends on {dependency}, and may only on {allowed:?}"
            );
        }
    }
    for name in packages.keys().filter(|name| !name.starts_with("example-")) {
        let listed = LAYERS.iter().any(|(layer, _)| layer == name);
        let is_example = packages[name].is_subset(&["vat-sdk", "serde", "regex"].map(str::to_owned).into());
        assert!(listed || is_example, "{name} is in no layer, and not an example vat either");
    }
}

#[test]
fn confined_packages_stay_where_they_belong() {
    for (name, dependencies) in packages() {
        for (confined, owners) in CONFINED {
            assert!(
                !dependencies.contains(*confined) || owners.contains(&name.as_str()),
                "{name} names {confined}, which only {owners:?} may"
            );
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for folder in ["crates", "guest-sdk", "tests", "benches"] {
        for path in files(&root().join(folder), ".rs") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("//!"), "{} does not begin with `//!`", relative(&path));
        }
    }
}

#[test]
fn unsafe_code_is_only_where_it_may_be() {
    for folder in ["crates", "guest-sdk", "tests", "benches"] {
        for path in files(&root().join(folder), ".rs") {
            let name = relative(&path);
            if name == "tests/e2e/tidy.rs" || UNSAFE.iter().any(|allowed| name.starts_with(allowed)) {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let words: Vec<&str> = code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
                assert!(!words.contains(&"unsafe"), "{name}:{}: unsafe code is not for here", number + 1);
            }
        }
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let workspace = manifest.split("# Others;").nth(1).expect("the manifest lists others' packages apart");
    let listed = workspace.lines().skip(1).take_while(|line| !line.is_empty());
    for name in listed.filter_map(|line| line.split([' ', '=']).next()) {
        assert!(
            architecture.contains(&format!("`{name}`")),
            "ARCHITECTURE.md does not say what `{name}` is for"
        );
    }
}

#[test]
fn the_rules_can_be_broken() {
    let manifest = "name = \"x\"\n[dependencies]\nwasmtime.workspace = true\nserde = \"1\"\n[dev-dependencies]\nlru = \"1\"";
    assert_eq!(dependencies(manifest), ["serde", "wasmtime"].map(str::to_owned).into());
    assert_eq!(package_name(manifest), "x");
}
