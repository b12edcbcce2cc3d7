//! Host metadata: small named values that belong to the host as a whole (a recent list, settings, a clock of its blocks).

use rusqlite::{OptionalExtension, params};

use crate::Result;
use crate::gap::check_host_key;
use crate::row_sum::{Table, check, sum};
use crate::storage::Storage;

impl Storage {
    /// The value of `key`, or `None`.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`](crate::Error::Damaged), [`Error::Io`](crate::Error::Io), [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn host_get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.read_beside("read host metadata", |session| {
            let mut statement =
                session.connection.prepare_cached("SELECT sum, key, value FROM host WHERE key = ?")?;
            let value = statement
                .query_row([key], |row| {
                    check(row, Table::Host, 0)?;
                    row.get(2)
                })
                .optional()?;
            if value.is_none() {
                check_host_key(&session.connection, key)?;
            }
            Ok(value)
        })
    }

    /// Sets the value of `key`; `None` deletes it.
    ///
    /// # Errors
    ///
    /// [`Error::Full`](crate::Error::Full), [`Error::Io`](crate::Error::Io), [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn host_put(&self, key: &str, value: Option<&[u8]>) -> Result<()> {
        self.write_checked("write host metadata", |session| {
            match value {
                Some(value) => session
                    .connection
                    .prepare_cached("INSERT OR REPLACE INTO host (key, value, sum) VALUES (?, ?, ?)")?
                    .execute(params![key, value, sum(Table::Host, &[key.into(), value.into()])])?,
                None => {
                    session.connection.prepare_cached("DELETE FROM host WHERE key = ?")?.execute([key])?
                }
            };
            Ok(())
        })
    }
}
