//! The disk fails below SQLite, at each call that SQLite makes on its files: read, write, truncate, sync, open, delete, map.
//!
//! ```text
//!   story ──► call n fails: alone, with all after it, or for want of space
//!               └─► the process goes on: error told ─► closed ─► disk well ─► opened: what was committed, nothing else ─► goes on
//! ```
//!
//! A commit that failed may be there as a whole: when its last sync fails, all of it was written. Told twice: to a storage alone,
//! at every call; and to a whole warehouse, at some calls, or at every one with `STORE_FAULTS=all`.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use vat_storage::{CrankRecord, Error, ModuleHash, Position, Storage};

use crate::crash_matrix::{STORY, tell};
use crate::simulation::{StoreDisk, StoreFailure, World};
use crate::steady::Steady;

const WASM: &[u8] = b"\0asm\x01\0\0\0";
const VATS: [&str; 2] = ["even", "odd"];
/// Cranks of the story, and how many are committed together.
const CRANKS: u64 = 24;
const BLOCK: u64 = 4;
/// Cranks after which the storage is closed and opened again, which moves the log into the file.
const REOPENED_AFTER: u64 = 12;
/// Calls between two at which the disk fails under a warehouse, where nobody asks for all.
const SAMPLE: usize = 23;

/// Every way to fail at a call.
const WAYS: [fn(u64) -> StoreFailure; 3] = [StoreFailure::Once, StoreFailure::From, StoreFailure::FullFrom];

/// How far the story was told: cranks in the last commit that was acknowledged, and in one that failed.
#[derive(Debug, Default)]
struct Told {
    committed: Option<u64>,
    attempted: Option<u64>,
}

impl Told {
    fn commit(&mut self, storage: &Storage, cranks: u64) -> Result<(), Error> {
        self.attempted = Some(cranks);
        storage.commit()?;
        self.committed = self.attempted.take();
        Ok(())
    }
}

/// What crank `n` records: long enough that a block is more than a page.
fn entry(n: u64) -> String {
    format!("{n:>1500}")
}

fn crank(storage: &Storage, n: u64) -> Result<(), Error> {
    let vat =
        storage.vat_by_name(VATS[usize::from(n % 2 == 1)])?.expect("it was made with the first commit").id;
    let (key, value) = (format!("key {n}"), format!("{n:>700}"));
    let vatstore = [(key.as_str(), Some(value.as_str()))];
    storage.append_crank(&CrankRecord { vat, entry: entry(n).as_bytes(), vatstore: &vatstore }).map(drop)
}

/// Everything that a storage does with its files.
fn tell_storage(dir: &Path, told: &mut Told) -> Result<(), Error> {
    let mut storage = Storage::open(dir)?;
    let module = ModuleHash::of(WASM);
    storage.put_module(module, "module", WASM)?;
    VATS.iter().try_for_each(|name| storage.create_vat(name, module, "{}").map(drop))?;
    told.commit(&storage, 0)?;
    for n in 0..CRANKS {
        crank(&storage, n)?;
        let cranks = n + 1;
        if cranks % BLOCK == 0 {
            told.commit(&storage, cranks)?;
        }
        if cranks == REOPENED_AFTER {
            drop(storage);
            storage = Storage::open_existing(dir)?;
            for row in storage.vats()? {
                storage.close_span(row.id)?;
            }
            while !storage.compress()?.done {}
            told.commit(&storage, cranks)?;
        }
    }
    Ok(())
}

/// The storage is what was told, and goes on.
fn check_storage(dir: &Path, told: &Told) -> Result<()> {
    let storage = Storage::open(dir)?;
    let rows = storage.vats()?;
    let found = if rows.is_empty() { None } else { Some(rows.iter().map(|row| row.next_position.0).sum()) };
    ensure!(
        found == told.committed || told.attempted.is_some() && found == told.attempted,
        "{found:?} cranks are there: {told:?}"
    );
    let Some(cranks) = found else { return Ok(()) };
    for (row, parity) in rows.iter().zip(0..) {
        let expected: Vec<String> = (0..cranks).filter(|n| n % 2 == parity).map(entry).collect();
        let stored = storage.transcript(row.id, Position(0), row.next_position)?;
        let stored: Vec<String> =
            stored.into_iter().map(|(_, it)| String::from_utf8(it)).collect::<Result<_, _>>()?;
        ensure!(
            stored == expected,
            "{}: {} entries are not those that were appended",
            row.name,
            stored.len()
        );
        let keys = storage.vatstore_len(row.id)?;
        ensure!(keys == expected.len() as u64, "{}: {keys} keys for {} cranks", row.name, expected.len());
        storage.verify_spans(row.id)?;
    }
    crank(&storage, cranks)?;
    Ok(storage.commit()?)
}

/// A directory on a disk that syncs in no time, where there is one: what fails here is not the machine's.
fn in_memory() -> std::io::Result<TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// The story with a failure: how many calls there were, and whether somebody was told of an error.
fn fail_storage(failure: StoreFailure) -> Result<(u64, bool)> {
    let dir = in_memory()?;
    let disk = StoreDisk::below(dir.path(), failure)?;
    let mut told = Told::default();
    let ended = tell_storage(dir.path(), &mut told);
    let (operations, has_failed) = (disk.operations(), disk.has_failed());
    drop(disk);
    match &ended {
        Ok(()) => told.attempted = None,
        Err(Error::Full { .. } | Error::Io { .. } | Error::Poisoned { .. }) if has_failed => {}
        Err(error) => return Err(anyhow::anyhow!("told as: {error}")),
    }
    check_storage(dir.path(), &told)?;
    Ok((operations, ended.is_err()))
}

#[test]
#[expect(clippy::print_stderr, reason = "figures for who asks with --nocapture")]
fn every_call_of_sqlite_on_its_files_may_fail() {
    let (operations, _) = fail_storage(StoreFailure::Never).unwrap();
    let (mut runs, mut errors) = (0, 0);
    for way in WAYS {
        for at in 0..operations {
            let failure = way(at);
            let (_, is_told) = fail_storage(failure).unwrap_or_else(|error| panic!("{failure:?}: {error:#}"));
            runs += 1;
            errors += u64::from(is_told);
        }
    }
    eprintln!("{operations} calls of SQLite, {runs} failures, of which {errors} were errors of the storage");
    assert!(operations > 200 && errors > operations, "{operations} calls, {errors} errors");
}

#[test]
#[expect(clippy::print_stderr, reason = "figures for who asks with --nocapture")]
fn a_warehouse_goes_on_after_its_store_could_not_be_written_or_read() {
    let steady = Rc::new(RefCell::new(Steady::new()));
    let whole = |failure: StoreFailure| -> Result<(u64, u64)> {
        let mut world = World::on_store_disk(Rc::clone(&steady), failure)?;
        let mut operations = 0;
        for step in STORY {
            tell(&mut world, *step).with_context(|| format!("{step:?}"))?;
            operations = operations.max(world.store_operations());
        }
        Ok((operations, world.finish()?.faults))
    };
    let (operations, faults) = whole(StoreFailure::Never).unwrap();
    assert_eq!(faults, 0);
    let step = if std::env::var("STORE_FAULTS").is_ok_and(|all| all == "all") { 1 } else { SAMPLE };
    let (mut runs, mut told) = (0, 0);
    for (nth, way) in WAYS.iter().enumerate() {
        for at in (0..operations).skip(nth * step / WAYS.len()).step_by(step) {
            let failure = way(at);
            let (_, faults) = whole(failure).unwrap_or_else(|error| panic!("{failure:?}: {error:#}"));
            runs += 1;
            told += faults;
        }
    }
    eprintln!("{operations} calls of SQLite, {runs} failures, of which the host reported {told}");
    assert!(operations > 200 && told > runs / 2, "{operations} calls, {runs} failures, {told} reported");
}

#[test]
fn a_disk_that_is_well_again_fails_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let disk = StoreDisk::below(dir.path(), StoreFailure::From(0)).unwrap();
    assert!(Storage::open(dir.path()).is_err());
    assert!(disk.has_failed());
    let other = tempfile::tempdir().unwrap();
    drop(Storage::open(other.path()).expect("the files of another store are not touched"));
    drop(Arc::clone(&disk));
    assert!(Storage::open(dir.path()).is_err(), "it is still ill");
    drop(disk);
    Storage::open(dir.path()).unwrap();
}
