//! The five functions of import module `vat`, as [`vat_abi`] documents them.
//!
//! Each takes what the guest alleges, checks it, and either does its work or sets the crank's fault and stops the guest. None
//! re-enters the guest. Each is charged a flat price and one computron for every byte moved.

use vat_abi::limits::{
    LOG_BYTES_MAX, OUTPUT_BYTES_PER_DELIVERY_MAX, SYSCALL_BYTES_PER_DELIVERY_MAX, SYSCALLS_PER_DELIVERY_MAX,
};
use vat_abi::{LogLevel, VatFault};
use wasmtime::{AsContextMut, Caller, Linker};

use crate::error::Error;
use crate::guest_memory::{GuestSlice, write};
use crate::host::{Crank, HostState, Refused};

/// Computrons of any call out of the vat, besides those for its bytes.
pub(crate) const HOST_CALL_COMPUTRONS: u64 = 500;

/// Stops the guest; the reason is in the crank.
#[derive(Debug, thiserror::Error)]
#[error("the guest was stopped by a host function")]
pub(crate) struct Stopped;

/// Adds `vat.*` to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap("vat", "delivery_read", delivery_read)?;
    linker.func_wrap("vat", "syscall", syscall)?;
    linker.func_wrap("vat", "result_read", result_read)?;
    linker.func_wrap("vat", "log", log)?;
    linker.func_wrap("vat", "fail", fail)?;
    Ok(())
}

/// Takes the price of a host call that moves `bytes` bytes.
pub(crate) fn charge(caller: &mut Caller<'_, HostState>, bytes: u64) -> wasmtime::Result<()> {
    let price = HOST_CALL_COMPUTRONS.saturating_add(bytes);
    let left = caller.get_fuel()?;
    if left < price {
        caller.set_fuel(0)?;
        return stop(caller, VatFault::OutOfComputrons);
    }
    caller.set_fuel(left - price)
}

fn delivery_read(mut caller: Caller<'_, HostState>, dst: i32) -> wasmtime::Result<()> {
    copy_out(&mut caller, dst, |crank| crank.counterpart.delivery())
}

fn result_read(mut caller: Caller<'_, HostState>, dst: i32) -> wasmtime::Result<()> {
    copy_out(&mut caller, dst, |crank| crank.counterpart.reply())
}

fn syscall(mut caller: Caller<'_, HostState>, ptr: i32, len: i32) -> wasmtime::Result<i32> {
    let slice = GuestSlice::new(ptr, len);
    charge(&mut caller, slice.len().into())?;
    let (memory, crank) = split(&mut caller)?;
    match perform(crank, memory, slice) {
        Ok(reply) => {
            charge(&mut caller, u64::from(reply))?;
            Ok(reply.cast_signed())
        }
        Err(fault) => stop(&mut caller, fault),
    }
}

/// Checks, has it answered: in the order that the ABI reference gives. `Err` is the guest's fault; a host error is left in the
/// crank and also stops the guest.
fn perform(crank: &mut Crank, memory: &[u8], slice: GuestSlice) -> Result<u32, VatFault> {
    let bytes = slice.bytes(memory)?;
    crank.syscall_bytes = crank.syscall_bytes.saturating_add(bytes.len());
    if crank.syscalls >= SYSCALLS_PER_DELIVERY_MAX || crank.syscall_bytes > SYSCALL_BYTES_PER_DELIVERY_MAX {
        return Err(VatFault::SyscallLimit);
    }
    crank.counterpart.syscall(bytes).map_err(|refused| match refused {
        Refused::Fault(fault) => fault,
        Refused::Abandon(source) => {
            crank.error = Some(Error::Abandoned(source));
            VatFault::IllegalSyscall // Never recorded: the error goes first.
        }
    })?;
    let reply = crank.counterpart.reply().len();
    crank.syscall_bytes = crank.syscall_bytes.saturating_add(reply);
    if crank.syscall_bytes > SYSCALL_BYTES_PER_DELIVERY_MAX {
        crank.counterpart.retract();
        return Err(VatFault::SyscallLimit);
    }
    crank.syscalls += 1;
    u32::try_from(reply).map_err(|_| VatFault::SyscallLimit)
}

fn log(mut caller: Caller<'_, HostState>, level: i32, ptr: i32, len: i32) -> wasmtime::Result<()> {
    let slice = GuestSlice::new(ptr, len);
    charge(&mut caller, slice.len().into())?;
    let memory = caller.data().memory();
    let (memory, host) = memory.data_and_store_mut(&mut caller);
    let text = match slice.bytes(memory) {
        Ok(bytes) => bytes,
        Err(fault) => return stop(&mut caller, fault),
    };
    let Some(crank) = &mut host.crank else {
        return Ok(()); // Birth may log; nobody listens, since it happens once per module.
    };
    // A line over the limit is cut, a vat over its limit faults: both depend on nothing but the vat.
    crank.log_bytes = crank.log_bytes.saturating_add(text.len());
    if crank.log_bytes > OUTPUT_BYTES_PER_DELIVERY_MAX {
        return stop(&mut caller, VatFault::OutputLimit);
    }
    let text = String::from_utf8_lossy(&text[..text.len().min(LOG_BYTES_MAX)]);
    crank.counterpart.log(LogLevel::from_code(level), &text);
    Ok(())
}

fn fail(mut caller: Caller<'_, HostState>, ptr: i32, len: i32) -> wasmtime::Result<()> {
    let slice = GuestSlice::new(ptr, len);
    charge(&mut caller, slice.len().into())?;
    let (memory, crank) = split(&mut caller)?;
    match slice.bytes(memory) {
        Ok(bytes) => {
            crank.failed = Some(VatFault::failed(bytes));
            Ok(())
        }
        Err(fault) => stop(&mut caller, fault),
    }
}

/// Copies a buffer of the crank to the guest.
fn copy_out(
    caller: &mut Caller<'_, HostState>,
    dst: i32,
    buffer: fn(&Crank) -> &[u8],
) -> wasmtime::Result<()> {
    let (_, crank) = split(caller)?;
    let len = buffer(crank).len();
    charge(caller, len as u64)?;
    let (memory, crank) = split(caller)?;
    write(memory, dst, buffer(crank)).or_else(|fault| stop(caller, fault))
}

/// Memory and crank side by side. There is no crank during birth, when a vat may not call these.
fn split<'a>(caller: &'a mut Caller<'_, HostState>) -> wasmtime::Result<(&'a mut [u8], &'a mut Crank)> {
    let memory = caller.data().memory();
    let (bytes, host) = memory.data_and_store_mut(caller.as_context_mut());
    match &mut host.crank {
        Some(crank) => Ok((bytes, crank)),
        None => Err(wasmtime::Error::new(Stopped).context("a vat may not call the host while it is born")),
    }
}

/// Notes the fault and stops the guest.
fn stop<T>(caller: &mut Caller<'_, HostState>, fault: VatFault) -> wasmtime::Result<T> {
    if let Some(crank) = &mut caller.data_mut().crank {
        crank.fault.get_or_insert(fault);
    }
    Err(wasmtime::Error::new(Stopped))
}
