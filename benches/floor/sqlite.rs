//! Bare SQLite: a transcript entry and a few keys for each crank, by prepared statements, one transaction for a batch.

use std::path::Path;

use anyhow::Result;
use rusqlite::{Connection, params};

/// A database with one table for entries and one for keys.
#[derive(Debug)]
pub(crate) struct BareStore {
    connection: Connection,
    position: i64,
}

impl BareStore {
    /// A new database, as durable as the warehouse's: WAL, synced at every commit.
    pub(crate) fn new(path: &Path) -> Result<BareStore> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE entries (vat INTEGER, position INTEGER, entry BLOB, PRIMARY KEY (vat, position)) WITHOUT ROWID;
             CREATE TABLE keys (vat INTEGER, key TEXT, value TEXT, PRIMARY KEY (vat, key)) WITHOUT ROWID;",
        )?;
        Ok(BareStore { connection, position: 0 })
    }

    /// Commits cranks together: each is an entry of this many bytes and the keys it sets.
    pub(crate) fn commit(
        &mut self,
        entry_bytes: usize,
        cranks: impl IntoIterator<Item = Vec<(String, String)>>,
    ) -> Result<()> {
        let entry = vec![b'x'; entry_bytes];
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        for writes in cranks {
            self.connection
                .prepare_cached("INSERT INTO entries VALUES (1, ?1, ?2)")?
                .execute(params![self.position, entry])?;
            self.position += 1;
            let mut set = self.connection.prepare_cached(
                "INSERT INTO keys VALUES (1, ?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
            )?;
            for (key, value) in &writes {
                set.execute(params![key, value])?;
            }
        }
        self.connection.execute_batch("COMMIT")?;
        Ok(())
    }
}
