//! The heap image against a model: a vector of bytes that undergoes the same history.
//!
//! Random writes, growth, captures, merges, rewrites and reopenings, with every tracker and both ways of
//! restoring. After every step the heap in memory, the image at rest and the model hold the same bytes; the
//! heap root depends on the content only.

use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;
use vat_image::{
    AddressPool, Check, Compare, DirtyTracker, HeapRange, HeapTree, Image, LayerLocation, MergePolicy,
    PAGE_BYTES, PageNo, PageSet, PageStore, PoolOptions, RestoreMethod, StoreOptions, SyncMark, capture,
    merge,
};

const RESERVE: usize = 64 << 20;
const GUARD: usize = 1 << 20;
const PAGES_MAX: u32 = 600;

/// One step in the life of a heap.
#[derive(Clone, Debug)]
enum Step {
    /// Writes one byte into each of some pages; zero makes the page zero again.
    Write {
        first: u32,
        count: u32,
        stride: u32,
        byte: u8,
    },
    /// Reads pages, which populates page tables without changing anything.
    Read {
        first: u32,
        count: u32,
    },
    Grow(u32),
    /// Capture, drop, restore.
    Evict,
    /// Capture without dropping.
    Snapshot,
    /// Drop without capture: back to the last image.
    Abandon,
    Merge,
    /// Every layer is rewritten and the old segments removed.
    Compact,
    /// The store is closed and opened again.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..PAGES_MAX, 1..24u32, 1..5u32, 0..4u8)
            .prop_map(|(first, count, stride, byte)| Step::Write { first, count, stride, byte }),
        1 => (0..PAGES_MAX, 1..200u32).prop_map(|(first, count)| Step::Read { first, count }),
        1 => (1..80u32).prop_map(Step::Grow),
        4 => Just(Step::Evict),
        2 => Just(Step::Snapshot),
        1 => Just(Step::Abandon),
        2 => Just(Step::Merge),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

struct World {
    dir: TempDir,
    store: Option<PageStore>,
    pool: AddressPool,
    trackers: Vec<Arc<dyn DirtyTracker>>,
    /// Which of them captures.
    tracker: usize,
    image: Image,
    heap: Option<HeapRange>,
    /// The heap in memory, and the heap at rest.
    live: Vec<u8>,
    saved: Vec<u8>,
    policy: MergePolicy,
}

/// The comparison is the last one: it reads the whole heap, and pagemap does not tell fresh pages that were
/// read from those that were written.
fn trackers() -> Vec<Arc<dyn DirtyTracker>> {
    let mut trackers = page_table_trackers();
    trackers.push(Arc::new(Compare));
    trackers
}

#[cfg(target_os = "linux")]
fn page_table_trackers() -> Vec<Arc<dyn DirtyTracker>> {
    let scan = vat_image::PagemapScan::probe().map(|tracker| Arc::new(tracker) as _);
    let pagemap = vat_image::Pagemap::probe().map(|tracker| Arc::new(tracker) as _);
    scan.into_iter().chain(pagemap).collect()
}

#[cfg(not(target_os = "linux"))]
fn page_table_trackers() -> Vec<Arc<dyn DirtyTracker>> {
    Vec::new()
}

fn options() -> StoreOptions {
    StoreOptions { segment_bytes: 1 << 20, ..StoreOptions::default() }
}

impl World {
    fn new(restore: RestoreMethod, tracker: usize, pages: u32, policy: MergePolicy) -> World {
        let dir = TempDir::new().unwrap();
        let (store, _) = PageStore::open(dir.path(), &[], options()).unwrap();
        let bytes = pages as usize * PAGE_BYTES;
        let trackers = trackers();
        let mut world = World {
            dir,
            store: Some(store),
            pool: AddressPool::new(PoolOptions { restore }),
            tracker: tracker % trackers.len(),
            trackers,
            image: Image::empty(pages),
            heap: None,
            live: vec![0; bytes],
            saved: vec![0; bytes],
            policy,
        };
        world.restore();
        world
    }

    fn store(&self) -> &PageStore {
        self.store.as_ref().unwrap()
    }

    fn memory(&self) -> &[u8] {
        self.heap.as_ref().unwrap().bytes()
    }

    fn heap(&mut self) -> &mut HeapRange {
        self.heap.as_mut().unwrap()
    }

    fn pages(&self) -> u32 {
        u32::try_from(self.live.len() / PAGE_BYTES).unwrap()
    }

    fn restore(&mut self) {
        self.poison();
        let heap = self.pool.take(RESERVE, GUARD, self.image.size_bytes(), Some(&self.image)).unwrap();
        self.heap = Some(heap);
        self.live = self.saved.clone();
    }

    /// Fills the range that is used next with another heap's secrets.
    fn poison(&mut self) {
        self.heap = None;
        let mut other = self.pool.take(RESERVE, GUARD, 4 << 20, None).unwrap();
        assert!(other.bytes().iter().all(|byte| *byte == 0), "a range is reused without its content");
        other.bytes_mut().fill(0xEE);
    }

    fn save(&mut self) {
        let heap = self.memory();
        let exact = Compare.dirty(heap, &self.image).unwrap();
        let found: Vec<PageSet> =
            self.trackers.iter().map(|tracker| tracker.dirty(heap, &self.image).unwrap()).collect();
        for (tracker, found) in self.trackers.iter().zip(&found) {
            let missed = exact.difference(found);
            assert!(missed.is_empty(), "{} missed {missed:?}", tracker.name());
        }
        let captured = capture(self.store(), heap, &self.image, &found[self.tracker], Check::Always).unwrap();
        assert!(!captured.stats.disagreement);
        assert_eq!(
            captured.stats.written + captured.stats.zero,
            exact.len(),
            "exactly what differs is written"
        );
        self.image = captured.image;
        self.saved = self.live.clone();
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Write { first, count, stride, byte } => {
                let pages = self.pages().max(1);
                for page in (0..count).map(|at| (first + at * stride) % pages) {
                    let at = PageNo(page).offset();
                    let value = if byte == 0 { 0 } else { byte.wrapping_add(page.to_le_bytes()[0]).max(1) };
                    self.heap().bytes_mut()[at..at + PAGE_BYTES].fill(value);
                    self.live[at..at + PAGE_BYTES].fill(value);
                }
            }
            Step::Read { first, count } => {
                let pages = self.pages();
                let end = (first + count).min(pages);
                for page in first.min(end)..end {
                    let at = PageNo(page).offset();
                    assert_eq!(self.memory()[at], self.live[at]);
                }
            }
            Step::Grow(pages) => {
                let bytes =
                    (self.live.len() + pages as usize * PAGE_BYTES).min(PAGES_MAX as usize * PAGE_BYTES);
                self.heap().grow_to(bytes).unwrap();
                self.live.resize(bytes, 0);
            }
            Step::Evict => {
                self.save();
                self.restore();
            }
            Step::Snapshot => self.save(),
            Step::Abandon => self.restore(),
            Step::Merge => {
                if let Some(merged) = merge(self.store(), &self.image, &self.policy).unwrap() {
                    assert!(merged.layers().len() < self.image.layers().len());
                    assert_eq!(
                        self.image.root(b"globals", &[7; 32]).unwrap(),
                        merged.root(b"globals", &[7; 32]).unwrap(),
                        "the heap root does not depend on layering"
                    );
                    self.become_image(merged);
                }
            }
            Step::Compact => self.compact(),
            Step::Reopen => self.reopen(),
        }
        self.compare();
    }

    /// The heap in memory stays what it is, above another image of the same content.
    fn become_image(&mut self, image: Image) {
        self.image = image;
    }

    fn compact(&mut self) {
        self.store().close_segment();
        let old: Vec<u32> = self.store().usage([]).iter().map(|usage| usage.segment).collect();
        let layers = self.image.layers().iter().map(|layer| self.store().rewrite(layer).unwrap()).collect();
        let image = Image::new(layers, self.image.size_pages());
        self.become_image(image);
        self.store().sync().unwrap();
        for segment in old {
            self.store().remove_segment(segment).unwrap();
        }
    }

    fn reopen(&mut self) {
        let mark: SyncMark = self.store().sync().unwrap();
        assert!(self.image.layers().iter().all(|layer| mark.covers(layer)));
        let live: Vec<LayerLocation> = self.image.locations();
        self.store = None;
        let (store, report) = PageStore::open(self.dir.path(), &live, options()).unwrap();
        assert_eq!(report.missing, []);
        self.image = Image::load(&store, &live, self.image.size_pages()).unwrap();
        self.store = Some(store);
    }

    fn compare(&self) {
        assert!(self.memory() == self.live, "the heap in memory");
        let mut at_rest = vec![0; self.image.size_bytes()];
        self.image.read_all(&mut at_rest).unwrap();
        assert!(at_rest == self.saved, "the heap at rest");
        let tree: HeapTree = self.image.pages_nonzero().unwrap().collect();
        let globals = b"globals";
        let root = self.image.root(globals, &[7; 32]).unwrap();
        assert_eq!(root, tree.root(self.image.size_pages(), globals, &[7; 32]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_heap_survives_any_history(
        copy in any::<bool>(),
        tracker in 0..3usize,
        pages in 1..300u32,
        layers_max in 2..5usize,
        base_divisor in 1..10u32,
        steps in proptest::collection::vec(step(), 1..32),
    ) {
        let restore = if copy { RestoreMethod::Copy } else { RestoreMethod::Map };
        let policy = MergePolicy { layers_max, base_divisor, copied_pages_min: 8 };
        let mut world = World::new(restore, tracker, pages, policy);
        for step in &steps {
            world.apply(step);
        }
        world.apply(&Step::Evict);
    }
}
