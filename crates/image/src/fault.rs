//! A disk that fails on purpose, for crash tests.
//!
//! [`FaultyDisk`] does to real files what it is told, counts, and remembers what a power failure would take
//! back. A test counts the operations of a scenario, then runs it once for every operation that can fail, and
//! looks at what is left.
//!
//! The model is that of the disk contract ([`Disk`]): of the changes that were not synced, any subset may be
//! lost, and a write may be torn between sectors; a name that was not synced may be absent, a removed one may
//! be back.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use crate::disk::{Disk, RealDisk};

/// What a disk writes at once.
const SECTOR_BYTES: usize = 512;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It alone fails, as on a full disk, and changes nothing.
    Once,
    /// The machine stops: it and all that follow fail, a write after half of its bytes.
    /// [`FaultyDisk::lose_power`] is next.
    Crash,
}

/// A disk that counts operations, fails one of them, and forgets what was not synced.
#[derive(Debug, Default)]
pub struct FaultyDisk {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    operations: u64,
    failure: Option<(u64, Failure)>,
    files: BTreeMap<PathBuf, Written>,
}

/// What is known of a file.
#[derive(Debug, Default)]
struct Written {
    /// Its bytes when it was last synced.
    synced: Vec<u8>,
    /// What was done since.
    pending: Vec<Change>,
    exists: bool,
    is_name_synced: bool,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::SetLen(len) => content.resize(*len, 0),
            Change::Write { offset, bytes } => {
                let end = offset + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

impl FaultyDisk {
    /// A disk that counts and does not fail.
    pub fn new() -> FaultyDisk {
        FaultyDisk::default()
    }

    /// A disk of which the operation with this number, from 0, fails.
    pub fn failing(operation: u64, failure: Failure) -> FaultyDisk {
        let disk = FaultyDisk::new();
        disk.state().failure = Some((operation, failure));
        disk
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Counts an operation of somebody else, such as the commit of a database, that can fail as well.
    ///
    /// # Errors
    ///
    /// If it is its turn to fail.
    pub fn step(&self) -> io::Result<()> {
        match self.state().begin() {
            None => Ok(()),
            Some(_) => Err(refused()),
        }
    }

    /// Leaves the files as a power failure might: each change that was not synced is kept, torn or lost, as
    /// the seed says.
    ///
    /// # Errors
    ///
    /// If the files cannot be written.
    pub fn lose_power(&self, seed: u64) -> io::Result<()> {
        let mut chance = Chance(seed);
        for (path, file) in &std::mem::take(&mut self.state().files) {
            let is_kept = if file.exists == file.is_name_synced { file.exists } else { chance.below(2) == 0 };
            if is_kept {
                fs::write(path, file.after_power_loss(&mut chance))?;
            } else if file.exists {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the disk's state is locked")
    }
}

impl State {
    /// Counts an operation and says whether it fails.
    fn begin(&mut self) -> Option<Failure> {
        let number = self.operations;
        self.operations += 1;
        match self.failure {
            Some((at, Failure::Once)) if number == at => Some(Failure::Once),
            Some((at, Failure::Crash)) if number >= at => Some(Failure::Crash),
            _ => None,
        }
    }

    /// What is known of a file that exists.
    fn file(&mut self, path: &Path) -> io::Result<&mut Written> {
        if !self.files.contains_key(path) {
            let synced = fs::read(path)?;
            let file = Written { synced, pending: Vec::new(), exists: true, is_name_synced: true };
            self.files.insert(path.to_owned(), file);
        }
        Ok(self.files.get_mut(path).expect("just inserted"))
    }
}

impl Written {
    fn after_power_loss(&self, chance: &mut Chance) -> Vec<u8> {
        let mut content = self.synced.clone();
        for change in &self.pending {
            match (chance.below(3), change) {
                (0, _) => {}
                (1, Change::Write { offset, bytes }) => {
                    let sectors = chance.below(bytes.len() / SECTOR_BYTES + 1);
                    let bytes = bytes[..sectors * SECTOR_BYTES].to_vec();
                    Change::Write { offset: *offset, bytes }.apply(&mut content);
                }
                _ => change.apply(&mut content),
            }
        }
        content
    }
}

/// A small generator, so that a seed names a history.
struct Chance(u64);

impl Chance {
    /// A number below `bound`, by splitmix64.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("below a usize")
    }
}

fn refused() -> io::Error {
    io::Error::other("the test's disk fails here")
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a test's file fits memory")
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        let mut state = self.state();
        if state.begin().is_some() {
            return Err(refused());
        }
        let file = RealDisk.create(path)?;
        state.files.insert(path.to_owned(), Written { exists: true, ..Written::default() });
        Ok(file)
    }

    fn write_at(&self, path: &Path, file: &File, bytes: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut state = self.state();
        let failure = state.begin();
        if failure == Some(Failure::Once) {
            return Err(refused());
        }
        let mut bytes: Vec<u8> = bytes.iter().flat_map(|slice| slice.iter().copied()).collect();
        if failure == Some(Failure::Crash) {
            bytes.truncate(bytes.len() / 2);
        }
        let written = state.file(path)?;
        RealDisk.write_at(path, file, &[IoSlice::new(&bytes)], offset)?;
        let count = bytes.len();
        written.pending.push(Change::Write { offset: size(offset), bytes });
        if failure.is_some() { Err(refused()) } else { Ok(count) }
    }

    fn sync_data(&self, path: &Path, _file: &File) -> io::Result<()> {
        let mut state = self.state();
        if state.begin().is_some() {
            return Err(refused());
        }
        let written = state.file(path)?;
        for change in std::mem::take(&mut written.pending) {
            change.apply(&mut written.synced);
        }
        Ok(())
    }

    fn set_len(&self, path: &Path, file: &File, bytes: u64) -> io::Result<()> {
        let mut state = self.state();
        if state.begin().is_some() {
            return Err(refused());
        }
        let written = state.file(path)?;
        RealDisk.set_len(path, file, bytes)?;
        written.pending.push(Change::SetLen(size(bytes)));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.begin().is_some() {
            return Err(refused());
        }
        state.file(path)?.exists = false;
        RealDisk.remove(path)
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.begin().is_some() {
            return Err(refused());
        }
        state.files.retain(|_, file| file.exists);
        state.files.values_mut().for_each(|file| file.is_name_synced = true);
        Ok(())
    }
}
