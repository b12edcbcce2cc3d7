//! The bare system calls: a reserved range with a file mapped over its beginning, the page table scan, and what
//! wasmtime is told without proof.
//!
//! ```text
//!   │ flat file, MAP_PRIVATE │ no access …                          │
//!   0                        size                       4 GiB + 32 MiB
//! ```

#![expect(unsafe_code, reason = "a floor is what the system calls cost without anything around them")]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::path::Path;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::ioctl::{self, Ioctl, IoctlOutput, Opcode};
use rustix::mm::{self, Advice, MapFlags, MprotectFlags, ProtFlags};
use wasmtime::{Engine, LinearMemory, MemoryCreator, MemoryType, Module};

/// The granule of heaps.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Address space of one memory: what 32 bits reach, and a guard behind it.
const RESERVED_BYTES: usize = (4 << 30) + (32 << 20);

/// What a page fault on a mapped file reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadAhead {
    /// As much as the disk's setting says: megabytes.
    System,
    /// The page.
    Off,
}

/// A reserved range of addresses.
#[derive(Debug)]
pub(crate) struct Range {
    base: NonNull<c_void>,
    size: usize,
}

// SAFETY: the range owns its addresses, as a `Box<[u8]>` does.
unsafe impl Send for Range {}
// SAFETY: as above; `&Range` allows only reading.
unsafe impl Sync for Range {}

impl Range {
    /// Reserves addresses.
    pub(crate) fn reserve() -> io::Result<Range> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping where the kernel likes disturbs no other.
        let base = unsafe { mm::mmap_anonymous(null_mut(), RESERVED_BYTES, ProtFlags::empty(), flags) }?;
        Ok(Range { base: NonNull::new(base).ok_or(io::ErrorKind::OutOfMemory)?, size: 0 })
    }

    /// Maps the first `size` bytes of a file over the beginning.
    pub(crate) fn map(&mut self, file: &File, size: usize, read_ahead: ReadAhead) -> io::Result<()> {
        assert!(size <= RESERVED_BYTES, "a file is mapped inside the range");
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the addresses are the range's own, and `&mut self` says that nobody looks at them.
        let at = unsafe { mm::mmap(self.base.as_ptr(), size, access, flags, file, 0) }?;
        if read_ahead == ReadAhead::Off {
            // SAFETY: this advice changes what is read ahead, never the content.
            unsafe { mm::madvise(at, size, Advice::Random) }?;
        }
        self.size = size;
        Ok(())
    }

    /// Makes the first `size` bytes accessible, as zeros.
    fn allow_access(&mut self, size: usize) -> io::Result<()> {
        assert!(size <= RESERVED_BYTES, "access inside the range");
        // SAFETY: the addresses are the range's own; more access takes nothing from anybody.
        unsafe { mm::mprotect(self.base.as_ptr(), size, MprotectFlags::READ | MprotectFlags::WRITE) }?;
        self.size = size;
        Ok(())
    }

    /// Takes content and access away, by one call.
    fn clean(&mut self) -> io::Result<()> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: the addresses are the range's own, and `&mut self` says that nobody looks at them.
        unsafe { mm::mmap_anonymous(self.base.as_ptr(), self.size, ProtFlags::empty(), flags) }?;
        self.size = 0;
        Ok(())
    }

    /// The accessible bytes, for writing.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: these bytes are mapped for reading and writing until `clean` or the drop, which take `self` uniquely.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr().cast(), self.size) }
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        // SAFETY: the addresses are the range's own, and nothing outlives it. A failure only keeps them.
        let _ = unsafe { mm::munmap(self.base.as_ptr(), RESERVED_BYTES) };
    }
}

/// Makes memories for wasmtime: ranges that are used again, with a file mapped or empty.
#[derive(Debug)]
pub(crate) struct Memories {
    free: Arc<Mutex<Vec<Range>>>,
    image: Option<File>,
    is_read_ahead_off: AtomicBool,
}

impl Memories {
    /// With the content of `image`, or with zeros.
    pub(crate) fn new(image: Option<File>) -> Memories {
        Memories { free: Arc::default(), image, is_read_ahead_off: AtomicBool::new(false) }
    }

    /// How memories made from now on are read.
    pub(crate) fn set_read_ahead(&self, read_ahead: ReadAhead) {
        self.is_read_ahead_off.store(read_ahead == ReadAhead::Off, Ordering::Relaxed);
    }

    fn fill(&self, range: &mut Range, size: usize) -> io::Result<()> {
        let read_ahead = match self.is_read_ahead_off.load(Ordering::Relaxed) {
            true => ReadAhead::Off,
            false => ReadAhead::System,
        };
        match &self.image {
            Some(file) => range.map(file, size, read_ahead),
            None => range.allow_access(size),
        }
    }
}

// SAFETY: a memory has `RESERVED_BYTES` of address space, which is what the engine of `wasm` is configured for, and is accessible in
// exactly its first `size` bytes. It begins filled where there is an image; any bytes are valid content.
unsafe impl MemoryCreator for Memories {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        _reserved: Option<usize>,
        _guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let free = self.free.lock().map_err(|e| e.to_string())?.pop();
        let mut range = free.map_or_else(Range::reserve, Ok).map_err(|e| e.to_string())?;
        self.fill(&mut range, minimum).map_err(|e| e.to_string())?;
        Ok(Box::new(BareMemory { range: Some(range), free: Arc::clone(&self.free) }))
    }
}

/// A range in use.
struct BareMemory {
    /// Present until dropped.
    range: Option<Range>,
    free: Arc<Mutex<Vec<Range>>>,
}

impl BareMemory {
    fn range(&self) -> &Range {
        self.range.as_ref().expect("present until dropped")
    }
}

// SAFETY: the range does not move, and is accessible in its first `size` bytes only.
unsafe impl LinearMemory for BareMemory {
    fn byte_size(&self) -> usize {
        self.range().size
    }

    fn byte_capacity(&self) -> usize {
        self.range().size
    }

    fn grow_to(&mut self, _new_size: usize) -> wasmtime::Result<()> {
        Err(wasmtime::Error::msg("a floor's memory does not grow"))
    }

    fn as_ptr(&self) -> *mut u8 {
        self.range().base.as_ptr().cast()
    }
}

impl Drop for BareMemory {
    fn drop(&mut self) {
        let Some(mut range) = self.range.take() else { return };
        if range.clean().is_ok()
            && let Ok(mut free) = self.free.lock()
        {
            free.push(range);
        }
    }
}

/// Loads code that this bench serialized itself.
pub(crate) fn deserialize_file(engine: &Engine, path: &Path) -> wasmtime::Result<Module> {
    // SAFETY: the file was written by `Module::serialize` of the same wasmtime, in this process, to a private directory.
    unsafe { Module::deserialize_file(engine, path) }
}

/// Consecutive addresses of the process's own pages (`struct page_region`).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Region {
    pub(crate) start: u64,
    pub(crate) end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` of `linux/fs.h`.
#[repr(C)]
#[derive(Debug, Default)]
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
    regions: &'r mut [Region],
}

// SAFETY: `_IOWR('f', 16, struct pm_scan_arg)`; the kernel writes `walk_end`, and at most `vec_len` regions to the borrowed buffer.
unsafe impl Ioctl for Scan<'_> {
    type Output = usize;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        ioctl::opcode::read_write::<ScanArguments>(b'f', 16)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.arguments.vec = self.regions.as_mut_ptr().expose_provenance() as u64;
        (&raw mut self.arguments).cast()
    }

    unsafe fn output_from_ptr(filled: IoctlOutput, _: *mut c_void) -> rustix::io::Result<usize> {
        Ok(usize::try_from(filled).unwrap_or_default())
    }
}

/// `PAGEMAP_SCAN`: the pages of `heap` that are in memory and not a file's. Answers how many regions there are.
pub(crate) fn scan(pagemap: &File, heap: &[u8], regions: &mut [Region]) -> io::Result<usize> {
    const IS_FILE: u64 = 1 << 2;
    const IS_PRESENT: u64 = 1 << 3;
    let start = heap.as_ptr().addr() as u64;
    let arguments = ScanArguments {
        size: size_of::<ScanArguments>() as u64,
        start,
        end: start + heap.len() as u64,
        vec_len: regions.len() as u64,
        category_inverted: IS_FILE,
        category_mask: IS_FILE | IS_PRESENT,
        ..ScanArguments::default()
    };
    // SAFETY: the call changes nothing but the arguments and the buffer; see `Scan`.
    Ok(unsafe { ioctl::ioctl(pagemap, Scan { arguments, regions }) }?)
}
