//! Trackers on heaps whose changes are known, and captures that believe or check them.

use std::sync::Arc;

use vat_image::{
    AddressPool, Check, Compare, DirtyTracker, HeapRange, Image, PAGE_BYTES, PageNo, PageRun, PageSet,
    PageStore, PoolOptions, StoreOptions, best_tracker, capture,
};

const PAGES: u32 = 2048;
const BYTES: usize = PAGES as usize * PAGE_BYTES;

struct World {
    _dir: tempfile::TempDir,
    store: PageStore,
    pool: AddressPool,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = PageStore::open(dir.path(), &[], StoreOptions::default()).unwrap();
        World { _dir: dir, store, pool: AddressPool::new(PoolOptions::default()) }
    }

    /// A heap whose first half is an image of ones, and whose second half is fresh.
    fn heap(&self) -> (Image, HeapRange) {
        let heap = vec![1; BYTES / 2];
        let all = PageSet::first(PAGES / 2);
        let image = capture(&self.store, &heap, &Image::empty(0), &all, Check::Never).unwrap().image;
        let range = self.pool.take(BYTES, 0, BYTES, Some(&image)).unwrap();
        (image, range)
    }
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

fn write(heap: &mut HeapRange, pages: &PageSet, byte: u8) {
    pages.pages().for_each(|page| heap.bytes_mut()[page.offset()] = byte);
}

fn read(heap: &HeapRange, pages: impl Iterator<Item = u32>) -> u32 {
    pages.map(|page| u32::from(heap.bytes()[PageNo(page).offset()])).sum()
}

#[test]
fn every_written_page_is_found_however_many_pieces_there_are() {
    let world = World::new();
    let (image, mut heap) = world.heap();
    // More pieces than any buffer of a tracker holds, in the image and behind it.
    let written: PageSet = (0..PAGES).step_by(2).map(PageNo).collect();
    write(&mut heap, &written, 7);
    for tracker in trackers() {
        assert!(tracker.dirty(heap.bytes(), &image).unwrap() == written, "{}", tracker.name());
    }
}

#[test]
fn pages_that_were_only_read_are_not_dirty() {
    let world = World::new();
    let (image, heap) = world.heap();
    assert_eq!(read(&heap, 0..PAGES), PAGES / 2);
    for tracker in [Arc::new(Compare), best_tracker()] as [Arc<dyn DirtyTracker>; 2] {
        assert_eq!(tracker.dirty(heap.bytes(), &image).unwrap(), PageSet::new(), "{}", tracker.name());
    }
}

#[test]
fn a_part_of_a_heap_can_be_asked_about() {
    let world = World::new();
    let (image, mut heap) = world.heap();
    let written = [0, 5, PAGES - 1].map(PageNo).into_iter().collect();
    write(&mut heap, &written, 7);
    for tracker in trackers() {
        let found = tracker.dirty(&heap.bytes()[..BYTES / 2], &image).unwrap();
        assert_eq!(found, [0, 5].map(PageNo).into_iter().collect(), "{}", tracker.name());
    }
}

#[test]
fn a_missed_page_is_noticed_and_the_heap_is_saved_whole() {
    let world = World::new();
    let (image, mut heap) = world.heap();
    let (seen, missed) = (PageNo(3), PageNo(9));
    write(&mut heap, &[seen, missed].into_iter().collect(), 7);
    let dirty: PageSet = [seen].into_iter().collect();

    let believed = capture(&world.store, heap.bytes(), &image, &dirty, Check::Never).unwrap();
    assert!(!believed.stats.disagreement);
    assert_eq!(Compare.dirty(heap.bytes(), &believed.image).unwrap().len(), 1, "believed, and so lost");

    let checked = capture(&world.store, heap.bytes(), &image, &dirty, Check::Always).unwrap();
    assert!(checked.stats.disagreement);
    assert_eq!(checked.image.layers().len(), 1, "a full image");
    assert!(Compare.dirty(heap.bytes(), &checked.image).unwrap().is_empty());
}

#[test]
fn what_did_not_change_is_not_written() {
    let world = World::new();
    let (image, mut heap) = world.heap();
    let touched: PageSet = (0..10).chain(PAGES - 10..PAGES).map(PageNo).collect();
    write(&mut heap, &touched, 7);
    for page in touched.pages() {
        heap.bytes_mut()[page.offset()] = u8::from(page.0 < PAGES / 2);
    }
    let dirty = best_tracker().dirty(heap.bytes(), &image).unwrap();
    let captured = capture(&world.store, heap.bytes(), &image, &dirty, Check::Always).unwrap();
    let stats = captured.stats;
    assert_eq!((stats.scanned, stats.unchanged, stats.written, stats.bytes), (20, 20, 0, 0));
    assert_eq!(captured.image.layers().len(), image.layers().len());
    assert_eq!(captured.image.size_pages(), PAGES, "but the heap has grown");
}

#[test]
fn pages_that_became_zero_take_no_space() {
    let world = World::new();
    let (image, mut heap) = world.heap();
    heap.bytes_mut()[..BYTES / 4].fill(0);
    let dirty = best_tracker().dirty(heap.bytes(), &image).unwrap();
    let captured = capture(&world.store, heap.bytes(), &image, &dirty, Check::Always).unwrap();
    assert_eq!((captured.stats.zero, captured.stats.written), (PAGES / 4, 0));
    assert_eq!(captured.stats.bytes, PAGE_BYTES as u64, "an index, and no data");
    drop(heap);
    let heap = world.pool.take(BYTES, 0, BYTES, Some(&captured.image)).unwrap();
    assert_eq!(read(&heap, 0..PAGES), PAGES / 4);
}

#[cfg(target_os = "linux")]
#[test]
fn residency_tells_own_pages_from_shared_ones() {
    let world = World::new();
    let (_image, mut heap) = world.heap();
    let tracker = vat_image::PagemapScan::probe().expect("this test needs Linux 6.7");
    let fresh = tracker.residency(heap.bytes()).unwrap().unwrap();
    assert_eq!((fresh.own_pages, fresh.shared_pages, fresh.page_table_bytes), (0, 0, 0));
    write(&mut heap, &[0, 1, PAGES - 1].map(PageNo).into_iter().collect(), 7);
    read(&heap, 600..601);
    let residency = tracker.residency(heap.bytes()).unwrap().unwrap();
    assert_eq!((residency.own_pages, residency.swapped_pages), (3, 0));
    assert!(residency.shared_pages >= 1, "the page that was read, and those that the kernel mapped with it");
    assert!((3 * 4096..=5 * 4096).contains(&residency.page_table_bytes), "{residency:?}");
    assert!([0, 1, 600, PAGES - 1].iter().all(|page| residency.touched.contains(PageNo(*page))));
    assert!(!residency.touched.contains(PageNo(1024 + 512)));
}

#[test]
fn a_set_of_runs_is_what_a_tracker_answers() {
    let world = World::new();
    let (image, mut heap) = world.heap();
    write(&mut heap, &PageSet::first(40), 7);
    for tracker in trackers() {
        let dirty = tracker.dirty(heap.bytes(), &image).unwrap();
        assert_eq!(dirty.runs(), [PageRun { first: 0, count: 40 }], "{}", tracker.name());
    }
}
