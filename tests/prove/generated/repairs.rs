//! What is repaired in a generated module, and how: each repair takes the same operands and leaves the same results, so that a valid
//! module stays valid.
//!
//! Functions move up, since a vat's imports come before them.

use std::collections::BTreeSet;
use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{GlobalType, Instruction, ValType};
use wasmparser::{CompositeInnerType, Operator};

/// By how many places the module's own functions move.
pub(crate) const SHIFT: u32 = 3;

/// How much of what vats may not have is repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Repair {
    Nothing,
    /// External references become references to functions.
    Types,
    /// Instructions and globals, too.
    All,
}

/// The types of one function; `None` where a value cannot be made up.
pub(crate) type Signature = Option<(Vec<ValType>, Vec<ValType>)>;

/// The signature of a function's type, as it is after the repair.
pub(crate) fn signature(ty: &wasmparser::SubType, repair: Repair) -> Signature {
    let CompositeInnerType::Func(ty) = &ty.composite_type.inner else { return None };
    let values = |types: &[wasmparser::ValType]| -> Option<Vec<ValType>> {
        types
            .iter()
            .map(|ty| match ty {
                wasmparser::ValType::I32 => Some(ValType::I32),
                wasmparser::ValType::I64 => Some(ValType::I64),
                wasmparser::ValType::F32 => Some(ValType::F32),
                wasmparser::ValType::F64 => Some(ValType::F64),
                wasmparser::ValType::V128 => Some(ValType::V128),
                ty if *ty == wasmparser::ValType::FUNCREF => Some(ValType::FUNCREF),
                ty if *ty == wasmparser::ValType::EXTERNREF && repair > Repair::Nothing => {
                    Some(ValType::FUNCREF)
                }
                ty if *ty == wasmparser::ValType::EXTERNREF => Some(ValType::EXTERNREF),
                wasmparser::ValType::Ref(_) => None,
            })
            .collect()
    };
    Some((values(ty.params())?, values(ty.results())?))
}

/// Moves functions to their new places, and repairs.
pub(crate) struct Repairs {
    repair: Repair,
    /// Globals that hold references.
    pub(crate) reference_globals: BTreeSet<u32>,
}

impl Repairs {
    pub(crate) fn new(repair: Repair) -> Repairs {
        Repairs { repair, reference_globals: BTreeSet::new() }
    }

    /// What stands for an instruction that vats may not have.
    pub(crate) fn instead(&self, operator: &Operator<'_>) -> Option<&'static [Instruction<'static>]> {
        const DROP: Instruction<'static> = Instruction::Drop;
        if self.repair < Repair::All {
            return None;
        }
        Some(match operator {
            Operator::TableSet { .. } => &[DROP, DROP],
            Operator::TableInit { .. } | Operator::TableCopy { .. } | Operator::TableFill { .. } => {
                &[DROP, DROP, DROP]
            }
            Operator::TableGrow { .. } => &[DROP, DROP, Instruction::I32Const(-1)],
            Operator::DataDrop { .. } | Operator::ElemDrop { .. } => &[],
            Operator::GlobalSet { global_index } if self.reference_globals.contains(global_index) => &[DROP],
            _ => return None,
        })
    }
}

impl Reencode for Repairs {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        Ok(function + SHIFT)
    }

    fn abstract_heap_type(
        &mut self,
        value: wasmparser::AbstractHeapType,
    ) -> Result<wasm_encoder::AbstractHeapType, Error> {
        let value = match value {
            wasmparser::AbstractHeapType::Extern if self.repair > Repair::Nothing => {
                wasmparser::AbstractHeapType::Func
            }
            other => other,
        };
        Ok(wasm_encoder::reencode::utils::abstract_heap_type(self, value))
    }

    fn global_type(&mut self, mut ty: wasmparser::GlobalType) -> Result<GlobalType, Error> {
        if self.repair == Repair::All && ty.content_type.is_reference_type() {
            ty.mutable = false;
        }
        wasm_encoder::reencode::utils::global_type(self, ty)
    }
}
