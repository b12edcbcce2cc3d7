//! Address ranges: what a heap finds in them, what it leaves behind, where it ends.

use std::thread;

use vat_image::{
    AddressPool, Check, Error, HEAP_PAGES_MAX, Image, MAPPED_RUNS_MAX, PAGE_BYTES, PageNo, PageSet,
    PageStore, PoolOptions, RestoreMethod, StoreOptions, capture,
};

const MIB: usize = 1 << 20;

fn pools() -> [AddressPool; 2] {
    [RestoreMethod::Map, RestoreMethod::Copy].map(|restore| AddressPool::new(PoolOptions { restore }))
}

fn store() -> (tempfile::TempDir, PageStore) {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = PageStore::open(dir.path(), &[], StoreOptions::default()).unwrap();
    (dir, store)
}

/// Saves a heap of so many pages, filled by `fill`.
fn image_of(store: &PageStore, pages: u32, fill: impl Fn(u32) -> u8) -> Image {
    let mut heap = vec![0; PageNo(pages).offset()];
    for page in 0..pages {
        heap[PageNo(page).offset()..][..PAGE_BYTES].fill(fill(page));
    }
    capture(store, &heap, &Image::empty(0), &PageSet::first(pages), Check::Never).unwrap().image
}

#[test]
fn nothing_of_a_heap_survives_in_its_range() {
    let (_dir, store) = store();
    let small = image_of(&store, 16, |_| 1);
    for pool in pools() {
        let mut address = None;
        for image in [None, Some(&small), None, Some(&small)] {
            let size = image.map_or(8 * MIB, Image::size_bytes);
            let mut heap = pool.take(64 * MIB, MIB, size, image).unwrap();
            assert_eq!(*address.get_or_insert(heap.ptr()), heap.ptr(), "the range is reused");
            heap.grow_to(16 * MIB).unwrap();
            let (content, grown) = heap.bytes().split_at(image.map_or(0, Image::size_bytes));
            assert!(content.iter().all(|byte| *byte == 1));
            assert!(grown.iter().all(|byte| *byte == 0));
            heap.bytes_mut().fill(0xEE);
        }
        assert_eq!(pool.stats().free, 1);
        let mut at_rest = vec![0; small.size_bytes()];
        small.read_all(&mut at_rest).unwrap();
        assert!(at_rest.iter().all(|byte| *byte == 1), "writing to a heap does not write to its image");
    }
}

#[test]
fn heaps_of_one_image_do_not_see_each_other() {
    let (_dir, store) = store();
    let image = image_of(&store, 64, |page| page.to_le_bytes()[0]);
    for pool in pools() {
        thread::scope(|scope| {
            for thread in 0..4u8 {
                let (pool, image) = (&pool, &image);
                scope.spawn(move || {
                    for _ in 0..50 {
                        let mut heap = pool.take(MIB, 0, MIB, Some(image)).unwrap();
                        for page in 0..64 {
                            let at = PageNo(page).offset();
                            assert_eq!(heap.bytes()[at], page.to_le_bytes()[0]);
                            heap.bytes_mut()[at] = 0x80 | thread;
                        }
                        assert!(
                            heap.bytes().chunks(PAGE_BYTES).take(64).all(|page| page[0] == 0x80 | thread)
                        );
                    }
                });
            }
        });
        assert_eq!(pool.stats().in_use, 0);
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let (_dir, store) = store();
    let image = image_of(&store, 32, |_| 1);
    for pool in pools() {
        assert!(matches!(pool.take(MIB, 0, 2 * MIB, None), Err(Error::TooLarge { .. })));
        assert!(matches!(pool.take(MIB, 0, 16 * PAGE_BYTES, Some(&image)), Err(Error::TooLarge { .. })));
        assert!(matches!(pool.take(usize::MAX, 1, 0, None), Err(Error::TooLarge { .. })));
        let huge = pool.take(1 << 60, 0, 0, None);
        assert!(matches!(huge, Err(Error::AddressSpace { action: "reserve", .. })), "{huge:?}");
        let mut heap = pool.take(MIB, 0, 0, None).unwrap();
        assert!(matches!(heap.grow_to(2 * MIB), Err(Error::TooLarge { .. })));
        heap.grow_to(MIB).unwrap();
        assert_eq!((heap.accessible_bytes(), heap.reserved_bytes()), (MIB, MIB));
        assert_eq!(pool.stats().in_use, 1);
    }
}

#[test]
fn the_largest_heap_is_restored() {
    let (_dir, store) = store();
    let pool = AddressPool::new(PoolOptions::default());
    let mut heap =
        pool.take(PageNo(HEAP_PAGES_MAX).offset(), MIB, PageNo(HEAP_PAGES_MAX).offset(), None).unwrap();
    let ends = [0, PageNo(HEAP_PAGES_MAX).offset() - 1];
    ends.into_iter().for_each(|at| heap.bytes_mut()[at] = 7);
    let dirty = [PageNo(0), PageNo(HEAP_PAGES_MAX - 1)].into_iter().collect();
    let image = capture(&store, heap.bytes(), &Image::empty(0), &dirty, Check::Never).unwrap().image;
    drop(heap);
    assert!(image.stored_bytes() < MIB as u64, "zero pages take no space");
    let heap = pool.take(image.size_bytes(), MIB, image.size_bytes(), Some(&image)).unwrap();
    assert_eq!(ends.map(|at| heap.bytes()[at]), [7, 7]);
}

#[test]
fn a_fragmented_image_is_restored_with_few_mappings() {
    let (_dir, store) = store();
    // Every gap between runs of data is longer than those that are bridged.
    let data = |page: u32| if page % 64 < 24 { 1 + page.to_le_bytes()[0] % 200 } else { 0 };
    let base = image_of(&store, 8192, data);
    let heap_of = |image: &Image, pool: &AddressPool| pool.take(64 * MIB, 0, 32 * MIB, Some(image)).unwrap();
    let [map, copy] = pools();
    let mut heap = heap_of(&base, &map);
    let mut dirty = PageSet::new();
    for first in (0..8192).step_by(48) {
        let run = vat_image::PageRun { first, count: 8.min(8192 - first) };
        heap.bytes_mut()[PageNo(run.first).offset()..PageNo(run.end()).offset()].fill(if first % 5 == 0 {
            0
        } else {
            9
        });
        dirty.push(run);
    }
    let image = capture(&store, heap.bytes(), &base, &dirty, Check::Always).unwrap().image;
    for image in [&base, &image] {
        assert!(image.plan().maps().len() <= MAPPED_RUNS_MAX);
        let (mapped, copied) = (heap_of(image, &map), heap_of(image, &copy));
        assert!(mapped.bytes() == copied.bytes());
    }
    assert!(heap_of(&image, &map).bytes() == heap.bytes());
}

#[test]
fn layers_stay_readable_after_their_segment_is_removed() {
    let (dir, store) = store();
    let image = image_of(&store, 64, |page| page.to_le_bytes()[0]);
    let pool = AddressPool::new(PoolOptions::default());
    let before = pool.take(MIB, 0, MIB, Some(&image)).unwrap();
    store.remove_segment(image.locations()[0].segment).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let after = pool.take(MIB, 0, MIB, Some(&image)).unwrap();
    assert!(before.bytes() == after.bytes());
    assert_eq!(after.bytes()[PageNo(63).offset()], 63);
}

#[test]
fn a_prefetch_changes_nothing() {
    let (_dir, store) = store();
    let image = image_of(&store, 64, |page| page.to_le_bytes()[0]);
    image.prefetch(&[3, 4, 9, 63, 70].map(PageNo).into_iter().collect());
    let heap = AddressPool::new(PoolOptions::default()).take(MIB, 0, MIB, Some(&image)).unwrap();
    assert_eq!(heap.bytes()[PageNo(9).offset()], 9);
}
