//! A reserved range of addresses, part of which is accessible.
//!
//! ```text
//!   base                    accessible                                     reserved
//!   │  file pages │ zeros …     │  no access …                               │
//! ```
//!
//! Invariants: the range is mapped from `base` for `reserved` bytes and nobody else unmaps or maps there; the
//! first `accessible` bytes are readable and writable; behind the first `touched` bytes there is no content
//! and no access.

use std::{fs::File, io, ptr::NonNull};

use rustix::mm::{self, Advice, MapFlags, MprotectFlags, ProtFlags};

/// Fresh memory that is not charged before it is written.
#[cfg(target_os = "linux")]
const FRESH: MapFlags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);
#[cfg(not(target_os = "linux"))]
const FRESH: MapFlags = MapFlags::PRIVATE;

/// A part of a file that is laid over a part of a range, copy-on-write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileMap<'f> {
    /// Byte offset in the range.
    pub(crate) at: usize,
    pub(crate) bytes: usize,
    pub(crate) file: &'f File,
    /// Byte offset in the file.
    pub(crate) file_offset: u64,
}

/// A reserved range of addresses; given back to the system when dropped.
#[derive(Debug)]
pub(crate) struct Range {
    base: NonNull<u8>,
    reserved: usize,
    accessible: usize,
    touched: usize,
}

// SAFETY: the range owns its addresses; they are reached through `&self` and `&mut self` only, as with a
// `Box<[u8]>`.
unsafe impl Send for Range {}
// SAFETY: as above: `&Range` allows reading only.
unsafe impl Sync for Range {}

impl Range {
    /// Reserves addresses, without memory behind them.
    pub(crate) fn reserve(bytes: usize) -> io::Result<Range> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing one.
        let base = unsafe { mm::mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::empty(), FRESH) }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Range { base, reserved: bytes, accessible: 0, touched: 0 })
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn reserved(&self) -> usize {
        self.reserved
    }

    pub(crate) fn accessible(&self) -> &[u8] {
        // SAFETY: by the invariant these bytes are mapped readable for as long as `self` lives, and every
        // change of the mapping takes `&mut self`. The files beneath are never changed (a truncation would be
        // SIGBUS, not other bytes).
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.accessible) }
    }

    pub(crate) fn accessible_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `accessible`; they are writable too, and `&mut self` makes the reference unique.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.accessible) }
    }

    /// Makes the first `bytes` of a range without accessible bytes accessible: file content where `maps` say
    /// so, the last one that covers an address counting, and zeros elsewhere. After an error nothing is
    /// accessible.
    ///
    /// # Panics
    ///
    /// If the range has accessible bytes, or a map lies outside `bytes`.
    pub(crate) fn open(&mut self, bytes: usize, maps: &[FileMap<'_>]) -> io::Result<()> {
        assert!(self.accessible == 0 && bytes <= self.reserved, "a range is opened once, within its bounds");
        // Left over from an attempt that could not be undone.
        self.close()?;
        self.touched = self.whole_pages(bytes);
        match self.open_parts(bytes, maps) {
            Ok(()) => {
                self.accessible = bytes;
                Ok(())
            }
            Err(error) => {
                // If this fails too, the range stays touched, and is not opened again before it is clean.
                let _ = self.close();
                Err(error)
            }
        }
    }

    fn open_parts(&mut self, bytes: usize, maps: &[FileMap<'_>]) -> io::Result<()> {
        let gaps = gaps(bytes, maps);
        // One call for one gap; for many, one call beneath all maps.
        match gaps.as_slice() {
            [] => {}
            [gap] => self.allow_access(gap.clone())?,
            _ => self.allow_access(0..bytes)?,
        }
        maps.iter().try_for_each(|map| self.map_file(bytes, map))
    }

    /// Rounded up to whole pages of the system, which may be larger than a heap's.
    fn whole_pages(&self, bytes: usize) -> usize {
        bytes.next_multiple_of(rustix::param::page_size()).min(self.reserved)
    }

    fn allow_access(&mut self, part: std::ops::Range<usize>) -> io::Result<()> {
        let page = rustix::param::page_size();
        let part = part.start / page * page..self.whole_pages(part.end);
        assert!(part.start <= part.end && part.end <= self.reserved, "access within the range");
        // SAFETY: the addresses are this range's own (asserted), and allowing access takes nothing from
        // anybody.
        unsafe {
            let address = self.base.as_ptr().add(part.start).cast();
            mm::mprotect(address, part.len(), MprotectFlags::READ | MprotectFlags::WRITE)?;
        }
        Ok(())
    }

    fn map_file(&mut self, accessible: usize, map: &FileMap<'_>) -> io::Result<()> {
        let end = map.at.checked_add(map.bytes);
        assert!(end.is_some_and(|end| end <= accessible), "a file is mapped inside the range");
        let flags = FRESH | MapFlags::FIXED;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the addresses are this range's own (asserted) and no reference to them exists, for `self`
        // is borrowed uniquely.
        let address = unsafe {
            let address = self.base.as_ptr().add(map.at).cast();
            mm::mmap(address, map.bytes, access, flags, map.file, map.file_offset)?
        };
        // A cold page must not pull in megabytes around it. Advice: a kernel that refuses it is slower,
        // nothing else. SAFETY: this advice changes read-ahead only, never the content.
        let _ = unsafe { mm::madvise(address, map.bytes, Advice::Random) };
        Ok(())
    }

    /// Makes more bytes accessible; the new ones are zero.
    ///
    /// # Panics
    ///
    /// If the range would shrink or exceed its reservation.
    pub(crate) fn grow(&mut self, bytes: usize) -> io::Result<()> {
        assert!(bytes >= self.accessible && bytes <= self.reserved, "a range grows within its bounds");
        if bytes > self.accessible {
            self.touched = self.whole_pages(bytes);
            self.allow_access(self.accessible..bytes)?;
            self.accessible = bytes;
        }
        Ok(())
    }

    /// Takes away all access and all content, in one call: fresh memory without access over everything that
    /// was touched.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.accessible = 0;
        if self.touched > 0 {
            let flags = FRESH | MapFlags::FIXED;
            // SAFETY: the addresses are this range's own, by the invariant, and no reference to them exists,
            // for `self` is borrowed uniquely.
            unsafe {
                mm::mmap_anonymous(self.base.as_ptr().cast(), self.touched, ProtFlags::empty(), flags)
            }?;
            self.touched = 0;
        }
        Ok(())
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        // SAFETY: the addresses are this range's own and no reference to them outlives it. A failure only
        // keeps the addresses.
        let _ = unsafe { mm::munmap(self.base.as_ptr().cast(), self.reserved) };
    }
}

/// The parts of `0..bytes` that no map covers.
fn gaps(bytes: usize, maps: &[FileMap<'_>]) -> Vec<std::ops::Range<usize>> {
    let mut covered: Vec<_> = maps.iter().map(|map| map.at..map.at + map.bytes).collect();
    covered.sort_unstable_by_key(|part| part.start);
    let mut gaps = Vec::new();
    let mut at = 0;
    for part in covered {
        if part.start > at {
            gaps.push(at..part.start);
        }
        at = at.max(part.end);
    }
    if at < bytes {
        gaps.push(at..bytes);
    }
    gaps
}

#[cfg(test)]
impl Range {
    /// Asks the kernel to swap out the accessible bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn page_out(&mut self) -> io::Result<()> {
        // SAFETY: this advice moves pages out of memory and back on access; their content does not change.
        unsafe { mm::madvise(self.base.as_ptr().cast(), self.accessible, Advice::LinuxPageOut) }?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;

    #[test]
    fn a_refused_map_leaves_a_clean_range_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [7; 2 * PAGE]).unwrap();
        let readable = File::open(&path).unwrap();
        // A file that is open for writing only cannot be mapped.
        let refused = File::options().write(true).open(&path).unwrap();
        let map = |file, at| FileMap { at, bytes: PAGE, file, file_offset: 0 };
        let mut range = Range::reserve(16 * PAGE).unwrap();
        range.open(8 * PAGE, &[map(&readable, 0), map(&refused, 2 * PAGE)]).unwrap_err();
        assert_eq!(range.accessible(), []);
        range.open(4 * PAGE, &[map(&readable, PAGE)]).unwrap();
        let expected: Vec<u8> = [0, 7, 0, 0].iter().flat_map(|byte| [*byte; PAGE]).collect();
        assert_eq!(range.accessible(), expected);
    }

    #[test]
    fn gaps_are_what_no_map_covers() {
        let file = File::open("/dev/null").unwrap();
        let map = |at, bytes| FileMap { at, bytes, file: &file, file_offset: 0 };
        assert_eq!(gaps(10, &[]), vec![0..10]);
        assert_eq!(gaps(10, &[map(0, 10)]), []);
        assert_eq!(gaps(10, &[map(6, 2), map(2, 3), map(3, 1)]), [0..2, 5..6, 8..10]);
    }
}
