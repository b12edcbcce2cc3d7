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

/// What was done to a module's files before another engine, which has verified nothing yet, loads it.
struct Tampering {
    name: &'static str,
    /// Given the module's own file and another module's.
    done: fn(own: &Path, other: &Path),
    after: After,
}

/// What a compilation leaves behind.
#[derive(PartialEq)]
enum After {
    /// Good files again.
    Mended,
    /// What cannot be replaced by renaming a file over it: the module is compiled in each process.
    Stays,
}

/// Changes bytes of a file.
fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn sum(code: &Path) -> PathBuf {
    code.with_extension("sum")
}

fn replace(path: &Path, make: impl FnOnce(&Path) -> std::io::Result<()>) {
    fs::remove_file(path).unwrap();
    make(path).unwrap();
}

const TAMPERINGS: &[Tampering] = &[
    Tampering { name: "first byte", done: |own, _| edit(own, |bytes| bytes[0] ^= 1), after: After::Mended },
    Tampering {
        name: "every 997th byte",
        done: |own, _| edit(own, |bytes| bytes.iter_mut().step_by(997).for_each(|byte| *byte ^= 0x80)),
        after: After::Mended,
    },
    Tampering {
        name: "last byte",
        done: |own, _| edit(own, |bytes| *bytes.last_mut().unwrap() ^= 1),
        after: After::Mended,
    },
    Tampering {
        name: "one byte more",
        done: |own, _| edit(own, |bytes| bytes.push(0)),
        after: After::Mended,
    },
    Tampering {
        name: "one byte less",
        done: |own, _| edit(own, |bytes| bytes.truncate(bytes.len() - 1)),
        after: After::Mended,
    },
    Tampering { name: "no bytes", done: |own, _| edit(own, Vec::clear), after: After::Mended },
    Tampering {
        name: "no bytes, and the sum of none",
        done: |own, _| {
            edit(own, Vec::clear);
            fs::write(sum(own), blake3::hash(b"").as_bytes()).unwrap();
        },
        after: After::Mended,
    },
    Tampering {
        name: "one bit of the sum",
        done: |own, _| edit(&sum(own), |bytes| bytes[31] ^= 1),
        after: After::Mended,
    },
    Tampering {
        name: "half of the sum",
        done: |own, _| edit(&sum(own), |bytes| bytes.truncate(16)),
        after: After::Mended,
    },
    Tampering {
        name: "a longer sum",
        done: |own, _| edit(&sum(own), |bytes| bytes.push(0)),
        after: After::Mended,
    },
    Tampering { name: "no sum", done: |own, _| fs::remove_file(sum(own)).unwrap(), after: After::Mended },
    Tampering {
        name: "the code of another module",
        done: |own, other| assert!(fs::copy(other, own).unwrap() > 0),
        after: After::Mended,
    },
    Tampering {
        name: "the code and the sum of another module",
        done: |own, other| {
            fs::copy(other, own).unwrap();
            fs::copy(sum(other), sum(own)).unwrap();
        },
        after: After::Mended,
    },
    Tampering {
        name: "the code of another module and its plain hash",
        done: |own, other| {
            fs::copy(other, own).unwrap();
            fs::write(sum(own), blake3::hash(&fs::read(other).unwrap()).as_bytes()).unwrap();
        },
        after: After::Mended,
    },
    Tampering {
        name: "a link to the code of another module, with its sum",
        done: |own, other| {
            replace(own, |own| std::os::unix::fs::symlink(other, own));
            fs::copy(sum(other), sum(own)).unwrap();
        },
        after: After::Mended,
    },
    Tampering {
        name: "a link to itself",
        done: |own, _| replace(own, |own| std::os::unix::fs::symlink(own, own)),
        after: After::Mended,
    },
    Tampering {
        name: "a link to a file that never ends",
        done: |own, _| replace(own, |own| std::os::unix::fs::symlink("/dev/zero", own)),
        after: After::Mended,
    },
    Tampering {
        name: "a sum that never ends",
        done: |own, _| replace(&sum(own), |sum| std::os::unix::fs::symlink("/dev/zero", sum)),
        after: After::Mended,
    },
    Tampering {
        name: "a pipe that nobody writes to",
        done: |own, _| replace(own, pipe),
        after: After::Mended,
    },
    Tampering {
        name: "a directory",
        done: |own, _| replace(own, |own| fs::create_dir(own)),
        after: After::Stays,
    },
    Tampering {
        name: "a directory for a sum",
        done: |own, _| replace(&sum(own), |sum| fs::create_dir(sum)),
        after: After::Stays,
    },
    Tampering {
        name: "a file that may not be read",
        done: |own, _| {
            use std::os::unix::fs::PermissionsExt;
            edit(own, |bytes| bytes[100] ^= 1); // The superuser may read it all the same.
            fs::set_permissions(own, fs::Permissions::from_mode(0o000)).unwrap();
        },
        after: After::Mended,
    },
];

fn pipe(path: &Path) -> std::io::Result<()> {
    let made = std::process::Command::new("mkfifo").arg(path).status()?;
    assert!(made.success(), "mkfifo is part of every Unix");
    Ok(())
}

#[test]
fn whatever_is_done_to_compiled_code_another_process_compiles_again_and_runs_its_own() {
    for tampering in TAMPERINGS {
        let loaded = Loaded::new();
        let other = code_files(&loaded.dir).into_iter().find(|path| *path != loaded.own).unwrap();
        let untouched = fs::read(&other).unwrap();
        (tampering.done)(&loaded.own, &other);
        let engine = engine(&loaded.dir);
        let loaded = Loaded { engine, ..loaded };
        assert!(loaded.is_compiled(), "{}", tampering.name);
        assert_eq!(loaded.is_compiled(), tampering.after == After::Stays, "{}: afterwards", tampering.name);
        assert!(fs::read(&other).unwrap() == untouched, "{}: another module's file", tampering.name);
    }
}

/// Files of another engine's name, given the names of this one's: a directory that came from elsewhere.
#[test]
fn code_under_the_name_of_another_key_is_not_loaded() {
    let loaded = Loaded::new();
    let other = code_files(&loaded.dir).into_iter().find(|path| *path != loaded.own).unwrap();
    let exchange = |one: &Path, two: &Path| {
        let aside = loaded.dir.path().join("aside");
        fs::rename(one, &aside).unwrap();
        fs::rename(two, one).unwrap();
        fs::rename(&aside, two).unwrap();
    };
    exchange(&loaded.own, &other);
    exchange(&sum(&loaded.own), &sum(&other));
    let engine = engine(&loaded.dir);
    let loaded = Loaded { engine, ..loaded };
    assert!(loaded.is_compiled(), "both are whole, and each is the other's");
    assert!(!loaded.is_compiled());
}
