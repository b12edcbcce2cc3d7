//! Compiled code on disk: loaded instead of compiled, and never trusted when it is not what was verified.

#![cfg(unix)]

use std::cell::Cell;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use vat_engine::{Engine, EngineConfig, Error, VatInstance};

const MEMORY_PAGES_MAX: u32 = 16;

/// An engine that keeps no code in memory, and the file of a module that it has loaded from disk before.
struct Loaded {
    dir: tempfile::TempDir,
    /// The module's file.
    own: PathBuf,
    engine: Engine,
    wasm: Vec<u8>,
    other: Vec<u8>,
}

impl Loaded {
    fn new() -> Loaded {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(&dir);
        let wasm = module(1);
        engine.module(&wasm).unwrap();
        let [own] = code_files(&dir).try_into().unwrap();
        let loaded = Loaded { dir, own, engine, wasm, other: module(2) };
        loaded.engine.module(&loaded.other).unwrap();
        for _ in 0..3 {
            assert!(!loaded.is_compiled(), "the code on disk is good");
        }
        loaded
    }

    /// Loads the module, and says whether it had to be compiled.
    fn is_compiled(&self) -> bool {
        let compiled = Cell::new(false);
        let hash = *blake3::hash(&self.wasm).as_bytes();
        let module = self.engine.module_by_hash::<Error>(&hash, || {
            compiled.set(true);
            Ok(self.wasm.clone())
        });
        let born = VatInstance::birth(&self.engine, &module.unwrap(), MEMORY_PAGES_MAX).unwrap();
        assert_eq!(born.heap()[..4], [1, 0, 0, 0], "the module's own data");
        drop(born);
        // The next module makes the engine forget this one.
        self.engine.module(&self.other).unwrap();
        compiled.get()
    }
}

/// An engine that keeps its compiled code on disk only.
fn engine(dir: &tempfile::TempDir) -> Engine {
    let code_cache = Some(dir.path().join("code"));
    Engine::new(EngineConfig { code_cache, code_bytes_max: 0, ..EngineConfig::default() }).unwrap()
}

/// All files of compiled code.
fn code_files(dir: &tempfile::TempDir) -> Vec<PathBuf> {
    let files = fs::read_dir(dir.path().join("code")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().unwrap() == "code").collect()
}

/// A module whose first byte of memory is `byte`.
fn module(byte: u8) -> Vec<u8> {
    let text = format!(
        r#"(module
            (memory (export "memory") 1)
            (data (i32.const 0) "\{byte:02x}")
            (func (export "vat_deliver") (param i32) (result i32) (i32.const 0)))"#
    );
    vat_engine::module_bytes(text.as_bytes()).unwrap().into_owned()
}

/// Changes one byte in the middle of a file, and sets its times as they were.
fn flip(path: &Path) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let before = file.metadata().unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, before.len() / 2).unwrap();
    file.write_all_at(&[!byte[0]], before.len() / 2).unwrap();
    let times =
        FileTimes::new().set_modified(before.modified().unwrap()).set_accessed(before.accessed().unwrap());
    file.set_times(times).unwrap();
    let after = file.metadata().unwrap();
    assert_eq!((after.len(), after.modified().unwrap()), (before.len(), before.modified().unwrap()));
}

#[test]
fn code_altered_after_it_was_verified_is_compiled_again() {
    let loaded = Loaded::new();
    for _ in 0..20 {
        flip(&loaded.own);
        assert!(loaded.is_compiled(), "one byte was changed, and the times set back");
        assert!(!loaded.is_compiled());
    }
}

#[test]
fn another_file_in_the_place_of_verified_code_is_not_loaded() {
    let loaded = Loaded::new();
    let own = &loaded.own;
    let other = code_files(&loaded.dir).into_iter().find(|path| path != own).unwrap();
    let times = fs::metadata(own).unwrap();
    fs::copy(&other, loaded.dir.path().join("copy")).unwrap();
    let copy = File::options().write(true).open(loaded.dir.path().join("copy")).unwrap();
    copy.set_times(FileTimes::new().set_modified(times.modified().unwrap())).unwrap();
    fs::rename(loaded.dir.path().join("copy"), own).unwrap();
    assert!(loaded.is_compiled());
}

#[test]
fn truncated_code_is_compiled_again() {
    let loaded = Loaded::new();
    let file = File::options().write(true).open(&loaded.own).unwrap();
    file.set_len(file.metadata().unwrap().len() - 4096).unwrap();
    assert!(loaded.is_compiled());
}

#[test]
fn code_whose_sum_is_gone_is_compiled_again_by_the_next_engine() {
    let loaded = Loaded::new();
    fs::remove_file(loaded.own.with_extension("sum")).unwrap();
    let engine = engine(&loaded.dir);
    assert!(Loaded { engine, ..loaded }.is_compiled());
}
