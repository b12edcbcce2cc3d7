//! Calling any export of an instance, which no vat's host does: for proofs of the engine, behind the feature `prove`.
//!
//! A vat is spoken to by deliveries only. The WebAssembly specification's tests call functions under names of their own, with
//! numbers and references; this is how they do it on a module that was prepared, born, captured and restored like any
//! other. The rules are those of a delivery: computrons, logical stack, one gate for faults, and a spent instance after one.
//! There is no crank, so a guest that calls the host is stopped, as it is during birth.

use vat_abi::VatFault;
use wasmtime::{Extern, Ref, Val};

use super::{VatInstance, with_native_stack};
use crate::error::Error;
use crate::globals::GlobalValue;
use crate::host::CrankContext;

/// What goes into a call, or comes out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallValue {
    /// A number or a vector.
    Number(GlobalValue),
    /// The null reference to a function.
    NullFunction,
    /// A reference to some function. It means nothing outside the instance that it came from, so it cannot be an argument.
    Function,
}

impl CallValue {
    fn from_val(value: &Val) -> Option<CallValue> {
        match value {
            Val::FuncRef(None) => Some(CallValue::NullFunction),
            Val::FuncRef(Some(_)) => Some(CallValue::Function),
            number => GlobalValue::from_val(number).map(CallValue::Number),
        }
    }

    fn to_val(self) -> Option<Val> {
        match self {
            CallValue::Number(number) => Some(number.to_val()),
            CallValue::NullFunction => Some(Ref::Func(None).into()),
            CallValue::Function => None,
        }
    }
}

impl VatInstance {
    /// Calls the function that the module exports as `export`. The outer error is the host's, the inner one the guest's
    /// fault; the instance is spent after either.
    ///
    /// # Errors
    /// If there is no such function, it does not take these arguments, or the instance is spent.
    pub fn call(
        &mut self,
        export: &str,
        arguments: &[CallValue],
        computrons_max: u64,
    ) -> Result<Result<Vec<CallValue>, VatFault>, Error> {
        if self.spent {
            return Err(Error::Spent);
        }
        let function = self
            .instance
            .get_func(&mut self.store, export)
            .ok_or_else(|| failed(export, "the module exports no such function"))?;
        let arguments: Option<Vec<Val>> = arguments.iter().map(|argument| argument.to_val()).collect();
        let arguments = arguments.ok_or_else(|| failed(export, "a function cannot be an argument"))?;
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        self.spent = true; // Until it is known that it returned.
        self.enter(&CrankContext { time_ns: 0, seed: [0; 32], computrons_max })?;
        if let Err(error) = with_native_stack(|| function.call(&mut self.store, &arguments, &mut results)) {
            return self.ending(&error, None).classify().map(Err);
        }
        let results: Option<Vec<CallValue>> = results.iter().map(CallValue::from_val).collect();
        let results = results.ok_or_else(|| failed(export, "it returned what no accepted module can"))?;
        self.store.data_mut().wasi = None;
        self.spent = false;
        Ok(Ok(results))
    }

    /// The value of the global that the module exports as `export`; `None` if there is no such global.
    pub fn exported_global(&mut self, export: &str) -> Option<CallValue> {
        let Some(Extern::Global(global)) = self.instance.get_export(&mut self.store, export) else {
            return None;
        };
        CallValue::from_val(&global.get(&mut self.store))
    }
}

fn failed(export: &str, why: &str) -> Error {
    Error::Engine { what: "call an export", reason: format!("`{export}`: {why}") }
}
