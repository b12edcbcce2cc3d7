//! The granule: what a page is, how it is numbered and how it is named by its content.
//!
//! A heap is a sequence of pages of [`PAGE_BYTES`] bytes, whatever the operating system's page is: the format
//! must not change with the machine. A WebAssembly memory of 32-bit addresses holds at most
//! [`HEAP_PAGES_MAX`] of them.
//!
//! A page that nobody wrote is zero. Zero pages are never stored; [`PageHash::ZERO`] names them everywhere.

use std::fmt;

/// Bytes in a page. Part of the format: it does not follow the operating system's page size.
pub const PAGE_BYTES: usize = 4096;

/// Pages in the largest heap, 4 GiB.
pub const HEAP_PAGES_MAX: u32 = 1 << 20;

/// The content of one page.
pub type PageBytes = [u8; PAGE_BYTES];

/// The content of a page that was never written.
pub(crate) static ZERO_PAGE: PageBytes = [0; PAGE_BYTES];

/// The place of a page in a heap: its byte offset divided by [`PAGE_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageNo(pub u32);

impl PageNo {
    /// Byte offset of the page's first byte in its heap.
    pub const fn offset(self) -> usize {
        self.0 as usize * PAGE_BYTES
    }
}

impl fmt::Display for PageNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// BLAKE3 of a page's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageHash(pub [u8; PageHash::BYTES]);

impl PageHash {
    /// Bytes in a hash.
    pub const BYTES: usize = 32;

    /// The hash of a page of zeros.
    pub const ZERO: PageHash = PageHash([
        0xb6, 0xfb, 0x73, 0xfc, 0x46, 0x93, 0x8c, 0x98, 0x1e, 0x2b, 0x0b, 0x4b, 0x1e, 0xf2, 0x82,
        0xad, //
        0xcf, 0xc8, 0x98, 0x54, 0xd0, 0x1b, 0xfe, 0x39, 0x72, 0xfd, 0xc4, 0x78, 0x5b, 0x41, 0xb2, 0xc7,
    ]);

    /// Hashes a page.
    pub fn of(page: &PageBytes) -> PageHash {
        PageHash(*blake3::hash(page).as_bytes())
    }
}

impl fmt::Debug for PageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for PageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Whether every byte of the page is zero.
pub(crate) fn is_zero(page: &PageBytes) -> bool {
    *page == ZERO_PAGE
}

/// The pages of a heap, which must be a whole number of them.
///
/// # Panics
///
/// If the heap is not a whole number of pages, or is longer than [`HEAP_PAGES_MAX`].
pub(crate) fn pages_in(heap: &[u8]) -> u32 {
    let pages = heap.as_chunks::<PAGE_BYTES>();
    assert!(pages.1.is_empty(), "a heap is a whole number of pages");
    let count = count_u32(pages.0.len());
    assert!(count <= HEAP_PAGES_MAX, "a heap is at most 4 GiB");
    count
}

/// One page of a heap.
pub(crate) fn page_of(heap: &[u8], page: u32) -> &PageBytes {
    &heap.as_chunks::<PAGE_BYTES>().0[page as usize]
}

/// A count of pages or runs, which always fits 32 bits because a heap has at most [`HEAP_PAGES_MAX`] pages.
pub(crate) fn count_u32(count: usize) -> u32 {
    u32::try_from(count).expect("a heap has at most 2^20 pages")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zero_hash_is_the_hash_of_zeros() {
        assert_eq!(PageHash::of(&ZERO_PAGE), PageHash::ZERO);
    }
}
