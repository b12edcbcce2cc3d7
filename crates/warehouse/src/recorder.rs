//! The crank buffer of one delivery: the vat's storage as the vat sees it, and the caller's handler behind it.
//!
//! `vatstore*` syscalls are answered here, from the store overlaid with what this delivery wrote. Nothing reaches the store
//! before the crank is appended, and nothing does if the delivery faults or is abandoned.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use vat_abi::{LogLevel, Syscall, SyscallResult};
use vat_engine::{SyscallHandler, SyscallVerdict};
use vat_storage::{Storage, VatId};

use crate::records::Keys;

/// What a delivery wrote to the vat's storage: key ↦ new value, or `None` for a deletion.
pub(crate) type Writes = BTreeMap<String, Option<String>>;

/// What the vat's storage held before the delivery.
#[derive(Debug, Clone)]
pub(crate) enum Before {
    /// What the store has.
    Stored(Arc<Storage>, VatId),
    /// What it had at some time.
    Then(Arc<Keys>),
}

impl Before {
    fn get(&self, key: &str) -> Result<Option<String>, vat_storage::Error> {
        match self {
            Before::Stored(storage, vat) => storage.vatstore_get(*vat, key),
            Before::Then(keys) => Ok(keys.get(key).cloned()),
        }
    }

    fn next_key(&self, prior: &str) -> Result<Option<String>, vat_storage::Error> {
        match self {
            Before::Stored(storage, vat) => storage.vatstore_next_key(*vat, prior),
            Before::Then(keys) => {
                let mut after = keys.range::<str, _>((Bound::Excluded(prior), Bound::Unbounded));
                Ok(after.next().map(|(key, _)| key.clone()))
            }
        }
    }
}

/// Stands between the vat and the caller's handler.
pub(crate) struct Recorder<H> {
    before: Before,
    pub(crate) writes: Writes,
    pub(crate) inner: H,
}

impl<H: SyscallHandler> Recorder<H> {
    pub(crate) fn new(vat: VatId, storage: Arc<Storage>, inner: H) -> Recorder<H> {
        Recorder::over(Before::Stored(storage, vat), inner)
    }

    pub(crate) fn over(before: Before, inner: H) -> Recorder<H> {
        Recorder { before, writes: Writes::new(), inner }
    }

    fn get(&self, key: &str) -> Result<Option<String>, vat_storage::Error> {
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.before.get(key),
        }
    }

    /// The least key above `prior`, in the order of the keys' bytes.
    fn next_key(&self, prior: &str) -> Result<Option<String>, vat_storage::Error> {
        let written = self
            .writes
            .range::<str, _>((Bound::Excluded(prior), Bound::Unbounded))
            .find(|(_, value)| value.is_some())
            .map(|(key, _)| key.clone());
        let mut stored = self.before.next_key(prior)?;
        while let Some(key) = stored.take_if(|key| matches!(self.writes.get(key.as_str()), Some(None))) {
            stored = self.before.next_key(&key)?;
        }
        Ok([written, stored].into_iter().flatten().min())
    }
}

impl<H: SyscallHandler> SyscallHandler for Recorder<H> {
    fn syscall(&mut self, syscall: &Syscall) -> SyscallVerdict {
        let answer = match syscall {
            Syscall::VatstoreGet(key) => self.get(key),
            Syscall::VatstoreGetNextKey(prior) => self.next_key(prior),
            Syscall::VatstoreSet(key, value) => {
                self.writes.insert(key.clone(), Some(value.clone()));
                Ok(None)
            }
            Syscall::VatstoreDelete(key) => {
                self.writes.insert(key.clone(), None);
                Ok(None)
            }
            other => return self.inner.syscall(other),
        };
        match answer {
            Ok(value) => SyscallVerdict::Answer(SyscallResult::Ok(value)),
            Err(error) => SyscallVerdict::Abandon(Box::new(error)),
        }
    }

    fn log(&mut self, level: LogLevel, text: &str) {
        self.inner.log(level, text);
    }
}
