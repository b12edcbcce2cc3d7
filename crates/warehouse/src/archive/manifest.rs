//! The manifest: one JSON object, pretty-printed, ended by a line feed.
//!
//! | field | meaning |
//! |---|---|
//! | `format`, `version` | `"vat-archive"`, 1 |
//! | `retention` | the level at which it was exported |
//! | `rules` | version of the engine's rules; a replay needs the same |
//! | `modules[]` | by `hash` (BLAKE3 of the wasm), with its `names` and `artifact` |
//! | `vats[]` | by `name`, in order |
//! | `vats[].module`, `.incarnation`, `.options` | as stored; `options` is a text that the warehouse reads |
//! | `vats[].quarantined` | the reason, or null |
//! | `vats[].next_position` | of its next delivery |
//! | `vats[].spans[]` | from 0 to `next_position` without gap: `start`, `end` (exclusive), `incarnation`, `hash` (the running hash of its entries), `bytes` (of its entries) |
//! | `vats[].spans[].artifact` | its entries; null if they are not in the archive, or there are none |
//! | `vats[].vatstore` | its storage; null if it is empty |
//! | `vats[].snapshots[]` | newest first: `position`, `incarnation`, `root`, `artifact`, `statement` (or null) |
//! | `artifact` | `name`, `bytes`, `blake3` |
//!
//! Unknown fields are refused: a field that we ignore could be one that matters. The name of an artifact follows from what it
//! is, and any other is refused; so it cannot lead out of the directory.

use serde::{Deserialize, Serialize};

use super::ArchiveError;

pub(super) const FORMAT: &str = "vat-archive";
pub(super) const VERSION: u32 = 1;
pub(super) const FILE: &str = "manifest.json";
/// A longer manifest is refused before it is read.
pub(super) const BYTES_MAX: u64 = 1 << 30;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: String,
    pub(super) version: u32,
    pub(super) retention: String,
    pub(super) rules: u32,
    pub(super) modules: Vec<ModuleRecord>,
    pub(super) vats: Vec<VatRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModuleRecord {
    pub(super) hash: String,
    pub(super) names: Vec<String>,
    pub(super) artifact: Artifact,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VatRecord {
    pub(super) name: String,
    pub(super) module: String,
    pub(super) incarnation: u32,
    pub(super) options: String,
    pub(super) quarantined: Option<String>,
    pub(super) next_position: u64,
    pub(super) spans: Vec<SpanRecord>,
    pub(super) vatstore: Option<Artifact>,
    pub(super) snapshots: Vec<SnapshotRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpanRecord {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) incarnation: u32,
    pub(super) hash: String,
    pub(super) bytes: u64,
    pub(super) artifact: Option<Artifact>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SnapshotRecord {
    pub(super) position: u64,
    pub(super) incarnation: u32,
    pub(super) root: String,
    pub(super) artifact: Artifact,
    pub(super) statement: Option<Artifact>,
}

/// A file of the archive, as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Artifact {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) blake3: String,
}

impl Manifest {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("strings and numbers can be written");
        text.push(b'\n');
        text
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Manifest, ArchiveError> {
        // Format and version first: a later version may have other fields.
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let head: Head = serde_json::from_slice(bytes).map_err(|e| ArchiveError::manifest(e.to_string()))?;
        if head.format != FORMAT {
            return Err(ArchiveError::manifest(format!("its format is {:?}, not {FORMAT:?}", head.format)));
        }
        if head.version != VERSION {
            let what = format!("it has version {}, this program reads {VERSION}", head.version);
            return Err(ArchiveError::manifest(what));
        }
        serde_json::from_slice(bytes).map_err(|error| ArchiveError::manifest(error.to_string()))
    }

    /// Every artifact, with the name that it must have.
    pub(super) fn artifacts(&self) -> Vec<(&Artifact, String)> {
        let mut all: Vec<_> =
            self.modules.iter().map(|module| (&module.artifact, module_name(&module.hash))).collect();
        for vat in &self.vats {
            let name = &vat.name;
            for span in &vat.spans {
                all.extend(span.artifact.iter().map(|it| (it, span_name(name, span.start, span.end))));
            }
            all.extend(vat.vatstore.iter().map(|it| (it, vatstore_name(name))));
            for snapshot in &vat.snapshots {
                let position = snapshot.position;
                all.push((&snapshot.artifact, snapshot_name(name, position)));
                all.extend(snapshot.statement.iter().map(|it| (it, statement_name(name, position))));
            }
        }
        all
    }
}

pub(super) fn module_name(hash: &str) -> String {
    format!("module-{hash}")
}

pub(super) fn span_name(vat: &str, start: u64, end: u64) -> String {
    format!("span-{vat}-{start}-{end}")
}

pub(super) fn vatstore_name(vat: &str) -> String {
    format!("vatstore-{vat}")
}

pub(super) fn snapshot_name(vat: &str, position: u64) -> String {
    format!("snapshot-{vat}-{position}")
}

pub(super) fn statement_name(vat: &str, position: u64) -> String {
    format!("statement-{vat}-{position}")
}
