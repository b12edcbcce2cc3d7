//! A vat that misbehaves on request: one method for each way in which a guest can try its host.
//!
//! Every method but `count` faults its delivery, or should make a careful host fault it, and the next
//! delivery must find the vat as it was. `count` tells whether it does: each method adds to the count before
//! it misbehaves.
//!
//! The ways that need a broken pointer or broken JSON go past the SDK, in `raw`.

mod raw;

use vat_sdk::{CapData, Promise, Resolution, Result, log, syscall, vat, vatstore};

/// What a fault must undo.
#[derive(Debug, Default)]
struct Mischief {
    /// How many messages arrived, by the vat's own reckoning.
    count: u64,
    hoard: Vec<Vec<u8>>,
}

#[vat]
impl Mischief {
    /// Answers the count; behaves.
    fn count(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Never returns.
    #[vat(name = "loop")]
    fn run_for_ever(&mut self) {
        self.count += 1;
        loop {
            self.count = std::hint::black_box(self.count.wrapping_add(1));
        }
    }

    /// Calls itself without end.
    fn recurse(&mut self) -> u64 {
        self.count += 1;
        dive(self.count)
    }

    /// Runs into an `unreachable` without a word.
    fn trap(&mut self) {
        self.count += 1;
        raw::unreachable()
    }

    /// Panics.
    fn panic(&mut self, message: &str) {
        self.count += 1;
        panic!("{message}");
    }

    /// Allocates `mebibytes`, all of them written, and keeps them. Behaves if there is room.
    fn grow(&mut self, mebibytes: usize) -> usize {
        self.count += 1;
        for _ in 0..mebibytes {
            self.hoard.push(vec![1; 1 << 20]);
        }
        self.hoard.len()
    }

    /// Makes a syscall from an address outside its memory.
    #[vat(name = "badPointer")]
    fn bad_pointer(&mut self, address: u32, len: u32) {
        self.count += 1;
        raw::syscall_from(address, len);
    }

    /// Makes a syscall of these bytes, which should be no syscall.
    #[vat(name = "badSyscall")]
    fn bad_syscall(&mut self, json: &str) {
        self.count += 1;
        raw::syscall_of(json.as_bytes());
    }

    /// Makes a syscall that is not UTF-8.
    #[vat(name = "badText")]
    fn bad_text(&mut self) {
        self.count += 1;
        raw::syscall_of(b"[\"vatstoreGet\",\"\xff\"]");
    }

    /// Resolves a promise that it does not decide.
    #[vat(name = "stealPromise")]
    fn steal_promise(&mut self, promise: Promise) -> Result<()> {
        self.count += 1;
        syscall::resolve(vec![Resolution::fulfilled(promise.vref().clone(), CapData::undefined())])
    }

    /// Makes syscalls, `times` of them. Behaves if it may.
    fn flood(&mut self, times: u32) {
        self.count += 1;
        for _ in 0..times {
            vatstore::get("key");
        }
    }

    /// Writes a value of `bytes` to vat storage. Behaves if it may.
    fn stuff(&mut self, bytes: usize) {
        self.count += 1;
        vatstore::set("stuffed", &"x".repeat(bytes));
    }

    /// Logs `lines` of a kibibyte. Behaves if it may.
    fn chatter(&mut self, lines: u32) {
        self.count += 1;
        for _ in 0..lines {
            log::write(log::LogLevel::Info, &"x".repeat(1_024));
        }
    }

    /// Answers with `bytes`. Behaves if it may.
    fn shout(&mut self, bytes: usize) -> String {
        self.count += 1;
        "x".repeat(bytes)
    }
}

/// Each call waits for the next one's answer to do something with it, so that no compiler can make a loop of
/// it; and keeps nothing in memory, so that it is the stack of calls that runs out.
#[inline(never)]
fn dive(depth: u64) -> u64 {
    if depth == u64::MAX { 0 } else { dive(depth + 1).rotate_left(7) ^ depth }
}
