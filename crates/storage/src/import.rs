//! Rows that come from elsewhere: a vat with its spans, entries and storage, as an archive has them.
//!
//! The caller has verified them, and brings them in an order that keeps the tables' rules: the vat, then span by span what
//! there is of its entries and then its row, then its storage. A span's row comes last, since it lets its entries be compressed in the
//! background. A closed span may come without entries: its hash stays, as after pruning. Nothing here
//! runs on a vat that takes deliveries.
//!
//! [`Storage::view`] is the other direction: the store as it was last committed, held still while it is read.

use rusqlite::params;

use crate::Result;
use crate::error::{Error, Kind};
use crate::gap::{check_key_after, check_key_before};
use crate::id::{Incarnation, ModuleHash, Position, VatId};
use crate::module;
use crate::row_sum::{Table, check};
use crate::session::{Access, Session};
use crate::span::{self, SpanRow};
use crate::storage::Storage;
use crate::transcript::entry_sum;
use crate::vat::{self, VatStatus, by_name, set_status};
use crate::vatstore;

/// A vat that comes from elsewhere.
#[derive(Clone, Debug)]
pub struct ImportedVat<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its code, which is installed.
    pub module: ModuleHash,
    /// Options of the layer above, opaque.
    pub options: &'a str,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Whether it may run.
    pub status: &'a VatStatus,
}

impl Storage {
    /// The store as it was last committed, held still for reading: what is written and committed meanwhile does not show. While
    /// there is a view, the write-ahead log cannot be reset and grows.
    ///
    /// # Errors
    ///
    /// As [`open_read_only`](Storage::open_read_only).
    pub fn view(&self) -> Result<Storage> {
        let session = Session::open(self.path(), Access::Read)?;
        let view = Storage::of_session(session, self.path().to_owned());
        view.read("hold the store still", |session| {
            session.connection.execute_batch("BEGIN")?;
            // A deferred transaction holds nothing before its first query.
            Ok(session.connection.query_row("SELECT count(*) FROM host", [], |_| Ok(()))?)
        })?;
        Ok(view)
    }

    /// Makes a vat without any span. Give it its spans before the next commit.
    ///
    /// # Errors
    ///
    /// [`Error::Duplicate`] if a vat that is not terminated has the name; [`Error::Unknown`] for the module; [`Error::Full`],
    /// [`Error::Io`], [`Error::Poisoned`].
    pub fn import_vat(&self, vat: &ImportedVat<'_>) -> Result<VatId> {
        self.write("import a vat", |session| {
            module::require(&session.connection, vat.module)?;
            if by_name(&session.connection, vat.name)?.is_some() {
                return Err(Error::duplicate(Kind::Vat, vat.name).into());
            }
            let id = vat::insert(&session.connection, vat.name, vat.module, vat.options, vat.incarnation)?;
            set_status(session, id, vat.status)?;
            Ok(id)
        })
    }

    /// Gives an imported vat its next span.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if it does not begin where the one before ended; [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn import_span(&self, vat: VatId, span: &SpanRow) -> Result<()> {
        const ATTEMPT: &str = "import a span";
        self.write(ATTEMPT, |session| {
            let end: u64 = session
                .connection
                .prepare_cached("SELECT coalesce(max(end_position), 0) FROM spans WHERE vat = ?")?
                .query_row([vat.0], |row| row.get(0))?;
            if span.start.0 != end {
                let reason = format!("the span begins at {}, and the one before ends at {end}", span.start);
                return Err(Error::Refused { attempt: ATTEMPT, reason }.into());
            }
            session.open_spans.pop(&vat);
            Ok(span::insert(&session.connection, vat, span)?)
        })
    }

    /// Gives an imported vat entries of its next span, the first at `first`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if one is there already; [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn import_entries(&self, vat: VatId, first: Position, entries: &[Vec<u8>]) -> Result<()> {
        self.write("import entries", |session| {
            let mut insert = session
                .connection
                .prepare_cached("INSERT INTO transcript (vat, position, entry, sum) VALUES (?, ?, ?, ?)")?;
            for (position, entry) in (first.0..).zip(entries) {
                let sum = entry_sum(vat, Position(position), entry);
                insert.execute(params![vat.0, position, entry, sum])?;
            }
            Ok(())
        })
    }

    /// Gives an imported vat keys of its storage.
    ///
    /// # Errors
    ///
    /// [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn import_vatstore(&self, vat: VatId, pairs: &[(String, String)]) -> Result<()> {
        self.write("import vat storage", |session| Ok(vatstore::insert(&session.connection, vat, pairs)?))
    }

    /// At most `limit` keys after `prior` with their values, in order. Begin with `""`.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn vatstore_after(&self, vat: VatId, prior: &str, limit: usize) -> Result<Vec<(String, String)>> {
        self.read("read vat storage", |session| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut statement = session.connection.prepare_cached(
                "SELECT sum, vat, key, value FROM vatstore WHERE vat = ? AND key > ? ORDER BY key LIMIT ?",
            )?;
            let rows = statement.query_map(params![vat.0, prior, limit], |row| {
                check(row, Table::Vatstore, 0)?;
                Ok((row.get(2)?, row.get(3)?))
            })?;
            let pairs = rows.collect::<rusqlite::Result<Vec<(String, String)>>>()?;
            // The rows beside these: one of them may be this vat's, under a key or an id that changed.
            check_key_before(&session.connection, vat.0, prior)?;
            let last = pairs.last().map_or(prior, |(key, _)| key);
            check_key_after(&session.connection, vat.0, last)?;
            Ok(pairs)
        })
    }
}
