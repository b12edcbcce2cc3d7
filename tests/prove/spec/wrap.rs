//! Making a vat of a module of the specification's tests.
//!
//! ```text
//!   (import "spectest" "global_i32" (global i32))  ──►  (global i32 (i32.const 666)), and its value in constant expressions
//!   (import "spectest" "print_i32" (func …))       ──►  (func …), which does nothing
//!   (import "spectest" "table" …), "memory"        ──►  a table of 10 to 20, a memory of 1 to 2 pages
//!   no memory / not exported as `memory`           ──►  (memory 0), (export "memory" …)
//!   no `vat_deliver`                               ──►  (func (export "vat_deliver") (param i32) (result i32) (i32.const 0))
//! ```
//!
//! A definition that takes an import's place comes first in its index space, so no index changes. Everything else of the
//! module stays as it is, byte for byte. A module that imports anything but `spectest` is not changed: it is one of
//! several that are linked, which vats never are.

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    CodeSection, ConstExpr, ElementSection, Encode, ExportKind, ExportSection, Function, GlobalSection,
    GlobalType, Instruction, MemorySection, MemoryType, RefType, Section, SectionId, TableSection, TableType,
    TypeSection, ValType,
};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

use super::sections::Sections;

/// Why no vat can be made of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It imports what a module with this name exports.
    Linked(String),
    /// It is not made of sections that can be read, or has a form that is not looked into here.
    Malformed,
}

/// What there is of a module before anything is added.
#[derive(Debug, Default)]
struct Outline {
    types: u32,
    imports: Imports,
    functions: u32,
    memories: u32,
    exports_memory: bool,
    exports_deliver: bool,
}

/// The definitions that take the place of imports, encoded as items of their sections.
#[derive(Debug, Default)]
struct Imports {
    functions: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
    tables: Vec<Vec<u8>>,
    memories: Vec<Vec<u8>>,
    globals: Vec<(ValType, ConstExpr)>,
}

/// The module with every import from `spectest` defined in it.
pub(crate) fn define_imports(bytes: &[u8]) -> Result<Vec<u8>, Unfit> {
    let outline = Outline::read(bytes)?;
    let mut sections = Sections::read(bytes).ok_or(Unfit::Malformed)?;
    outline.imports.define(bytes, &mut sections).ok_or(Unfit::Malformed)?;
    Ok(sections.write())
}

/// A vat with the exports of the module.
pub(crate) fn as_vat(bytes: &[u8]) -> Result<Vec<u8>, Unfit> {
    let bytes = define_imports(bytes)?;
    let outline = Outline::read(&bytes)?;
    let mut sections = Sections::read(&bytes).ok_or(Unfit::Malformed)?;
    outline.complete(&mut sections).ok_or(Unfit::Malformed)?;
    Ok(sections.write())
}

impl Outline {
    fn read(bytes: &[u8]) -> Result<Outline, Unfit> {
        let mut outline = Outline::default();
        for payload in Parser::new(0).parse_all(bytes) {
            outline.payload(&payload.map_err(malformed)?)?;
        }
        Ok(outline)
    }

    fn payload(&mut self, payload: &Payload<'_>) -> Result<(), Unfit> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section.clone() {
                    let types = group.map_err(malformed)?.types().len();
                    self.types += u32::try_from(types).map_err(|_| Unfit::Malformed)?;
                }
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    let import = import.map_err(malformed)?;
                    let linked = || Unfit::Linked(import.module.to_owned());
                    if import.module != "spectest" {
                        return Err(linked());
                    }
                    self.imports.add(import.name, import.ty).ok_or_else(linked)?;
                }
            }
            Payload::FunctionSection(section) => self.functions = section.count(),
            Payload::MemorySection(section) => self.memories = section.count(),
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    let export = export.map_err(malformed)?;
                    self.exports_memory |= (export.name, export.kind) == ("memory", ExternalKind::Memory);
                    self.exports_deliver |= export.name == "vat_deliver";
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds what makes a vat of a module without imports.
    fn complete(&self, sections: &mut Sections) -> Option<()> {
        if self.memories == 0 {
            let memory = MemoryType {
                minimum: 0,
                maximum: None,
                memory64: false,
                shared: false,
                page_size_log2: None,
            };
            sections.append(SectionId::Memory, &item(MemorySection::new().memory(memory))?)?;
        }
        if !self.exports_memory {
            let export = item(ExportSection::new().export("memory", ExportKind::Memory, 0))?;
            sections.append(SectionId::Export, &export)?;
        }
        if !self.exports_deliver {
            let mut types = TypeSection::new();
            types.ty().function([ValType::I32], [ValType::I32]);
            sections.append(SectionId::Type, &item(&types)?)?;
            sections.append(SectionId::Function, &encoded(&self.types))?;
            let mut body = Function::new([]);
            body.instruction(&Instruction::I32Const(0)).instruction(&Instruction::End);
            sections.append(SectionId::Code, &item(CodeSection::new().function(&body))?)?;
            let export =
                ExportSection::new().export("vat_deliver", ExportKind::Func, self.functions).to_owned();
            sections.append(SectionId::Export, &item(&export)?)?;
        }
        Some(())
    }
}

impl Imports {
    /// A definition like what `spectest` exports under this name; `None` if it exports nothing such.
    fn add(&mut self, name: &str, ty: TypeRef) -> Option<()> {
        match (name, ty) {
            (name, TypeRef::Func(ty)) if name.starts_with("print") => {
                let mut body = Function::new([]);
                body.instruction(&Instruction::End);
                self.functions.push(encoded(&ty));
                self.bodies.push(item(CodeSection::new().function(&body))?);
            }
            ("table", TypeRef::Table(ty)) if !ty.table64 && !ty.shared => {
                let table = TableType {
                    element_type: RefType::FUNCREF,
                    minimum: 10,
                    maximum: Some(20),
                    table64: false,
                    shared: false,
                };
                self.tables.push(item(TableSection::new().table(table))?);
            }
            ("memory", TypeRef::Memory(ty)) if !ty.memory64 && !ty.shared => {
                let memory = MemoryType {
                    minimum: 1,
                    maximum: Some(2),
                    memory64: false,
                    shared: false,
                    page_size_log2: None,
                };
                self.memories.push(item(MemorySection::new().memory(memory))?);
            }
            (name, TypeRef::Global(ty)) if !ty.mutable && !ty.shared => self.globals.push(match name {
                "global_i32" => (ValType::I32, ConstExpr::i32_const(666)),
                "global_i64" => (ValType::I64, ConstExpr::i64_const(666)),
                "global_f32" => (ValType::F32, ConstExpr::f32_const(666.6_f32.into())),
                "global_f64" => (ValType::F64, ConstExpr::f64_const(666.6_f64.into())),
                _ => return None,
            }),
            _ => return None,
        }
        Some(())
    }

    /// Puts the definitions in the place of the imports.
    fn define(&self, bytes: &[u8], sections: &mut Sections) -> Option<()> {
        if !self.globals.is_empty() {
            self.substitute(bytes, sections)?;
        }
        let globals: Option<Vec<Vec<u8>>> = self.globals.iter().map(global_item).collect();
        sections.prepend(SectionId::Global, &globals?)?;
        sections.prepend(SectionId::Function, &self.functions)?;
        sections.prepend(SectionId::Code, &self.bodies)?;
        sections.prepend(SectionId::Table, &self.tables)?;
        sections.prepend(SectionId::Memory, &self.memories)?;
        sections.remove(SectionId::Import);
        Some(())
    }

    /// In constant expressions only an *imported* global may be named: its value takes the place of its name.
    fn substitute(&self, bytes: &[u8], sections: &mut Sections) -> Option<()> {
        let mut constants = Constants(&self.globals);
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.ok()? {
                Payload::GlobalSection(section) => {
                    let mut globals = GlobalSection::new();
                    constants.parse_global_section(&mut globals, section).ok()?;
                    sections.replace(&globals)?;
                }
                Payload::ElementSection(section) => {
                    let mut elements = ElementSection::new();
                    constants.parse_element_section(&mut elements, section).ok()?;
                    sections.replace(&elements)?;
                }
                Payload::DataSection(section) => {
                    let mut data = wasm_encoder::DataSection::new();
                    constants.parse_data_section(&mut data, section).ok()?;
                    sections.replace(&data)?;
                }
                _ => {}
            }
        }
        Some(())
    }
}

/// Copies sections, with values for the names of globals in constant expressions.
struct Constants<'a>(&'a [(ValType, ConstExpr)]);

impl Reencode for Constants<'_> {
    type Error = std::convert::Infallible;

    fn const_expr(
        &mut self,
        expression: wasmparser::ConstExpr<'_>,
    ) -> Result<ConstExpr, reencode::Error<Self::Error>> {
        let mut bytes = Vec::new();
        let mut operators = expression.get_operators_reader();
        while !operators.is_end_then_eof() {
            let operator = operators.read()?;
            match operator {
                wasmparser::Operator::GlobalGet { global_index } if self.value(global_index).is_some() => {
                    bytes.extend(self.value(global_index).into_iter().flatten());
                }
                operator => self.instruction(operator)?.encode(&mut bytes),
            }
        }
        Ok(ConstExpr::raw(bytes))
    }
}

impl Constants<'_> {
    /// The instruction that makes the value of an imported global.
    fn value(&self, global: u32) -> Option<Vec<u8>> {
        let (_, value) = self.0.get(global as usize)?;
        let mut bytes = encoded(value);
        bytes.pop(); // `end`, which every constant expression has.
        Some(bytes)
    }
}

fn global_item((val_type, value): &(ValType, ConstExpr)) -> Option<Vec<u8>> {
    let ty = GlobalType { val_type: *val_type, mutable: false, shared: false };
    item(GlobalSection::new().global(ty, value))
}

/// The only item of a section: what follows its id, its size and the count of 1.
fn item(section: &impl Section) -> Option<Vec<u8>> {
    let content = encoded(section);
    let start = content.iter().position(|byte| byte & 0x80 == 0)? + 1;
    content.get(start..).and_then(|rest| rest.strip_prefix(&[1])).map(<[u8]>::to_vec)
}

fn encoded(part: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    part.encode(&mut bytes);
    bytes
}

fn malformed(_: wasmparser::BinaryReaderError) -> Unfit {
    Unfit::Malformed
}
