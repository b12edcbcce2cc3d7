//! What a vat and its host say to each other: references, capdata, deliveries, syscalls, and their JSON.
//!
#![doc = include_str!("../ABI.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod capdata;
mod codec;
mod decode;
mod delivery;
mod elide;
#[cfg(feature = "std")]
mod entry_text;
mod fault;
pub mod limits;
mod log;
mod message;
pub mod names;
mod outcome;
mod syscall;
mod syscall_result;
mod transcript;
mod violation;
mod vref;

pub use capdata::CapData;
pub use codec::encode;
pub use decode::DecodeError;
pub use delivery::Delivery;
#[cfg(feature = "std")]
pub use entry_text::{EntryText, RecordedEntry};
pub use fault::{TrapKind, VatFault};
pub use log::LogLevel;
pub use message::{Message, Resolution};
pub use outcome::{Computrons, Outcome};
pub use syscall::Syscall;
pub use syscall_result::SyscallResult;
pub use transcript::{SyscallRecord, TranscriptEntry};
pub use violation::Violation;
pub use vref::{Allocator, InvalidVref, RefKind, Vref};
