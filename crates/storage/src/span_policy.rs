//! When a span is closed by itself.
//!
//! Local to a host, and a matter of the transcript alone: two hosts with one policy have equal spans, whenever they commit,
//! evict or snapshot. (A snapshot may close a span too, on purpose: [`Storage::close_span`].)

use std::num::NonZeroU64;

use crate::Result;
use crate::storage::Storage;

/// A span is closed by the first entry with which it reaches a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanPolicy {
    /// Entries of a span at most.
    pub entries_max: NonZeroU64,
    /// Bytes of entries after which it takes no more.
    pub bytes_max: NonZeroU64,
}

impl SpanPolicy {
    /// No span is closed by itself.
    pub const NEVER: SpanPolicy = SpanPolicy { entries_max: NonZeroU64::MAX, bytes_max: NonZeroU64::MAX };

    pub(crate) fn is_full(&self, entries: u64, bytes: u64) -> bool {
        entries >= self.entries_max.get() || bytes >= self.bytes_max.get()
    }
}

impl Default for SpanPolicy {
    /// 2,048 entries or 1 MiB, about what is compressed together.
    fn default() -> SpanPolicy {
        let limit = |number| NonZeroU64::new(number).expect("not zero");
        SpanPolicy { entries_max: limit(2_048), bytes_max: limit(1 << 20) }
    }
}

impl Storage {
    /// Closes spans by this policy from now on; a storage that was just opened closes none by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn set_span_policy(&self, policy: SpanPolicy) -> Result<()> {
        self.with(|session| {
            session.span_policy = policy;
            Ok(())
        })
    }
}
