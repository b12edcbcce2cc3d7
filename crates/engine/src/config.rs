//! The one place that decides how wasm is executed.
//!
//! Everything that could make two hosts disagree is set here explicitly, whatever the engine's defaults are or become:
//! metering, float bits, features, stack. [`RULES_VERSION`] names the whole of it (with the rewrite of
//! [`crate::prepare`]) and is recorded beside what depends on it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use vat_image::RestoreMethod;
use wasmtime::{
    Config, ModuleVersionStrategy, OperatorCost, OptLevel, RegallocAlgorithm, Strategy, WasmFeatures,
};

use crate::limits::NATIVE_STACK_BYTES;

/// The version of the rules that decide a delivery's result: accepted features, rewrite, computron table, limits.
///
/// A change of any of them is a new version. It is part of the key of cached code.
pub const RULES_VERSION: u32 = 1;

/// Address space reserved for each memory: all that a 32-bit address reaches, so that no access needs a bounds check.
pub(crate) const RESERVED_BYTES: u64 = 4 << 30;
/// Inaccessible bytes behind each memory, which catch the constant offsets of loads and stores.
pub(crate) const GUARD_BYTES: u64 = 32 << 20;

/// How an [`Engine`](crate::Engine) is set up. None of this can influence what a vat computes.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Where compiled code is kept between runs; `None` keeps it in memory only. The directory is made private.
    pub code_cache: Option<PathBuf>,
    /// Bytes of compiled code kept in memory beyond what vats in use hold.
    pub code_bytes_max: usize,
    /// How a heap image gets into memory.
    pub restore: RestoreMethod,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig { code_cache: None, code_bytes_max: 512 << 20, restore: RestoreMethod::Map }
    }
}

/// The features a module may use: what compilers emit, less everything that cannot be captured or is not deterministic.
pub(crate) fn features() -> wasmparser::WasmFeatures {
    use wasmparser::WasmFeatures as F;
    F::MUTABLE_GLOBAL
        | F::SATURATING_FLOAT_TO_INT
        | F::SIGN_EXTENSION
        | F::REFERENCE_TYPES
        | F::MULTI_VALUE
        | F::BULK_MEMORY
        | F::SIMD
        | F::FLOATS
        | F::EXTENDED_CONST
}

/// Builds the `Config`; the only function that does.
pub(crate) fn wasmtime_config(memories: Arc<dyn wasmtime::MemoryCreator>) -> Config {
    let mut config = Config::new();
    config.strategy(Strategy::Cranelift).cranelift_opt_level(OptLevel::Speed);
    config.cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking);
    config.parallel_compilation(true);

    // Metering: fuel by our table. Epochs would depend on a clock.
    config.consume_fuel(true).operator_cost(operator_cost()).epoch_interruption(false);

    // Float bits: one NaN.
    config.cranelift_nan_canonicalization(true);
    config.wasm_relaxed_simd(false).relaxed_simd_deterministic(true);

    // Features: exactly those of `features`, each said here.
    config.wasm_features(WasmFeatures::all(), false);
    config.wasm_features(WasmFeatures::from_bits_truncate(features().bits()), true);

    // Stack: `prepare` counts logical depth and traps long before this limit.
    // The second setting is for stacks that are not used here, and may not be smaller than the first.
    config.max_wasm_stack(NATIVE_STACK_BYTES).async_stack_size(NATIVE_STACK_BYTES);

    // Memory: our ranges, which never move. `memory_init_cow` panics with a creator of one's own (wasmtime #10740),
    // and there is nothing left for it to do: `prepare` leaves no active data segment.
    config.with_host_memory(memories).memory_init_cow(false);
    config.memory_reservation(RESERVED_BYTES).memory_guard_size(GUARD_BYTES).memory_may_move(false);
    config.signals_based_traps(true);

    // A trap's backtrace goes to the log only, and is kept short.
    config.wasm_backtrace_max_frames(NonZeroUsize::new(16));
    config.native_unwind_info(false);
    config
        .module_version(ModuleVersionStrategy::Custom(format!("vat-rules-{RULES_VERSION}")))
        .expect("the version string is short");
    config
}

/// The computron table: one for each instruction (as [`OperatorCost::new`] has it, pinned by a golden test), and by
/// length for what one instruction can do to many bytes.
pub(crate) fn operator_cost() -> OperatorCost {
    let mut cost = OperatorCost::new();
    cost.variable.memory_copy_per_byte = 1;
    cost.variable.memory_fill_per_byte = 1;
    cost.variable.memory_init_per_byte = 1;
    cost.variable.memory_grow_per_page = 128;
    cost
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table as text. Whatever changes a single entry changes every vat's computrons: then this fails, and the
    /// answer is a new `RULES_VERSION`, not a new hash.
    #[test]
    fn the_computron_table_is_pinned() {
        let table = format!("{:?}", operator_cost());
        let hash = blake3::hash(table.as_bytes()).to_hex();
        expect_test::expect!["3a540bf8cb915d821b97af1a75d84a11caef39df85835c8029e05801b3cc3020"]
            .assert_eq(&hash);
    }

    /// Every proposal that the validator knows, and whether a vat may use it. Whoever upgrades the validator and finds a new one here
    /// says which; until then it is not among the features.
    #[test]
    fn every_proposal_that_the_validator_knows_has_an_answer() {
        let names =
            |set: wasmparser::WasmFeatures| set.iter_names().map(|(name, _)| name).collect::<Vec<_>>();
        let accepted = names(features()).join(" ");
        expect_test::expect!["MUTABLE_GLOBAL SATURATING_FLOAT_TO_INT SIGN_EXTENSION REFERENCE_TYPES MULTI_VALUE BULK_MEMORY SIMD FLOATS EXTENDED_CONST"].assert_eq(&accepted);
        let refused = names(wasmparser::WasmFeatures::all().difference(features())).join(" ");
        expect_test::expect!["RELAXED_SIMD THREADS SHARED_EVERYTHING_THREADS TAIL_CALL MULTI_MEMORY EXCEPTIONS MEMORY64 COMPONENT_MODEL FUNCTION_REFERENCES MEMORY_CONTROL GC CUSTOM_PAGE_SIZES LEGACY_EXCEPTIONS GC_TYPES STACK_SWITCHING WIDE_ARITHMETIC CM_VALUES CM_NESTED_NAMES CM_ASYNC CM_ASYNC_STACKFUL CM_MORE_ASYNC_BUILTINS CM_THREADING CM_ERROR_CONTEXT CM_FIXED_LENGTH_LISTS CM_GC CUSTOM_DESCRIPTORS COMPACT_IMPORTS CM_MAP CM64 CM_IMPLEMENTS CM_CANON_NAMES"].assert_eq(&refused);
    }

    #[test]
    fn features_are_the_same_for_validator_and_engine() {
        let engine = WasmFeatures::from_bits_truncate(features().bits());
        assert_eq!(engine.bits(), features().bits());
    }
}
