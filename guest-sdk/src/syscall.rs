//! Syscalls, one function each: what a vat can ask of its host.
//!
//! Authors mostly use what is built on these: return values, [`Remote`](crate::Remote),
//! [`vatstore`](crate::vatstore).
//!
//! The host may answer with an error, for instance a host without a kernel to a message. Naming a reference
//! that the vat does not have is no error but a fault: the delivery ends there.

use crate::{Error, Result, host};
use vat_abi::{CapData, Message, Resolution, Syscall, SyscallResult, Vref};

/// Makes a syscall and returns the text in its result, if there is one.
///
/// # Errors
/// What the host answers.
pub fn make(syscall: &Syscall) -> Result<Option<String>> {
    let reply = host::syscall(syscall.to_json().as_bytes());
    match SyscallResult::from_json(&reply)? {
        SyscallResult::Ok(text) => Ok(text),
        SyscallResult::Error(message) => Err(Error::new(format!("{}: {message}", syscall.tag()))),
    }
}

/// Sends a message to an object or promise.
///
/// # Errors
/// The host carries no messages.
pub fn send(target: Vref, message: Message) -> Result<()> {
    make(&Syscall::Send { target, message }).map(drop)
}

/// Asks to be notified when a promise settles.
///
/// # Errors
/// The host carries no messages.
pub fn subscribe(promise: Vref) -> Result<()> {
    make(&Syscall::Subscribe(promise)).map(drop)
}

/// Settles promises that the vat decides.
///
/// # Errors
/// What the host answers.
pub fn resolve(resolutions: Vec<Resolution>) -> Result<()> {
    make(&Syscall::Resolve(resolutions)).map(drop)
}

/// Ends the vat after this delivery, well.
///
/// # Errors
/// What the host answers.
pub fn exit(info: CapData) -> Result<()> {
    make(&Syscall::Exit { failure: false, info }).map(drop)
}

/// Ends the vat, and undoes what this delivery did.
///
/// # Errors
/// What the host answers.
pub fn exit_with_failure(reason: &Error) -> Result<()> {
    make(&Syscall::Exit { failure: true, info: reason.to_capdata() }).map(drop)
}
