//! What hosts may rely on in every example vat. Vats that cannot be built on this machine are skipped, aloud.

use crate::{ALL, Guest, wasm};
use std::collections::BTreeSet;
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

/// What a module asks for and offers.
#[derive(Default)]
struct Surface {
    imports: BTreeSet<(String, String)>,
    exports: BTreeSet<String>,
    minimum_pages: u64,
}

fn surface(wasm: &[u8]) -> Surface {
    let mut surface = Surface::default();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.unwrap() {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.unwrap();
                    assert!(matches!(import.ty, TypeRef::Func(_)), "{} is no function", import.name);
                    surface.imports.insert((import.module.to_owned(), import.name.to_owned()));
                }
            }
            Payload::ExportSection(section) => {
                let exports = section.into_iter().map(Result::unwrap);
                let relevant = exports.filter(|export| export.kind != ExternalKind::Global);
                surface.exports.extend(relevant.map(|export| export.name.to_owned()));
            }
            Payload::MemorySection(section) => {
                surface.minimum_pages = section.into_iter().map(|memory| memory.unwrap().initial).sum();
            }
            _ => {}
        }
    }
    surface
}

fn built() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    ALL.iter().filter_map(|Guest { name, wasm }| match wasm {
        Ok(wasm) => Some((*name, *wasm)),
        Err(reason) => {
            skip(name, reason);
            None
        }
    })
}

#[expect(clippy::print_stderr, reason = "a skipped test should be seen")]
fn skip(name: &str, reason: &str) {
    eprintln!("skipped {name}: {reason}");
}

#[test]
fn a_vat_imports_the_abi_and_exports_its_entry_point() {
    for (name, wasm) in built() {
        let surface = surface(wasm);
        let foreign =
            |module: &str| module != "vat" && !(name == "wasi-vat" && module == "wasi_snapshot_preview1");
        let foreign: Vec<_> = surface.imports.iter().filter(|(module, _)| foreign(module)).collect();
        assert!(foreign.is_empty(), "{name} imports {foreign:?}");
        let mut expected = BTreeSet::from(["memory".to_owned(), "vat_deliver".to_owned()]);
        if name == "wasi-vat" {
            expected.insert("_initialize".to_owned());
        }
        assert_eq!(surface.exports, expected, "{name}");
    }
}

#[test]
fn a_vat_begins_small() {
    for (name, wasm) in built() {
        let pages = surface(wasm).minimum_pages;
        assert!(pages <= 4, "{name} begins with {pages} pages: was it linked with a large stack?");
    }
}

/// Else the same sources would be another vat on another machine.
#[test]
fn a_vat_does_not_know_where_it_was_built() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let here = std::fs::canonicalize(here).unwrap().into_os_string().into_encoded_bytes();
    for (name, wasm) in built() {
        assert!(
            !wasm.windows(here.len()).any(|window| window == here),
            "{name} holds the path of this checkout"
        );
    }
}

#[test]
#[should_panic(expected = "no example vat is called \"cuonter\"; there are: c-counter, counter")]
fn a_misspelt_name_is_a_bug_and_says_so() {
    let _ = wasm("cuonter");
}
