//! A mapped file that is cut: the process ends with a message that names vat, file and place, and nothing
//! else is harmed.
#![cfg(target_os = "linux")]

use std::{
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output},
};

use vat_image::{
    AddressPool, Check, FaultContext, Image, LayerLocation, PAGE_BYTES, PageSet, PageStore, PoolOptions,
    StoreOptions, capture, install_sigbus_reporter,
};

const PAGES: u32 = 64;
const BYTES: usize = PAGES as usize * PAGE_BYTES;
const SIGABRT: i32 = 6;

/// Tells the child process, which is this test once more, where the store is.
const CHILD: &str = "VAT_IMAGE_SIGBUS_TEST_DIR";

fn save(store: &PageStore, byte: u8) -> Image {
    let heap = vec![byte; BYTES];
    let pool = AddressPool::new(PoolOptions::default());
    let mut range = pool.take(BYTES, 0, BYTES, None).unwrap();
    range.bytes_mut().copy_from_slice(&heap);
    capture(store, range.bytes(), &Image::empty(0), &PageSet::first(PAGES), Check::Never).unwrap().image
}

/// Saves two heaps in two segments, restores both, cuts the file beneath the second and touches it.
fn child(dir: &Path) {
    install_sigbus_reporter().unwrap();
    install_sigbus_reporter().unwrap();
    let options = StoreOptions { segment_bytes: 1, ..StoreOptions::default() };
    let (store, _) = PageStore::open(dir, &[], options).unwrap();
    let (first, second) = (save(&store, 1), save(&store, 2));
    store.sync().unwrap();
    let pool = AddressPool::new(PoolOptions::default());
    let whole = pool.take(BYTES, 0, BYTES, Some(&first)).unwrap();
    let cut = pool.take(BYTES, 0, BYTES, Some(&second)).unwrap();
    let path = dir.join("seg-00000002.pages");
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
    assert_eq!(whole.bytes()[BYTES - 1], 1);
    let _context = FaultContext::enter("vat counter-17");
    std::hint::black_box(cut.bytes()[5 * PAGE_BYTES + 1]);
}

#[test]
fn a_cut_file_ends_in_a_clean_abort_that_names_vat_and_file() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return child(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let Output { status, stderr, .. } = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_cut_file_ends_in_a_clean_abort_that_names_vat_and_file", "--nocapture"])
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert_eq!(status.signal(), Some(SIGABRT), "{stderr}");
    let message = format!(
        "vat-image: vat counter-17: the page at byte {} of {} could not be read",
        5 * PAGE_BYTES,
        dir.path().join("seg-00000002.pages").display()
    );
    assert!(stderr.contains(&message), "{stderr}");

    // The store is whole but for that file.
    let bytes = BYTES as u64 + PAGE_BYTES as u64;
    let live = [1, 2].map(|segment| LayerLocation { segment, offset: 0, bytes });
    let (store, report) = PageStore::open(dir.path(), &live, StoreOptions::default()).unwrap();
    assert_eq!(report.missing, live[1..]);
    let image = Image::load(&store, &live[..1], PAGES).unwrap();
    let mut heap = vec![0; BYTES];
    image.read_all(&mut heap).unwrap();
    assert!(heap == [1; BYTES]);
}
