//! `vats install`: checks a module and compiles it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use vat_warehouse::{limits, module_bytes};

use crate::args::Install;
use crate::context::Context;

/// Longest file that is read. Text is longer than the module that it stands for; how long a module may be is checked later.
const FILE_BYTES_MAX: u64 = 8 * limits::MODULE_BYTES_MAX as u64;

pub(super) fn run(context: &Context, args: &Install) -> Result<()> {
    let file = args.file.display();
    let source = read(&args.file).with_context(|| format!("cannot install {file}"))?;
    let warehouse = context.open()?;
    let installed = wasm(&source).and_then(|wasm| Ok((warehouse.install(&args.name, &wasm)?, wasm.len())));
    let (hash, bytes) = installed.with_context(|| format!("cannot install {file}"))?;
    warehouse.checkpoint()?;
    let text = format!("installed {} ({bytes} bytes, {hash})", args.name);
    Ok(context.out.result(text, || json!({"module": args.name, "hash": hash.to_string(), "bytes": bytes}))?)
}

/// The binary form of the module in a file, which may be text.
pub(crate) fn module_file(path: &Path) -> Result<Vec<u8>> {
    Ok(wasm(&read(path)?)?.into_owned())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() as u64 <= FILE_BYTES_MAX,
        "it has more than {FILE_BYTES_MAX} bytes, as no module may"
    );
    Ok(bytes)
}

/// The module's binary form.
fn wasm(source: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>> {
    // Said here, since the parser of the text format would complain about a missing parenthesis.
    if !source.starts_with(b"\0asm") && !looks_like_text(source) {
        bail!(
            "it is no WebAssembly module: it neither begins with the bytes `\\0asm` nor is it in the text format"
        );
    }
    module_bytes(source).map_err(|refusal| anyhow::Error::msg(in_one_line(&refusal.to_string())))
}

/// Whether the first thing in it is a parenthesis or a comment of the text format.
fn looks_like_text(source: &[u8]) -> bool {
    let start = source.trim_ascii_start();
    start.starts_with(b"(") || start.starts_with(b";;")
}

/// The parser's message shows the place in a picture of several lines; its numbers are enough.
fn in_one_line(text: &str) -> String {
    let Some((reason, picture)) = text.split_once('\n') else { return text.to_owned() };
    let place = picture.split_once("<anon>:").and_then(|(_, rest)| rest.lines().next()?.split_once(':'));
    match place {
        Some((line, column)) => format!("{reason} (line {line}, column {column})"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_an_error_in_text_is_told_in_one_line() {
        let error = wasm(b"(module\n  (func $f (i32.bogus)))").unwrap_err().to_string();
        assert!(error.ends_with("(line 2, column 13)"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn what_is_no_module_is_told_from_one_that_is_wrong() {
        for source in [&b""[..], b"hello", b"\xff\xfe", b"#!/bin/sh"] {
            assert!(wasm(source).unwrap_err().to_string().contains("no WebAssembly module"));
        }
        assert!(wasm(b" ;; nothing\n(module)").is_ok());
        assert!(wasm(b"\0asm").is_ok(), "the engine says what is wrong with it");
    }
}
