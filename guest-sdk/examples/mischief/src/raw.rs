//! Calls of the host that the SDK would not make: with addresses outside memory, and with bytes that are no
//! syscall.

#[cfg(target_family = "wasm")]
pub(crate) use imported::{syscall_from, syscall_of, unreachable};

#[cfg(target_family = "wasm")]
mod imported {
    #![expect(unsafe_code, reason = "what is wrong with these calls is their purpose; the host must bear it")]

    #[link(wasm_import_module = "vat")]
    unsafe extern "C" {
        fn syscall(ptr: u32, len: u32) -> u32;
    }

    pub(crate) fn syscall_from(address: u32, len: u32) {
        // SAFETY: the host only reads, and stops the vat where the range is not in memory.
        unsafe { syscall(address, len) };
    }

    pub(crate) fn syscall_of(bytes: &[u8]) {
        let (address, len) = (bytes.as_ptr().addr(), bytes.len());
        // SAFETY: the host reads a live slice; that its text is no syscall is the host's to find out.
        unsafe { syscall(u32::try_from(address).unwrap_or(0), u32::try_from(len).unwrap_or(0)) };
    }

    pub(crate) fn unreachable() -> ! {
        core::arch::wasm32::unreachable()
    }
}

#[cfg(not(target_family = "wasm"))]
pub(crate) use absent::{syscall_from, syscall_of, unreachable};

/// Outside wasm there is no host to try.
#[cfg(not(target_family = "wasm"))]
mod absent {
    pub(crate) fn syscall_from(address: u32, len: u32) {
        panic!("no host to read {len} bytes at {address}");
    }

    pub(crate) fn syscall_of(bytes: &[u8]) {
        panic!("no host to read {bytes:?}");
    }

    pub(crate) fn unreachable() -> ! {
        panic!("no trap outside wasm")
    }
}
