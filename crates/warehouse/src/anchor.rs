//! Transcript hashes at rest: what the entries before a position hash to, for a host that no longer has them.
//!
//! ```text
//!   entries    ─ ─ ─ pruned ─ ─ ─ │ here ……………… │
//!   anchor                        ^ hash          ^ hash + entries = the hash that a statement names
//! ```
//!
//! An anchor is written where the hash is known for sure: by pruning, from the entries that are about to go; and by an import, from
//! a statement of a trusted signer. Without one, a host that lacks entries cannot say what a vat's whole past hashes to, and
//! says so: nothing is ever signed on somebody else's word.
//!
//! Invariant: an anchor is never behind the entries that are missing, so that from it on everything can be read.

use vat_storage::{Position, Retention, Storage, VatId};

use crate::attest::TranscriptHash;
use crate::error::Error;

/// The transcript hash of a vat before `position`.
pub(crate) fn transcript_hash(storage: &Storage, vat: VatId, position: u64) -> Result<TranscriptHash, Error> {
    let anchor = anchor(storage, vat)?.filter(|(at, _)| *at <= position);
    let (from, hash) = anchor.unwrap_or((0, TranscriptHash::seed()));
    let mut entries = storage.entries(vat, Position(from), Position(position));
    match entries.try_fold(hash, |hash, entry| entry.map(|(_, bytes)| hash.extended(&bytes))) {
        Err(vat_storage::Error::Pruned { start, end, .. }) => {
            let vat = storage.vat(vat)?.name;
            Err(Error::PastUnknown { vat, start: start.0, end: end.0 })
        }
        hashed => Ok(hashed?),
    }
}

/// Keeps the hash at a position of which somebody is sure.
pub(crate) fn put_anchor(storage: &Storage, vat: VatId, at: u64, hash: TranscriptHash) -> Result<(), Error> {
    let value = [at.to_le_bytes().as_slice(), &hash.0].concat();
    Ok(storage.host_put(&anchor_key(vat), Some(&value))?)
}

/// Moves the anchor to the end of what is about to be pruned, as far as that can be known.
pub(crate) fn keep_anchor(storage: &Storage, vat: VatId, end: Position) -> Result<(), Error> {
    if anchor(storage, vat)?.is_some_and(|(at, _)| at >= end.0) {
        return Ok(());
    }
    match transcript_hash(storage, vat, end.0) {
        Ok(hash) => put_anchor(storage, vat, end.0, hash),
        // Nobody knew it before either.
        Err(Error::PastUnknown { .. } | Error::Storage(vat_storage::Error::MissingEntry { .. })) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Moves the anchor to the end of what `level` allows to prune.
pub(crate) fn keep_anchor_for(storage: &Storage, vat: VatId, level: Retention) -> Result<(), Error> {
    match storage.prunable_before(vat, level)? {
        Some(end) => keep_anchor(storage, vat, end),
        None => Ok(()),
    }
}

/// Gives a fork the anchor of the vat that it begins as.
pub(crate) fn inherit_anchor(storage: &Storage, parent: VatId, fork: VatId) -> Result<(), Error> {
    match anchor(storage, parent)? {
        Some((at, hash)) => put_anchor(storage, fork, at, hash),
        None => Ok(()),
    }
}

pub(crate) fn anchor(storage: &Storage, vat: VatId) -> Result<Option<(u64, TranscriptHash)>, Error> {
    let Some(value) = storage.host_get(&anchor_key(vat))? else { return Ok(None) };
    let parts = value.split_first_chunk::<8>().and_then(|(at, hash)| Some((at, hash.try_into().ok()?)));
    let (at, hash) = parts.ok_or_else(|| Error::Damaged {
        vat: vat.to_string(),
        what: "the anchor of its transcript hash cannot be read".to_owned(),
    })?;
    Ok(Some((u64::from_le_bytes(*at), TranscriptHash(hash))))
}

fn anchor_key(vat: VatId) -> String {
    format!("transcript-anchor/{vat}")
}
