//! The calls between this vat and its host, as the ABI has them.
//!
//! All of this vat's `unsafe` code is here.

#![expect(unsafe_code, reason = "this is what an SDK would hide: imported functions and an unmangled export")]

use crate::DELIVERY_BYTES_MAX;

mod imports {
    #[link(wasm_import_module = "vat")]
    unsafe extern "C" {
        pub(super) fn delivery_read(dst: *mut u8);
        pub(super) fn syscall(ptr: *const u8, len: usize) -> usize;
        pub(super) fn result_read(dst: *mut u8);
        pub(super) fn fail(ptr: *const u8, len: usize);
    }
}

/// The entry point: one delivery of `len` bytes. Returns 0 if it was handled.
#[unsafe(no_mangle)]
extern "C" fn vat_deliver(len: usize) -> i32 {
    let mut buffer = [0; DELIVERY_BYTES_MAX];
    let Some(delivery) = buffer.get_mut(..len) else { return fail("the delivery is too long") };
    // SAFETY: the host writes `len` bytes, which the slice has.
    unsafe { imports::delivery_read(delivery.as_mut_ptr()) };
    match crate::deliver(delivery) {
        Ok(Some(answer)) => syscall(answer.as_bytes()),
        Ok(None) => 0,
        Err(reason) => fail(reason),
    }
}

/// Makes a syscall whose result should be `["ok",…]`.
fn syscall(request: &[u8]) -> i32 {
    let mut reply = [0; 256];
    // SAFETY: the host reads `request.len()` bytes of a live slice.
    let len = unsafe { imports::syscall(request.as_ptr(), request.len()) };
    if len > reply.len() {
        return fail("the host's reply is too long");
    }
    // SAFETY: the host writes `len` bytes, which the buffer has.
    unsafe { imports::result_read(reply.as_mut_ptr()) };
    if reply[..len].starts_with(b"[\"ok\"") { 0 } else { fail("the host refused the answer") }
}

/// Tells the host why the delivery fails; returns the status for it.
fn fail(reason: &str) -> i32 {
    // SAFETY: the host reads `reason.len()` bytes of a live string.
    unsafe { imports::fail(reason.as_ptr(), reason.len()) };
    1
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    fail("panicked");
    core::arch::wasm32::unreachable()
}
