//! Every bound on what host and vat may say to each other, by name.
//!
//! A limit is part of the ABI: whether a value is refused must not depend on the host it runs on, so
//! raising or lowering one of these changes what a replay does. They bound what one vat can make a host
//! hold; they are not quotas, and how many computrons or pages a vat may use is not decided here.

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Bytes of one encoded delivery.
pub const DELIVERY_BYTES_MAX: usize = 16 * MIB;

/// Bytes of one syscall, as the vat wrote it.
pub const SYSCALL_BYTES_MAX: usize = 16 * MIB;

/// Bytes of one encoded syscall result.
pub const RESULT_BYTES_MAX: usize = 16 * MIB;

/// Syscalls in one delivery; the next one is the fault `syscall-limit`.
pub const SYSCALLS_PER_DELIVERY_MAX: usize = 100_000;

/// Bytes of all syscalls and their results in one delivery together; the syscall that would pass it is the
/// fault `syscall-limit`. It is what keeps a transcript entry below [`ENTRY_BYTES_MAX`].
pub const SYSCALL_BYTES_PER_DELIVERY_MAX: usize = 64 * MIB;

/// Bytes of one encoded transcript entry.
pub const ENTRY_BYTES_MAX: usize = 96 * MIB;

/// References in the slots of one capdata.
pub const SLOTS_MAX: usize = 65_536;

/// Resolutions in one `notify` or `resolve`.
pub const RESOLUTIONS_MAX: usize = 65_536;

/// References in one list of a garbage collection delivery or syscall (`dropExports`, `retireImports`, …).
pub const VREFS_MAX: usize = 65_536;

/// Bytes of one vat storage key, in UTF-8.
pub const VATSTORE_KEY_BYTES_MAX: usize = 8_192;

/// Bytes of one vat storage value, in UTF-8, before JSON escapes.
pub const VATSTORE_VALUE_BYTES_MAX: usize = 8 * MIB;

/// Bytes of one `log` call that are kept; the rest of a longer text is cut off.
pub const LOG_BYTES_MAX: usize = 64 * KIB;

/// Bytes that a vat may pass to `log`, or write to its WASI outputs, in one delivery; more is the fault
/// `output-limit`. The whole length counts, also what [`LOG_BYTES_MAX`] then cuts off.
pub const OUTPUT_BYTES_PER_DELIVERY_MAX: usize = MIB;

/// Bytes of a `fail` message that are kept; the rest of a longer message is cut off.
pub const FAIL_BYTES_MAX: usize = 1_024;

/// Bytes of one encoded outcome.
pub const OUTCOME_BYTES_MAX: usize = 8 * KIB;

/// Bytes of a body, key, value or message that the readable forms (`Display`) show; the rest is counted.
pub const DISPLAY_BYTES_MAX: usize = 240;

/// Elements of a list that the readable forms (`Display`) show; the rest is counted.
pub const DISPLAY_LIST_MAX: usize = 16;

/// Bytes of a [`DecodeError`](crate::DecodeError)'s reason, which may quote what the vat wrote.
pub const DECODE_REASON_BYTES_MAX: usize = DISPLAY_BYTES_MAX;

// An entry holds one delivery, the syscalls with their results, and around each pair `{"s":,"r":},`; our
// encoding of a syscall is never longer than the JSON it was decoded from. A recordable delivery therefore
// always has an entry that can be read back.
const _: () = assert!(
    DELIVERY_BYTES_MAX
        + SYSCALL_BYTES_PER_DELIVERY_MAX
        + 13 * SYSCALLS_PER_DELIVERY_MAX
        + OUTCOME_BYTES_MAX
        + KIB
        <= ENTRY_BYTES_MAX
);

// JSON writes a control character in six bytes.
const _: () = assert!(6 * FAIL_BYTES_MAX + 64 <= OUTCOME_BYTES_MAX);

// A stored value comes back in a result: `["ok","…"]` is shorter than the `["vatstoreSet","k","…"]` it came
// in with.
const _: () = assert!(SYSCALL_BYTES_MAX <= RESULT_BYTES_MAX);
