//! The `PAGEMAP_SCAN` ioctl (Linux 6.7): which pages of a range have which properties, by runs.

use std::{fs::File, io};

use rustix::ioctl::{self, Ioctl, IoctlOutput, Opcode};

/// Properties of a page, as bits (`PAGE_IS_…` in `linux/fs.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Category(u64);

impl Category {
    pub(crate) const NONE: Category = Category(0);
    /// A page of a file or of shared memory, not a private copy.
    pub(crate) const FILE: Category = Category(1 << 2);
    pub(crate) const PRESENT: Category = Category(1 << 3);
    pub(crate) const SWAPPED: Category = Category(1 << 4);
    /// The zero page that the kernel maps where fresh memory was only read.
    pub(crate) const ZERO: Category = Category(1 << 5);

    pub(crate) const fn or(self, other: Category) -> Category {
        Category(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Category) -> bool {
        self.0 & other.0 != 0
    }
}

/// Which pages a scan reports, and what it tells of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query {
    /// None of these …
    pub(crate) none_of: Category,
    /// … and at least one of these.
    pub(crate) any_of: Category,
    /// The properties told of each run; a run ends where one of them changes.
    pub(crate) tell: Category,
}

/// Consecutive addresses with the same properties (`struct page_region`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Region {
    pub(crate) start: u64,
    pub(crate) end: u64,
    categories: u64,
}

impl Region {
    pub(crate) fn is(&self, category: Category) -> bool {
        Category(self.categories).has(category)
    }
}

/// `struct pm_scan_arg`.
#[repr(C)]
#[derive(Debug)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

struct Scan<'r> {
    arguments: ScanArguments,
    /// The buffer that `arguments.vec` points to, borrowed for as long as the call may write to it.
    regions: &'r mut [Region],
}

// SAFETY: the opcode is `_IOWR('f', 16, struct pm_scan_arg)` and `ScanArguments` has that layout; the kernel
// writes `walk_end` and at most `vec_len` regions to `vec`, which is the buffer borrowed beside it.
unsafe impl Ioctl for Scan<'_> {
    type Output = (usize, u64);

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        ioctl::opcode::read_write::<ScanArguments>(b'f', 16)
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        self.arguments.vec = self.regions.as_mut_ptr().expose_provenance() as u64;
        (&raw mut self.arguments).cast()
    }

    unsafe fn output_from_ptr(
        filled: IoctlOutput,
        arguments: *mut std::ffi::c_void,
    ) -> rustix::io::Result<(usize, u64)> {
        // SAFETY: the caller passes the pointer that `as_ptr` returned, to arguments that are still borrowed.
        let walk_end = unsafe { (*arguments.cast::<ScanArguments>()).walk_end };
        Ok((usize::try_from(filled).unwrap_or_default(), walk_end))
    }
}

/// Scans addresses of this process, through its open `/proc/self/pagemap`. Returns how many regions were
/// filled in, and the address where the scan stopped, which is before `end` if there were more regions than
/// the buffer holds.
pub(crate) fn scan(
    pagemap: &File,
    addresses: std::ops::Range<u64>,
    query: Query,
    regions: &mut [Region],
) -> io::Result<(usize, u64)> {
    let arguments = ScanArguments {
        size: size_of::<ScanArguments>() as u64,
        flags: 0,
        start: addresses.start,
        end: addresses.end,
        walk_end: 0,
        vec: 0,
        vec_len: regions.len() as u64,
        max_pages: 0,
        category_inverted: query.none_of.0,
        category_mask: query.none_of.0,
        category_anyof_mask: query.any_of.0,
        return_mask: query.tell.0,
    };
    // SAFETY: without flags the call changes nothing but the arguments and the buffer, both borrowed here;
    // see `Scan`.
    Ok(unsafe { ioctl::ioctl(pagemap, Scan { arguments, regions }) }?)
}
