//! A disk that fails below SQLite: every call that SQLite makes on the files of a store is counted, and one of them, or all from
//! one on, fails as an operating system has it.
//!
//! ```text
//!   SQLite ── open, delete ──► this VFS ──► the system's          once a file is open below a directory that is watched:
//!          ── read write truncate sync map ──► (fails?) ──► the system's, by the table that the file had
//! ```
//!
//! The VFS is SQLite's own with two entries replaced, and the default one once the first [`StoreDisk`] exists. A file that it opens
//! is the system's; only its table of methods is a copy in which the calls that touch the disk are ours. Files of all other stores
//! keep their own table, so that tests beside this one notice nothing. What does not touch the disk (locks, sizes) never fails here.
#![expect(
    unsafe_code,
    reason = "SQLite's interface to files is one of C, and nothing else reaches every call"
)]

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::{Context as _, Result};
use rusqlite::ffi::{
    SQLITE_CANTOPEN, SQLITE_FULL, SQLITE_IOERR_DELETE, SQLITE_IOERR_FSYNC, SQLITE_IOERR_READ,
    SQLITE_IOERR_SHMMAP, SQLITE_IOERR_TRUNCATE, SQLITE_IOERR_WRITE, SQLITE_OK, sqlite3_file,
    sqlite3_io_methods, sqlite3_vfs, sqlite3_vfs_find, sqlite3_vfs_register,
};

/// Which operations fail: counted from 0 on, over all files of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreFailure {
    /// None: they are counted.
    Never,
    /// This one.
    Once(u64),
    /// This one, and all after it.
    From(u64),
    /// There is no space left from this one on: what makes files longer fails, and writes in the middle of a file do, too.
    FullFrom(u64),
}

/// What SQLite wants of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Open,
    Delete,
    Read,
    Write,
    Truncate,
    Sync,
    Map,
}

impl Operation {
    /// What SQLite is told when it fails.
    fn code(self) -> c_int {
        match self {
            Operation::Open => SQLITE_CANTOPEN,
            Operation::Delete => SQLITE_IOERR_DELETE,
            Operation::Read => SQLITE_IOERR_READ,
            Operation::Write => SQLITE_IOERR_WRITE,
            Operation::Truncate => SQLITE_IOERR_TRUNCATE,
            Operation::Sync => SQLITE_IOERR_FSYNC,
            Operation::Map => SQLITE_IOERR_SHMMAP,
        }
    }
}

/// The disk under one data directory. Well again when it is dropped.
#[derive(Debug)]
pub(crate) struct StoreDisk {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    failure: StoreFailure,
    operations: AtomicU64,
    has_failed: AtomicBool,
    is_well: AtomicBool,
}

impl StoreDisk {
    /// Watches the files in `dir`, which is made if it is not there.
    pub(crate) fn below(dir: &Path, failure: StoreFailure) -> Result<Arc<StoreDisk>> {
        std::fs::create_dir_all(dir)?;
        let shared = Arc::new(Shared {
            dir: dir.canonicalize().context("SQLite names files by their real paths")?,
            failure,
            operations: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
            is_well: AtomicBool::new(false),
        });
        disks().push(Arc::clone(&shared));
        system();
        Ok(Arc::new(StoreDisk { shared }))
    }

    pub(crate) fn operations(&self) -> u64 {
        self.shared.operations.load(Ordering::Relaxed)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.shared.has_failed.load(Ordering::Relaxed)
    }
}

impl Drop for StoreDisk {
    fn drop(&mut self) {
        self.shared.is_well.store(true, Ordering::Relaxed);
        disks().retain(|disk| !Arc::ptr_eq(disk, &self.shared));
    }
}

impl Shared {
    /// Counts the operation; what SQLite is told if it fails.
    fn count(&self, operation: Operation) -> Option<c_int> {
        let number = self.operations.fetch_add(1, Ordering::Relaxed);
        let code = match self.failure {
            StoreFailure::Once(at) if number == at => operation.code(),
            StoreFailure::From(at) if number >= at => operation.code(),
            StoreFailure::FullFrom(at) if number >= at && operation == Operation::Write => SQLITE_FULL,
            _ => return None,
        };
        if self.is_well.load(Ordering::Relaxed) {
            return None;
        }
        self.has_failed.store(true, Ordering::Relaxed);
        Some(code)
    }
}

/// An open file of a store that is watched.
struct Watched {
    disk: Arc<Shared>,
    /// The table that the system gave the file: a static of SQLite.
    system: &'static sqlite3_io_methods,
    /// The one that it has instead; it goes after the file is closed.
    ours: Box<sqlite3_io_methods>,
}

fn disks() -> MutexGuard<'static, Vec<Arc<Shared>>> {
    static DISKS: Mutex<Vec<Arc<Shared>>> = Mutex::new(Vec::new());
    DISKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Open files, by their addresses.
fn files() -> MutexGuard<'static, BTreeMap<usize, Watched>> {
    static FILES: Mutex<BTreeMap<usize, Watched>> = Mutex::new(BTreeMap::new());
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The disk of a file, and the system's methods for it.
fn of(file: *mut sqlite3_file) -> (Arc<Shared>, &'static sqlite3_io_methods) {
    let files = files();
    let watched = files.get(&(file as usize)).expect("only files that are watched have our methods");
    (Arc::clone(&watched.disk), watched.system)
}

/// SQLite's own VFS; ours is registered before it by the first call.
fn system() -> &'static sqlite3_vfs {
    static SYSTEM: OnceLock<usize> = OnceLock::new();
    let address = *SYSTEM.get_or_init(|| {
        // SAFETY: a null name asks for the default VFS, which SQLite initialises and never frees. The copy is leaked, so that it
        // lives as long as SQLite refers to it; its other entries are the system's, which do not look at the VFS they are of
        // except through `pAppData`, which is copied.
        unsafe {
            let system = sqlite3_vfs_find(ptr::null());
            assert!(!system.is_null(), "SQLite has a default VFS");
            let mut ours = *system;
            ours.zName = c"failing".as_ptr();
            ours.pNext = ptr::null_mut();
            ours.xOpen = Some(open);
            ours.xDelete = Some(delete);
            assert_eq!(sqlite3_vfs_register(Box::leak(Box::new(ours)), 1), SQLITE_OK);
            system as usize
        }
    });
    // SAFETY: it is the address that SQLite gave above, of a value that is never freed nor changed but in its link to the next
    // VFS, under SQLite's own lock, which nobody reads through this reference.
    unsafe { &*(address as *const sqlite3_vfs) }
}

/// The disk that a name is on, if that is watched.
fn disk_of(name: *const c_char) -> Option<Arc<Shared>> {
    if name.is_null() {
        return None; // A temporary file.
    }
    // SAFETY: SQLite names files by strings that end with a zero and live during the call.
    let name = unsafe { CStr::from_ptr(name) };
    let path = Path::new(OsStr::from_bytes(name.to_bytes()));
    disks().iter().find(|disk| path.starts_with(&disk.dir)).cloned()
}

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let disk = disk_of(name);
    if let Some(code) = disk.as_ref().and_then(|disk| disk.count(Operation::Open)) {
        // SAFETY: SQLite gives memory for a file; without methods it takes it for one that is not open.
        unsafe { (*file).pMethods = ptr::null() };
        return code;
    }
    let system = system();
    let real = system.xOpen.expect("a VFS opens files");
    // SAFETY: the arguments are SQLite's own, handed on to the VFS that the memory was measured for.
    let done = unsafe { real(ptr::from_ref(system).cast_mut(), name, file, flags, flags_out) };
    if done == SQLITE_OK
        && let Some(disk) = disk
    {
        // SAFETY: the file is open, so that its methods are a static table of SQLite.
        let system: &'static sqlite3_io_methods = unsafe { &*(*file).pMethods };
        let mut ours = Box::new(*system);
        ours.xClose = Some(close);
        ours.xRead = Some(read);
        ours.xWrite = Some(write);
        ours.xTruncate = Some(truncate);
        ours.xSync = Some(sync);
        ours.xShmMap = Some(map);
        // SAFETY: the table is kept in `files` until the file is closed, and a box does not move what is in it.
        unsafe { (*file).pMethods = ptr::from_ref(&*ours) };
        files().insert(file as usize, Watched { disk, system, ours });
    }
    done
}

unsafe extern "C" fn delete(_: *mut sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    if let Some(code) = disk_of(name).and_then(|disk| disk.count(Operation::Delete)) {
        return code;
    }
    let system = system();
    let real = system.xDelete.expect("a VFS deletes files");
    // SAFETY: the arguments are SQLite's own.
    unsafe { real(ptr::from_ref(system).cast_mut(), name, sync_dir) }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    let watched = files().remove(&(file as usize)).expect("only files that are watched have our methods");
    let real = watched.system.xClose.expect("files can be closed");
    // SAFETY: the file is the one that the system opened, and gets back the methods that it had; SQLite does not use it again,
    // so that ours may go with `watched`.
    unsafe {
        (*file).pMethods = ptr::from_ref(watched.system);
        let done = real(file);
        drop(watched.ours);
        done
    }
}

unsafe extern "C" fn read(file: *mut sqlite3_file, to: *mut c_void, bytes: c_int, at: i64) -> c_int {
    let (disk, system) = of(file);
    if let Some(code) = disk.count(Operation::Read) {
        return code;
    }
    let real = system.xRead.expect("files can be read");
    // SAFETY: the arguments are SQLite's own, for a file that the system opened.
    unsafe { real(file, to, bytes, at) }
}

/// A write that fails leaves its first half.
unsafe extern "C" fn write(file: *mut sqlite3_file, from: *const c_void, bytes: c_int, at: i64) -> c_int {
    let (disk, system) = of(file);
    let real = system.xWrite.expect("files can be written");
    let code = disk.count(Operation::Write);
    let bytes = if code.is_some() { bytes / 2 } else { bytes };
    // SAFETY: the arguments are SQLite's own, for a file that the system opened; fewer bytes of its memory are its memory, too.
    let done = unsafe { real(file, from, bytes, at) };
    code.unwrap_or(done)
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, bytes: i64) -> c_int {
    let (disk, system) = of(file);
    if let Some(code) = disk.count(Operation::Truncate) {
        return code;
    }
    let real = system.xTruncate.expect("files can be cut");
    // SAFETY: the arguments are SQLite's own, for a file that the system opened.
    unsafe { real(file, bytes) }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    let (disk, system) = of(file);
    if let Some(code) = disk.count(Operation::Sync) {
        return code;
    }
    let real = system.xSync.expect("files can be synced");
    // SAFETY: the arguments are SQLite's own, for a file that the system opened.
    unsafe { real(file, flags) }
}

unsafe extern "C" fn map(
    file: *mut sqlite3_file,
    region: c_int,
    bytes: c_int,
    extend: c_int,
    mapped: *mut *mut c_void,
) -> c_int {
    let (disk, system) = of(file);
    if let Some(code) = disk.count(Operation::Map) {
        // SAFETY: SQLite gives a place for the address, and takes null for none.
        unsafe { *mapped = ptr::null_mut() };
        return code;
    }
    let real = system.xShmMap.expect("files of this VFS have shared memory");
    // SAFETY: the arguments are SQLite's own, for a file that the system opened.
    unsafe { real(file, region, bytes, extend, mapped) }
}
