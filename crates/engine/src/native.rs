//! The engine's one unsafe module: what wasmtime is asked to take on trust.
//!
//! Two things. Compiled code read back from disk ([`load_code`]): it is machine code, so its bytes must be exactly those that
//! this program wrote. And memories that we provide ([`Memories`]): wasmtime's compiled code accesses them without bounds
//! checks, so the ranges must be as large, and as inaccessible beyond their size, as promised. Everything else here and in
//! the rest of the crate is safe code.

#![expect(unsafe_code, reason = "the engine's single place for it; each site says why it is sound")]

use std::cell::RefCell;
use std::fs::File;

use vat_image::{AddressPool, HeapRange, Image};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType, Module};

/// Loads compiled code from a file whose bytes were just verified.
///
/// `verified` is a token of [`crate::code_cache`]: only its checksum comparison makes one.
pub(crate) fn load_code(engine: &wasmtime::Engine, verified: VerifiedCode) -> wasmtime::Result<Module> {
    // SAFETY: `deserialize_open_file` requires bytes that `Module::serialize` produced, unmodified while mapped. The token
    // stands for a BLAKE3 comparison of the whole file with the sum written beside it by this program, through this very
    // handle, or earlier if the file behind this handle is the same and unchanged since (`FileState`). Both lie in
    // a directory that only its owner can enter (mode 0700), files are written under a temporary name and renamed,
    // never changed in place. wasmtime itself rejects another version or configuration.
    unsafe { Module::deserialize_open_file(engine, verified.0) }
}

/// An open file of compiled code whose bytes were compared with their checksum.
#[derive(Debug)]
pub(crate) struct VerifiedCode(pub(crate) File);

thread_local! {
    /// What the next memory made on this thread is filled with.
    static NEXT: RefCell<Option<Image>> = const { RefCell::new(None) };
    /// Why the last memory on this thread could not be made: wasmtime passes on only text.
    static FAILED: RefCell<Option<vat_image::Error>> = const { RefCell::new(None) };
}

/// Runs `instantiate` so that the memory it creates holds `image` from the start.
///
/// Instantiation is synchronous and happens on this thread, and an accepted module has exactly one memory.
pub(crate) fn with_image<T>(image: Option<Image>, instantiate: impl FnOnce() -> T) -> T {
    NEXT.set(image);
    FAILED.set(None);
    let result = instantiate();
    NEXT.set(None);
    result
}

/// Why the memory of the last [`with_image`] on this thread could not be made, if that is what failed.
pub(crate) fn take_failure() -> Option<vat_image::Error> {
    FAILED.take()
}

/// Hands ranges of our pool to wasmtime.
#[derive(Debug)]
pub(crate) struct Memories(pub(crate) AddressPool);

// SAFETY: `new_memory` returns a memory that fulfils `LinearMemory` below: `AddressPool::take` reserves `reserved + guard`
// bytes, of which exactly the first `size` are accessible. A memory that begins filled, or larger than its minimum, is outside
// what wasmtime documents ("should be zero filled") but harms no memory safety: any bytes are valid wasm memory.
// The tests in `tests/custom_memory.rs` hold wasmtime to the behaviour that restoring relies on.
unsafe impl MemoryCreator for Memories {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let image = NEXT.take();
        let size = image.as_ref().map_or(minimum, |image| image.size_bytes().max(minimum));
        let reserved = reserved.unwrap_or(size).max(size);
        match self.0.take(reserved, guard, size, image.as_ref()) {
            Ok(range) => Ok(Box::new(Heap { range })),
            Err(error) => {
                let text = error.to_string();
                FAILED.set(Some(error));
                Err(text)
            }
        }
    }
}

/// A range in use as a linear memory.
#[derive(Debug)]
struct Heap {
    range: HeapRange,
}

// SAFETY: the range does not move and stays reserved until it is dropped; `as_ptr` is its start, `byte_size` bytes from there are
// readable and writable, and everything behind them up to the end of the guard is inaccessible (`HeapRange`'s invariants).
unsafe impl LinearMemory for Heap {
    fn byte_size(&self) -> usize {
        self.range.accessible_bytes()
    }

    fn byte_capacity(&self) -> usize {
        self.range.reserved_bytes()
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        self.range.grow_to(new_size).map_err(wasmtime::Error::new)
    }

    fn as_ptr(&self) -> *mut u8 {
        self.range.ptr().as_ptr()
    }
}
