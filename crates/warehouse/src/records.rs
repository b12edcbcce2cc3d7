//! Scrubbing the durable records: everything in the store that something else in it can vouch for.
//!
//! ```text
//!   file         pages of SQLite, foreign keys            a row      its columns by its sum
//!   a module     its bytes by its hash, its birth image's description
//!   a vat        its options, its spans by their hashes   a vat's storage   what its transcript says was written
//!   a snapshot   its description by its checksum, its heap root by its pages' hashes
//! ```
//!
//! The transcript is the truth: what vat storage should hold is computed from the writes that it records, so a value that changed at rest
//! is found, and named by its key. Where entries were pruned, that cannot be known, and is not checked.

use std::collections::{BTreeMap, BTreeSet};

use vat_abi::{Outcome, Syscall};
use vat_storage::{ModuleRow, Position, SnapshotRow, Storage, VatId, VatRow};

use crate::descriptor::Descriptor;
use crate::error::Error;
use crate::page_in::{decode_entry, kept_options};
use crate::snapshots::StateError;
use crate::upkeep::Scrubbed;
use crate::warehouse::Inner;

/// A record of the store that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRecord {
    /// What it is, and what is wrong with it.
    pub what: String,
    /// The vat that it belongs to; `None` for what is shared.
    pub vat: Option<String>,
}

/// Vat storage as a transcript says it is.
pub(crate) type Keys = BTreeMap<String, String>;

impl Inner {
    /// Checks every record, and adds to what was found.
    pub(crate) fn scrub_records(&self, scrubbed: &mut Scrubbed) -> Result<(), Error> {
        let found = &mut scrubbed.records;
        if let Err(error) = self.storage.check_file() {
            found.push(DamagedRecord { what: error.to_string(), vat: None });
        }
        for row in self.storage.damaged_rows()? {
            let what = format!("the row {} of the table {} is not what was written", row.row, row.table);
            found.push(DamagedRecord { what, vat: None });
        }
        for hash in self.storage.module_hashes()? {
            let Some(module) = readable(self.storage.module_row(hash))? else { continue };
            found.extend(self.damage_of_module(&module).map(|what| DamagedRecord { what, vat: None }));
        }
        for id in self.storage.vat_ids()? {
            scrubbed.vats += 1;
            let Some(vat) = readable(self.storage.vat(id))? else { continue };
            let damage = self.damage_of_vat(&vat, &mut scrubbed.pruned_spans)?;
            found.extend(damage.into_iter().map(|what| DamagedRecord { what, vat: Some(vat.name.clone()) }));
        }
        Ok(())
    }

    fn damage_of_module(&self, module: &ModuleRow) -> Option<String> {
        let birth = module.birth.as_deref().map(|birth| self.snapshots.state(birth));
        if let Err(error) = self.storage.module(module.hash) {
            return Some(error.to_string());
        }
        match birth {
            Some(Err(StateError::Descriptor(error))) => {
                Some(format!("birth image of module {}: {error}", module.hash))
            }
            _ => None, // Damaged layers are reported as layers.
        }
    }

    fn damage_of_vat(&self, vat: &VatRow, pruned_spans: &mut u64) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        if let Err(error) = kept_options(vat) {
            found.push(error.to_string());
        }
        if let Err(error) = self.storage.module_row(vat.module) {
            found.push(format!("its code: {error}"));
        }
        match self.storage.verify_spans(vat.id) {
            Ok(verified) => {
                *pruned_spans += verified.pruned;
                found.extend(self.damage_of_vatstore(vat)?);
            }
            Err(error) => found.push(format!("its transcript: {error}")),
        }
        for snapshot in self.storage.snapshots(vat.id)? {
            found.extend(self.damage_of_snapshot(vat, &snapshot));
        }
        Ok(found)
    }

    fn damage_of_snapshot(&self, vat: &VatRow, snapshot: &SnapshotRow) -> Option<String> {
        let position = snapshot.position;
        if let Err(error) = Descriptor::decode(&snapshot.image) {
            return Some(format!("its snapshot at {position}: {error}"));
        }
        let root = snapshot.root?;
        let saved = self.snapshots.load(snapshot).ok()?; // Damaged layers are reported as layers.
        let computed = saved.state.image.root(&saved.state.globals.encode(), &vat.module.0).ok()?;
        let is_current = snapshot.incarnation == vat.incarnation;
        (is_current && computed.0 != root).then(|| {
            format!("its snapshot at {position} has the heap root {computed}, and another is recorded")
        })
    }

    fn damage_of_vatstore(&self, vat: &VatRow) -> Result<Vec<String>, Error> {
        let keys = match self.differing_keys(vat) {
            Ok(keys) => keys,
            Err(error @ Error::Damaged { .. }) => return Ok(vec![error.to_string()]),
            // Reported as a row; and what pruned entries wrote, nothing here knows.
            Err(Error::Storage(
                vat_storage::Error::DamagedRow { .. } | vat_storage::Error::Pruned { .. },
            )) => return Ok(Vec::new()),
            // An ancestor that was terminated has no spans left that could tell of it.
            Err(Error::Storage(vat_storage::Error::MissingEntry { .. }))
                if self.storage.origin(vat.id).is_ok_and(|origin| origin.is_some()) =>
            {
                return Ok(Vec::new());
            }
            Err(Error::Storage(
                error @ (vat_storage::Error::MissingEntry { .. } | vat_storage::Error::Damaged { .. }),
            )) => return Ok(vec![format!("its transcript: {error}")]),
            Err(error) => return Err(error),
        };
        let say = |key| format!("its vat storage under {key:?} is not what its transcript says");
        Ok(keys.into_iter().map(say).collect())
    }

    /// The keys under which vat storage does not hold what the transcript says, in order.
    pub(crate) fn differing_keys(&self, vat: &VatRow) -> Result<Vec<String>, Error> {
        let expected = self.recorded_keys(vat, vat.next_position)?;
        let stored = stored_keys(&self.storage, vat.id)?;
        let all: BTreeSet<&String> = expected.keys().chain(stored.keys()).collect();
        Ok(all.into_iter().filter(|key| expected.get(*key) != stored.get(*key)).cloned().collect())
    }

    /// What the transcript says that vat storage held before the delivery at `to`.
    pub(crate) fn recorded_keys(&self, vat: &VatRow, to: Position) -> Result<Keys, Error> {
        let mut keys = Keys::new();
        for recorded in self.storage.entries(vat.id, Position(0), to) {
            let (position, entry) = recorded?;
            let entry = decode_entry(vat, position, &entry)?;
            if entry.outcome == Outcome::Delivered {
                entry.syscalls.into_iter().for_each(|record| apply(&mut keys, record.syscall));
            }
        }
        Ok(keys)
    }
}

fn apply(keys: &mut Keys, syscall: Syscall) {
    match syscall {
        Syscall::VatstoreSet(key, value) => drop(keys.insert(key, value)),
        Syscall::VatstoreDelete(key) => drop(keys.remove(&key)),
        _ => {}
    }
}

/// What was read, unless it is damaged, which its row's sum has told already.
fn readable<T>(read: Result<T, vat_storage::Error>) -> Result<Option<T>, Error> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(vat_storage::Error::DamagedRow { .. } | vat_storage::Error::Unknown { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn stored_keys(storage: &Storage, vat: VatId) -> Result<Keys, Error> {
    let mut keys = Keys::new();
    let mut next = Some(String::new()); // No key is before the empty one, which may be there itself.
    while let Some(key) = next {
        next = storage.vatstore_next_key(vat, &key)?;
        if let Some(value) = storage.vatstore_get(vat, &key)? {
            keys.insert(key, value);
        }
    }
    Ok(keys)
}
