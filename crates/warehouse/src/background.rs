//! What a warehouse does beside its callers: syncing the page store, merging ragged images, giving disk space back,
//! compressing transcripts.
//!
//! One thread, which sleeps until a capture gives it work. It changes *when* something becomes durable or small, never *what*
//! a vat is. An error here costs space or a longer replay after a crash; it is logged, and nobody waits for it.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::compaction::Reach;
use crate::snapshots::Work;
use crate::warehouse::Inner;

/// The thread; dropping this ends it.
#[derive(Debug)]
pub(crate) struct Background {
    inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Background {
    pub(crate) fn start(inner: Arc<Inner>) -> std::io::Result<Background> {
        let worked_on = Arc::clone(&inner);
        let thread =
            std::thread::Builder::new().name("vat-pages".to_owned()).spawn(move || run(&worked_on))?;
        Ok(Background { inner, thread: Mutex::new(Some(thread)) })
    }

    /// References to the inside of a warehouse that has no leases and no clones: its own, this one's and the thread's.
    pub(crate) fn hands(&self) -> usize {
        let thread = self
            .thread
            .lock()
            .map_or(0, |thread| usize::from(thread.as_ref().is_some_and(|t| !t.is_finished())));
        2 + thread
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.inner.snapshots.close();
        let thread = self.thread.get_mut().map(Option::take).unwrap_or_default();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the background thread panicked");
        }
    }
}

fn run(inner: &Inner) {
    loop {
        match inner.snapshots.next_work() {
            Work::Close => return,
            Work::Merge(vat) => {
                if let Err(error) = inner.snapshots.merge(vat) {
                    // The image is as good as before; a replay can do without it, should it be damaged.
                    tracing::warn!(%vat, %error, "an image could not be merged");
                }
            }
            Work::Compress => {
                if let Err(error) = inner.compress_step() {
                    tracing::warn!(%error, "a transcript could not be compressed");
                }
            }
            Work::Sync => {
                if let Err(error) = inner.snapshots.sync() {
                    tracing::error!(%error, "the page store could not be synced; snapshots are no longer made durable");
                    return;
                }
                if let Err(error) = inner.root_wanted() {
                    tracing::warn!(%error, "the heap roots of snapshots could not be kept");
                }
                if inner.is_compaction_due()
                    && let Err(error) = inner.compact(Reach::Sealed)
                {
                    tracing::error!(%error, "the page store could not be compacted");
                }
            }
            Work::Remove(segment) => {
                if let Err(error) = inner.pages.remove_segment(segment) {
                    // Nothing names it: it goes when the store is next opened.
                    tracing::warn!(segment, %error, "a dead segment could not be removed");
                }
            }
        }
    }
}
