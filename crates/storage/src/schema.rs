//! The tables, schema version 3, the way there from versions 1 and 2, and the checks that a file is a store of a known version.
//!
//! ```text
//!  module_names ─n─1─ modules ─1─n─ module_layers ─n─1─┐
//!                        │ (by hash, while alive)      │
//!                        n                             ├── layers ── bytes in the page store
//!  host                 vats ─1─n─ snapshots           │
//!                        │            └─1─n─ snapshot_layers ─n─1─┘
//!                        ├─1─n─ spans       [0,40) closed │ [40,95) closed │ [95,97) open
//!                        ├─1─n─ transcript                │ 40 … 94        │ 95 96
//!                        ├─1─n─ packs       0 1 2 … 39    │                │
//!                        └─1─n─ vatstore
//! ```
//!
//! | table | column | meaning |
//! |---|---|---|
//! | all but `packs` | `sum` | of the row's other columns, compared whenever the row is read; see [`row_sum`](crate::row_sum) |
//! | `modules` | `hash` | BLAKE3 of `wasm`, 32 bytes |
//! | | `birth` | descriptor of the heap after birth; NULL until that heap is in the page store |
//! | | `wasm` | the original bytes, last so that reading the others does not touch them |
//! | `module_names` | `name` → `hash` | several names may mean one module |
//! | `vats` | `id` | never used again (AUTOINCREMENT) |
//! | | `name` | unique among vats that are not terminated |
//! | | `module` | hash of its code; no foreign key, a terminated vat does not keep its module |
//! | | `status`, `reason` | 0 alive (reason NULL), 1 terminated, 2 quarantined |
//! | | `options` | opaque text of the layer above |
//! | | `incarnation` | of the open span, and of every delivery to come |
//! | `forks` | `vat` → `parent`, `position` | the transcript of `vat` before `position` is its parent's |
//! | `transcript` | `vat`, `position` → `entry` | opaque bytes; the incarnation is its span's |
//! | `spans` | `start_position`, `end_position` | end exclusive; the spans of a vat follow each other without gap |
//! | | `hash` | running hash of the entries, 64 characters; see [`SpanHash`](crate::SpanHash) |
//! | | `incarnation` | of all entries of the span |
//! | | `bytes` | of all entries of the span, as they were appended |
//! | | `content` | where the entries are: 0 in `transcript` (some may be in `packs`), 1 all in `packs`, 2 nowhere: pruned |
//! | `packs` | `start_position`, `end_position` | the entries of one closed span, or a run of them, compressed together |
//! | | `checksum` | BLAKE3 of `entries` with vat and positions; see [`pack`](crate::pack) |
//! | | `open` | 1 for the newest span of a living vat: its end is the vat's next position; else 0 |
//! | `snapshots` | `position` | deliveries before it are in the image |
//! | | `incarnation` | of the code that the image belongs to |
//! | | `root` | heap root, 32 bytes; NULL until it is known |
//! | | `image` | opaque descriptor: size, globals, layers |
//! | `layers` | `id` | never used again (AUTOINCREMENT) |
//! | | `segment`, `offset`, `bytes` | where the layer lies in the page store; no two begin at one place |
//! | `snapshot_layers`, `module_layers` | `layer` | one row per image and layer that it needs: a layer is live while one exists |
//! | `vatstore` | `vat`, `key` → `value` | keys ordered by their UTF-8 bytes |
//! | `host` | `key` → `value` | metadata of the host itself, outside all vats |
//!
//! The file's `application_id` is `VATW`, its `user_version` the schema version; both are written in the transaction
//! that creates or migrates the tables, so a half-made store does not exist. A change to any table is a new version, with a step
//! from the one before it. A store of an older version is migrated when it is opened for writing, and refused for reading.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::error::{Error, Fault};
use crate::row_sum::{self, Cell, Table, sum};

/// The schema version that this crate writes, and the newest that it reads.
pub const SCHEMA_VERSION: u32 = 3;

/// "VATW" in the file's header.
const APPLICATION_ID: i64 = 0x5641_5457;

const TABLES: &str = "
CREATE TABLE modules (
    hash  BLOB NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    sum   INTEGER NOT NULL,
    birth BLOB,
    wasm  BLOB NOT NULL
) STRICT;
CREATE TABLE module_names (
    name TEXT NOT NULL PRIMARY KEY,
    hash BLOB NOT NULL REFERENCES modules (hash) ON DELETE CASCADE,
    sum  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX module_names_by_hash ON module_names (hash);
CREATE TABLE vats (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT NOT NULL,
    module      BLOB NOT NULL,
    status      INTEGER NOT NULL CHECK (status IN (0, 1, 2)),
    reason      TEXT CHECK ((reason IS NULL) = (status = 0)),
    options     TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    sum         INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX vats_by_name ON vats (name) WHERE status <> 1;
CREATE TABLE forks (
    vat      INTEGER NOT NULL PRIMARY KEY REFERENCES vats (id),
    parent   INTEGER NOT NULL REFERENCES vats (id),
    position INTEGER NOT NULL,
    sum      INTEGER NOT NULL
) STRICT;
CREATE INDEX forks_by_parent ON forks (parent);
CREATE TABLE transcript (
    vat      INTEGER NOT NULL,
    position INTEGER NOT NULL,
    sum      INTEGER NOT NULL,
    entry    BLOB NOT NULL,
    PRIMARY KEY (vat, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE spans (
    vat            INTEGER NOT NULL REFERENCES vats (id),
    start_position INTEGER NOT NULL,
    end_position   INTEGER NOT NULL CHECK (end_position >= start_position),
    hash           TEXT NOT NULL CHECK (length(hash) = 64),
    incarnation    INTEGER NOT NULL,
    open           INTEGER NOT NULL CHECK (open IN (0, 1)),
    bytes          INTEGER NOT NULL,
    content        INTEGER NOT NULL CHECK (content IN (0, 1, 2)),
    sum            INTEGER NOT NULL,
    PRIMARY KEY (vat, start_position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX spans_open ON spans (vat) WHERE open = 1;
CREATE INDEX spans_loose ON spans (vat, start_position) WHERE open = 0 AND content = 0;
CREATE TABLE packs (
    vat            INTEGER NOT NULL,
    start_position INTEGER NOT NULL,
    end_position   INTEGER NOT NULL CHECK (end_position > start_position),
    checksum       BLOB NOT NULL CHECK (length(checksum) = 32),
    entries        BLOB NOT NULL,
    PRIMARY KEY (vat, start_position)
) STRICT;
CREATE TABLE snapshots (
    vat         INTEGER NOT NULL REFERENCES vats (id),
    position    INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    root        BLOB CHECK (length(root) = 32),
    sum         INTEGER NOT NULL,
    image       BLOB NOT NULL,
    PRIMARY KEY (vat, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE layers (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    segment INTEGER NOT NULL,
    offset  INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    sum     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX layers_by_place ON layers (segment, offset);
CREATE TABLE snapshot_layers (
    vat      INTEGER NOT NULL,
    position INTEGER NOT NULL,
    layer    INTEGER NOT NULL REFERENCES layers (id),
    sum      INTEGER NOT NULL,
    PRIMARY KEY (vat, position, layer),
    FOREIGN KEY (vat, position) REFERENCES snapshots (vat, position) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshot_layers_by_layer ON snapshot_layers (layer);
CREATE TABLE module_layers (
    hash  BLOB NOT NULL REFERENCES modules (hash) ON DELETE CASCADE,
    layer INTEGER NOT NULL REFERENCES layers (id),
    sum   INTEGER NOT NULL,
    PRIMARY KEY (hash, layer)
) STRICT, WITHOUT ROWID;
CREATE INDEX module_layers_by_layer ON module_layers (layer);
CREATE TABLE vatstore (
    vat   INTEGER NOT NULL,
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    sum   INTEGER NOT NULL,
    PRIMARY KEY (vat, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE host (
    key   TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL,
    sum   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// From version 1 to what version 2 had beyond it. The texts of these tables need not be those of a new store, since the step to
/// version 3 makes all tables anew.
const FROM_1_TO_2: &str = "
ALTER TABLE spans ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE spans ADD COLUMN content INTEGER NOT NULL DEFAULT 0;
UPDATE spans SET bytes = (SELECT coalesce(sum(length(entry)), 0) FROM transcript
    WHERE transcript.vat = spans.vat AND position >= start_position AND position < end_position);
CREATE INDEX spans_loose ON spans (vat, start_position) WHERE open = 0 AND content = 0;
CREATE TABLE packs (vat, start_position, end_position, checksum, entries);
";

/// Indexes of version 2, whose names the new ones need.
const INDEXES_OF_2: [&str; 8] = [
    "module_names_by_hash",
    "vats_by_name",
    "forks_by_parent",
    "spans_open",
    "spans_loose",
    "layers_by_place",
    "snapshot_layers_by_layer",
    "module_layers_by_layer",
];

const PACK_COLUMNS: &str = "vat, start_position, end_position, checksum, entries";

/// What the header of an SQLite file says about its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// No table, no owner: a file that was just created.
    Nothing,
    /// A store of our version.
    Store,
    /// A store of an older version that can be migrated.
    Older(u32),
}

/// Tells an empty file from a store of a version that we know, and refuses everything else.
pub(crate) fn inspect(connection: &Connection, path: &Path) -> Result<Content, Fault> {
    let application_id: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    let path = path.to_owned();
    match (application_id, found) {
        (0, 0) if tables == 0 => Ok(Content::Nothing),
        (APPLICATION_ID, SCHEMA_VERSION) => Ok(Content::Store),
        (APPLICATION_ID, older @ 1..SCHEMA_VERSION) => Ok(Content::Older(older)),
        (APPLICATION_ID, 0) => {
            Err(Error::Damaged { what: format!("{}: no schema version", path.display()) }.into())
        }
        (APPLICATION_ID, _) => Err(Error::NewerVersion { path, found, supported: SCHEMA_VERSION }.into()),
        _ => Err(Error::NotAStore { path }.into()),
    }
}

/// Writes the tables and the header; the caller has begun a transaction and commits it.
pub(crate) fn create(connection: &Connection) -> Result<(), Fault> {
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    Ok(())
}

/// Refuses a store that is not of our version: who cannot migrate it would find no column of ours in it.
pub(crate) fn require_current(content: Content, path: &Path) -> Result<(), Fault> {
    let path = path.to_owned();
    match content {
        Content::Store => Ok(()),
        Content::Nothing => Err(Error::NotAStore { path }.into()),
        Content::Older(found) => Err(Error::OlderVersion { path, found, supported: SCHEMA_VERSION }.into()),
    }
}

/// Makes a store of version `from` one of ours; the caller has begun a transaction and commits it. All tables are made anew, so
/// that their texts are those of a new store: it takes the time to read and write all there is.
pub(crate) fn migrate(connection: &Connection, from: u32) -> Result<(), Fault> {
    if from == 1 {
        connection.execute_batch(FROM_1_TO_2)?;
    }
    let names = || Table::ALL.iter().map(|table| table.name());
    for index in INDEXES_OF_2 {
        connection.execute_batch(&format!("DROP INDEX {index}"))?;
    }
    for name in names().chain(["packs"]) {
        connection.execute_batch(&format!("ALTER TABLE {name} RENAME TO {name}_2"))?;
    }
    connection.execute_batch(TABLES)?;
    for table in Table::ALL {
        copy_with_sums(connection, table)?;
    }
    connection.execute_batch(&format!(
        "INSERT INTO packs ({PACK_COLUMNS}) SELECT {PACK_COLUMNS} FROM packs_2;
         DELETE FROM sqlite_sequence WHERE name IN ('vats', 'layers');
         INSERT INTO sqlite_sequence (name, seq)
             SELECT substr(name, 1, length(name) - 2), seq FROM sqlite_sequence WHERE name IN ('vats_2', 'layers_2');"
    ))?;
    // Those that refer to others before these.
    for name in ["packs"].into_iter().chain(names().rev()) {
        connection.execute_batch(&format!("DROP TABLE {name}_2"))?;
    }
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    Ok(())
}

/// Fills a new table from the one that it replaces. What the older version had is taken as it is: nothing vouches for it.
fn copy_with_sums(connection: &Connection, table: Table) -> Result<(), Fault> {
    let columns = table.columns();
    let mut insert = connection.prepare(&table.insert())?;
    let mut select = connection.prepare(&format!("SELECT {} FROM {}_2", columns.join(", "), table.name()))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let mut cells = Vec::with_capacity(columns.len());
        for (index, column) in columns.iter().enumerate() {
            let value = row.get_ref(index)?;
            insert.raw_bind_parameter(index + 1, ToSqlOutput::Borrowed(value))?;
            cells.push(match (*column, value) {
                (row_sum::MEASURED_COLUMN, ValueRef::Blob(bytes)) => Cell::Number(bytes.len() as u64),
                _ => Cell::from(value),
            });
        }
        insert.raw_bind_parameter(columns.len() + 1, sum(table, &cells))?;
        insert.raw_execute()?;
    }
    Ok(())
}
