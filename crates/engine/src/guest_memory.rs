//! Guest pointers, and the one place that believes them.
//!
//! What a guest passes is an *allegation*: two integers that claim to name bytes of its memory. Having a [`GuestSlice`] proves
//! nothing; [`GuestSlice::bytes`] checks the claim against the memory as it is now and against a limit.

use vat_abi::VatFault;

/// A claim by the guest that `len` bytes at `offset` of its memory are what it means.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuestSlice {
    offset: u32,
    len: u32,
}

impl GuestSlice {
    /// From the two `i32` that wasm has for a pointer and a length.
    pub(crate) fn new(offset: i32, len: i32) -> GuestSlice {
        GuestSlice { offset: offset.cast_unsigned(), len: len.cast_unsigned() }
    }

    /// Bytes claimed.
    pub(crate) fn len(self) -> u32 {
        self.len
    }

    /// The bytes, if they all lie inside `memory`.
    pub(crate) fn bytes(self, memory: &[u8]) -> Result<&[u8], VatFault> {
        self.range().and_then(|range| memory.get(range)).ok_or(VatFault::BadPointer)
    }

    fn range(self) -> Option<std::ops::Range<usize>> {
        let start = self.offset as usize;
        Some(start..start.checked_add(self.len as usize)?)
    }
}

/// Copies `bytes` to where the guest said it has room for them.
pub(crate) fn write(memory: &mut [u8], offset: i32, bytes: &[u8]) -> Result<(), VatFault> {
    let start = offset.cast_unsigned() as usize;
    start
        .checked_add(bytes.len())
        .and_then(|end| memory.get_mut(start..end))
        .map(|room| room.copy_from_slice(bytes))
        .ok_or(VatFault::BadPointer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_holds_only_inside_the_memory() {
        let memory = [7u8; 16];
        let table: &[(i32, i32, bool)] = &[
            (0, 0, true),
            (0, 16, true),
            (16, 0, true),
            (15, 1, true),
            (15, 2, false),
            (17, 0, false),
            (-1, 1, false),
            (0, -1, false),
            (-1, -1, false),
        ];
        for (offset, len, holds) in table {
            assert_eq!(GuestSlice::new(*offset, *len).bytes(&memory).is_ok(), *holds, "{offset} {len}");
        }
    }

    #[test]
    fn a_write_is_whole_or_not_at_all() {
        let mut memory = [0u8; 4];
        assert!(write(&mut memory, 2, &[1, 2, 3]).is_err());
        assert_eq!(memory, [0; 4]);
        assert!(write(&mut memory, -2, &[1]).is_err());
        assert!(write(&mut memory, 2, &[1, 2]).is_ok());
        assert_eq!(memory, [0, 0, 1, 2]);
    }
}
