//! The limits of a module and of a vat, each with a name.
//!
//! They are ours, checked at install, and lower than any limit of the engine below, so that an engine's upgrade or
//! another allocator cannot change which modules are accepted. Lowering one of them is a change of
//! [`RULES_VERSION`](crate::RULES_VERSION); raising one is not.

/// Bytes of a module as it is installed.
pub const MODULE_BYTES_MAX: usize = 64 << 20;
/// Functions a module may define.
pub const FUNCTIONS_MAX: u32 = 50_000;
/// Function types a module may declare.
pub const TYPES_MAX: u32 = 20_000;
/// Functions a module may import.
pub const IMPORTS_MAX: u32 = 100;
/// Exports a module may have.
pub const EXPORTS_MAX: u32 = 10_000;
/// Globals a module may define. All of the mutable ones are part of every snapshot.
pub const GLOBALS_MAX: u32 = 1_000;
/// Tables a module may define.
pub const TABLES_MAX: u32 = 16;
/// Elements all tables of a module may hold together.
pub const TABLE_ELEMENTS_MAX: u64 = 100_000;
/// Element segments a module may have.
pub const ELEMENT_SEGMENTS_MAX: u32 = 10_000;
/// Data segments a module may have.
pub const DATA_SEGMENTS_MAX: u32 = 50_000;
/// Parameters plus results of one function.
pub const SIGNATURE_VALUES_MAX: usize = 1_000;
/// Locals of one function, parameters included.
pub const LOCALS_MAX: u32 = 20_000;
/// Bytes of one function's body.
pub const FUNCTION_BYTES_MAX: usize = 1 << 20;
/// Blocks nested within each other in one function.
pub const NESTING_MAX: usize = 1_000;
/// Values on the operand stack of one function.
pub const OPERANDS_MAX: u32 = 20_000;

/// Locals that the loops of one function may carry, each loop counted with all that are used in it. Compilers emit far less: what is
/// near this takes hundreds of mebibytes to compile.
pub const CARRIED_MAX: u64 = 40_000;
/// Values that the branches of one function may pass along, each branch counted with all that may change before it.
pub const PASSED_MAX: u64 = 1_000_000;
/// Blocks of one function times the locals that it uses: each of them may be alive in each.
pub const SPREAD_MAX: u64 = 20_000_000;

/// Bytes of a wasm page, the unit in which a memory grows.
pub const WASM_PAGE_BYTES: u64 = 64 << 10;
/// Wasm pages of the largest memory a vat can be given: all that 32-bit addresses reach.
pub const MEMORY_PAGES_MAX: u32 = 65_536;
/// Wasm pages a vat's memory may have if its options do not say otherwise: 1 GiB.
pub const MEMORY_PAGES_DEFAULT: u32 = 16_384;

/// Computrons that one delivery may use if the vat's options do not say otherwise.
pub const COMPUTRONS_PER_DELIVERY_DEFAULT: u64 = 1_000_000_000;
/// Computrons that birth may use: it runs once per module, at install.
pub const BIRTH_COMPUTRONS_MAX: u64 = 10_000_000_000;

/// Logical stack bytes one delivery may use; see [`crate::prepare::stack`](crate::prepare).
pub const STACK_BYTES_MAX: u32 = 4 << 20;
/// Native stack bytes behind [`STACK_BYTES_MAX`]: a logical byte stands for at most 16 native ones.
pub(crate) const NATIVE_STACK_BYTES: usize = 16 * STACK_BYTES_MAX as usize + (4 << 20);
/// What a thread needs below the frame that calls into a vat: the native stack plus room for the host's own frames.
pub(crate) const THREAD_STACK_NEEDED: usize = NATIVE_STACK_BYTES + (2 << 20);
