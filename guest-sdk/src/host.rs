//! The seam between the vat and its host: the five imports and the one export.
//!
//! All of the SDK's `unsafe` code is here and in nothing else of it: calls of imported functions, and the
//! unmangled export. Above this file the host is five safe functions on byte slices.
//!
//! Invariant: a pointer that goes to the host points to a live buffer of at least the length that goes with
//! it. The host checks pointers against the memory's bounds, not against Rust's; this file is what makes them
//! right.
//!
//! It knows nothing of JSON. Outside wasm there is no host, and [`crate::native`] stands in.

#![cfg_attr(
    target_family = "wasm",
    expect(unsafe_code, reason = "the host is reached through imported functions")
)]

#[cfg(target_family = "wasm")]
mod imports {
    #[link(wasm_import_module = "vat")]
    unsafe extern "C" {
        /// Copies the current delivery, as many bytes as `vat_deliver` was told, to `dst`.
        pub(super) fn delivery_read(dst: *mut u8);
        /// Makes a syscall; returns the length of its result.
        pub(super) fn syscall(ptr: *const u8, len: usize) -> usize;
        /// Copies the result of the last syscall to `dst`.
        pub(super) fn result_read(dst: *mut u8);
        /// Writes a line to the host's log.
        pub(super) fn log(level: i32, ptr: *const u8, len: usize);
        /// Says why the delivery is about to fail.
        pub(super) fn fail(ptr: *const u8, len: usize);
    }
}

/// Reads the delivery, `len` bytes, that `vat_deliver` was called for.
#[cfg(target_family = "wasm")]
pub(crate) fn delivery(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    // SAFETY: the host writes exactly `len` bytes, which the buffer has.
    unsafe { imports::delivery_read(bytes.as_mut_ptr()) };
    bytes
}

/// Makes a syscall and reads its result.
#[cfg(target_family = "wasm")]
pub(crate) fn syscall(request: &[u8]) -> Vec<u8> {
    // SAFETY: the host reads `request.len()` bytes of a live slice.
    let len = unsafe { imports::syscall(request.as_ptr(), request.len()) };
    let mut bytes = vec![0; len];
    // SAFETY: the host writes exactly `len` bytes, which the buffer has.
    unsafe { imports::result_read(bytes.as_mut_ptr()) };
    bytes
}

/// Writes a line to the host's log.
#[cfg(target_family = "wasm")]
pub(crate) fn log(level: i32, text: &str) {
    // SAFETY: the host reads `text.len()` bytes of a live string.
    unsafe { imports::log(level, text.as_ptr(), text.len()) };
}

/// Says why the delivery is about to fail.
#[cfg(target_family = "wasm")]
pub(crate) fn fail(message: &str) {
    // SAFETY: the host reads `message.len()` bytes of a live string.
    unsafe { imports::fail(message.as_ptr(), message.len()) };
}

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::native::{delivery, fail, log, syscall};

/// Exports `vat_deliver` for a root object. `#[vat]` writes this; only an author who implements
/// [`Vat`](crate::Vat) by hand calls it.
#[macro_export]
macro_rules! export_vat {
    ($root:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            // The name is the ABI's, and nothing else in the module has it.
            #[unsafe(no_mangle)]
            extern "C" fn vat_deliver(len: usize) -> i32 {
                $crate::enter::<$root>(len)
            }
        };
        // Outside wasm nothing enters the vat, but its code is checked, and is not dead.
        #[cfg(not(target_family = "wasm"))]
        const _: fn(usize) -> i32 = $crate::enter::<$root>;
    };
}
