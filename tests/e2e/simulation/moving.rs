//! Moving: all vats are exported, imported into a new data directory, and the simulation goes on there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use vat_image::fault::FaultyDisk;
use vat_warehouse::archive::{
    ArchiveError, ExportOptions, ImportOptions, SnapshotChoice, Source, Target, import,
};
use vat_warehouse::attest::{SigningKey, TrustList};
use vat_warehouse::{Error, HeapRoot, Retention, VatName, Warehouse};

use super::world::World;

/// Vats with their positions and heap roots.
type Roots = BTreeMap<VatName, (u64, HeapRoot)>;

fn key() -> SigningKey {
    SigningKey::of(&[11; 32])
}

impl World {
    /// Everything goes to another directory, by way of an archive at some level.
    pub(super) fn move_away(&mut self) -> Result<()> {
        let faults = self.summary.faults;
        self.commit(Warehouse::commit)?;
        let Some(before) = self.roots()? else { return Ok(()) };
        if self.summary.faults != faults {
            return Ok(());
        }
        let outside = tempfile::tempdir()?;
        let Some((level, archive)) = self.export(outside.path())? else { return Ok(()) };
        self.look_back()?;
        drop(self.warehouse.take());
        let options = ImportOptions { trust: self.trust(level)? };
        self.kept = self.kept.min(level);
        let config = self.config(Arc::new(FaultyDisk::new()));
        let to = self.home.path().join(format!("data-{}", self.summary.moves));
        match import(Source::Dir(archive), &to, config, &options, |_, _| {}) {
            Ok(_) => {
                fs::remove_dir_all(&self.dir)?;
                self.dir = to;
                self.summary.moves += 1;
                self.is_unsigned |= self.kept <= Retention::Replay;
            }
            // What nobody could sign and nobody can replay stays where it is.
            Err(ArchiveError::Unvouched { .. }) if self.is_unsigned => {
                ensure!(!to.exists(), "an import failed, and left something");
            }
            Err(error) => return Err(error).with_context(|| format!("import at level {level}")),
        }
        self.reopen()?;
        self.take_back()?;
        // An archive has the modules of the vats that there are.
        self.install()?;
        match self.roots()? {
            Some(after) => ensure!(after == before, "at level {level}, {before:?} arrived as {after:?}"),
            None => return Ok(()),
        }
        self.check_some()
    }

    fn roots(&mut self) -> Result<Option<Roots>> {
        let host = self.warehouse();
        let roots = self.vats.keys().map(|name| Ok((name.clone(), host.root(name)?)));
        let roots: Result<Roots, Error> = roots.collect();
        self.allow("name heap roots", roots)
    }

    /// The level at which it could be done, and where; none if the disk failed.
    fn export(&mut self, archive: &Path) -> Result<Option<(Retention, PathBuf)>> {
        let level = self.random.pick(&Retention::ALL);
        let snapshots = self.random.pick(&[SnapshotChoice::Needed, SnapshotChoice::Newest]);
        let mut options =
            ExportOptions { retention: level, vats: Vec::new(), snapshots, signer: Some(key()) };
        let mut into = archive.join("asked for");
        let mut exported = self.warehouse().export(Target::Dir(into.clone()), &options);
        if matches!(exported, Err(ArchiveError::Incomplete { .. })) && self.kept <= Retention::Replay {
            options.retention = Retention::Debug;
            into = archive.join("whatever there is");
            exported = self.warehouse().export(Target::Dir(into.clone()), &options);
        }
        let is_unknown = matches!(&exported, Err(ArchiveError::Warehouse(Error::PastUnknown { .. })));
        if is_unknown && self.is_unsigned {
            // What came without its older entries, and without a statement that was trusted, nobody here can sign for.
            options.signer = None;
            into = archive.join("unsigned");
            exported = self.warehouse().export(Target::Dir(into.clone()), &options);
            self.summary.unsigned += 1;
        }
        match exported {
            Ok(_) => Ok(Some((options.retention, into))),
            Err(ArchiveError::Warehouse(error)) => {
                self.allow("export", Err::<(), _>(error))?;
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| format!("export at level {level}")),
        }
    }

    /// A snapshot that no replay can vouch for needs somebody who is trusted.
    fn trust(&mut self, level: Retention) -> Result<TrustList> {
        let must = level == Retention::Operational || self.kept == Retention::Operational;
        if must || self.random.below(2) == 0 {
            return Ok(format!("us {}", key().public()).parse()?);
        }
        Ok(TrustList::default())
    }
}
