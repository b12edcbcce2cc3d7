//! Compaction: disk space that no vat needs any more is given back, beside vats that are served.
//!
//! The live layers of a segment that is mostly garbage are written once more elsewhere, and the segment is removed:
//!
//! ```text
//!   rewrite, sync ──► relocate what is in memory ─┬─► caller's next commit ──► remove the segment
//!                     move the rows               │
//!                     (one step for everybody else)
//! ```
//!
//! Invariants: nothing is committed here, so the caller's block of cranks stays the caller's; a crash before that commit finds the old
//! rows and the old segment, a crash after it finds the new ones, and either leaves garbage at most. What is in memory never names a
//! layer by a place that is gone: a state that was captured on top of a moved layer is described by where the layer is now.
//!
//! A vat that was mapped from the old segment stays mapped from it. The file's name goes, and its space when the last such vat is evicted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use vat_image::{Error as ImageError, Layer, LayerLocation, SegmentUsage, Unmoved};

use crate::config::WarehouseConfig;
use crate::error::Error;
use crate::upkeep::location;
use crate::warehouse::{Inner, Warehouse};

/// A segment is compacted when at least this part of it is garbage: one in two bytes. What is written again is then no more than what
/// is given back.
const GARBAGE_DIVISOR: u64 = 2;
/// The background looks for garbage when the page store has grown by this part since it last looked, or by a segment.
const GROWTH_DIVISOR: u64 = 4;
/// Looks at which layers a segment has, before it is left for another time.
const ATTEMPTS_MAX: usize = 4;

/// What compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that go with the next commit.
    pub segments: u64,
    /// Layers that were written again.
    pub layers: u64,
    /// Bytes of disk that are given back, less what was written again.
    pub freed_bytes: u64,
    /// Segments that stay though they are mostly garbage: a layer in them is damaged, or they were in use.
    pub left: u64,
}

/// When to look for garbage, and who is at it.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    /// One at a time: two would move the same layers.
    running: Mutex<()>,
    /// Bytes of the page store at which the background looks again.
    look_at: AtomicU64,
}

/// Which segments may be compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those that are full.
    Sealed,
    /// The one that layers are appended to, too; the next layer begins another.
    All,
}

impl Warehouse {
    /// Gives disk space back that no vat needs any more; the segments go with the next [`commit`](Warehouse::commit). Vats may be used
    /// meanwhile. It happens in the background as well, when enough garbage has gathered.
    ///
    /// # Errors
    /// If the disk refuses. Nothing is lost: what was not moved is where it was.
    pub fn compact(&self) -> Result<Compacted, Error> {
        self.inner.compact(Reach::All)
    }
}

/// The copies of a segment's layers, by where the layers were.
type Copies = BTreeMap<LayerLocation, Layer>;

impl Inner {
    /// See [`Warehouse::compact`].
    pub(crate) fn compact(&self, reach: Reach) -> Result<Compacted, Error> {
        let _alone = self.compaction.begin();
        if reach == Reach::All {
            self.pages.close_segment();
        }
        let mut compacted = Compacted::default();
        let mut targets = self.garbage()?;
        let mut copies: BTreeMap<u32, Copies> = BTreeMap::new();
        for _ in 0..ATTEMPTS_MAX {
            for target in &targets {
                self.copy_layers(target.segment, copies.entry(target.segment).or_default())?;
            }
            self.snapshots.sync()?;
            let mut left = Vec::new();
            for target in std::mem::take(&mut targets) {
                let copies = &copies[&target.segment];
                match self.relocate(target.segment, copies)? {
                    true => compacted.add(target, copies),
                    false => left.push(target),
                }
            }
            targets = left;
            if targets.is_empty() {
                break;
            }
        }
        compacted.left = targets.len() as u64;
        self.counters.compacted.add(compacted.segments);
        self.compaction.look_again(self.pages.bytes().saturating_sub(compacted.freed_bytes), &self.config);
        Ok(compacted)
    }

    /// Whether the page store has grown enough since someone last looked for garbage.
    pub(crate) fn is_compaction_due(&self) -> bool {
        self.pages.bytes() >= self.compaction.look_at.load(Ordering::Relaxed)
    }

    /// Segments that are mostly garbage, and to which nothing is appended.
    fn garbage(&self) -> Result<Vec<SegmentUsage>, Error> {
        let live = self.storage.live_layers()?;
        let mut usage = self.pages.usage(live.iter().map(location));
        usage.retain(|segment| {
            let is_garbage = segment.garbage_bytes() >= segment.bytes / GARBAGE_DIVISOR;
            !segment.is_open && is_garbage && !self.snapshots.is_doomed(segment.segment)
        });
        Ok(usage)
    }

    /// Copies the layers of the segment that a row or somebody in memory has, but for those that were copied before, and those that
    /// are damaged: the segment of such a one stays.
    fn copy_layers(&self, segment: u32, copies: &mut Copies) -> Result<(), Error> {
        let held = self.pages.held_layers(segment);
        let rows = self.storage.live_layers_in(segment)?;
        for at in held.iter().map(Layer::location).chain(rows.iter().map(location)) {
            if copies.contains_key(&at) {
                continue;
            }
            match self.pages.load(at).and_then(|layer| self.pages.rewrite(&layer)) {
                Ok(copy) => drop(copies.insert(at, copy)),
                Err(
                    damage @ (ImageError::Damaged { .. }
                    | ImageError::Missing { .. }
                    | ImageError::Version { .. }),
                ) => tracing::warn!(segment, %damage, "a segment cannot be compacted"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Lets everything name the copies, in one step for everybody who describes a state or commits. `false` if there is a layer by now
    /// that was not copied.
    fn relocate(&self, segment: u32, copies: &Copies) -> Result<bool, Error> {
        let _alone = self.steps_alone();
        let rows = self.storage.live_layers_in(segment)?;
        if rows.iter().any(|row| !copies.contains_key(&location(row))) {
            return Ok(false);
        }
        let moves: Vec<_> = copies.iter().map(|(from, to)| (*from, to.clone())).collect();
        match self.pages.relocate(segment, &moves) {
            Ok(()) => {}
            Err(Unmoved::Busy | Unmoved::Held(_)) => return Ok(false),
        }
        for row in &rows {
            let to = copies[&location(row)].location();
            self.storage.move_layer(row.id, to.segment, to.offset, to.bytes)?;
        }
        self.snapshots.relocated(segment);
        for (_, state) in self.births().iter_mut() {
            state.image = state.image.current();
        }
        Ok(true)
    }
}

impl Compacted {
    fn add(&mut self, target: SegmentUsage, copies: &Copies) {
        let rewritten: u64 = copies.values().map(|copy| copy.location().bytes).sum();
        self.segments += 1;
        self.layers += copies.len() as u64;
        self.freed_bytes += target.bytes.saturating_sub(rewritten);
    }
}

impl Compaction {
    /// Looks again when the page store, which has so many bytes now, has grown.
    fn look_again(&self, bytes: u64, config: &WarehouseConfig) {
        let growth = (bytes / GROWTH_DIVISOR).max(config.segment_bytes);
        self.look_at.store(bytes.saturating_add(growth), Ordering::Relaxed);
    }

    fn begin(&self) -> MutexGuard<'_, ()> {
        self.running.lock().expect("no thread panicked while it compacted")
    }
}
