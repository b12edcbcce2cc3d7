//! Bugs that a warehouse can be told to have, so that the tests that look for bugs can be tested.
//!
//! Each is a mistake that somebody could make in one line, at the place where it would be made. They exist only with the
//! feature `canaries`, which only tests turn on; without it every question about one is answered *no* while compiling.

use std::sync::Arc;

use vat_image::DirtyTracker;
#[cfg(feature = "canaries")]
use vat_image::{Error, Image, PageRun, PageSet, Residency};

use crate::config::WarehouseConfig;
use crate::warehouse::Inner;

/// A bug to have.
#[cfg_attr(not(feature = "canaries"), expect(unreachable_pub, reason = "it is public with the feature"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Canary {
    /// A capture misses the first of several changed pages.
    #[cfg(feature = "canaries")]
    ForgetsAPage,
    /// A replay passes over what it should deliver.
    SkipsADelivery,
    /// A commit moves pointers to pages that are not synced.
    PointsBeforeSync,
    /// An eviction commits the caller's open block.
    CommitsWhenEvicting,
    /// A vat goes on with the heap that a faulted delivery left.
    KeepsAFaultedHeap,
    /// An upgrade leaves the old instance in place.
    KeepsTheOldCode,
    /// A conversion that was interrupted says that it got one delivery further.
    ConvertsToTheWrongPosition,
    /// An import forgets the entries of the last span but those that it replays.
    SkipsTheLastSpan,
    /// A host that is to keep the current incarnation prunes as one that need not.
    PrunesTooMuch,
    /// A moment begins with the newest state, whenever that was.
    LooksBackFromLater,
    /// A vat that is quarantined takes deliveries.
    ServesTheQuarantined,
}

impl Inner {
    /// Whether the warehouse has this bug.
    #[cfg(feature = "canaries")]
    pub(crate) fn has(&self, canary: Canary) -> bool {
        self.config.canary == Some(canary)
    }

    /// No warehouse has a bug on purpose.
    #[cfg(not(feature = "canaries"))]
    #[expect(clippy::unused_self, reason = "as it is with the feature")]
    pub(crate) const fn has(&self, _: Canary) -> bool {
        false
    }
}

/// The tracker, or one that misses pages.
#[cfg(feature = "canaries")]
pub(crate) fn tracker(tracker: Arc<dyn DirtyTracker>, config: &WarehouseConfig) -> Arc<dyn DirtyTracker> {
    match config.canary {
        Some(Canary::ForgetsAPage) => Arc::new(Forgetful(tracker)),
        _ => tracker,
    }
}

/// The tracker.
#[cfg(not(feature = "canaries"))]
pub(crate) fn tracker(tracker: Arc<dyn DirtyTracker>, _: &WarehouseConfig) -> Arc<dyn DirtyTracker> {
    tracker
}

/// Misses the first page, where there is another.
#[cfg(feature = "canaries")]
#[derive(Debug)]
struct Forgetful(Arc<dyn DirtyTracker>);

#[cfg(feature = "canaries")]
impl DirtyTracker for Forgetful {
    fn dirty(&self, heap: &[u8], image: &Image) -> Result<PageSet, Error> {
        let mut runs = self.0.dirty(heap, image)?.runs().to_vec();
        if let Some(first) = runs.first_mut()
            && first.count > 1
        {
            *first = PageRun { first: first.first + 1, count: first.count - 1 };
        } else if runs.len() > 1 {
            runs.remove(0);
        }
        let mut missed = PageSet::new();
        runs.into_iter().for_each(|run| missed.push(run));
        Ok(missed)
    }

    fn residency(&self, heap: &[u8]) -> Result<Option<Residency>, Error> {
        self.0.residency(heap)
    }

    fn name(&self) -> &'static str {
        "forgetful"
    }
}
