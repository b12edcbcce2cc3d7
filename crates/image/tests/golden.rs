//! The format of segments, held by a file that never changes, and by the errors for everything that can be
//! wrong with it.
//!
//! The file was written by the first version. If the format changes on purpose, the version changes, and a
//! second file joins it.

use std::path::{Path, PathBuf};

use vat_image::{
    Error, Image, LayerKind, LayerLocation, PAGE_BYTES, PageBytes, PageContent, PageHash, PageNo, PageStore,
    PageWrite, StoreOptions,
};

const PAGE: u64 = PAGE_BYTES as u64;
/// A base of pages 0, 1 and 3, with a hole at 2, and page 40; behind it a delta: page 1 zero, pages 5 and 6.
const BASE: LayerLocation = LayerLocation { segment: 1, offset: 0, bytes: 6 * PAGE };
const DELTA: LayerLocation = LayerLocation { segment: 1, offset: 6 * PAGE, bytes: 3 * PAGE };
const SIZE_PAGES: u32 = 48;
const ROOT: &str = "2cf952050eabd261fb356f5e9af124e70054bd12374ba44c9ca5960ee6c3c42a";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/segment-v1.pages")
}

fn page(byte: u8) -> PageBytes {
    let mut page = [byte; PAGE_BYTES];
    page[..4].copy_from_slice(&[byte, 1, 2, 3]);
    page
}

fn append(store: &PageStore, kind: LayerKind, pages: &[(u32, Option<PageBytes>)]) -> LayerLocation {
    let writes: Vec<PageWrite<'_>> = pages
        .iter()
        .map(|(place, bytes)| PageWrite {
            page: PageNo(*place),
            content: match bytes {
                None => PageContent::Zero,
                Some(bytes) => PageContent::Data { hash: PageHash::of(bytes), bytes },
            },
        })
        .collect();
    store.append(kind, &writes).unwrap().location()
}

/// A store with a segment file of these bytes.
fn store_of(bytes: &[u8]) -> (tempfile::TempDir, PageStore) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("seg-00000001.pages"), bytes).unwrap();
    let (store, _) = PageStore::open(dir.path(), &[BASE, DELTA], StoreOptions::default()).unwrap();
    (dir, store)
}

#[test]
fn the_same_pages_are_written_as_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = PageStore::open(dir.path(), &[], StoreOptions::default()).unwrap();
    let base = [(0, Some(page(10))), (1, Some(page(11))), (3, Some(page(13))), (40, Some(page(50)))];
    assert_eq!(append(&store, LayerKind::Base, &base), BASE);
    let delta = [(1, None), (5, Some(page(25))), (6, Some(page(26)))];
    assert_eq!(append(&store, LayerKind::Delta, &delta), DELTA);
    let written = std::fs::read(dir.path().join("seg-00000001.pages")).unwrap();
    if !golden().exists() {
        std::fs::create_dir_all(golden().parent().unwrap()).unwrap();
        std::fs::write(golden(), &written).unwrap();
        panic!("{} was missing and has been written: look at it, and commit it", golden().display());
    }
    assert!(written == std::fs::read(golden()).unwrap(), "the format of segments has changed");
}

#[test]
fn the_golden_file_is_read_as_it_was_meant() {
    let (_dir, store) = store_of(&std::fs::read(golden()).unwrap());
    let image = Image::load(&store, &[BASE, DELTA], SIZE_PAGES).unwrap();
    let mut heap = vec![0; image.size_bytes()];
    image.read_all(&mut heap).unwrap();
    let mut expected = vec![0; image.size_bytes()];
    for (place, byte) in [(0, 10), (3, 13), (5, 25), (6, 26), (40, 50)] {
        expected[PageNo(place).offset()..][..PAGE_BYTES].copy_from_slice(&page(byte));
    }
    assert!(heap == expected);
    let pages: Vec<u32> = image.pages_nonzero().unwrap().map(|(page, _)| page.0).collect();
    assert_eq!(pages, [0, 3, 5, 6, 40]);
    assert_eq!(image.root(b"globals", &[1; 32]).unwrap().to_string(), ROOT);
}

/// What is done to the golden file, and what a reader says then.
struct Damage {
    what: &'static str,
    at: u64,
    bytes: &'static [u8],
    /// The error of loading, scrubbing and reading all pages of the base, whichever is first.
    error: &'static str,
}

const FALL_BACK: &str = "; use an older snapshot, or replay the transcript";

const DAMAGES: &[Damage] = &[
    Damage { what: "a byte of page 3", at: 3 * PAGE + 9, bytes: &[0xFF], error: "is damaged in its page 3" },
    Damage {
        what: "a byte of the hole",
        at: 2 * PAGE + 9,
        bytes: &[0xFF],
        error: "is damaged in its page 2",
    },
    Damage { what: "a hash", at: 5 * PAGE + 33, bytes: &[0xFF], error: "is damaged in its page hashes" },
    Damage { what: "a run", at: 6 * PAGE - 128 - 16, bytes: &[0xFF], error: "is damaged in its index" },
    Damage { what: "a count", at: 6 * PAGE - 128 + 24, bytes: &[6], error: "is damaged in its index" },
    Damage { what: "the place", at: 6 * PAGE - 128 + 32, bytes: &[0, 16], error: "is damaged in its index" },
    Damage {
        what: "the hashes' checksum",
        at: 6 * PAGE - 128 + 64,
        bytes: &[0],
        error: "is damaged in its index",
    },
    Damage { what: "the checksum", at: 6 * PAGE - 1, bytes: &[0], error: "is damaged in its index" },
    Damage { what: "the magic", at: 6 * PAGE - 128, bytes: b"v", error: "is damaged in its footer" },
    Damage {
        what: "the footer, never written",
        at: 5 * PAGE,
        bytes: &[0; 4096],
        error: "is damaged in its footer",
    },
];

fn read_everything(store: &PageStore, at: LayerLocation) -> Result<(), Error> {
    let layer = store.load(at)?;
    let report = PageStore::scrub(&layer, |_| ())?;
    let image = Image::new(vec![layer], SIZE_PAGES);
    let mut found = Vec::new();
    for place in 0..SIZE_PAGES {
        found.extend(image.read(PageNo(place), &mut [0; PAGE_BYTES]).err().map(|error| (place, error)));
    }
    let places: Vec<PageNo> = found.iter().map(|(place, _)| PageNo(*place)).collect();
    assert_eq!(report.damaged, places, "a scrub finds the pages that a reader stumbles over");
    found.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

#[test]
fn every_damage_has_its_error_and_is_contained_in_its_layer() {
    let whole = std::fs::read(golden()).unwrap();
    for damage in DAMAGES {
        let mut bytes = whole.clone();
        let at = usize::try_from(damage.at).unwrap();
        assert_ne!(bytes[at..at + damage.bytes.len()], *damage.bytes, "{} changes something", damage.what);
        bytes[at..at + damage.bytes.len()].copy_from_slice(damage.bytes);
        let (_dir, store) = store_of(&bytes);
        let error = read_everything(&store, BASE).expect_err(damage.what);
        assert_eq!(
            error.to_string(),
            format!("layer 1:0+24576 {}{FALL_BACK}", damage.error),
            "{}",
            damage.what
        );
        assert!(error.is_unusable_image());
        read_everything(&store, DELTA).unwrap();
    }
}

#[test]
fn another_version_is_named() {
    let mut bytes = std::fs::read(golden()).unwrap();
    bytes[6 * PAGE_BYTES - 128 + 8] = 2;
    let (_dir, store) = store_of(&bytes);
    assert_eq!(
        store.load(BASE).unwrap_err().to_string(),
        "layer 1:0+24576 has format version 2, this program reads version 1; replay the transcript"
    );
}

#[test]
fn a_cut_file_loses_the_layers_behind_the_cut() {
    let bytes = std::fs::read(golden()).unwrap();
    let (_dir, store) = store_of(&bytes[..7 * PAGE_BYTES + 100]);
    read_everything(&store, BASE).unwrap();
    assert_eq!(
        store.load(DELTA).unwrap_err().to_string(),
        format!("layer 1:24576+12288 is missing: its segment file has 28772 bytes{FALL_BACK}")
    );
}

#[test]
fn a_pointer_to_another_place_finds_nothing() {
    let (_dir, store) = store_of(&std::fs::read(golden()).unwrap());
    for at in [
        LayerLocation { offset: PAGE, bytes: 5 * PAGE, ..BASE },
        LayerLocation { bytes: 5 * PAGE, ..BASE },
        LayerLocation { bytes: 9 * PAGE, ..BASE },
        LayerLocation { bytes: 0, ..BASE },
        LayerLocation { offset: 1, ..BASE },
        LayerLocation { offset: u64::MAX - PAGE + 1, ..BASE },
        LayerLocation { segment: 2, ..BASE },
    ] {
        let error = store.load(at).unwrap_err();
        assert!(error.is_unusable_image(), "{at}: {error}");
    }
}
