//! Makes a vat of any module: what a vat must have is added, and what it may not have is repaired.
//!
//! ```text
//!   module ──►  imports of `vat`  +  its own, functions shifted   repaired: table.set, data.drop …  ──► drops
//!               `memory`             its own, or one                        externref               ──► funcref
//!               `vat_deliver`        see `dispatcher`                       (mut funcref) globals   ──► immutable
//!               tables               filled in part with its functions
//! ```
//!
//! What is repaired, and how, is in `repairs`. Exports are renamed: functions `fN`, mutable globals `gN`, so that another engine
//! finds the state of the module as it was.

use std::collections::BTreeSet;

use vat_measure::Random;
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, Elements, EntityType, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, GlobalType, ImportSection, MemorySection,
    MemoryType, Module, StartSection, TableSection, TagSection, TypeSection, ValType,
};
use wasmparser::{FunctionBody, Parser, Payload};

use super::dispatcher::{self, Callee, Dispatcher};
use super::repairs::{Repair, Repairs, SHIFT, Signature, signature};
use super::source::below;

/// Functions that a vat imports before those of the generated module: `delivery_read`, `syscall`, `result_read`.
const IMPORTS: [(&str, u32); 3] = [("delivery_read", 0), ("syscall", 1), ("result_read", 0)];
const _: () =
    assert!(IMPORTS.len() == SHIFT as usize, "functions move by as many places as there are imports");

/// What ends an endless loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The delivery's allowance of computrons.
    Computrons,
    /// A global that the module counts down and that each delivery sets anew.
    Countdown { global: u32, amount: u32 },
}

/// What kind of vat is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) repair: Repair,
    pub(crate) limit: Limit,
    /// Whether every delivery uses vat storage.
    pub(crate) storage: bool,
    /// Calls that each delivery makes.
    pub(crate) calls: u32,
    /// Whether tables get elements besides those that the module gives them.
    pub(crate) fill: bool,
}

/// Makes a vat of `module`.
///
/// # Errors
/// If the module's encoding is not known here.
pub(crate) fn vat_of(module: &[u8], shape: Shape, random: &mut Random) -> Result<Vec<u8>, Error> {
    let mut maker = Maker::new(module, shape)?;
    for payload in Parser::new(0).parse_all(module) {
        maker.payload(payload?)?;
    }
    Ok(maker.finish(random))
}

struct Maker {
    shape: Shape,
    repairs: Repairs,
    signatures: Vec<Signature>,
    /// Type index of each defined function.
    defined: Vec<u32>,
    imported: u32,
    exported: BTreeSet<u32>,
    /// What the module exports as `_initialize`, which birth calls.
    initialize: Option<u32>,
    /// Indices of globals that are state which an export can show.
    visible: Vec<u32>,
    global_count: u32,
    /// Tables of functions, and how many elements they have.
    function_tables: Vec<(u32, u64)>,
    memory_count: u32,
    start: Option<u32>,
    data_count: u32,
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    tags: TagSection,
    globals: GlobalSection,
    elements: ElementSection,
    code: CodeSection,
    data: DataSection,
}

impl Maker {
    /// The number of types is needed before the first import.
    fn new(module: &[u8], shape: Shape) -> Result<Maker, Error> {
        let mut signatures = Vec::new();
        for payload in Parser::new(0).parse_all(module) {
            if let Payload::TypeSection(section) = payload? {
                for group in section {
                    signatures.extend(group?.into_types().map(|ty| signature(&ty, shape.repair)));
                }
            }
        }
        let mut imports = ImportSection::new();
        for (name, ty) in IMPORTS {
            imports.import("vat", name, EntityType::Function(count(signatures.len()) + ty));
        }
        Ok(Maker {
            shape,
            repairs: Repairs::new(shape.repair),
            signatures,
            defined: Vec::new(),
            imported: 0,
            exported: BTreeSet::new(),
            initialize: None,
            visible: Vec::new(),
            global_count: 0,
            function_tables: Vec::new(),
            memory_count: 0,
            start: None,
            data_count: 0,
            types: TypeSection::new(),
            imports,
            functions: FunctionSection::new(),
            tables: TableSection::new(),
            memories: MemorySection::new(),
            tags: TagSection::new(),
            globals: GlobalSection::new(),
            elements: ElementSection::new(),
            code: CodeSection::new(),
            data: DataSection::new(),
        })
    }

    fn payload(&mut self, payload: Payload<'_>) -> Result<(), Error> {
        let repairs = &mut self.repairs;
        match payload {
            Payload::TypeSection(s) => repairs.parse_type_section(&mut self.types, s)?,
            Payload::ImportSection(s) => {
                self.imported = s.count();
                repairs.parse_import_section(&mut self.imports, s)?;
            }
            Payload::FunctionSection(s) => {
                self.defined = s.clone().into_iter().collect::<Result<_, _>>()?;
                repairs.parse_function_section(&mut self.functions, s)?;
            }
            Payload::TableSection(s) => {
                for (index, table) in s.clone().into_iter().enumerate() {
                    let ty = table?.ty;
                    if repairs.ref_type(ty.element_type)? == wasm_encoder::RefType::FUNCREF && !ty.table64 {
                        self.function_tables.push((count(index), ty.initial));
                    }
                }
                repairs.parse_table_section(&mut self.tables, s)?;
            }
            Payload::MemorySection(s) => {
                for memory in s {
                    let memory = self.repairs.memory_type(memory?)?;
                    self.memory(memory);
                }
            }
            Payload::TagSection(s) => repairs.parse_tag_section(&mut self.tags, s)?,
            Payload::GlobalSection(s) => {
                for global in s.clone() {
                    let ty = global?.ty;
                    let index = self.global_count;
                    self.global_count += 1;
                    match ty.content_type.is_reference_type() {
                        true => drop(repairs.reference_globals.insert(index)),
                        false if ty.mutable => self.visible.push(index),
                        false => {}
                    }
                }
                repairs.parse_global_section(&mut self.globals, s)?;
            }
            Payload::ExportSection(s) => {
                for export in s {
                    let export = export?;
                    if export.kind == wasmparser::ExternalKind::Func {
                        self.exported.insert(export.index + SHIFT);
                        if export.name == "_initialize" {
                            self.initialize = Some(export.index + SHIFT);
                        }
                    }
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func + SHIFT),
            Payload::ElementSection(s) => repairs.parse_element_section(&mut self.elements, s)?,
            Payload::CodeSectionEntry(body) => self.function(&body)?,
            Payload::DataSection(s) => {
                self.data_count = s.count();
                repairs.parse_data_section(&mut self.data, s)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A vat reads its delivery into the first page of its memory.
    fn memory(&mut self, mut memory: MemoryType) {
        if self.memory_count == 0 && self.shape.repair > Repair::Nothing {
            memory.minimum = memory.minimum.max(1);
            memory.maximum = memory.maximum.map(|maximum| maximum.max(memory.minimum));
        }
        self.memories.memory(memory);
        self.memory_count += 1;
    }

    fn function(&mut self, body: &FunctionBody<'_>) -> Result<(), Error> {
        let mut locals = Vec::new();
        for group in body.get_locals_reader()? {
            let (count, ty) = group?;
            locals.push((count, self.repairs.val_type(ty)?));
        }
        let mut function = Function::new(locals);
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            match self.repairs.instead(&operator) {
                Some(instructions) => {
                    for instruction in instructions {
                        function.instruction(instruction);
                    }
                }
                None => drop(function.instruction(&self.repairs.instruction(operator)?)),
            }
        }
        self.code.function(&function);
        Ok(())
    }

    fn finish(mut self, random: &mut Random) -> Vec<u8> {
        let own_types = self.add_types();
        let first = SHIFT + self.imported;
        let (mix, deliver) = (first + count(self.defined.len()), first + count(self.defined.len()) + 1);
        self.functions.function(own_types + 2).function(own_types + 3);
        let digest = self.global_count;
        let ty = GlobalType { val_type: ValType::I64, mutable: true, shared: false };
        self.globals.global(ty, &ConstExpr::i64_const(0));
        self.visible.push(digest);
        self.code.function(&dispatcher::mix());
        let Shape { limit, storage, calls, .. } = self.shape;
        let dispatcher = Dispatcher { limit, storage, calls, mix, digest, callees: self.callees(first) };
        self.code.function(&dispatcher.function());
        if self.memory_count == 0 {
            self.memory(MemoryType {
                minimum: 1,
                maximum: None,
                memory64: false,
                shared: false,
                page_size_log2: None,
            });
        }
        if self.shape.fill {
            self.fill_tables(random, first);
        }
        self.assemble(deliver)
    }

    fn add_types(&mut self) -> u32 {
        let own_types = count(self.signatures.len());
        let (i32, i64) = (ValType::I32, ValType::I64);
        self.types.ty().function([i32], []);
        self.types.ty().function([i32, i32], [i32]);
        self.types.ty().function([i64], [i64]);
        self.types.ty().function([i32], [i32]);
        own_types
    }

    /// The module's own functions that the dispatcher can call.
    fn callees(&self, first: u32) -> Vec<Callee> {
        let callee = |(index, ty): (usize, &u32)| {
            let (params, results) = self.signatures[*ty as usize].clone()?;
            Some(Callee { function: first + count(index), params, results })
        };
        self.defined.iter().enumerate().filter_map(callee).take(dispatcher::CALLEES_MAX).collect()
    }

    /// wasm-smith leaves tables empty; an indirect call should find something.
    fn fill_tables(&mut self, random: &mut Random, first: u32) {
        for (table, elements) in &self.function_tables {
            let filled = below(random, (*elements).min(8) + 1);
            let functions: Vec<u32> = (0..filled)
                .filter(|_| !self.defined.is_empty())
                .map(|_| {
                    first
                        + count(usize::try_from(below(random, self.defined.len() as u64)).expect("an index"))
                })
                .collect();
            let table = (*table != 0).then_some(*table);
            self.elements.active(table, &ConstExpr::i32_const(0), Elements::Functions(functions.into()));
        }
    }

    fn assemble(self, deliver: u32) -> Vec<u8> {
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0).export("vat_deliver", ExportKind::Func, deliver);
        for function in &self.exported {
            exports.export(&format!("f{function}"), ExportKind::Func, *function);
        }
        if let Some(initialize) = self.initialize {
            exports.export("_initialize", ExportKind::Func, initialize);
        }
        for (nth, global) in self.visible.iter().enumerate() {
            exports.export(&format!("g{nth}"), ExportKind::Global, *global);
        }
        let mut module = Module::new();
        module.section(&self.types).section(&self.imports).section(&self.functions);
        if !self.tables.is_empty() {
            module.section(&self.tables);
        }
        module.section(&self.memories);
        if !self.tags.is_empty() {
            module.section(&self.tags);
        }
        module.section(&self.globals).section(&exports);
        if let Some(function_index) = self.start {
            module.section(&StartSection { function_index });
        }
        if !self.elements.is_empty() {
            module.section(&self.elements);
        }
        module.section(&DataCountSection { count: self.data_count }).section(&self.code).section(&self.data);
        module.finish()
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).expect("a generated module is small")
}
