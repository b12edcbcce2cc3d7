CREATE TABLE forks (
    vat      INTEGER NOT NULL PRIMARY KEY REFERENCES vats (id),
    parent   INTEGER NOT NULL REFERENCES vats (id),
    position INTEGER NOT NULL,
    sum      INTEGER NOT NULL
) STRICT;
CREATE INDEX forks_by_parent ON forks (parent);
CREATE TABLE host (
    key   TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL,
    sum   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE layers (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    segment INTEGER NOT NULL,
    offset  INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    sum     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX layers_by_place ON layers (segment, offset);
CREATE TABLE module_layers (
    hash  BLOB NOT NULL REFERENCES modules (hash) ON DELETE CASCADE,
    layer INTEGER NOT NULL REFERENCES layers (id),
    sum   INTEGER NOT NULL,
    PRIMARY KEY (hash, layer)
) STRICT, WITHOUT ROWID;
CREATE INDEX module_layers_by_layer ON module_layers (layer);
CREATE TABLE module_names (
    name TEXT NOT NULL PRIMARY KEY,
    hash BLOB NOT NULL REFERENCES modules (hash) ON DELETE CASCADE,
    sum  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX module_names_by_hash ON module_names (hash);
CREATE TABLE modules (
    hash  BLOB NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    sum   INTEGER NOT NULL,
    birth BLOB,
    wasm  BLOB NOT NULL
) STRICT;
CREATE TABLE packs (
    vat            INTEGER NOT NULL,
    start_position INTEGER NOT NULL,
    end_position   INTEGER NOT NULL CHECK (end_position > start_position),
    checksum       BLOB NOT NULL CHECK (length(checksum) = 32),
    entries        BLOB NOT NULL,
    PRIMARY KEY (vat, start_position)
) STRICT;
CREATE TABLE snapshot_layers (
    vat      INTEGER NOT NULL,
    position INTEGER NOT NULL,
    layer    INTEGER NOT NULL REFERENCES layers (id),
    sum      INTEGER NOT NULL,
    PRIMARY KEY (vat, position, layer),
    FOREIGN KEY (vat, position) REFERENCES snapshots (vat, position) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshot_layers_by_layer ON snapshot_layers (layer);
CREATE TABLE snapshots (
    vat         INTEGER NOT NULL REFERENCES vats (id),
    position    INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    root        BLOB CHECK (length(root) = 32),
    sum         INTEGER NOT NULL,
    image       BLOB NOT NULL,
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
CREATE INDEX spans_loose ON spans (vat, start_position) WHERE open = 0 AND content = 0;
CREATE UNIQUE INDEX spans_open ON spans (vat) WHERE open = 1;
-- sqlite_autoindex_modules_1;
-- sqlite_autoindex_packs_1;
CREATE TABLE transcript (
    vat      INTEGER NOT NULL,
    position INTEGER NOT NULL,
    sum      INTEGER NOT NULL,
    entry    BLOB NOT NULL,
    PRIMARY KEY (vat, position)
) STRICT, WITHOUT ROWID;
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
CREATE TABLE vatstore (
    vat   INTEGER NOT NULL,
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    sum   INTEGER NOT NULL,
    PRIMARY KEY (vat, key)
) STRICT, WITHOUT ROWID;
