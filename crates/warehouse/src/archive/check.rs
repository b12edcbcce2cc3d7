//! What a manifest says, checked without looking at any artifact: everything that would be wrong whatever they hold.

use std::collections::BTreeSet;

use vat_storage::SpanHash;

use super::manifest::{Manifest, VatRecord};
use super::{ArchiveError, Retention};
use crate::attest::unhex;
use crate::name::VatName;
use crate::options::KeptOptions;

pub(super) fn check(manifest: &Manifest) -> Result<(), ArchiveError> {
    if manifest.rules != vat_engine::RULES_VERSION {
        let (found, ours) = (manifest.rules, vat_engine::RULES_VERSION);
        return Err(wrong(format!(
            "its vats ran under version {found} of the engine's rules, this is {ours}"
        )));
    }
    manifest.retention.parse::<Retention>().map_err(wrong)?;
    let mut modules = BTreeSet::new();
    let mut names = BTreeSet::new();
    for module in &manifest.modules {
        require_hash("a module", &module.hash)?;
        if module.artifact.blake3 != module.hash {
            return Err(wrong(format!("the artifact of module {} has another hash", module.hash)));
        }
        if !modules.insert(module.hash.as_str()) || module.names.is_empty() {
            return Err(wrong(format!("module {} is there twice, or has no name", module.hash)));
        }
        if let Some(name) = module.names.iter().find(|name| !names.insert(name.as_str())) {
            return Err(wrong(format!("the module name {name} is there twice")));
        }
    }
    let mut vats = BTreeSet::new();
    for vat in &manifest.vats {
        if !vats.insert(vat.name.as_str()) {
            return Err(wrong(format!("vat {} is there twice", vat.name)));
        }
        if !modules.contains(vat.module.as_str()) {
            return Err(wrong(format!("module {} of vat {} is not there", vat.module, vat.name)));
        }
        check_vat(vat)?;
    }
    for (artifact, name) in manifest.artifacts() {
        require_hash("an artifact", &artifact.blake3)?;
        if artifact.name != name {
            return Err(wrong(format!("artifact {:?} should be named {name:?}", artifact.name)));
        }
    }
    Ok(())
}

fn check_vat(vat: &VatRecord) -> Result<(), ArchiveError> {
    let name = &vat.name;
    name.parse::<VatName>().map_err(|error| wrong(error.to_string()))?;
    let kept = KeptOptions::decode(&vat.options);
    let kept = kept.ok_or_else(|| wrong(format!("the options of vat {name} cannot be read")))?;
    if kept.rules != vat_engine::RULES_VERSION {
        return Err(wrong(format!("vat {name} has rules of version {}", kept.rules)));
    }
    let (mut end, mut incarnation) = (0, 0);
    for span in &vat.spans {
        let (start, stop) = (span.start, span.end);
        if start != end {
            return Err(wrong(format!(
                "vat {name} has a span that begins at {start}, and one before that ends at {end}"
            )));
        }
        if stop < start || span.incarnation < incarnation || SpanHash::parse(&span.hash).is_none() {
            return Err(wrong(format!("the span {start}..{stop} of vat {name} cannot be")));
        }
        if span.artifact.is_some() && start == stop {
            return Err(wrong(format!("the span at {start} of vat {name} is empty, and has an artifact")));
        }
        let starts_now = span.incarnation == vat.incarnation && incarnation != vat.incarnation;
        if starts_now && start != kept.since {
            let since = kept.since;
            return Err(wrong(format!(
                "the incarnation of vat {name} begins at {since}, its spans at {start}"
            )));
        }
        (end, incarnation) = (stop, span.incarnation);
    }
    if vat.spans.is_empty() || end != vat.next_position || incarnation != vat.incarnation {
        let what = format!(
            "the spans of vat {name} end at {end} in incarnation {incarnation}, the vat is at {} in {}",
            vat.next_position, vat.incarnation
        );
        return Err(wrong(what));
    }
    let mut before = u64::MAX;
    for snapshot in &vat.snapshots {
        let position = snapshot.position;
        require_hash("a heap root", &snapshot.root)?;
        if position > vat.next_position || position >= before || snapshot.incarnation != vat.incarnation {
            return Err(wrong(format!("vat {name} cannot have a snapshot at {position}")));
        }
        before = position;
    }
    Ok(())
}

fn require_hash(what: &str, text: &str) -> Result<(), ArchiveError> {
    match unhex::<32>(text) {
        Some(_) => Ok(()),
        None => Err(wrong(format!("{what} has the hash {text:?}, which is none"))),
    }
}

fn wrong(what: String) -> ArchiveError {
    ArchiveError::manifest(what)
}
