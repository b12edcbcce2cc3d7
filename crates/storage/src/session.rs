//! The one connection: its settings, its open transaction, and the rule that a failed write ends it.
//!
//! ```text
//!            BEGIN IMMEDIATE by the first call
//!   idle ───────────────────────────────────────▶ open ──┐ each operation is undone alone
//!    ▲                                            │  ▲───┘ if the caller was at fault
//!    └────────────────── commit() ────────────────┘
//!                                                 │ host fault in an operation or in commit()
//!                                                 ▼
//!                                             poisoned: rolled back, everything refused
//! ```
//!
//! Invariants: `open_spans` says what a query of `spans` would, committed or not; it is emptied whenever something is undone.
//! While `buffer` holds cranks, a transaction is open. Every operation finds them written, unless it says that it does not
//! depend on them ([`Session::read_beside`], [`Session::write_checked`]) or reads `buffer` itself.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lru::LruCache;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::Result;
use crate::buffer::CrankBuffer;
use crate::error::{Error, Fault};
use crate::id::VatId;
use crate::schema;
use crate::span::OpenSpan;
use crate::span_policy::SpanPolicy;

/// Open spans kept in memory; a vat beyond that costs one more query per crank.
const OPEN_SPANS_MAX: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
/// Prepared statements kept; more than this crate has.
const STATEMENTS_MAX: usize = 128;
/// How long to wait for a tool that looks into the file (a checkpoint, a shell's transaction) before giving up.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// What a connection may do, and whether it may create the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Create,
    Write,
    Read,
}

impl Access {
    fn flags(self) -> OpenFlags {
        let access = match self {
            Access::Create => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
            Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
        access | OpenFlags::SQLITE_OPEN_NO_MUTEX
    }
}

/// An SQLite connection with at most one open transaction.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) open_spans: LruCache<VatId, OpenSpan>,
    pub(crate) buffer: CrankBuffer,
    pub(crate) span_policy: SpanPolicy,
    path: PathBuf,
    access: Access,
    poisoned: Option<String>,
}

impl Session {
    /// Opens the file, checks whose it is, creates the tables if it is new, and tries its write lock.
    pub(crate) fn open(path: &Path, access: Access) -> Result<Session> {
        const ATTEMPT: &str = "open the store";
        let open = || -> std::result::Result<Connection, Fault> {
            let connection = Connection::open_with_flags(path, access.flags())?;
            // A locked file is reported at once; only later, short collisions are waited for.
            connection.busy_timeout(Duration::ZERO)?;
            let content = schema::inspect(&connection, path)?;
            configure(&connection, access)?;
            if access != Access::Read {
                connection.execute_batch("BEGIN IMMEDIATE")?;
                match content {
                    schema::Content::Nothing => schema::create(&connection)?,
                    schema::Content::Older(version) => schema::migrate(&connection, version)?,
                    schema::Content::Store => {}
                }
                connection.execute_batch("COMMIT")?;
            } else {
                schema::require_current(content, path)?;
            }
            connection.busy_timeout(BUSY_WAIT)?;
            Ok(connection)
        };
        let connection = open().map_err(|fault| fault.into_error(ATTEMPT, path))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        let open_spans = LruCache::new(OPEN_SPANS_MAX);
        let buffer = CrankBuffer::default();
        let span_policy = SpanPolicy::NEVER;
        Ok(Session {
            connection,
            open_spans,
            buffer,
            span_policy,
            path: path.to_owned(),
            access,
            poisoned: None,
        })
    }

    /// Runs a query; sees what was written and not yet committed.
    pub(crate) fn read<T>(
        &mut self,
        attempt: &'static str,
        operation: impl FnOnce(&mut Session) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        self.flush()?;
        self.read_beside(attempt, operation)
    }

    /// Runs a query about one vat; sees its cranks, and may not see those of others.
    pub(crate) fn read_vat<T>(
        &mut self,
        attempt: &'static str,
        vat: VatId,
        operation: impl FnOnce(&mut Session) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        if self.buffer.holds(vat) {
            self.flush()?;
        }
        self.read_beside(attempt, operation)
    }

    /// Runs a query that needs no buffered crank in SQLite.
    pub(crate) fn read_beside<T>(
        &mut self,
        attempt: &'static str,
        operation: impl FnOnce(&mut Session) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        self.check()?;
        if self.access != Access::Read {
            // Outside a transaction each query takes and drops the file's locks, which is half of its time.
            self.begin().map_err(|error| Error::from_sqlite(attempt, &self.path, error))?;
        }
        operation(self).map_err(|fault| {
            let error = fault.into_error(attempt, &self.path);
            if self.is_transaction_lost() { self.poison(error) } else { error }
        })
    }

    /// Runs an operation in a savepoint of the open transaction: a caller's mistake undoes it wherever it is found.
    pub(crate) fn write<T>(
        &mut self,
        attempt: &'static str,
        operation: impl FnOnce(&mut Session) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        self.check_writable()?;
        self.flush()?;
        self.begin()
            .and_then(|()| self.run("SAVEPOINT operation"))
            .map_err(|error| Error::from_sqlite(attempt, &self.path, error))?;
        let result = operation(self).and_then(|value| {
            self.run("RELEASE operation")?;
            Ok(value)
        });
        result.map_err(|fault| self.undo(fault.into_error(attempt, &self.path)))
    }

    /// Runs an operation that finds the caller's mistakes before its first write. It needs no savepoint, which would take a
    /// quarter of the time of a crank (SQLite copies each page that it touches). Once something is written, any failure
    /// stops the storage, and the half-done operation goes with the transaction.
    ///
    /// Buffered cranks stay in the buffer: nothing that is written this way touches what cranks write.
    pub(crate) fn write_checked<T>(
        &mut self,
        attempt: &'static str,
        operation: impl FnOnce(&mut Session) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        self.check_writable()?;
        self.begin().map_err(|error| Error::from_sqlite(attempt, &self.path, error))?;
        let before = self.connection.total_changes();
        operation(self).map_err(|fault| {
            let error = fault.into_error(attempt, &self.path);
            let nothing_written = self.connection.total_changes() == before;
            let harmless = error.is_callers() && nothing_written && !self.is_transaction_lost();
            if harmless { error } else { self.poison(error) }
        })
    }

    /// Makes everything written so far durable; nothing to do if nothing was.
    pub(crate) fn commit(&mut self) -> Result<()> {
        self.flush()?;
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.run("COMMIT").map_err(|error| {
            let error = Error::from_sqlite("commit", &self.path, error);
            self.poison(error)
        })
    }

    /// Writes the buffered cranks. They were accepted, so that a failure stops the storage, whatever its reason.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.check()?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.write_buffer().map_err(|fault| {
            let error = fault.into_error("write cranks", &self.path);
            self.poison(error)
        })
    }

    fn check(&self) -> Result<()> {
        match &self.poisoned {
            None => Ok(()),
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
        }
    }

    fn check_writable(&self) -> Result<()> {
        self.check()?;
        match self.access {
            Access::Read => Err(Error::ReadOnly { path: self.path.clone() }),
            Access::Create | Access::Write => Ok(()),
        }
    }

    /// Whether SQLite undid the open transaction by itself, as it may when memory or the disk fails it, in reads too. Were the
    /// next call to begin another one, the store would have a gap that nobody was told of.
    fn is_transaction_lost(&self) -> bool {
        self.access != Access::Read && self.connection.is_autocommit()
    }

    /// Begins the transaction if none is open.
    fn begin(&self) -> rusqlite::Result<()> {
        if self.connection.is_autocommit() { self.run("BEGIN IMMEDIATE") } else { Ok(()) }
    }

    /// Undoes the operation that failed with `error`: alone if it was the caller's fault, else with everything uncommitted.
    fn undo(&mut self, error: Error) -> Error {
        self.open_spans.clear();
        if !error.is_callers() {
            return self.poison(error);
        }
        match self.run("ROLLBACK TO operation").and_then(|()| self.run("RELEASE operation")) {
            Ok(()) => error,
            Err(second) => {
                let second = Error::from_sqlite("undo a failed write", &self.path, second);
                self.poison(second)
            }
        }
    }

    fn poison(&mut self, error: Error) -> Error {
        tracing::error!(path = %self.path.display(), %error, "storage stopped after a failed write");
        self.poisoned = Some(error.to_string());
        self.open_spans.clear();
        self.buffer.clear();
        // SQLite may have rolled back by itself; if this fails too, closing the connection does the same.
        let _ = self.run("ROLLBACK");
        error
    }

    fn run(&self, sql: &'static str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }
}

/// Settings that a connection forgets when it is closed, and WAL mode, which stays in the file.
fn configure(connection: &Connection, access: Access) -> rusqlite::Result<()> {
    if access != Access::Read {
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    }
    // A plan depends on the statement alone; otherwise each new value of a bound limit or range prepares it again.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -32768;
         PRAGMA wal_autocheckpoint = 4000;
         PRAGMA trusted_schema = OFF;",
    )
}
