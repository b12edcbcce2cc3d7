//! The rewrite: the accepted module with its state made visible.
//!
//! Indices of everything the module has stay as they were; what is generated is appended. The only change of meaning is
//! *when* active data and `start` take effect: in `vat:init`, not at instantiation.

use std::collections::BTreeMap;

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, CustomSection, DataCountSection, DataSection, ElementSection,
    ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType, ImportSection,
    Instruction, MemorySection, Module, TableSection, TypeSection, ValType,
};
use wasmparser::{DataKind, FunctionBody, Operator, Parser, Payload};

use super::stack::Frame;
use super::survey::Survey;
use super::{EXPORT_INIT, EXPORT_MEMORY, EXPORT_STACK, STACK_OVERFLOWED, global_export};
use crate::limits::STACK_BYTES_MAX;

/// Why nothing here can fail: the survey validated the same bytes.
const SURVEYED: &str = "the survey has validated this module";

/// Rewrites a surveyed module.
pub(crate) fn rewrite(bytes: &[u8], survey: &Survey) -> Vec<u8> {
    let mut rewriter = Rewriter::new(survey);
    for payload in Parser::new(0).parse_all(bytes) {
        rewriter.payload(payload.expect(SURVEYED));
    }
    rewriter.finish()
}

struct Rewriter<'a> {
    survey: &'a Survey,
    types: TypeSection,
    type_count: u32,
    /// Block types that had to be added: results ↦ type index.
    block_types: BTreeMap<Vec<u8>, u32>,
    imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    globals: GlobalSection,
    exports: ExportSection,
    elements: ElementSection,
    code: CodeSection,
    data: DataSection,
    /// The body of `vat:init` so far: a copy for each active segment.
    init: Vec<Instruction<'static>>,
    names: Option<Vec<u8>>,
}

impl<'a> Rewriter<'a> {
    fn new(survey: &'a Survey) -> Self {
        Rewriter {
            survey,
            types: TypeSection::new(),
            type_count: u32::try_from(survey.types.len()).expect(SURVEYED),
            block_types: BTreeMap::new(),
            imports: ImportSection::new(),
            functions: FunctionSection::new(),
            tables: TableSection::new(),
            memories: MemorySection::new(),
            globals: GlobalSection::new(),
            exports: ExportSection::new(),
            elements: ElementSection::new(),
            code: CodeSection::new(),
            data: DataSection::new(),
            init: Vec::new(),
            names: None,
        }
    }

    fn payload(&mut self, payload: Payload<'_>) {
        let same = &mut RoundtripReencoder;
        match payload {
            Payload::TypeSection(s) => same.parse_type_section(&mut self.types, s).expect(SURVEYED),
            Payload::ImportSection(s) => same.parse_import_section(&mut self.imports, s).expect(SURVEYED),
            Payload::FunctionSection(s) => {
                same.parse_function_section(&mut self.functions, s).expect(SURVEYED)
            }
            Payload::TableSection(s) => same.parse_table_section(&mut self.tables, s).expect(SURVEYED),
            Payload::MemorySection(s) => same.parse_memory_section(&mut self.memories, s).expect(SURVEYED),
            Payload::GlobalSection(s) => same.parse_global_section(&mut self.globals, s).expect(SURVEYED),
            Payload::ExportSection(s) => same.parse_export_section(&mut self.exports, s).expect(SURVEYED),
            Payload::ElementSection(s) => same.parse_element_section(&mut self.elements, s).expect(SURVEYED),
            Payload::CodeSectionEntry(body) => self.function(&body),
            Payload::DataSection(section) => {
                for (index, data) in section.into_iter().enumerate() {
                    let data = data.expect(SURVEYED);
                    self.data_segment(u32::try_from(index).expect(SURVEYED), &data);
                }
            }
            Payload::CustomSection(section) if section.name() == "name" => {
                self.names = Some(section.data().to_vec())
            }
            _ => {}
        }
    }

    /// Every segment becomes passive; an active one adds its copy to `vat:init`.
    fn data_segment(&mut self, index: u32, data: &wasmparser::Data<'_>) {
        self.data.passive(data.data.iter().copied());
        if let DataKind::Active { offset_expr, .. } = &data.kind {
            for operator in offset_expr.get_operators_reader() {
                match operator.expect(SURVEYED) {
                    Operator::End => {}
                    operator => self.init.push(constant(&operator)),
                }
            }
            let length = u32::try_from(data.data.len()).expect(SURVEYED).cast_signed();
            self.init.push(Instruction::I32Const(0));
            self.init.push(Instruction::I32Const(length));
            self.init.push(Instruction::MemoryInit { mem: 0, data_index: index });
        }
    }

    fn function(&mut self, body: &FunctionBody<'_>) {
        let index = self.code.len() as usize;
        let frame = self.survey.frames[index];
        let mut locals = Vec::new();
        for group in body.get_locals_reader().expect(SURVEYED) {
            let (count, ty) = group.expect(SURVEYED);
            locals.push((count, RoundtripReencoder.val_type(ty).expect(SURVEYED)));
        }
        let mut function = Function::new(locals);
        if frame.is_counted() {
            let results = self.survey.types[self.survey.functions[index] as usize].1.clone();
            let block = self.block_type(&results);
            self.enter(&mut function, frame, block);
            self.body(&mut function, body, Counted::Yes);
            self.leave(&mut function, frame);
        } else {
            self.body(&mut function, body, Counted::No);
        }
        self.code.function(&function);
    }

    /// `stack += cost; if stack > max { stack = overflowed; trap }`, then the block that takes the function's place as the
    /// target of its branches.
    fn enter(&self, function: &mut Function, frame: Frame, block: BlockType) {
        let stack = self.stack_global();
        function
            .instruction(&Instruction::GlobalGet(stack))
            .instruction(&Instruction::I32Const(frame.cost().cast_signed()))
            .instruction(&Instruction::I32Add)
            .instruction(&Instruction::GlobalSet(stack))
            .instruction(&Instruction::GlobalGet(stack))
            .instruction(&Instruction::I32Const(STACK_BYTES_MAX.cast_signed()))
            .instruction(&Instruction::I32GtU)
            .instruction(&Instruction::If(BlockType::Empty))
            .instruction(&Instruction::I32Const(STACK_OVERFLOWED))
            .instruction(&Instruction::GlobalSet(stack))
            .instruction(&Instruction::Unreachable)
            .instruction(&Instruction::End)
            .instruction(&Instruction::Block(block));
    }

    fn leave(&self, function: &mut Function, frame: Frame) {
        let stack = self.stack_global();
        function
            .instruction(&Instruction::GlobalGet(stack))
            .instruction(&Instruction::I32Const(frame.cost().cast_signed()))
            .instruction(&Instruction::I32Sub)
            .instruction(&Instruction::GlobalSet(stack))
            .instruction(&Instruction::End);
    }

    /// The body as it was, with `return` as a branch out of the counting block.
    fn body(&self, function: &mut Function, body: &FunctionBody<'_>, counted: Counted) {
        let mut depth = 0u32;
        for operator in body.get_operators_reader().expect(SURVEYED) {
            let operator = operator.expect(SURVEYED);
            match operator {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => depth += 1,
                Operator::End => depth = depth.saturating_sub(1),
                _ => {}
            }
            match operator {
                Operator::Return if counted == Counted::Yes => function.instruction(&Instruction::Br(depth)),
                Operator::MemoryInit { mem, data_index } => function.instruction(&Instruction::MemoryInit {
                    mem,
                    data_index: self.segment_after_instantiation(data_index),
                }),
                operator => function.instruction(&RoundtripReencoder.instruction(operator).expect(SURVEYED)),
            };
        }
    }

    /// An active segment is dropped by instantiation; code that names it afterwards must find it empty.
    fn segment_after_instantiation(&self, data_index: u32) -> u32 {
        if self.survey.data_is_active[data_index as usize] { self.empty_segment() } else { data_index }
    }

    fn empty_segment(&self) -> u32 {
        u32::try_from(self.survey.data_is_active.len()).expect(SURVEYED)
    }

    fn stack_global(&self) -> u32 {
        u32::try_from(self.survey.globals.len()).expect(SURVEYED)
    }

    /// The type of a block that yields what the function returns.
    fn block_type(&mut self, results: &[wasmparser::ValType]) -> BlockType {
        let encoded: Vec<ValType> =
            results.iter().map(|ty| RoundtripReencoder.val_type(*ty).expect(SURVEYED)).collect();
        match encoded.as_slice() {
            [] => BlockType::Empty,
            [one] => BlockType::Result(*one),
            many => {
                let key = format!("{many:?}").into_bytes();
                let next = self.type_count;
                let index = *self.block_types.entry(key).or_insert(next);
                if index == next {
                    self.types.ty().function([], many.iter().copied());
                    self.type_count += 1;
                }
                BlockType::FunctionType(index)
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        let init = self.add_init();
        self.add_exports(init);
        self.data.passive([]);
        let segments = self.data.len();

        let mut module = Module::new();
        module.section(&self.types);
        if !self.imports.is_empty() {
            module.section(&self.imports);
        }
        module.section(&self.functions);
        if !self.tables.is_empty() {
            module.section(&self.tables);
        }
        module.section(&self.memories).section(&self.globals).section(&self.exports);
        if !self.elements.is_empty() {
            module.section(&self.elements);
        }
        module.section(&DataCountSection { count: segments }).section(&self.code).section(&self.data);
        if let Some(names) = &self.names {
            module.section(&CustomSection { name: "name".into(), data: names.into() });
        }
        module.finish()
    }

    /// Appends `vat:init` and answers its index.
    fn add_init(&mut self) -> u32 {
        let ty = self.type_count;
        self.types.ty().function([], []);
        self.type_count += 1;
        self.functions.function(ty);
        let mut function = Function::new([]);
        for instruction in &self.init {
            function.instruction(instruction);
        }
        if let Some(start) = self.survey.start {
            function.instruction(&Instruction::Call(start));
        }
        function.instruction(&Instruction::End);
        self.code.function(&function);
        self.survey.imported_functions + self.code.len() - 1
    }

    fn add_exports(&mut self, init: u32) {
        self.globals.global(
            GlobalType { val_type: ValType::I32, mutable: true, shared: false },
            &ConstExpr::i32_const(0),
        );
        self.exports.export(EXPORT_INIT, ExportKind::Func, init);
        self.exports.export(EXPORT_MEMORY, ExportKind::Memory, 0);
        self.exports.export(EXPORT_STACK, ExportKind::Global, self.stack_global());
        for (nth, (index, _)) in self.survey.mutable_globals().enumerate() {
            let index = u32::try_from(index).expect(SURVEYED);
            self.exports.export(&global_export(nth), ExportKind::Global, index);
        }
    }
}

/// Whether a function counts its stack.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Yes,
    No,
}

/// The instructions of a constant expression of type `i32`: what validation lets an offset consist of.
fn constant(operator: &Operator<'_>) -> Instruction<'static> {
    match operator {
        Operator::I32Const { value } => Instruction::I32Const(*value),
        Operator::GlobalGet { global_index } => Instruction::GlobalGet(*global_index),
        Operator::I32Add => Instruction::I32Add,
        Operator::I32Sub => Instruction::I32Sub,
        Operator::I32Mul => Instruction::I32Mul,
        other => unreachable!("a validated i32 offset contains {other:?}"),
    }
}
