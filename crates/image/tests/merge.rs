//! What merging promises: few layers, few copied pages, and a bound on what is written for it.

use vat_image::{
    Check, Image, Layer, MergePolicy, PAGE_BYTES, PageNo, PageSet, PageStore, StoreOptions, capture, merge,
};

const PAGES: u32 = 2048;

/// A small generator of page numbers (xorshift), the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 % u64::from(bound)).unwrap()
    }
}

/// What a history of evictions cost.
#[derive(Debug, Default)]
struct Cost {
    /// Pages that evictions wrote, and pages that merges wrote.
    evicted: u64,
    merged: u64,
    layers_max: usize,
    copied_max: u32,
}

/// Evicts a heap again and again, with 16 pages written among the first `spread` each time, and merges as the
/// policy asks.
fn evict(times: u32, spread: u32, policy: &MergePolicy) -> Cost {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = PageStore::open(dir.path(), &[], StoreOptions::default()).unwrap();
    let mut heap = vec![1; PAGES as usize * PAGE_BYTES];
    let all = PageSet::first(PAGES);
    let mut image = capture(&store, &heap, &Image::empty(0), &all, Check::Never).unwrap().image;
    let mut numbers = Numbers(88_172_645_463_325_252);
    let mut cost = Cost::default();
    for time in 0..times {
        let dirty: PageSet = (0..16).map(|_| PageNo(numbers.below(spread))).collect();
        for page in dirty.pages() {
            heap[page.offset()..][..4].copy_from_slice(&(time + 2).to_le_bytes());
        }
        let captured = capture(&store, &heap, &image, &dirty, Check::Never).unwrap();
        cost.evicted += u64::from(captured.stats.written);
        image = captured.image;
        while let Some(merged) = merge(&store, &image, policy).unwrap() {
            cost.merged += merged.layers().last().map_or(0, |layer| u64::from(layer.data_pages()));
            image = merged;
        }
        cost.layers_max = cost.layers_max.max(image.layers().len());
        cost.copied_max = cost.copied_max.max(image.plan().copied_pages());
    }
    let mut at_rest = vec![0; heap.len()];
    image.read_all(&mut at_rest).unwrap();
    assert!(at_rest == heap);
    cost
}

#[test]
fn evictions_that_write_anywhere_stay_within_the_documented_bounds() {
    let policy = MergePolicy::default();
    let cost = evict(600, PAGES, &policy);
    assert!(cost.layers_max <= policy.layers_max, "{cost:?}");
    assert!(cost.copied_max <= PAGES / policy.base_divisor, "{cost:?}");
    assert!(cost.merged <= cost.evicted * (u64::from(policy.base_divisor) + 4), "{cost:?}");
    assert!(cost.merged > cost.evicted, "the history is long enough to rewrite the base: {cost:?}");
}

#[test]
fn evictions_that_write_the_same_pages_never_rewrite_the_base() {
    let cost = evict(600, 48, &MergePolicy::default());
    assert!(cost.copied_max <= 48, "{cost:?}");
    assert!(cost.merged <= cost.evicted, "{cost:?}");
}

#[test]
fn an_image_that_is_good_as_it_is_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = PageStore::open(dir.path(), &[], StoreOptions::default()).unwrap();
    let policy = MergePolicy::default();
    assert!(merge(&store, &Image::empty(10), &policy).unwrap().is_none());
    let heap = vec![1; 64 * PAGE_BYTES];
    let image = capture(&store, &heap, &Image::empty(0), &PageSet::first(64), Check::Never).unwrap().image;
    assert!(merge(&store, &image, &policy).unwrap().is_none());
}

#[test]
fn a_heap_that_became_zero_merges_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = PageStore::open(dir.path(), &[], StoreOptions::default()).unwrap();
    let all = PageSet::first(64);
    let image =
        capture(&store, &vec![1; 64 * PAGE_BYTES], &Image::empty(0), &all, Check::Never).unwrap().image;
    let image = capture(&store, &vec![0; 64 * PAGE_BYTES], &image, &all, Check::Never).unwrap().image;
    let policy = MergePolicy { copied_pages_min: 0, ..MergePolicy::default() };
    let merged = merge(&store, &image, &policy).unwrap().unwrap();
    assert_eq!((merged.layers().len(), merged.size_pages()), (0, 64));
}

#[test]
fn damage_is_not_merged_into_a_new_layer() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = PageStore::open(dir.path(), &[], StoreOptions::default()).unwrap();
    let all = PageSet::first(200);
    let image =
        capture(&store, &vec![1; 200 * PAGE_BYTES], &Image::empty(0), &all, Check::Never).unwrap().image;
    let image = capture(&store, &vec![2; 200 * PAGE_BYTES], &image, &PageSet::first(120), Check::Never)
        .unwrap()
        .image;
    let at = image.layers()[0].location().offset + 150 * PAGE_BYTES as u64;
    let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("seg-00000001.pages")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[9], at).unwrap();
    let error = merge(&store, &image, &MergePolicy::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "layer {} is damaged in its page 150; use an older snapshot, or replay the transcript",
            image.layers()[0].location()
        )
    );
    assert!(image.layers().iter().map(|layer: &Layer| store.rewrite(layer).is_err()).eq([true, false]));
}
