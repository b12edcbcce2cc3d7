//! Crashes at every operation on the disk, with whatever a power failure may leave of what was not synced.
//!
//! The rule: what the caller's database points to is readable, whole and right, wherever the machine stopped.

use std::{path::Path, sync::Arc};

use vat_image::{
    AddressPool, Check, Compare, DirtyTracker, Error, HeapRange, Image, LayerLocation, MergePolicy,
    PAGE_BYTES, PageNo, PageStore, PoolOptions, RestoreMethod, StoreOptions, capture,
    fault::{Failure, FaultyDisk},
    merge,
};

const PAGES: u32 = 24;
const HEAP_BYTES: usize = PAGES as usize * PAGE_BYTES;

/// What a caller's database holds.
#[derive(Clone, Debug, Default)]
struct Database {
    layers: Vec<LayerLocation>,
    heap: Vec<u8>,
}

/// A heap with its store and its database, on a disk that may fail.
struct Host {
    disk: Arc<FaultyDisk>,
    store: PageStore,
    heap: HeapRange,
    image: Image,
    database: Database,
}

fn options(disk: &Arc<FaultyDisk>) -> StoreOptions {
    // Small segments, so that the scenario crosses from one to the next.
    StoreOptions { segment_bytes: 24 * PAGE_BYTES as u64, disk: Arc::clone(disk) as _ }
}

fn io(source: std::io::Error) -> Error {
    Error::Io { action: "commit", path: "database".into(), source }
}

impl Host {
    fn open(dir: &Path, disk: &Arc<FaultyDisk>, database: Database) -> Result<Host, Error> {
        let (store, report) = PageStore::open(dir, &database.layers, options(disk))?;
        assert_eq!(report.missing, [], "nothing that is pointed to is missing");
        let image = Image::load(&store, &database.layers, PAGES).expect("what is pointed to can be loaded");
        let pool = AddressPool::new(PoolOptions { restore: RestoreMethod::Map });
        let heap = pool.take(HEAP_BYTES, 0, HEAP_BYTES, Some(&image)).unwrap();
        assert!(heap.bytes() == database.heap || database.heap.is_empty(), "the heap is what was committed");
        for layer in image.layers() {
            assert_eq!(PageStore::scrub(layer, |_| ()).unwrap().damaged, []);
        }
        Ok(Host { disk: Arc::clone(disk), store, heap, image, database })
    }

    fn write(&mut self, first: u32, count: u32, byte: u8) {
        let bytes = &mut self.heap.bytes_mut()[PageNo(first).offset()..PageNo(first + count).offset()];
        bytes.fill(byte);
    }

    fn capture(&mut self) -> Result<(), Error> {
        let dirty = Compare.dirty(self.heap.bytes(), &self.image)?;
        self.image = capture(&self.store, self.heap.bytes(), &self.image, &dirty, Check::Never)?.image;
        Ok(())
    }

    /// Makes the image durable, then the pointer to it.
    fn commit(&mut self) -> Result<(), Error> {
        let mark = self.store.sync()?;
        assert!(self.image.layers().iter().all(|layer| mark.covers(layer)));
        self.disk.step().map_err(io)?;
        self.database = Database { layers: self.image.locations(), heap: self.heap.bytes().to_vec() };
        Ok(())
    }

    fn merge(&mut self) -> Result<(), Error> {
        let policy = MergePolicy { layers_max: 2, base_divisor: 4, copied_pages_min: 2 };
        while let Some(merged) = merge(&self.store, &self.image, &policy)? {
            self.image = merged;
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<(), Error> {
        self.store.close_segment();
        let layers = self.image.layers().iter().map(|layer| self.store.rewrite(layer));
        self.image = Image::new(layers.collect::<Result<_, _>>()?, PAGES);
        Ok(())
    }

    /// Removes the segments that the database does not point to.
    fn remove_garbage(&mut self) -> Result<(), Error> {
        for usage in self.store.usage(self.database.layers.iter().copied()) {
            if usage.live_bytes == 0 {
                self.store.remove_segment(usage.segment)?;
            }
        }
        Ok(())
    }

    /// Everything that a store does, with commits between, before and after.
    fn live(&mut self) -> Result<(), Error> {
        self.write(0, 12, 1);
        self.capture()?;
        self.commit()?;
        for round in 2..8 {
            self.write(u32::from(round), 3, round);
            self.write(13, 1, if round.is_multiple_of(2) { 0 } else { round });
            self.capture()?;
            if round % 3 != 0 {
                self.commit()?;
            }
        }
        self.merge()?;
        self.commit()?;
        self.remove_garbage()?;
        self.write(20, 2, 9);
        self.capture()?;
        self.compact()?;
        self.commit()?;
        self.remove_garbage()?;
        self.store.sync()?;
        self.write(1, 1, 10);
        self.capture()
    }
}

fn empty() -> Database {
    Database { layers: Vec::new(), heap: vec![0; HEAP_BYTES] }
}

/// Runs the scenario on a disk; returns the database as the end, or the failure, left it.
fn run(dir: &Path, disk: &Arc<FaultyDisk>) -> (Database, Result<(), Error>) {
    match Host::open(dir, disk, empty()) {
        Err(error) => (empty(), Err(error)),
        Ok(mut host) => {
            let end = host.live();
            (host.database, end)
        }
    }
}

fn operations_of_the_scenario() -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::new());
    run(dir.path(), &disk).1.unwrap();
    disk.operations()
}

#[test]
fn a_crash_anywhere_loses_nothing_that_was_committed() {
    let operations = operations_of_the_scenario();
    assert!(operations > 30, "the scenario is long enough to mean something: {operations}");
    for operation in 0..operations {
        for seed in 0..4 {
            let dir = tempfile::tempdir().unwrap();
            let disk = Arc::new(FaultyDisk::failing(operation, Failure::Crash));
            let (database, end) = run(dir.path(), &disk);
            end.expect_err("the machine stopped");
            disk.lose_power(seed).unwrap();

            // The machine starts again, and life goes on; then it crashes again, before anything is synced.
            let disk = Arc::new(FaultyDisk::new());
            let mut host = Host::open(dir.path(), &disk, database).unwrap();
            host.live().unwrap();
            let database = host.database.clone();
            drop(host);
            disk.lose_power(seed).unwrap();
            Host::open(dir.path(), &Arc::new(FaultyDisk::new()), database).unwrap();
        }
    }
}

#[test]
fn a_refused_operation_harms_nothing_but_itself() {
    for operation in 0..operations_of_the_scenario() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(FaultyDisk::failing(operation, Failure::Once));
        let (database, end) = run(dir.path(), &disk);
        end.expect_err("the operation was refused");
        let mut host = Host::open(dir.path(), &Arc::new(FaultyDisk::new()), database).unwrap();
        host.live().unwrap();
    }
}

#[test]
fn the_store_goes_on_after_a_full_disk_and_stops_after_a_failed_sync() {
    let dir = tempfile::tempdir().unwrap();
    // Operations: 0 create, 1 write, 2 sync of the file, 3 sync of the directory.
    let disk = Arc::new(FaultyDisk::failing(1, Failure::Once));
    let mut host = Host::open(dir.path(), &disk, empty()).unwrap();
    host.write(0, 2, 1);
    assert!(matches!(host.capture(), Err(Error::Io { action: "write", .. })));
    host.capture().unwrap();
    host.commit().unwrap();
    let database = host.database.clone();
    drop(host);

    let disk = Arc::new(FaultyDisk::failing(1, Failure::Once));
    let mut host = Host::open(dir.path(), &disk, database.clone()).unwrap();
    host.write(3, 1, 2);
    host.capture().unwrap();
    assert!(matches!(host.commit(), Err(Error::Io { action: "sync", .. })));
    assert!(matches!(host.commit(), Err(Error::Stopped)));
    host.write(4, 1, 2);
    assert!(matches!(host.capture(), Err(Error::Stopped)));
    drop(host);
    Host::open(dir.path(), &Arc::new(FaultyDisk::new()), database).unwrap();
}

#[test]
fn opening_cuts_tails_removes_dead_segments_and_names_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::new());
    let mut host = Host::open(dir.path(), &disk, empty()).unwrap();
    host.live().unwrap();
    let (database, tail) = (host.database.clone(), host.image.locations());
    drop(host);
    let unreferenced: u64 = tail.iter().filter(|at| !database.layers.contains(at)).map(|at| at.bytes).sum();
    assert!(unreferenced > 0, "the scenario ends with a layer that was never committed");

    let lost = LayerLocation { segment: 77, offset: 0, bytes: 8192 };
    let live: Vec<_> = database.layers.iter().copied().chain([lost]).collect();
    let (store, report) = PageStore::open(dir.path(), &live, options(&disk)).unwrap();
    let removed = u64::try_from(report.removed_segments.len()).unwrap();
    assert!(report.cut_bytes == unreferenced || removed > 0, "{report:?}");
    assert_eq!(report.missing, [lost]);
    assert!(matches!(store.load(lost), Err(Error::Missing { segment_bytes: 0, .. })));
    let second = PageStore::open(dir.path(), &live, options(&disk));
    assert!(matches!(second, Err(Error::Locked { .. })));
    drop(store);

    // A segment that is shorter than what is pointed to.
    let at = database.layers[0];
    let path = dir.path().join(format!("seg-{:08}.pages", at.segment));
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(at.end() - 1).unwrap();
    let (store, report) = PageStore::open(dir.path(), &database.layers, options(&disk)).unwrap();
    assert!(report.missing.contains(&at));
    let error = store.load(at).unwrap_err();
    assert!(error.is_unusable_image(), "{error}");
}
