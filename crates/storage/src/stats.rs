//! Counts over the whole store, for people and for dashboards.

use std::path::Path;

use rusqlite::Connection;

use crate::Result;
use crate::error::Error;
use crate::storage::Storage;

/// How much of everything there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Modules.
    pub modules: u64,
    /// Bytes of wasm.
    pub module_bytes: u64,
    /// Vats that may run.
    pub vats_alive: u64,
    /// Vats that were terminated.
    pub vats_terminated: u64,
    /// Vats in quarantine.
    pub vats_quarantined: u64,
    /// Positions in all transcripts, pruned ones too.
    pub transcript_entries: u64,
    /// Spans, open ones too.
    pub spans: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Layers known.
    pub layers: u64,
    /// Bytes of those layers in the page store.
    pub layer_bytes: u64,
    /// Keys in vat storage.
    pub vatstore_keys: u64,
    /// Bytes of the store's file.
    pub file_bytes: u64,
    /// Bytes of its write-ahead log.
    pub log_bytes: u64,
}

impl Storage {
    /// Counts everything. Takes time in proportion to vats, spans and vat storage, not to transcripts.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn stats(&self) -> Result<Stats> {
        let counts = self.read("count", |session| Ok(count(&session.connection)?))?;
        let mut log = self.path().as_os_str().to_owned();
        log.push("-wal");
        Ok(Stats { file_bytes: file_bytes(self.path())?, log_bytes: file_bytes(log.as_ref())?, ..counts })
    }

    /// Has SQLite check the whole file: pages, indexes, references. Takes time in proportion to its size.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] with the first thing found; [`Error::Io`], [`Error::Poisoned`].
    pub fn check_file(&self) -> Result<()> {
        self.read("check the file", |session| {
            let found: String =
                session.connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
            if found != "ok" {
                return Err(Error::Damaged { what: found }.into());
            }
            let dangling = session.connection.prepare("PRAGMA foreign_key_check")?.exists([])?;
            if dangling {
                return Err(
                    Error::Damaged { what: "a row refers to one that is not there".to_owned() }.into()
                );
            }
            Ok(())
        })
    }
}

fn count(connection: &Connection) -> rusqlite::Result<Stats> {
    let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u64>(0));
    Ok(Stats {
        modules: one("SELECT count(*) FROM modules")?,
        module_bytes: one("SELECT coalesce(sum(length(wasm)), 0) FROM modules")?,
        vats_alive: one("SELECT count(*) FROM vats WHERE status = 0")?,
        vats_terminated: one("SELECT count(*) FROM vats WHERE status = 1")?,
        vats_quarantined: one("SELECT count(*) FROM vats WHERE status = 2")?,
        transcript_entries: one("SELECT coalesce(sum(end_position - start_position), 0) FROM spans")?,
        spans: one("SELECT count(*) FROM spans")?,
        snapshots: one("SELECT count(*) FROM snapshots")?,
        layers: one("SELECT count(*) FROM layers")?,
        layer_bytes: one("SELECT coalesce(sum(bytes), 0) FROM layers")?,
        vatstore_keys: one("SELECT count(*) FROM vatstore")?,
        file_bytes: 0,
        log_bytes: 0,
    })
}

fn file_bytes(path: &Path) -> Result<u64> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::from_io("measure the store", path, error)),
    }
}
