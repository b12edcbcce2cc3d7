//! Making a data directory of an archive.
//!
//! ```text
//!   DATA.importing/archive   what came by a stream, unpacked
//!   DATA.importing/store     the store that is being made; each vat is committed when it is verified
//!          │ everything is there and right
//!          └─ rename ──► DATA
//! ```
//!
//! An import that was killed leaves `DATA.importing`, and the next import of the same archive goes on there. One that failed because
//! something is wrong leaves nothing.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use vat_storage::Storage;

use super::container::{Reader, require_empty, sync};
use super::manifest::Manifest;
use super::stream::unpack;
use super::{Archive, ArchiveError, import_vat};
use crate::attest::TrustList;
use crate::config::WarehouseConfig;
use crate::warehouse::Warehouse;

/// Which archive a store is being made of: a host key, gone when it is complete.
const MARK: &str = "import";

/// Where an archive comes from.
pub enum Source<'a> {
    /// From a directory.
    Dir(PathBuf),
    /// From a stream.
    Stream(&'a mut dyn Read),
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Dir(path) => f.debug_tuple("Dir").field(path).finish(),
            Source::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// How an archive is imported.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Whose statements spare a replay.
    pub trust: TrustList,
}

/// What was imported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Vats, those of an earlier, killed run included.
    pub vats: u64,
    /// Vats that an earlier run had done.
    pub resumed: u64,
    /// Transcript entries that this run verified.
    pub entries: u64,
    /// Deliveries that this run replayed.
    pub replayed: u64,
    /// Snapshots that a replay vouched for.
    pub replayed_snapshots: u64,
    /// Snapshots that a trusted signer vouched for.
    pub trusted_snapshots: u64,
    /// BLAKE3 of the manifest.
    pub manifest: String,
}

impl Imported {
    /// What an earlier run had done, all of it.
    pub(super) fn of_earlier(archive: &Archive) -> Imported {
        let vats = archive.manifest().vats.len() as u64;
        Imported { vats, resumed: vats, manifest: archive.hash().to_owned(), ..Imported::default() }
    }
}

/// Makes a data directory at `data`, which must not exist or be empty, of an archive. `progress` hears of vats done, of how many.
///
/// # Errors
/// An [`ArchiveError`] that names what is wrong; there is then nothing at `data`.
pub fn import(
    source: Source<'_>,
    data: &Path,
    config: WarehouseConfig,
    options: &ImportOptions,
    mut progress: impl FnMut(u64, u64),
) -> Result<Imported, ArchiveError> {
    require_new(data)?;
    let staging = Staging::of(data);
    let done = staging.archive(source).and_then(|archive| {
        let imported = staging.build(&archive, config, options, &mut progress)?;
        staging.publish(data)?;
        Ok(imported)
    });
    // Failed or done, nothing is left. Only a process that was killed leaves something, and the next run goes on there.
    staging.remove()?;
    done
}

fn require_new(data: &Path) -> Result<(), ArchiveError> {
    require_empty(data).map_err(|error| match error {
        ArchiveError::NotEmpty { path } => ArchiveError::Exists { path },
        other => other,
    })
}

/// The directory in which a store is made.
pub(super) struct Staging {
    dir: PathBuf,
}

impl Staging {
    pub(super) fn of(data: &Path) -> Staging {
        let mut name = data.as_os_str().to_owned();
        name.push(".importing");
        Staging { dir: name.into() }
    }

    pub(super) fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// Makes the store of an archive, or goes on where an earlier run was. It stays marked as unfinished.
    pub(super) fn build(
        &self,
        archive: &Archive,
        config: WarehouseConfig,
        options: &ImportOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Imported, ArchiveError> {
        let (reader, manifest) = (archive.reader(), archive.manifest());
        verify_artifacts(reader, manifest)?;
        let warehouse = self.open(archive.hash(), config)?;
        let mut imported = Imported { manifest: archive.hash().to_owned(), ..Imported::default() };
        install_modules(&warehouse, reader, manifest)?;
        let total = manifest.vats.len() as u64;
        for vat in &manifest.vats {
            if warehouse.storage().vat_by_name(&vat.name)?.is_some() {
                imported.resumed += 1;
            } else {
                import_vat::import(&warehouse, reader, vat, &options.trust, &mut imported)?;
                warehouse.checkpoint()?;
            }
            imported.vats += 1;
            progress(imported.vats, total);
        }
        Ok(imported)
    }

    /// The archive as a directory, its manifest checked.
    pub(super) fn archive(&self, source: Source<'_>) -> Result<Archive, ArchiveError> {
        match source {
            Source::Dir(path) => Archive::open(&path),
            Source::Stream(stream) => {
                let archive = self.dir.join("archive");
                remove(&archive)?; // What a killed run had received is not known to be whole.
                unpack(stream, &archive)?;
                Archive::open(&archive)
            }
        }
    }

    /// The store of an earlier run on the same archive, or a new one.
    fn open(&self, archive: &str, config: WarehouseConfig) -> Result<Warehouse, ArchiveError> {
        let store = self.store();
        if store.exists() && !is_of(&store, archive) {
            remove(&store)?;
        }
        let warehouse = Warehouse::open(&store, config)?;
        warehouse.storage().host_put(MARK, Some(archive.as_bytes()))?;
        warehouse.commit()?;
        Ok(warehouse)
    }

    /// Makes the store what it is to be, in one step. It is closed already.
    fn publish(&self, data: &Path) -> Result<(), ArchiveError> {
        let parent = match data.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let storage = Storage::open_existing(&self.store())?;
        storage.host_put(MARK, None)?;
        storage.commit()?;
        drop(storage);
        let rename = || {
            sync(&self.store())?;
            fs::rename(self.store(), data)?;
            sync(parent)
        };
        rename().map_err(ArchiveError::io("move the imported store to", data))
    }

    pub(super) fn remove(&self) -> Result<(), ArchiveError> {
        remove(&self.dir)
    }
}

fn is_of(store: &Path, archive: &str) -> bool {
    // One that cannot be read is made anew.
    let mark = Storage::open_existing(store).and_then(|storage| storage.host_get(MARK));
    matches!(mark, Ok(Some(mark)) if mark == archive.as_bytes())
}

fn remove(dir: &Path) -> Result<(), ArchiveError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ArchiveError::io("remove", dir)(error)),
        _ => Ok(()),
    }
}

/// Every artifact is there, with the right bytes, and there is no other.
fn verify_artifacts(reader: &Reader, manifest: &Manifest) -> Result<(), ArchiveError> {
    let mut listed: Vec<&str> = Vec::new();
    for (artifact, _) in manifest.artifacts() {
        reader.verify(artifact)?;
        listed.push(&artifact.name);
    }
    listed.sort_unstable();
    let unlisted = reader.names()?.into_iter().find(|name| listed.binary_search(&name.as_str()).is_err());
    match unlisted {
        Some(name) => Err(ArchiveError::artifact(&name, "it is not in the manifest")),
        None => Ok(()),
    }
}

fn install_modules(warehouse: &Warehouse, reader: &Reader, manifest: &Manifest) -> Result<(), ArchiveError> {
    for module in &manifest.modules {
        let path = reader.path(&module.artifact);
        let wasm = fs::read(&path).map_err(ArchiveError::io("read", &path))?;
        for name in &module.names {
            warehouse
                .install(name, &wasm)
                .map_err(|source| ArchiveError::Module { hash: module.hash.clone(), source })?;
        }
    }
    Ok(warehouse.commit()?)
}
