//! Where modules come from: one seed, one module, of one of five origins.
//!
//! ```text
//!   repaired    wasm-smith, in the shape that vats may have; what it cannot be told to leave out is rewritten   6 of 12
//!   untouched   the same, as it is: most are refused                                                            1 of 12
//!   foreign     repaired but for one feature that no vat may have                                               1 of 12
//!   pieces      text written by hand, a random part of it: every kind of state                                  3 of 12
//!   forbidden   text written by hand, with state that cannot be captured: all are refused                       1 of 12
//! ```
//!
//! Some run under a limit of their own (a global that counts down), the others under that of computrons only. Nothing here
//! knows what is accepted: that is for `prepare` to say.

use arbitrary::Unstructured;
use vat_measure::Random;
use wasm_smith::{Config, Module};

use super::pieces;
use super::repairs::Repair;
use super::vat::{Limit, Shape, vat_of};

/// Wasm pages a generated memory has at the beginning, at most.
const MEMORY_PAGES: u64 = 8;
/// How often another stream of numbers is tried where wasm-smith cannot make a module of one.
const TRIES: usize = 8;
/// What a generated module may import besides what every vat does.
const IMPORTS: &str = r#"(module
  (import "vat" "log" (func (param i32 i32 i32)))
  (import "vat" "fail" (func (param i32 i32)))
  (import "vat" "delivery_read" (func (param i32)))
  (import "vat" "syscall" (func (param i32 i32) (result i32))))"#;

/// How a module came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// wasm-smith, repaired.
    Repaired,
    /// wasm-smith, as it is.
    Untouched,
    /// wasm-smith with a feature that no vat may have, repaired otherwise.
    Foreign(Feature),
    /// By hand.
    Pieces,
    /// By hand, with state that cannot be captured.
    Forbidden,
}

/// A feature that no vat may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Feature {
    TailCalls,
    Threads,
    RelaxedSimd,
    Memory64,
    ManyMemories,
    Exceptions,
    Gc,
    WideArithmetic,
    PageSizes,
}

impl Feature {
    const ALL: [Feature; 9] = [
        Feature::TailCalls,
        Feature::Threads,
        Feature::RelaxedSimd,
        Feature::Memory64,
        Feature::ManyMemories,
        Feature::Exceptions,
        Feature::Gc,
        Feature::WideArithmetic,
        Feature::PageSizes,
    ];

    fn add_to(self, config: &mut Config) {
        config.reference_types_enabled = true;
        match self {
            Feature::TailCalls => config.tail_call_enabled = true,
            Feature::Threads => {
                config.threads_enabled = true;
                config.memory_max_size_required = true;
            }
            Feature::RelaxedSimd => {
                config.simd_enabled = true;
                config.relaxed_simd_enabled = true;
            }
            Feature::Memory64 => config.memory64_enabled = true,
            Feature::ManyMemories => config.max_memories = 3,
            Feature::Exceptions => config.exceptions_enabled = true,
            Feature::Gc => config.gc_enabled = true,
            Feature::WideArithmetic => config.wide_arithmetic_enabled = true,
            Feature::PageSizes => config.custom_page_sizes_enabled = true,
        }
    }
}

/// A module under test.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) seed: u64,
    pub(crate) origin: Origin,
    /// What is installed: a vat, if it is accepted.
    pub(crate) wasm: Vec<u8>,
}

impl Subject {
    /// The module of a seed.
    pub(crate) fn new(seed: u64) -> Subject {
        let mut random = Random::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let origin = match below(&mut random, 12) {
            0..3 => Origin::Pieces,
            3 => Origin::Forbidden,
            4 => Origin::Untouched,
            5 => Origin::Foreign(pick(&mut random, &Feature::ALL)),
            _ => Origin::Repaired,
        };
        let repair = match origin {
            Origin::Forbidden | Origin::Foreign(Feature::Gc) => Repair::Nothing,
            Origin::Repaired | Origin::Pieces | Origin::Foreign(_) => Repair::All,
            Origin::Untouched => pick(&mut random, &[Repair::Nothing, Repair::Types, Repair::Types]),
        };
        let (module, limit) = match origin {
            Origin::Pieces => (pieces::module(&mut random), Limit::Computrons),
            Origin::Forbidden => (pieces::forbidden(&mut random), Limit::Computrons),
            Origin::Repaired | Origin::Untouched => smith(&mut random, |_| {}),
            Origin::Foreign(feature) => smith(&mut random, |config| feature.add_to(config)),
        };
        let storage = below(&mut random, 2) == 0;
        let calls = pick(&mut random, &[1, 1, 2]);
        let fill = !matches!(origin, Origin::Pieces | Origin::Forbidden);
        let shape = Shape { repair, limit, storage, calls, fill };
        let wasm = vat_of(&module, shape, &mut random).expect("what was generated is well formed");
        Subject { seed, origin, wasm }
    }

    /// What the vat is told at its `n`th delivery: text of changing length, different for every seed and delivery.
    pub(crate) fn words(&self, n: usize) -> (u64, String) {
        let mut random = Random::new(self.seed ^ (n as u64 + 1).wrapping_mul(0x9e6c_63d0_876a_46ad));
        let padding = usize::try_from(below(&mut random, 40)).expect("a small number");
        (random.bits(), "y".repeat(padding))
    }
}

/// A number below `bound`.
pub(crate) fn below(random: &mut Random, bound: u64) -> u64 {
    random.bits() % bound
}

/// One of them.
pub(crate) fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    let index = below(random, choices.len() as u64);
    choices[usize::try_from(index).expect("an index")]
}

/// A module of wasm-smith, and what ends its loops.
fn smith(random: &mut Random, adjust: impl Fn(&mut Config)) -> (Vec<u8>, Limit) {
    let countdown = match below(random, 3) {
        0 => None,
        _ => Some(u32::try_from(pick(random, &[300_u64, 3_000, 10_000])).expect("a small number")),
    };
    for _ in 0..TRIES {
        let mut config = config(random);
        // A start function runs at birth, where no allowance is small: it must end by itself.
        config.allow_start_export = countdown.is_some();
        adjust(&mut config);
        let bytes = bytes(random);
        let Ok(mut module) = Module::new(config, &mut Unstructured::new(&bytes)) else { continue };
        let limit = match countdown {
            None => Limit::Computrons,
            Some(amount) => {
                let global = module.ensure_termination(amount).expect("all functions were generated");
                Limit::Countdown { global, amount }
            }
        };
        return (module.to_bytes(), limit);
    }
    panic!("wasm-smith made no module in {TRIES} tries");
}

fn bytes(random: &mut Random) -> Vec<u8> {
    let words = pick(random, &[128_u64, 512, 1_024]);
    (0..words).flat_map(|_| random.bits().to_le_bytes()).collect()
}

/// A shape that vats may have, as far as wasm-smith can be told.
fn config(random: &mut Random) -> Config {
    let references = below(random, 2) == 0;
    let imports = below(random, 6) == 0;
    Config {
        available_imports: imports.then(|| wat::parse_str(IMPORTS).expect("it is well formed")),
        max_imports: if imports { 4 } else { 0 },
        disallow_traps: below(random, 4) != 0,
        allow_floats: below(random, 8) != 0,
        simd_enabled: below(random, 2) == 0,
        reference_types_enabled: references,
        min_types: 3,
        max_types: 10,
        max_type_size: 60,
        min_funcs: 3,
        max_funcs: 14,
        max_instructions: usize::try_from(pick(random, &[40_u64, 120, 300])).expect("a small number"),
        min_globals: 2,
        max_globals: 12,
        min_exports: 1,
        max_exports: 10,
        min_memories: u32::from(below(random, 8) != 0),
        max_memories: 1,
        max_memory32_bytes: MEMORY_PAGES << 16,
        max_memory64_bytes: u128::from(MEMORY_PAGES << 16),
        memory_max_size_required: below(random, 4) == 0,
        max_tables: if references { 3 } else { 1 },
        max_table_elements: 40,
        max_data_segments: 6,
        max_element_segments: 4,
        max_elements: 16,
        tail_call_enabled: false,
        threads_enabled: false,
        relaxed_simd_enabled: false,
        memory64_enabled: false,
        exceptions_enabled: false,
        gc_enabled: false,
        wide_arithmetic_enabled: false,
        compact_imports_enabled: false,
        custom_page_sizes_enabled: false,
        ..Config::default()
    }
}
