//! The counterpart of a vat whose delivery is new: decodes what the vat asks, has a [`SyscallHandler`] answer it, and writes
//! the transcript entry as it comes to be.

use vat_abi::{Delivery, EntryText, LogLevel, Syscall, SyscallRecord, VatFault, Violation};

use crate::host::{Counterpart, Refused, SyscallHandler, SyscallVerdict};

/// See the [module](self).
pub(crate) struct Live<H> {
    pub(crate) handler: H,
    /// What the delivery is, and what it asked so far.
    pub(crate) entry: EntryText,
    pub(crate) syscalls: Vec<SyscallRecord>,
}

impl<H: SyscallHandler> Live<H> {
    /// The handler comes back with the error.
    pub(crate) fn new(delivery: &Delivery, time_ns: u64, handler: H) -> Result<Live<H>, (Violation, H)> {
        match EntryText::begin(delivery, time_ns) {
            Ok(entry) => Ok(Live { handler, entry, syscalls: Vec::new() }),
            Err(violation) => Err((violation, handler)),
        }
    }
}

impl<H: SyscallHandler> Counterpart for Live<H> {
    fn delivery(&self) -> &[u8] {
        self.entry.delivery()
    }

    fn syscall(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let syscall = Syscall::from_json(bytes).map_err(|error| {
            self.handler.log(LogLevel::Error, &format!("the bytes of a syscall are not one: {error}"));
            Refused::Fault(VatFault::BadSyscallBytes)
        })?;
        let result = match self.handler.syscall(&syscall) {
            SyscallVerdict::Answer(result) => result,
            SyscallVerdict::Illegal(why) => {
                self.handler.log(LogLevel::Error, &format!("illegal syscall: {why}"));
                return Err(Refused::Fault(VatFault::IllegalSyscall));
            }
            SyscallVerdict::Abandon(source) => return Err(Refused::Abandon(source)),
        };
        self.entry.push(&syscall, &result).map_err(|violation| Refused::Abandon(violation.into()))?;
        self.syscalls.push(SyscallRecord { syscall, result });
        Ok(())
    }

    fn reply(&self) -> &[u8] {
        self.entry.reply()
    }

    fn retract(&mut self) {
        self.entry.pop();
        self.syscalls.pop();
    }

    fn log(&mut self, level: LogLevel, text: &str) {
        self.handler.log(level, text);
    }
}
