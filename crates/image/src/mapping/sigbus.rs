//! What happens when a mapped page cannot be read: the file was cut, or the disk failed.
//!
//! The kernel sends SIGBUS to the thread that touched the page. Containing this to one vat would need to
//! unwind compiled guest code out of a signal handler and to trust a process in which any host read of that
//! heap can fault too; so the process ends, but cleanly: the handler says whose heap, which file and where,
//! and aborts. The page store is whole but for that file, and the next start falls back to an older snapshot
//! or replays ([`Error::Missing`](crate::Error::Missing), [`Error::Damaged`](crate::Error::Damaged)).
//!
//! A SIGBUS anywhere else goes to the handler that was there before. Inside the handler only system calls
//! that POSIX calls async-signal-safe and formatting of numbers into fixed buffers are used. The buffers are
//! static, for a signal stack can be as small as a few KiB. The file's name is read from `/proc/self/maps`,
//! so a restore does not have to register anything.

use std::{
    cell::UnsafeCell,
    fmt::{self, Write},
    io, mem,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::FaultContext;

/// The handler that was there before.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Bytes of `/proc/self/maps` looked at as one line; a longer path is cut in the message.
const LINE_BYTES: usize = 512;

/// The handler's memory.
static BUFFERS: Shared =
    Shared { is_taken: AtomicBool::new(false), buffers: UnsafeCell::new(Buffers::new()) };

struct Shared {
    is_taken: AtomicBool,
    buffers: UnsafeCell<Buffers>,
}

struct Buffers {
    chunk: [u8; LINE_BYTES],
    line: Text<LINE_BYTES>,
    message: Text<{ 2 * LINE_BYTES }>,
}

// SAFETY: the buffers are reached only between taking and giving back `is_taken`, so by one thread at a time.
unsafe impl Sync for Shared {}

impl Shared {
    /// Lends the buffers. A thread that finds them taken waits: the other one is about to abort, or to give
    /// them back after a few system calls. The signal is blocked in its own handler, so a thread never waits
    /// for itself.
    fn with<R>(&self, use_buffers: impl FnOnce(&mut Buffers) -> R) -> R {
        while self.is_taken.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
        // SAFETY: this thread has just taken the buffers, and nobody else reaches them until they are given
        // back below.
        let result = use_buffers(unsafe { &mut *self.buffers.get() });
        self.is_taken.store(false, Ordering::Release);
        result
    }
}

impl Buffers {
    const fn new() -> Buffers {
        Buffers { chunk: [0; LINE_BYTES], line: Text::new(), message: Text::new() }
    }
}

/// Installs the reporter, once per process; later calls change nothing.
pub(crate) fn install() -> io::Result<()> {
    let mut installed = Ok(());
    PREVIOUS.get_or_init(|| {
        // SAFETY: `sigaction` is plain data for which zeros are a valid value.
        let (mut action, mut previous): (libc::sigaction, libc::sigaction) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_sigbus;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: both pointers are to live values; the handler has the signature that SA_SIGINFO asks for,
        // and touches nothing that is not async-signal-safe.
        if unsafe { libc::sigaction(libc::SIGBUS, &raw const action, &raw mut previous) } != 0 {
            installed = Err(io::Error::last_os_error());
        }
        previous
    });
    installed
}

extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a handler with SA_SIGINFO; for SIGBUS it holds an
    // address.
    let address = unsafe { (*info).si_addr() }.addr();
    BUFFERS.with(|buffers| {
        if let Some(offset) = buffers.find(address) {
            buffers.report(offset);
            // SAFETY: `abort` may be called anywhere.
            unsafe { libc::abort() }
        }
    });
    forward(signal, info, context);
}

/// Lets the handler that was there before have the signal.
fn forward(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let previous = PREVIOUS.get().map(|previous| (previous.sa_sigaction, previous.sa_flags));
    match previous {
        None | Some((libc::SIG_DFL | libc::SIG_IGN, _)) => {
            // SAFETY: restoring the default is async-signal-safe; the instruction faults again on return, and
            // the process ends as it would have without this handler.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Some((handler, flags)) if flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: with SA_SIGINFO the address was registered as a function of this type.
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { mem::transmute(handler) };
            handler(signal, info, context);
        }
        Some((handler, _)) => {
            // SAFETY: without SA_SIGINFO the address was registered as a function of this type.
            let handler: extern "C" fn(libc::c_int) = unsafe { mem::transmute(handler) };
            handler(signal);
        }
    }
}

impl Buffers {
    /// Finds the segment file that is mapped at an address: leaves its line of `/proc/self/maps` in `line`
    /// and returns the offset in the file.
    fn find(&mut self, address: usize) -> Option<usize> {
        // SAFETY: the path is a C string; `open` is async-signal-safe.
        let file = unsafe { libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        if file < 0 {
            return None;
        }
        let offset = self.find_in(address, file);
        // SAFETY: the descriptor was opened above and is used by nobody else.
        unsafe { libc::close(file) };
        offset
    }

    fn find_in(&mut self, address: usize, file: libc::c_int) -> Option<usize> {
        self.line.clear();
        loop {
            // SAFETY: the buffer is live and as long as said; `read` is async-signal-safe.
            let read = unsafe { libc::read(file, self.chunk.as_mut_ptr().cast(), self.chunk.len()) };
            let read = usize::try_from(read).ok().filter(|read| *read > 0)?;
            for byte in &self.chunk[..read] {
                if *byte != b'\n' {
                    self.line.push(*byte);
                    continue;
                }
                if let Some((path, offset)) = place_in(self.line.as_str(), address) {
                    return path.contains("/seg-").then_some(offset);
                }
                self.line.clear();
            }
        }
    }

    /// Says what is known of the place that `find` found.
    fn report(&mut self, offset: usize) {
        let path = self.line.as_str().splitn(6, ' ').last().unwrap_or_default().trim_start();
        let page = offset / crate::PAGE_BYTES * crate::PAGE_BYTES;
        let message = &mut self.message;
        // Text that does not fit is cut; there is no other failure.
        let _ = FaultContext::with_current(|label| {
            writeln!(
                message,
                "vat-image: {}: the page at byte {page} of {path} could not be read (file cut, or disk error); the process \
                 stops, everything committed elsewhere is safe: check the disk and start again",
                label.unwrap_or("a heap"),
            )
        });
        message.write_to_stderr();
    }
}

/// The path of the file and the offset in it, if a line of `/proc/self/maps` is about the address:
/// `from-to access offset device inode path`.
fn place_in(line: &str, address: usize) -> Option<(&str, usize)> {
    let hex = |text| usize::from_str_radix(text, 16).ok();
    let mut fields = line.splitn(6, ' ');
    let (from, to) = fields.next()?.split_once('-')?;
    let (from, to) = (hex(from)?, hex(to)?);
    if !(from..to).contains(&address) {
        return None;
    }
    let file_offset = hex(fields.nth(1)?)?;
    Some((fields.nth(2)?.trim_start(), file_offset + (address - from)))
}

/// Text in a fixed buffer; what does not fit is cut.
struct Text<const BYTES: usize> {
    bytes: [u8; BYTES],
    len: usize,
}

impl<const BYTES: usize> Text<BYTES> {
    const fn new() -> Text<BYTES> {
        Text { bytes: [0; BYTES], len: 0 }
    }

    fn clear(&mut self) {
        self.len = 0;
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or("a file with an unreadable name")
    }

    fn write_to_stderr(&self) {
        // SAFETY: the buffer is live and as long as said; `write` is async-signal-safe. There is nobody to
        // tell of a failure.
        let _ = unsafe { libc::write(libc::STDERR_FILENO, self.bytes.as_ptr().cast(), self.len) };
    }
}

impl<const BYTES: usize> Write for Text<BYTES> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_names_file_and_offset() {
        let line = "7f0000001000-7f0000004000 rw-p 00002000 fe:00 1234                       /data/images/seg-00000001.pages";
        assert_eq!(place_in(line, 0x7f00_0000_2010), Some(("/data/images/seg-00000001.pages", 0x3010)));
        assert_eq!(place_in(line, 0x7f00_0000_4000), None);
        assert_eq!(place_in("7f0000001000-7f0000004000 rw-p 00000000 00:00 0", 0x7f00_0000_2010), None);
    }
}
