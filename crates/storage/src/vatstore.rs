//! Vat storage: the keys and values that vats keep outside their heaps.
//!
//! Written only as part of a crank ([`Storage::append_crank`]); read through the buffer of cranks. Keys are ordered by their UTF-8 bytes, in every locale.

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
        self.read_beside("read vat storage", |session| {
            if let Some(written) = session.buffer.written(vat, key) {
                return Ok(written.clone());
            }
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
        let next = self.read_beside("read vat storage", |session| {
            let stored = stored_next_key(&session.connection, vat, prior)?;
            let deleted =
                stored.as_deref().is_some_and(|key| session.buffer.written(vat, key) == Some(&None));
            let written = session.buffer.next_key(vat, prior).map(str::to_owned);
            Ok(if deleted { None } else { Some([written, stored].into_iter().flatten().min()) })
        })?;
        match next {
            Some(key) => Ok(key),
            // Behind a deleted key there may be many more of them: let SQLite forget them all at once.
            None => self.read_vat("read vat storage", vat, |session| {
                Ok(stored_next_key(&session.connection, vat, prior)?)
            }),
        }
    }

    /// How many keys `vat` has. Takes time in proportion.
    ///
    /// # Errors
    ///
    /// As [`vatstore_get`](Storage::vatstore_get).
    pub fn vatstore_len(&self, vat: VatId) -> Result<u64> {
        self.read_vat("count vat storage", vat, |session| {
            let mut statement =
                session.connection.prepare_cached("SELECT count(*) FROM vatstore WHERE vat = ?")?;
            Ok(statement.query_row([vat.0], |row| row.get(0))?)
        })
    }
}

fn stored_next_key(connection: &Connection, vat: VatId, prior: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT key FROM vatstore WHERE vat = ? AND key > ? ORDER BY key LIMIT 1")?
        .query_row(params![vat.0, prior], |row| row.get(0))
        .optional()
}
