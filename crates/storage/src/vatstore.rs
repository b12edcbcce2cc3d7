//! Vat storage: the keys and values that vats keep outside their heaps.
//!
//! Written only as part of a crank ([`Storage::append_crank`]); read through the buffer of cranks. Keys are ordered by their UTF-8 bytes, in every locale.

use rusqlite::{Connection, OptionalExtension, params};

use crate::Result;
use crate::gap::{check_key_after, check_key_before};
use crate::id::VatId;
use crate::row_sum::{Table, check, sum};
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
            let mut statement = session
                .connection
                .prepare_cached("SELECT sum, vat, key, value FROM vatstore WHERE vat = ? AND key = ?")?;
            let value = statement
                .query_row(params![vat.0, key], |row| {
                    check(row, Table::Vatstore, 0)?;
                    row.get(3)
                })
                .optional()?;
            if value.is_none() {
                check_key_before(&session.connection, vat.0, key)?;
                check_key_after(&session.connection, vat.0, key)?;
            }
            Ok(value)
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

    /// Replaces all of a vat's storage, damaged or not, by what somebody knows that it is.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`](crate::Error::Unknown) for a vat that is unknown or terminated; [`Error::Full`](crate::Error::Full),
    /// [`Error::Io`](crate::Error::Io), [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn restore_vatstore(&self, vat: VatId, pairs: &[(String, String)]) -> Result<()> {
        self.write("restore vat storage", |session| {
            session.open_span(vat)?;
            session.connection.prepare_cached("DELETE FROM vatstore WHERE vat = ?")?.execute([vat.0])?;
            Ok(insert(&session.connection, vat, pairs)?)
        })
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

/// The key after `prior`. The rows on both sides of `prior`'s place are read, whichever vat they are of: a key that is passed over
/// because it changed is one of them.
fn stored_next_key(connection: &Connection, vat: VatId, prior: &str) -> rusqlite::Result<Option<String>> {
    check_key_before(connection, vat.0, prior)?;
    let next = connection
        .prepare_cached(
            "SELECT sum, vat, key, value FROM vatstore WHERE (vat, key) > (?, ?) ORDER BY vat, key LIMIT 1",
        )?
        .query_row(params![vat.0, prior], |row| {
            check(row, Table::Vatstore, 0)?;
            Ok((VatId(row.get(1)?), row.get(2)?))
        })
        .optional()?;
    Ok(next.filter(|(of, _)| *of == vat).map(|(_, key)| key))
}

/// Adds keys that are not there.
pub(crate) fn insert<'a>(
    connection: &Connection,
    vat: VatId,
    pairs: impl IntoIterator<Item = &'a (String, String)>,
) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT INTO vatstore (vat, key, value, sum) VALUES (?, ?, ?, ?)")?;
    for (key, value) in pairs {
        insert.execute(params![vat.0, key, value, row_sum(vat, key, value)])?;
    }
    Ok(())
}

/// The sum of a row.
pub(crate) fn row_sum(vat: VatId, key: &str, value: &str) -> i64 {
    sum(Table::Vatstore, &[vat.0.into(), key.into(), value.into()])
}
