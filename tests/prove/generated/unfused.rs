//! Works around a bug of the interpreter (wasmi 2.0.0), so that it can be trusted with the rest.
//!
//! A `select` whose condition is a comparison of a local with zero reads a register that nothing was written to:
//! the comparison is fused away, and what it compared is not loaded. An `and` with 1 between the two, which changes no result of
//! a comparison, keeps them apart. Only what the interpreter runs is changed, never what our engine runs.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, Instruction, Module};
use wasmparser::{FunctionBody, Operator, Parser};

/// The module with comparisons and selects apart.
pub(crate) fn unfused(wasm: &[u8]) -> Vec<u8> {
    let mut module = Module::new();
    Unfused.parse_core_module(&mut module, Parser::new(0), wasm).expect("an accepted module");
    module.finish()
}

struct Unfused;

impl Reencode for Unfused {
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
            function.instruction(&self.instruction(operator)?);
        }
        code.function(&function);
        Ok(())
    }
}
