//! What can go wrong with heap images. All of it is the host's fault, never a vat's.
//!
//! [`Error::Missing`], [`Error::Damaged`] and [`Error::Version`] say that an image cannot be used; the
//! transcript is the truth, so the caller falls back to an older image and replays. The others concern the
//! machine.

use std::{fmt, io, path::PathBuf};

use crate::layer::LayerLocation;

/// An error of the image crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused an operation on a file of the page store.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A layer's segment file is absent, or ends before the layer does.
    #[error(
        "layer {at} is missing: its segment file has {segment_bytes} bytes; \
         use an older snapshot, or replay the transcript"
    )]
    Missing {
        /// The layer that was asked for.
        at: LayerLocation,
        /// Bytes in the segment file, 0 if there is no file.
        segment_bytes: u64,
    },
    /// Stored bytes are not the bytes that were written.
    #[error("layer {at} is damaged in its {part}; use an older snapshot, or replay the transcript")]
    Damaged {
        /// The layer that was read.
        at: LayerLocation,
        /// What does not match.
        part: DamagedPart,
    },
    /// A layer was written by another version of this program.
    #[error(
        "layer {at} has format version {found}, this program reads version {supported}; replay the transcript"
    )]
    Version {
        /// The layer that was read.
        at: LayerLocation,
        /// The version it has.
        found: u32,
        /// The version that can be read.
        supported: u32,
    },
    /// Another process has the page store open.
    #[error("the page store {} is in use by another process; stop it first", path.display())]
    Locked {
        /// The store's directory.
        path: PathBuf,
    },
    /// A sync failed earlier: the operating system may have forgotten what it could not write.
    #[error("the page store stopped after a failed sync; free space or repair the disk, then open it again")]
    Stopped,
    /// A segment cannot be removed while a layer is being appended to it.
    #[error("segment {segment} cannot be removed while it is being written; try again later")]
    SegmentBusy {
        /// The segment.
        segment: u32,
    },
    /// The operating system refused address space, or a change to it.
    #[error("could not {action} {bytes} bytes of address space: {source}{}", address_space_hint(source))]
    AddressSpace {
        /// What was attempted.
        action: &'static str,
        /// On how many bytes.
        bytes: usize,
        /// Why it failed.
        source: io::Error,
    },
    /// A heap does not fit the range that was asked for.
    #[error("a heap of {heap_bytes} bytes does not fit {range_bytes} bytes: ask for a larger range")]
    TooLarge {
        /// Bytes the heap has, or the image it is restored from.
        heap_bytes: usize,
        /// Bytes that were reserved, or made accessible.
        range_bytes: usize,
    },
    /// The handler for SIGBUS could not be installed.
    #[error("could not install the handler for SIGBUS: {source}")]
    Signals {
        /// Why it failed.
        source: io::Error,
    },
    /// A dirty-page tracker could not look at the page tables.
    #[error("could not read the page tables with {tracker}: {source}")]
    Tracker {
        /// The tracker's name.
        tracker: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// The part of a layer that does not match its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamagedPart {
    /// The last bytes are no footer: the layer was never finished, or the place is wrong.
    Footer,
    /// The footer and the runs before it do not match their checksum, or contradict each other.
    Index,
    /// The page hashes do not match their checksum.
    Hashes,
    /// A page does not match its hash.
    Page(crate::PageNo),
}

impl fmt::Display for DamagedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DamagedPart::Footer => f.write_str("footer"),
            DamagedPart::Index => f.write_str("index"),
            DamagedPart::Hashes => f.write_str("page hashes"),
            DamagedPart::Page(page) => write!(f, "page {page}"),
        }
    }
}

impl Error {
    /// Whether the stored image is at fault, so that an older one may serve.
    pub fn is_unusable_image(&self) -> bool {
        matches!(self, Error::Missing { .. } | Error::Damaged { .. } | Error::Version { .. })
    }
}

/// What the reader of the message can do about it.
fn address_space_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::OutOfMemory => {
            "; keep fewer vats in memory, or raise vm.max_map_count (sysctl -w vm.max_map_count=1048576)"
        }
        _ => "",
    }
}
