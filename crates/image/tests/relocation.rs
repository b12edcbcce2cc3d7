//! Layers that move while somebody holds them.

use std::path::Path;

use vat_image::{
    Image, Layer, LayerKind, PAGE_BYTES, PageBytes, PageContent, PageHash, PageNo, PageStore, PageWrite,
    StoreOptions, Unmoved,
};

fn open(dir: &Path) -> PageStore {
    PageStore::open(dir, &[], StoreOptions::default()).unwrap().0
}

fn append(store: &PageStore, kind: LayerKind, page: u32, byte: u8) -> Layer {
    let bytes: PageBytes = [byte; PAGE_BYTES];
    let content = PageContent::Data { hash: PageHash::of(&bytes), bytes: &bytes };
    store.append(kind, &[PageWrite { page: PageNo(page), content }]).unwrap()
}

fn first_bytes(image: &Image) -> Vec<u8> {
    let mut heap = vec![0; image.size_bytes()];
    image.read_all(&mut heap).unwrap();
    heap.iter().step_by(PAGE_BYTES).copied().collect()
}

#[test]
fn whoever_holds_a_moved_layer_or_asks_for_its_old_place_gets_the_copy() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let image =
        Image::new(vec![append(&store, LayerKind::Base, 0, 1), append(&store, LayerKind::Delta, 1, 2)], 2);
    let before = image.locations();
    let mut segment = before[0].segment;
    for _ in 0..3 {
        store.close_segment();
        let held = store.held_layers(segment);
        assert_eq!(held.len(), 2);
        let copies: Vec<_> =
            held.iter().map(|layer| (layer.location(), store.rewrite(layer).unwrap())).collect();
        store.relocate(segment, &copies).unwrap();
        let current = image.current();
        assert!(current.locations().iter().all(|at| at.segment > segment));
        assert_eq!(first_bytes(&current), [1, 2]);
        for (from, to) in &copies {
            assert_eq!(store.load(*from).unwrap().location(), to.location());
        }
        store.remove_segment(segment).unwrap();
        assert_eq!(first_bytes(&image), [1, 2], "what is held stays readable where it was");
        assert!(store.load(copies[0].0).is_err());
        segment = current.locations()[0].segment;
    }
}

#[test]
fn a_layer_that_somebody_holds_cannot_be_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (moved, forgotten) = (append(&store, LayerKind::Base, 0, 1), append(&store, LayerKind::Base, 0, 2));
    let segment = moved.location().segment;
    assert_eq!(store.relocate(segment, &[]), Err(Unmoved::Busy), "layers are still appended to it");
    store.close_segment();
    let moves = [(moved.location(), store.rewrite(&moved).unwrap())];
    assert_eq!(store.relocate(segment, &moves), Err(Unmoved::Held(forgotten.location())));
    assert_eq!(moved.current().location(), moved.location(), "and nothing was relocated");
    drop(forgotten);
    assert_eq!(store.relocate(segment, &moves), Ok(()));
    assert_eq!(moved.current().location(), moves[0].1.location());
}

#[test]
fn a_place_that_is_loaded_twice_has_one_index_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let at = append(&store, LayerKind::Base, 0, 1).location();
    assert_eq!(store.held_layers(at.segment).len(), 0, "nobody holds what was dropped");
    let (_one, _two) = (store.load(at).unwrap(), store.load(at).unwrap());
    assert_eq!(store.held_layers(at.segment).len(), 1);
}
