//! The survey: one validating pass over a module, which refuses it or learns what the rewrite needs.
//!
//! Validation is our own (`wasmparser` with the features of [`crate::config`]), so that an engine's upgrade cannot begin to
//! accept anything. The survey changes nothing.

use wasmparser::{
    BlockType, ExternalKind, FuncToValidate, FunctionBody, Operator, Parser, Payload, TypeRef, ValType,
    ValidPayload, Validator, ValidatorResources,
};

use super::RESERVED_PREFIX;
use super::flow::{Arity, Flow};
use super::names::FunctionNames;
use super::stack::Frame;
use crate::config::features;
use crate::error::Refusal;
use crate::limits;

/// The imports of module `vat`: name, number of `i32` parameters, whether it returns an `i32`.
pub(crate) const VAT_IMPORTS: [(&str, usize, bool); 5] = [
    ("delivery_read", 1, false),
    ("syscall", 2, true),
    ("result_read", 1, false),
    ("log", 3, false),
    ("fail", 2, false),
];
/// The import module that WASI modules use.
pub(crate) const WASI_MODULE: &str = "wasi_snapshot_preview1";

const ALLOWED_IMPORTS: &str =
    "delivery_read, syscall, result_read, log and fail from `vat`, and what `wasi_snapshot_preview1` has";

/// What the rewrite needs to know.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) imported_functions: u32,
    /// Parameters and results of each type.
    pub(crate) types: Vec<(Vec<ValType>, Vec<ValType>)>,
    /// Type of each defined function.
    pub(crate) functions: Vec<u32>,
    /// Frame of each defined function.
    pub(crate) frames: Vec<Frame>,
    /// Type and mutability of each global.
    pub(crate) globals: Vec<(ValType, bool)>,
    pub(crate) start: Option<u32>,
    /// For each data segment, whether it is active.
    pub(crate) data_is_active: Vec<bool>,
    pub(crate) memory_pages_min: u64,
    pub(crate) wasi: bool,
    pub(crate) initialize: bool,
    memories: u32,
    exports_memory: bool,
    deliver: Option<u32>,
    initialize_function: Option<u32>,
}

impl Survey {
    /// Index and type of each mutable global.
    pub(crate) fn mutable_globals(&self) -> impl Iterator<Item = (usize, ValType)> + '_ {
        self.globals.iter().enumerate().filter(|(_, (_, mutable))| *mutable).map(|(i, (ty, _))| (i, *ty))
    }

    /// Of a block of a valid function.
    fn arity(&self, ty: BlockType) -> Arity {
        match ty {
            BlockType::Empty => (0, 0),
            BlockType::Type(_) => (0, 1),
            BlockType::FuncType(ty) => {
                let values = self.types.get(ty as usize);
                values.map_or((0, 0), |(params, results)| (params.len() as u64, results.len() as u64))
            }
        }
    }

    fn signature(&self, function: u32) -> Option<&(Vec<ValType>, Vec<ValType>)> {
        let defined = function.checked_sub(self.imported_functions)?;
        self.types.get(*self.functions.get(defined as usize)? as usize)
    }
}

/// Surveys `bytes`.
pub(crate) fn survey(bytes: &[u8]) -> Result<Survey, Refusal> {
    limit("bytes", bytes.len() as u64, limits::MODULE_BYTES_MAX as u64)?;
    check_preamble(bytes)?;
    let names = FunctionNames::read(bytes);
    let mut surveyor =
        Surveyor { validator: Validator::new_with_features(features()), survey: Survey::default(), names };
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|e| surveyor.invalid(e, None))?;
        surveyor.payload(&payload)?;
    }
    surveyor.finish()
}

/// Tells the three things that are most often handed over instead of a module.
fn check_preamble(bytes: &[u8]) -> Result<(), Refusal> {
    let invalid = |reason: &str, hint| {
        Err(Refusal::Invalid { function: None, reason: reason.to_owned(), offset: 0, hint: Some(hint) })
    };
    if !bytes.starts_with(b"\0asm") {
        return invalid("it does not begin with the wasm magic number", "give a .wasm or .wat file");
    }
    match bytes.get(4..8) {
        Some([1, 0, 0, 0]) => Ok(()),
        Some([_, 0, 1, 0]) => invalid(
            "it is a component, not a core module",
            "build for wasm32-unknown-unknown or wasm32-wasip1",
        ),
        Some(_) => invalid("its version is unknown", "build it as a core module of version 1"),
        None => invalid("it ends within the header", "the file is truncated: build or copy it again"),
    }
}

struct Surveyor {
    validator: Validator,
    survey: Survey,
    names: FunctionNames,
}

impl Surveyor {
    fn payload(&mut self, payload: &Payload<'_>) -> Result<(), Refusal> {
        let valid = self.validator.payload(payload).map_err(|e| self.invalid(e, None))?;
        if let ValidPayload::Func(function, body) = valid {
            return self.function(function, &body);
        }
        match payload {
            Payload::TypeSection(section) => {
                limit("types", section.count().into(), limits::TYPES_MAX.into())?;
                for group in section.clone().into_iter_err_on_gc_types() {
                    let ty = group.map_err(|e| self.invalid(e, None))?;
                    let values = ty.params().len() + ty.results().len();
                    limit(
                        "parameters and results in one type",
                        values as u64,
                        limits::SIGNATURE_VALUES_MAX as u64,
                    )?;
                    self.survey.types.push((ty.params().to_vec(), ty.results().to_vec()));
                }
            }
            Payload::ImportSection(section) => {
                limit("imports", section.count().into(), limits::IMPORTS_MAX.into())?;
                for import in section.clone().into_imports() {
                    let import = import.map_err(|e| self.invalid(e, None))?;
                    self.import(import.module, import.name, import.ty)?;
                }
            }
            Payload::FunctionSection(section) => {
                limit("functions", section.count().into(), limits::FUNCTIONS_MAX.into())?;
                for ty in section.clone() {
                    self.survey.functions.push(ty.map_err(|e| self.invalid(e, None))?);
                }
            }
            Payload::TableSection(section) => {
                limit("tables", section.count().into(), limits::TABLES_MAX.into())?;
                let mut elements = 0u64;
                for table in section.clone() {
                    elements = elements.saturating_add(table.map_err(|e| self.invalid(e, None))?.ty.initial);
                }
                limit("table elements", elements, limits::TABLE_ELEMENTS_MAX)?;
            }
            Payload::MemorySection(section) => {
                for memory in section.clone() {
                    self.survey.memory_pages_min = memory.map_err(|e| self.invalid(e, None))?.initial;
                    self.survey.memories += 1;
                }
            }
            Payload::GlobalSection(section) => {
                limit("globals", section.count().into(), limits::GLOBALS_MAX.into())?;
                for global in section.clone() {
                    let ty = global.map_err(|e| self.invalid(e, None))?.ty;
                    self.global(ty.content_type, ty.mutable)?;
                }
            }
            Payload::ExportSection(section) => {
                limit("exports", section.count().into(), limits::EXPORTS_MAX.into())?;
                for export in section.clone() {
                    let export = export.map_err(|e| self.invalid(e, None))?;
                    self.export(export.name, export.kind, export.index)?;
                }
            }
            Payload::StartSection { func, .. } => self.survey.start = Some(*func),
            Payload::ElementSection(section) => {
                limit("element segments", section.count().into(), limits::ELEMENT_SEGMENTS_MAX.into())?;
            }
            Payload::DataSection(section) => {
                limit("data segments", section.count().into(), limits::DATA_SEGMENTS_MAX.into())?;
                for data in section.clone() {
                    let kind = data.map_err(|e| self.invalid(e, None))?.kind;
                    self.survey.data_is_active.push(matches!(kind, wasmparser::DataKind::Active { .. }));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, module: &str, name: &str, ty: TypeRef) -> Result<(), Refusal> {
        let refuse = |detail: String| {
            Err(Refusal::Import {
                module: module.to_owned(),
                name: name.to_owned(),
                detail,
                allowed: ALLOWED_IMPORTS,
            })
        };
        let TypeRef::Func(ty) = ty else {
            return refuse(format!(" as a {}", kind_name(ty)));
        };
        let (params, results) = &self.survey.types[ty as usize];
        match module {
            "vat" => {
                let Some((_, arity, returns)) = VAT_IMPORTS.iter().find(|(known, ..)| *known == name) else {
                    return refuse(String::new());
                };
                let expected = (vec![ValType::I32; *arity], vec![ValType::I32; usize::from(*returns)]);
                if (params, results) != (&expected.0, &expected.1) {
                    return refuse(format!(
                        " as {}, which has the type {}",
                        signature(params, results),
                        signature(&expected.0, &expected.1)
                    ));
                }
            }
            WASI_MODULE if crate::wasi::is_known(name) => self.survey.wasi = true,
            _ => return refuse(String::new()),
        }
        self.survey.imported_functions += 1;
        Ok(())
    }

    fn global(&mut self, ty: ValType, mutable: bool) -> Result<(), Refusal> {
        if mutable && ty.is_reference_type() {
            return Err(Refusal::Declaration {
                what: format!("global {} as a mutable {ty}", self.survey.globals.len()),
                why: "a reference cannot be saved in a snapshot; keep an index into a table instead",
            });
        }
        self.survey.globals.push((ty, mutable));
        Ok(())
    }

    fn export(&mut self, name: &str, kind: ExternalKind, index: u32) -> Result<(), Refusal> {
        if name.starts_with(RESERVED_PREFIX) {
            return Err(Refusal::Export {
                what: format!("exports `{name}`"),
                fix: "names that begin with `vat:` are reserved for the host: rename it",
            });
        }
        match (name, kind) {
            ("memory", ExternalKind::Memory) => self.survey.exports_memory = true,
            ("vat_deliver", ExternalKind::Func) => self.survey.deliver = Some(index),
            ("_initialize", ExternalKind::Func) => self.survey.initialize_function = Some(index),
            _ => {}
        }
        Ok(())
    }

    fn function(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<(), Refusal> {
        let index = function.index;
        let name = || Some(self.names.display(index));
        let size = body.range().len();
        limit_in("bytes of code", size as u64, limits::FUNCTION_BYTES_MAX as u64, name)?;

        let mut validator = function.into_validator(Default::default());
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader).map_err(|e| self.invalid(e, Some(index)))?;
        let mut frame = Frame { locals: validator.len_locals(), ..Frame::default() };
        limit_in("locals", frame.locals.into(), limits::LOCALS_MAX.into(), name)?;
        let mut flow = Flow::new(frame.locals);
        let mut reader = wasmparser::OperatorsReader::new(reader);
        while !reader.eof() {
            let offset = reader.original_position();
            let operator = reader.read().map_err(|e| self.invalid(e, Some(index)))?;
            validator.op(offset, &operator).map_err(|e| self.refuse_or_invalid(&operator, e, index))?;
            self.check_operator(&operator, index)?;
            flow.step(&operator, |ty| self.survey.arity(ty));
            limit_in("loops within each other", flow.loops(), limits::LOOPS_NESTED_MAX, name)?;
            if matches!(operator, Operator::End) {
                limit_in("locals carried by loops", flow.carried(), limits::CARRIED_MAX, name)?;
                limit_in("values passed along by branches", flow.passed(), limits::PASSED_MAX, name)?;
            }
            frame.instructions += 1;
            frame.operands = frame.operands.max(validator.operand_stack_height());
            frame.calls |= matches!(operator, Operator::Call { .. } | Operator::CallIndirect { .. });
            limit_in(
                "nested blocks",
                validator.control_stack_height().into(),
                limits::NESTING_MAX as u64,
                name,
            )?;
        }
        reader.finish().map_err(|e| self.invalid(e, Some(index)))?;
        limit_in("blocks times locals", flow.spread(), limits::SPREAD_MAX, name)?;
        limit_in("values on the stack", frame.operands.into(), limits::OPERANDS_MAX.into(), name)?;
        self.survey.frames.push(frame);
        Ok(())
    }

    /// The refused instructions that validation alone lets pass.
    fn check_operator(&self, operator: &Operator<'_>, function: u32) -> Result<(), Refusal> {
        const TABLE: &str = "a table that changes cannot be captured; build without it (compilers fill tables with element segments)";
        const DROP: &str = "which segments are dropped cannot be captured; leave the segment in place";
        let (instruction, why) = match operator {
            Operator::TableSet { .. } => ("table.set", TABLE),
            Operator::TableInit { .. } => ("table.init", TABLE),
            Operator::TableCopy { .. } => ("table.copy", TABLE),
            Operator::TableFill { .. } => ("table.fill", TABLE),
            Operator::TableGrow { .. } => ("table.grow", TABLE),
            Operator::DataDrop { .. } => ("data.drop", DROP),
            Operator::ElemDrop { .. } => ("elem.drop", DROP),
            _ => return Ok(()),
        };
        Err(Refusal::Instruction {
            instruction: instruction.to_owned(),
            function: Some(self.names.display(function)),
            why,
        })
    }

    /// An instruction of a feature that is off is named as such; anything else is invalid.
    fn refuse_or_invalid(
        &self,
        operator: &Operator<'_>,
        error: wasmparser::BinaryReaderError,
        function: u32,
    ) -> Refusal {
        if error.message().contains("support is not enabled") || error.message().contains("must be enabled") {
            return Refusal::Instruction {
                instruction: operator_name(operator),
                function: Some(self.names.display(function)),
                why: feature_advice(error.message()),
            };
        }
        self.invalid(error, Some(function))
    }

    fn invalid(&self, error: wasmparser::BinaryReaderError, function: Option<u32>) -> Refusal {
        let reason = error.message().to_owned();
        let hint = if reason.contains("unexpected end") || reason.contains("unexpected-eof") {
            Some("the file is truncated: build or copy it again")
        } else {
            known_feature_advice(&reason)
        };
        Refusal::Invalid {
            function: function.map(|f| self.names.display(f)),
            reason,
            offset: error.offset(),
            hint,
        }
    }

    fn finish(mut self) -> Result<Survey, Refusal> {
        let survey = &mut self.survey;
        if survey.memories == 0 || !survey.exports_memory {
            return Err(Refusal::Export {
                what: "exports no memory called `memory`".to_owned(),
                fix: "a vat must define one memory and export it under that name",
            });
        }
        let Some(deliver) = survey.deliver else {
            return Err(Refusal::Export {
                what: "exports no function called `vat_deliver`".to_owned(),
                fix: "export `vat_deliver(len: i32) -> i32`, as the SDK's attribute does",
            });
        };
        check_signature(survey, "vat_deliver", deliver, &[ValType::I32], &[ValType::I32])?;
        if let Some(initialize) = survey.initialize_function {
            check_signature(survey, "_initialize", initialize, &[], &[])?;
            survey.initialize = true;
        }
        Ok(self.survey)
    }
}

fn check_signature(
    survey: &Survey,
    name: &str,
    function: u32,
    params: &[ValType],
    results: &[ValType],
) -> Result<(), Refusal> {
    let Some((p, r)) = survey.signature(function) else {
        return Err(Refusal::Export {
            what: format!("exports an imported function as `{name}`"),
            fix: "export a function of its own under that name",
        });
    };
    if (p.as_slice(), r.as_slice()) != (params, results) {
        return Err(Refusal::Export {
            what: format!("exports `{name}` as {}", signature(p, r)),
            fix: "the type must be as the ABI reference says: vat_deliver (i32) -> (i32), _initialize () -> ()",
        });
    }
    Ok(())
}

fn limit(what: &'static str, found: u64, limit: u64) -> Result<(), Refusal> {
    limit_in(what, found, limit, || None)
}

fn limit_in(
    what: &'static str,
    found: u64,
    limit: u64,
    function: impl FnOnce() -> Option<String>,
) -> Result<(), Refusal> {
    if found <= limit { Ok(()) } else { Err(Refusal::Limit { what, found, limit, function: function() }) }
}

fn kind_name(ty: TypeRef) -> &'static str {
    match ty {
        TypeRef::Func(_) | TypeRef::FuncExact(_) => "function",
        TypeRef::Table(_) => "table",
        TypeRef::Memory(_) => "memory",
        TypeRef::Global(_) => "global",
        TypeRef::Tag(_) => "tag",
    }
}

fn signature(params: &[ValType], results: &[ValType]) -> String {
    let list = |types: &[ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("({}) -> ({})", list(params), list(results))
}

/// The instruction's name in the text format, made from the name that `wasmparser` gives its visitor.
fn operator_name(operator: &Operator<'_>) -> String {
    macro_rules! visitor_name {
        ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
            match operator {
                $(Operator::$op { .. } => stringify!($visit),)*
                _ => "visit_unknown",
            }
        };
    }
    let name = wasmparser::for_each_operator!(visitor_name).trim_start_matches("visit_");
    const WITH_DOT: [&str; 21] = [
        "i32", "i64", "f32", "f64", "v128", "i8x16", "i16x8", "i32x4", "i64x2", "f32x4", "f64x2", "memory",
        "table", "data", "elem", "ref", "struct", "array", "any", "extern", "atomic",
    ];
    let dotted = match name.split_once('_') {
        Some((first, rest)) if WITH_DOT.contains(&first) => format!("{first}.{rest}"),
        _ => name.to_owned(),
    };
    ["atomic", "rmw", "rmw8", "rmw16", "rmw32"]
        .iter()
        .fold(dotted, |name, part| name.replace(&format!(".{part}_"), &format!(".{part}.")))
}

fn feature_advice(message: &str) -> &'static str {
    known_feature_advice(message).unwrap_or("the feature is not accepted; build without it")
}

/// What to do about a feature that a validator's message speaks of.
fn known_feature_advice(message: &str) -> Option<&'static str> {
    const ADVICE: [(&str, &str); 8] = [
        ("threads", "threads and shared memory are not deterministic; build without atomics"),
        ("shared memor", "threads and shared memory are not deterministic; build without atomics"),
        ("relaxed", "relaxed SIMD differs between processors; build without -mrelaxed-simd"),
        ("gc", "garbage-collected objects and external references cannot be captured; use linear memory"),
        ("exceptions", "exceptions are not accepted; build with panic=abort or -fno-exceptions"),
        ("tail call", "tail calls are not accepted; build without -mtail-call"),
        ("memory64", "64-bit memories are not accepted; build for wasm32"),
        ("multiple memories", "a vat has one memory; build with one"),
    ];
    ADVICE.iter().find(|(words, _)| message.contains(words)).map(|(_, advice)| *advice)
}
