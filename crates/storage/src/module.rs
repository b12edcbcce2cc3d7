//! Modules: the wasm that vats are made of, by hash, with the names that people gave it.
//!
//! Invariant: a module that a vat uses cannot be deleted, unless the vat is terminated.

use rusqlite::{Connection, OptionalExtension, params};

use crate::Result;
use crate::error::{Error, Fault, Kind};
use crate::gap::check_module_name;
use crate::id::{LayerId, ModuleHash};
use crate::layer::{LayerRow, release};
use crate::row_sum::{Table, check, sum};
use crate::storage::Storage;

/// A module, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleRow {
    /// BLAKE3 of its wasm.
    pub hash: ModuleHash,
    /// Its names, in order.
    pub names: Vec<String>,
    /// Length of its wasm in bytes.
    pub wasm_bytes: u64,
    /// Descriptor of its heap after birth, once that is in the page store; opaque.
    pub birth: Option<Vec<u8>>,
}

impl Storage {
    /// Keeps `wasm` under `name`. Doing it again is not an error; a module may have several names.
    ///
    /// # Errors
    ///
    /// [`Error::Duplicate`] if the name means another module; [`Error::TooLarge`]; [`Error::Full`], [`Error::Io`],
    /// [`Error::Poisoned`].
    ///
    /// # Panics
    ///
    /// If `hash` is not the BLAKE3 of `wasm`.
    pub fn put_module(&self, hash: ModuleHash, name: &str, wasm: &[u8]) -> Result<()> {
        assert_eq!(hash, ModuleHash::of(wasm), "a module is kept under the hash of its bytes");
        self.write("keep a module", |session| {
            let connection = &session.connection;
            match hash_of(connection, name)? {
                Some(found) if found == hash => return Ok(()),
                Some(_) => return Err(Error::duplicate(Kind::Module, name).into()),
                None => {}
            }
            connection
                .prepare_cached(
                    "INSERT INTO modules (hash, wasm, sum) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                )?
                .execute(params![hash.0, wasm, row_sum(hash, None, wasm.len() as u64)])?;
            connection
                .prepare_cached("INSERT INTO module_names (name, hash, sum) VALUES (?, ?, ?)")?
                .execute(params![name, hash.0, sum(Table::ModuleNames, &[name.into(), (&hash.0).into()])])?;
            Ok(())
        })
    }

    /// The original bytes of a module, checked against its hash.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`]; [`Error::Damaged`] if the bytes do not have the hash; [`Error::Io`], [`Error::Poisoned`].
    pub fn module(&self, hash: ModuleHash) -> Result<Vec<u8>> {
        let wasm: Vec<u8> = self.read_beside("read a module", |session| {
            let mut statement =
                session.connection.prepare_cached("SELECT wasm FROM modules WHERE hash = ?")?;
            let wasm = statement.query_row([hash.0], |row| row.get(0)).optional()?;
            wasm.ok_or_else(|| Error::unknown(Kind::Module, hash).into())
        })?;
        if ModuleHash::of(&wasm) != hash {
            return Err(Error::Damaged { what: format!("the bytes of module {hash} do not have its hash") });
        }
        Ok(wasm)
    }

    /// The module that `name` means, or `None`.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn module_by_name(&self, name: &str) -> Result<Option<ModuleHash>> {
        self.read_beside("look up a module", |session| Ok(hash_of(&session.connection, name)?))
    }

    /// A module's names, size and birth image.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`]; [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn module_row(&self, hash: ModuleHash) -> Result<ModuleRow> {
        self.read_beside("look up a module", |session| module_row(&session.connection, hash))
    }

    /// The hashes of all modules, as they stand in the table: for who wants to know which rows can be read.
    ///
    /// # Errors
    ///
    /// As [`modules`](Storage::modules), but not because of one row.
    pub fn module_hashes(&self) -> Result<Vec<ModuleHash>> {
        self.read_beside("list modules", |session| Ok(hashes(&session.connection)?))
    }

    /// All modules, ordered by hash.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`], [`Error::Poisoned`].
    pub fn modules(&self) -> Result<Vec<ModuleRow>> {
        self.read_beside("list modules", |session| {
            let connection = &session.connection;
            hashes(connection)?.into_iter().map(|hash| module_row(connection, hash)).collect()
        })
    }

    /// Sets the birth image of a module: its descriptor, and the layers that it needs. Returns the layers that nothing
    /// needs any longer; their bytes may be reused after the next commit.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for the module or a layer; [`Error::Full`], [`Error::Io`], [`Error::Poisoned`].
    pub fn set_birth(&self, hash: ModuleHash, image: &[u8], layers: &[LayerId]) -> Result<Vec<LayerRow>> {
        self.write("set a birth image", |session| {
            let connection = &session.connection;
            let wasm_bytes = module_row(connection, hash)?.wasm_bytes;
            connection
                .prepare_cached("UPDATE modules SET birth = ?, sum = ? WHERE hash = ?")?
                .execute(params![image, row_sum(hash, Some(image), wasm_bytes), hash.0])?;
            let before = forget_layers(connection, hash)?;
            for layer in layers {
                crate::layer::require(connection, *layer)?;
                connection
                    .prepare_cached(
                        "INSERT OR IGNORE INTO module_layers (hash, layer, sum) VALUES (?, ?, ?)",
                    )?
                    .execute(params![
                        hash.0,
                        layer.0,
                        sum(Table::ModuleLayers, &[(&hash.0).into(), layer.0.into()])
                    ])?;
            }
            Ok(release(connection, before)?)
        })
    }

    /// Deletes a module, its names and its birth image. Returns the layers that nothing needs any longer; their bytes may
    /// be reused after the next commit.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] while a vat that is not terminated uses it; [`Error::Unknown`]; [`Error::Full`], [`Error::Io`],
    /// [`Error::Poisoned`].
    pub fn delete_module(&self, hash: ModuleHash) -> Result<Vec<LayerRow>> {
        self.write("delete a module", |session| {
            let connection = &session.connection;
            let user: Option<String> = connection
                .prepare_cached("SELECT name FROM vats WHERE module = ? AND status <> 1 LIMIT 1")?
                .query_row([hash.0], |row| row.get(0))
                .optional()?;
            if let Some(vat) = user {
                let user = format!("vat {vat}");
                return Err(Error::InUse { kind: Kind::Module, name: hash.to_string(), user }.into());
            }
            let layers = forget_layers(connection, hash)?;
            let found = connection.prepare_cached("DELETE FROM modules WHERE hash = ?")?.execute([hash.0])?;
            if found == 0 {
                return Err(Error::unknown(Kind::Module, hash).into());
            }
            Ok(release(connection, layers)?)
        })
    }
}

/// Fails unless the module exists.
pub(crate) fn require(connection: &Connection, hash: ModuleHash) -> std::result::Result<(), Fault> {
    let exists = connection.prepare_cached("SELECT 1 FROM modules WHERE hash = ?")?.exists([hash.0])?;
    if exists { Ok(()) } else { Err(Error::unknown(Kind::Module, hash).into()) }
}

fn hash_of(connection: &Connection, name: &str) -> rusqlite::Result<Option<ModuleHash>> {
    let found = connection
        .prepare_cached("SELECT sum, name, hash FROM module_names WHERE name = ?")?
        .query_row([name], |row| {
            check(row, Table::ModuleNames, 0)?;
            row.get(2).map(ModuleHash)
        })
        .optional()?;
    if found.is_none() {
        check_module_name(connection, name)?;
    }
    Ok(found)
}

fn hashes(connection: &Connection) -> rusqlite::Result<Vec<ModuleHash>> {
    connection
        .prepare_cached("SELECT hash FROM modules ORDER BY hash")?
        .query_map([], |row| row.get(0).map(ModuleHash))?
        .collect()
}

fn row_sum(hash: ModuleHash, birth: Option<&[u8]>, wasm_bytes: u64) -> i64 {
    sum(Table::Modules, &[(&hash.0).into(), birth.into(), wasm_bytes.into()])
}

fn module_row(connection: &Connection, hash: ModuleHash) -> std::result::Result<ModuleRow, Fault> {
    let names = connection
        .prepare_cached("SELECT sum, name, hash FROM module_names WHERE hash = ? ORDER BY name")?
        .query_map([hash.0], |row| {
            check(row, Table::ModuleNames, 0)?;
            row.get(1)
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    connection
        .prepare_cached("SELECT sum, hash, birth, length(wasm) FROM modules WHERE hash = ?")?
        .query_row([hash.0], |row| {
            check(row, Table::Modules, 0)?;
            Ok(ModuleRow { hash, names, wasm_bytes: row.get(3)?, birth: row.get(2)? })
        })
        .optional()?
        .ok_or_else(|| Error::unknown(Kind::Module, hash).into())
}

fn forget_layers(connection: &Connection, hash: ModuleHash) -> rusqlite::Result<Vec<LayerId>> {
    connection
        .prepare_cached("DELETE FROM module_layers WHERE hash = ? RETURNING layer")?
        .query_map([hash.0], |row| row.get(0).map(LayerId))?
        .collect()
}
