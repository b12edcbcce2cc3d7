//! Opening a page store: what is kept, what is cut, what is missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use rustix::fs::FlockOperation;

use super::{
    PageStore, Segment, Shared, State, StoreOptions,
    segment::{SegmentFile, io_error, number_of, path_of},
};
use crate::{Error, layer::LayerLocation};

/// What opening a store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Bytes behind the last live layer of each segment, which were cut.
    pub cut_bytes: u64,
    /// Segments without a live layer, which were removed.
    pub removed_segments: Vec<u32>,
    /// Live layers whose segment is absent or too short: their snapshots cannot be used.
    pub missing: Vec<LayerLocation>,
}

pub(super) fn open(
    dir: &Path,
    live: &[LayerLocation],
    options: StoreOptions,
) -> Result<(PageStore, OpenReport), Error> {
    fs::create_dir_all(dir).map_err(|source| io_error("create", dir, source))?;
    let lock = lock(dir)?;
    let mut live_by_segment = BTreeMap::<u32, BTreeSet<LayerLocation>>::new();
    for at in live {
        live_by_segment.entry(at.segment).or_default().insert(*at);
    }
    let mut report = OpenReport::default();
    let mut segments = BTreeMap::new();
    let numbers = segment_numbers(dir)?;
    for &number in &numbers {
        match live_by_segment.remove(&number) {
            Some(layers) => {
                let segment = open_segment(dir, number, &layers, &options, &mut report)?;
                segments.insert(number, segment);
            }
            None => {
                let path = path_of(dir, number);
                options.disk.remove(&path).map_err(|source| io_error("remove", &path, source))?;
                report.removed_segments.push(number);
            }
        }
    }
    report.missing.extend(live_by_segment.into_values().flatten());
    let last = numbers.last().copied().max(live.iter().map(|at| at.segment).max());
    let state = State {
        open: segments.last_key_value().map(|(&number, _)| number),
        segments,
        // Numbers are not used again, so that no old pointer can come to mean a new layer.
        next_segment: last.unwrap_or_default() + 1,
        unsynced: BTreeSet::new(),
        unsynced_names: !report.removed_segments.is_empty(),
        appended: 0,
        is_stopped: false,
    };
    let shared = Shared {
        dir: dir.to_owned(),
        options,
        state: Mutex::new(state),
        syncing: Mutex::new(()),
        _lock: lock,
    };
    Ok((PageStore { shared: Arc::new(shared) }, report))
}

/// Opens a segment, notes the layers that it should have and has not, and cuts what is behind the last one it
/// has.
fn open_segment(
    dir: &Path,
    number: u32,
    live: &BTreeSet<LayerLocation>,
    options: &StoreOptions,
    report: &mut OpenReport,
) -> Result<Segment, Error> {
    let path = path_of(dir, number);
    let file = OpenOptions::new().read(true).write(true).open(&path);
    let file = file.map_err(|source| io_error("open", &path, source))?;
    let found = file.metadata().map_err(|source| io_error("read the length of", &path, source))?.len();
    report.missing.extend(live.iter().filter(|at| at.end() > found));
    // A damaged segment is still only appended to: a layer never goes where another, even a lost one, is said
    // to be.
    let end = live.iter().map(LayerLocation::end).max().unwrap_or_default();
    if found > end {
        options.disk.set_len(&path, &file, end).map_err(|source| io_error("cut", &path, source))?;
        report.cut_bytes += found - end;
    }
    let file = Arc::new(SegmentFile::new(path, file));
    Ok(Segment { file, bytes: end, writers: 0, handles: super::Handles::default() })
}

/// The numbers of the segment files in a directory, sorted.
fn segment_numbers(dir: &Path) -> Result<Vec<u32>, Error> {
    let read = || -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(dir)? {
            numbers.extend(entry?.file_name().to_str().and_then(number_of));
        }
        numbers.sort_unstable();
        Ok(numbers)
    };
    read().map_err(|source| io_error("list", dir, source))
}

/// Locks the directory against a second store: cutting a tail beneath another process's mapping would kill
/// it.
fn lock(dir: &Path) -> Result<File, Error> {
    let file = File::open(dir).map_err(|source| io_error("open", dir, source))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked { path: dir.to_owned() }),
        Err(source) => Err(io_error("lock", dir, source.into())),
    }
}
