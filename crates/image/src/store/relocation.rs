//! Layers that are somewhere else now: compaction beside everything that goes on.
//!
//! ```text
//!   segment 3, mostly garbage            open segment
//!   ┌──┬─────┬──────┬───┐                ┌────┬─────┬───┐
//!   │░░│  A  │░░░░░░│ B │   rewrite ──►  │ …  │  A' │ B'│    sync, then relocate [(A, A'), (B, B')]
//!   └──┴─────┴──────┴───┘                └────┴─────┴───┘
//! ```
//!
//! A layer is immutable, so a copy of it is as good as the layer itself. After a relocation each handle on A knows A'
//! ([`Layer::current`]) and [`PageStore::load`] of A's place gives A'. What was mapped from A stays mapped from A: the file's name
//! goes away with [`remove_segment`](PageStore::remove_segment), its bytes when nobody maps or holds them any more.
//!
//! Invariant: after `relocate` has returned without refusing, no handle on a layer of the segment is without a successor, and none can
//! come to be. For that the store knows its handles; each layer has one inside, however often it is loaded.
//!
//! Which layers are worth moving, and when the segment may go, is the caller's to say: its database has the pointers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use super::PageStore;
use crate::layer::{Layer, LayerInner, LayerLocation};

/// Handles that are forgotten by nobody are swept out when there are this many, and then at twice of what was left.
const SWEEP_MIN: usize = 64;

/// The layers of one segment that somebody holds, and those that were moved away from it.
#[derive(Debug, Default)]
pub(super) struct Handles {
    held: BTreeMap<LayerLocation, Weak<LayerInner>>,
    moved: BTreeMap<LayerLocation, Layer>,
    sweep_at: usize,
}

impl Handles {
    /// The layer at a place, or what became of it, if somebody holds it.
    pub(super) fn find(&self, at: LayerLocation) -> Option<Layer> {
        let moved = self.moved.get(&at).map(Layer::current);
        moved.or_else(|| self.held.get(&at)?.upgrade().map(Layer::of))
    }

    /// Notes a handle.
    pub(super) fn hold(&mut self, layer: &Layer) {
        if self.held.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.held.retain(|_, held| held.strong_count() > 0);
            self.sweep_at = self.held.len() * 2;
        }
        self.held.insert(layer.location(), layer.downgrade());
    }

    fn held(&self) -> impl Iterator<Item = Layer> + '_ {
        self.held.values().filter_map(Weak::upgrade).map(Layer::of)
    }
}

/// Why a segment's layers could not be relocated now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmoved {
    /// Layers are still appended to it.
    Busy,
    /// Somebody holds a layer of it that is not among those that were moved: look again at which layers it has.
    Held(LayerLocation),
}

impl PageStore {
    /// The layers of a segment that somebody holds in memory, whether or not anything durable points to them.
    pub fn held_layers(&self, segment: u32) -> Vec<Layer> {
        let state = self.state();
        // Dropping the last handle on a layer is nothing that needs the lock; collecting is.
        state.segments.get(&segment).map(|found| found.handles.held().collect()).unwrap_or_default()
    }

    /// Makes each layer of `moves` be where its copy is: for everybody who holds it, and for those who load it by its old place until
    /// the segment is removed. The copies are synced, so that whoever points to one points to something durable.
    ///
    /// # Errors
    ///
    /// [`Unmoved`], and nothing was relocated.
    ///
    /// # Panics
    ///
    /// If a layer of `moves` is not in `segment`, or a copy is.
    pub fn relocate(&self, segment: u32, moves: &[(LayerLocation, Layer)]) -> Result<(), Unmoved> {
        let mut state = self.state();
        let is_open = state.open == Some(segment);
        let Some(found) = state.segments.get_mut(&segment) else { return Ok(()) };
        if is_open || found.writers > 0 {
            return Err(Unmoved::Busy);
        }
        let moved: BTreeMap<LayerLocation, Layer> = moves.iter().cloned().collect();
        for (from, to) in &moved {
            assert!(
                from.segment == segment && to.location().segment != segment,
                "layers move out of their segment"
            );
        }
        let held: Vec<Layer> = found.handles.held().collect();
        if let Some(left) = held.iter().find(|layer| !moved.contains_key(&layer.location())) {
            return Err(Unmoved::Held(left.location()));
        }
        for layer in &held {
            layer.supersede(&moved[&layer.location()]);
        }
        found.handles.moved = moved;
        Ok(())
    }
}

impl Layer {
    /// The same layer where it is now: itself, unless compaction moved it.
    #[must_use]
    pub fn current(&self) -> Layer {
        let mut layer = self;
        while let Some(moved) = layer.moved_to() {
            layer = moved;
        }
        layer.clone()
    }

    fn of(inner: Arc<LayerInner>) -> Layer {
        Layer::from_inner(inner)
    }
}
