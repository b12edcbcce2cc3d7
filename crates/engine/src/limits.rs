//! The limits of a module and of a vat, each with a name.
//!
//! Those of a module were held against 130 modules that people publish, of 15 MB on average and up to 46: interpreters (Ruby, PHP, QuickJS,
//! Lua), databases (SQLite, DuckDB, PostgreSQL), compilers (esbuild, SWC, Typst, Biome, the Go tool chain's output), image, video and
//! geometry libraries, solvers. In brackets is the most that any of them has, where that is near. Beyond a limit are 7: DuckDB
//! (functions, exports and globals of dynamic linking), GDAL and ONNX (one function of 1.6 MB), SQLite built without optimisation
//! (11.6 million values passed along).
//!
//! They are ours, checked at install, and lower than any limit of the engine below, so that an engine's upgrade or
//! another allocator cannot change which modules are accepted. Lowering one of them is a change of
//! [`RULES_VERSION`](crate::RULES_VERSION); raising one is not.

/// Bytes of a module as it is installed.
pub const MODULE_BYTES_MAX: usize = 64 << 20;
/// Functions a module may define (39,481).
pub const FUNCTIONS_MAX: u32 = 50_000;
/// Function types a module may declare.
pub const TYPES_MAX: u32 = 20_000;
/// Functions a module may import.
pub const IMPORTS_MAX: u32 = 100;
/// Exports a module may have.
pub const EXPORTS_MAX: u32 = 10_000;
/// Globals a module may define (4,479). All of the mutable ones are part of every snapshot.
pub const GLOBALS_MAX: u32 = 5_000;
/// Tables a module may define.
pub const TABLES_MAX: u32 = 16;
/// Elements all tables of a module may hold together.
pub const TABLE_ELEMENTS_MAX: u64 = 100_000;
/// Element segments a module may have.
pub const ELEMENT_SEGMENTS_MAX: u32 = 10_000;
/// Data segments a module may have (98,450).
pub const DATA_SEGMENTS_MAX: u32 = 99_000;
/// Parameters plus results of one function.
pub const SIGNATURE_VALUES_MAX: usize = 1_000;
/// Locals of one function, parameters included.
pub const LOCALS_MAX: u32 = 20_000;
/// Bytes of one function's body (1,008,931). What is as long as that and full of values takes 700 MiB to compile.
pub const FUNCTION_BYTES_MAX: usize = 1 << 20;
/// Blocks nested within each other in one function (3,289, where a jump table has as many targets).
pub const NESTING_MAX: usize = 5_000;
/// Values on the operand stack of one function.
pub const OPERANDS_MAX: u32 = 20_000;

/// Loops of one function that may be within each other (37): what each of them carries is looked for through all around it.
pub const LOOPS_NESTED_MAX: u64 = 200;
/// Locals that the loops of one function may carry, each loop counted with all that are used in it (17,497). What is near this takes
/// hundreds of mebibytes to compile.
pub const CARRIED_MAX: u64 = 40_000;
/// Values that the branches of one function may pass along, each branch counted with all that may change before it (1,389,539).
pub const PASSED_MAX: u64 = 1_500_000;
/// Blocks of one function times the locals that it uses: each of them may be alive in each (4,238,268).
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
