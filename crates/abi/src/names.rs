//! The names that a vat's module imports and exports, for hosts, SDKs and tools to share.
//!
//! What each of them does is in the crate's own documentation.

/// The module that every import of the ABI comes from.
pub const IMPORT_MODULE: &str = "vat";

/// `delivery_read(dst: i32)`: copies the delivery's bytes to the vat's memory.
pub const DELIVERY_READ: &str = "delivery_read";

/// `syscall(ptr: i32, len: i32) -> i32`: makes a syscall, returns the length of its result.
pub const SYSCALL: &str = "syscall";

/// `result_read(dst: i32)`: copies the bytes of the last syscall's result to the vat's memory.
pub const RESULT_READ: &str = "result_read";

/// `log(level: i32, ptr: i32, len: i32)`: writes a line to the host's log.
pub const LOG: &str = "log";

/// `fail(ptr: i32, len: i32)`: says why the delivery is about to fail.
pub const FAIL: &str = "fail";

/// The exported linear memory.
pub const MEMORY: &str = "memory";

/// `vat_deliver(len: i32) -> i32`: the exported entry point.
pub const VAT_DELIVER: &str = "vat_deliver";

/// `_initialize()`: exported by modules that boot themselves; called once, at birth.
pub const INITIALIZE: &str = "_initialize";
