//! Vat storage: the keys and values that vats keep outside their heaps.
//!
//! Written only as part of a crank ([`Storage::append_crank`]). Keys are ordered by their UTF-8 bytes, in every locale.

use rusqlite::{Connection, OptionalExtension, params};

use crate::Result;
use crate::id::VatId;
use crate::storage::Storage;

/// A key, and its new value; `None` deletes it.
pub type VatstoreWrite<'a> = (&'a str, Option<&'a str>);

impl Storage {
    /// The value of `key`, or `None`.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`](crate::Error::Damaged), [`Error::Io`](crate::Error::Io), [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn vatstore_get(&self, vat: VatId, key: &str) -> Result<Option<String>> {
        self.read("read vat storage", |session| {
            let mut statement =
                session.connection.prepare_cached("SELECT value FROM vatstore WHERE vat = ? AND key = ?")?;
            Ok(statement.query_row(params![vat.0, key], |row| row.get(0)).optional()?)
        })
    }

    /// The first key after `prior` (which need not exist), or `None`. No key is before `""`, but `""` itself is not after it.
    ///
    /// # Errors
    ///
    /// As [`vatstore_get`](Storage::vatstore_get).
    pub fn vatstore_next_key(&self, vat: VatId, prior: &str) -> Result<Option<String>> {
        self.read("read vat storage", |session| {
            let mut statement = session
                .connection
                .prepare_cached("SELECT key FROM vatstore WHERE vat = ? AND key > ? ORDER BY key LIMIT 1")?;
            Ok(statement.query_row(params![vat.0, prior], |row| row.get(0)).optional()?)
        })
    }

    /// How many keys `vat` has. Takes time in proportion.
    ///
    /// # Errors
    ///
    /// As [`vatstore_get`](Storage::vatstore_get).
    pub fn vatstore_len(&self, vat: VatId) -> Result<u64> {
        self.read("count vat storage", |session| {
            let mut statement =
                session.connection.prepare_cached("SELECT count(*) FROM vatstore WHERE vat = ?")?;
            Ok(statement.query_row([vat.0], |row| row.get(0))?)
        })
    }
}

pub(crate) fn apply(
    connection: &Connection,
    vat: VatId,
    writes: &[VatstoreWrite<'_>],
) -> rusqlite::Result<()> {
    for (key, value) in writes {
        match value {
            Some(value) => connection
                .prepare_cached("INSERT OR REPLACE INTO vatstore (vat, key, value) VALUES (?, ?, ?)")?
                .execute(params![vat.0, key, value])?,
            None => connection
                .prepare_cached("DELETE FROM vatstore WHERE vat = ? AND key = ?")?
                .execute(params![vat.0, key])?,
        };
    }
    Ok(())
}
