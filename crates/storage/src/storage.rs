//! [`Storage`]: opening a data directory, and the commit. The calls on each kind of record are in its own file.
//!
//! One connection behind a mutex, so that a `&Storage` can be shared between threads: every call takes the mutex for one
//! operation, and none keeps it while the caller's code runs.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use crate::Result;
use crate::error::{Error, Fault};
use crate::id::VatId;
use crate::lock::Lock;
use crate::session::{Access, Session};

/// Name of the store's file in the data directory.
const FILE: &str = "store.sqlite";

/// The durable state of a host. Dropping it without [`commit`](Storage::commit) undoes what was not committed.
#[derive(Debug)]
pub struct Storage {
    // Before the lock: the connection is closed while the directory is still ours.
    session: Mutex<Session>,
    path: PathBuf,
    /// A hint: `false` means that no closed span is to be compressed.
    pub(crate) may_have_loose_spans: AtomicBool,
    _lock: Option<Lock>,
}

impl Storage {
    /// Opens the store in `dir` for writing; creates the directory and an empty store if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`], [`Error::NewerVersion`], [`Error::NotAStore`] (a file of another program has its name),
    /// [`Error::Damaged`], [`Error::ReadOnly`], [`Error::Full`], [`Error::Io`].
    pub fn open(dir: &Path) -> Result<Storage> {
        std::fs::create_dir_all(dir)
            .map_err(|error| Error::from_io("create the data directory", dir, error))?;
        Storage::open_locked(dir, Access::Create)
    }

    /// Opens the store in `dir` for writing, if there is one; creates nothing otherwise.
    ///
    /// # Errors
    ///
    /// As [`open`](Storage::open), and [`Error::NotAStore`] if there is none.
    pub fn open_existing(dir: &Path) -> Result<Storage> {
        require_file(dir)?;
        Storage::open_locked(dir, Access::Write)
    }

    /// Opens the store in `dir` for reading, also while another process writes to it: each call sees the latest commit.
    /// Every writing call fails with [`Error::ReadOnly`].
    ///
    /// # Errors
    ///
    /// As [`open_existing`](Storage::open_existing), but for [`Error::Locked`].
    pub fn open_read_only(dir: &Path) -> Result<Storage> {
        let path = require_file(dir)?;
        let session = Session::open(&path, Access::Read)?;
        Ok(Storage::new(session, path, None))
    }

    /// Of a session that only reads.
    pub(crate) fn of_session(session: Session, path: PathBuf) -> Storage {
        Storage::new(session, path, None)
    }

    fn open_locked(dir: &Path, access: Access) -> Result<Storage> {
        let lock = Lock::take(dir)?;
        let path = dir.join(FILE);
        let session = Session::open(&path, access)?;
        tracing::debug!(path = %path.display(), "store opened");
        Ok(Storage::new(session, path, Some(lock)))
    }

    fn new(session: Session, path: PathBuf, lock: Option<Lock>) -> Storage {
        let may_have_loose_spans = AtomicBool::new(lock.is_some());
        Storage { session: Mutex::new(session), path, may_have_loose_spans, _lock: lock }
    }

    /// Makes everything written since the last commit durable, all of it or nothing; returns after the disk has it.
    ///
    /// # Errors
    ///
    /// [`Error::Full`], [`Error::Io`], [`Error::Poisoned`]; after any of them nothing since the last commit is in the store.
    pub fn commit(&self) -> Result<()> {
        self.with(Session::commit)
    }

    /// The store's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn read<T>(
        &self,
        attempt: &'static str,
        operation: impl FnOnce(&mut Session) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        self.with(|session| session.read(attempt, operation))
    }

    pub(crate) fn read_vat<T>(
        &self,
        attempt: &'static str,
        vat: VatId,
        operation: impl FnOnce(&mut Session) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        self.with(|session| session.read_vat(attempt, vat, operation))
    }

    pub(crate) fn read_beside<T>(
        &self,
        attempt: &'static str,
        operation: impl FnOnce(&mut Session) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        self.with(|session| session.read_beside(attempt, operation))
    }

    pub(crate) fn write<T>(
        &self,
        attempt: &'static str,
        operation: impl FnOnce(&mut Session) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        self.with(|session| session.write(attempt, operation))
    }

    pub(crate) fn write_checked<T>(
        &self,
        attempt: &'static str,
        operation: impl FnOnce(&mut Session) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        self.with(|session| session.write_checked(attempt, operation))
    }

    pub(crate) fn with<T>(&self, operation: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        // A panic inside an operation leaves its savepoint open: as bad as a failed write.
        let mut session = self
            .session
            .lock()
            .map_err(|_| Error::Poisoned { cause: "a call to the storage panicked".to_owned() })?;
        operation(&mut session)
    }
}

pub(crate) fn require_file(dir: &Path) -> Result<PathBuf> {
    let path = dir.join(FILE);
    match path.try_exists() {
        Ok(true) => Ok(path),
        Ok(false) => Err(Error::NotAStore { path }),
        Err(error) => Err(Error::from_io("look for the store", &path, error)),
    }
}
