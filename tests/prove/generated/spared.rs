//! What the interpreter is spared, so that it can be trusted with the rest: two bugs of wasmi 2.0.0.
//!
//! ```text
//!   local.get, i32.eqz, select     the comparison is fused away, and what it compared is never loaded
//!                                  ──► an `and` with 1 between the two, which changes no result of a comparison
//!   v128.store16_lane offset=100000   the instruction behind it is read from the wrong place, and the process dies
//!                                  ──► extract_lane, then a plain store
//! ```
//!
//! Only what the interpreter runs is changed, never what our engine runs.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, Function, Instruction, Module};
use wasmparser::{FunctionBody, Operator, Parser};

/// The module without what the interpreter gets wrong.
pub(crate) fn spared(wasm: &[u8]) -> Vec<u8> {
    let mut module = Module::new();
    Spared.parse_core_module(&mut module, Parser::new(0), wasm).expect("an accepted module");
    module.finish()
}

struct Spared;

impl Reencode for Spared {
    type Error = Infallible;

    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Result<(), Error> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let mut is_comparison = false;
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            if is_comparison && matches!(operator, Operator::Select | Operator::TypedSelect { .. }) {
                function.instruction(&Instruction::I32Const(1)).instruction(&Instruction::I32And);
            }
            is_comparison = matches!(operator, Operator::I32Eqz | Operator::I32Eq | Operator::I32Ne);
            self.operator(&mut function, operator)?;
        }
        code.function(&function);
        Ok(())
    }
}

impl Spared {
    fn operator(&mut self, function: &mut Function, operator: Operator<'_>) -> Result<(), Error> {
        match operator {
            Operator::V128Store8Lane { memarg, lane } => {
                let store = Instruction::I32Store8(self.mem_arg(memarg)?);
                function.instruction(&Instruction::I8x16ExtractLaneU(lane)).instruction(&store);
            }
            Operator::V128Store16Lane { memarg, lane } => {
                let store = Instruction::I32Store16(self.mem_arg(memarg)?);
                function.instruction(&Instruction::I16x8ExtractLaneU(lane)).instruction(&store);
            }
            operator => drop(function.instruction(&self.instruction(operator)?)),
        }
        Ok(())
    }
}
