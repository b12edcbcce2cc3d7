//! Modules made to blow up whoever compiles, validates or instantiates them. Most are built, since as files they would be megabytes.
//!
//! Each is as a vat should be (a memory, `vat_deliver`), but for the one thing that it overdoes.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, CustomSection, DataSection, ElementSection, Elements, EntityType,
    ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType, ImportSection,
    Instruction, MemorySection, MemoryType, Module, RefType, TableSection, TableType, TypeSection, ValType,
};

/// A module in parts that a bomb changes one of.
pub(crate) struct Parts {
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memory_pages: u64,
    globals: GlobalSection,
    exports: ExportSection,
    start: Option<u32>,
    elements: ElementSection,
    code: CodeSection,
    data: DataSection,
    custom: Vec<CustomSection<'static>>,
}

/// The type of `vat_deliver`.
const DELIVER: u32 = 0;
/// The type without parameters and results.
const NOTHING: u32 = 1;

impl Parts {
    /// A vat that does nothing, and whose `vat_deliver` is this.
    fn delivering(deliver: &Function) -> Parts {
        let mut parts = Parts {
            types: TypeSection::new(),
            imports: ImportSection::new(),
            functions: FunctionSection::new(),
            tables: TableSection::new(),
            memory_pages: 1,
            globals: GlobalSection::new(),
            exports: ExportSection::new(),
            start: None,
            elements: ElementSection::new(),
            code: CodeSection::new(),
            data: DataSection::new(),
            custom: Vec::new(),
        };
        parts.types.ty().function([ValType::I32], [ValType::I32]);
        parts.types.ty().function([], []);
        parts.functions.function(DELIVER);
        parts.code.function(deliver);
        parts.exports.export("memory", ExportKind::Memory, 0).export("vat_deliver", ExportKind::Func, 0);
        parts
    }

    fn idle() -> Parts {
        Parts::delivering(&function([], [Instruction::I32Const(0)]))
    }

    fn bytes(self) -> Vec<u8> {
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: self.memory_pages,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut module = Module::new();
        module.section(&self.types).section(&self.imports).section(&self.functions).section(&self.tables);
        module.section(&memories).section(&self.globals).section(&self.exports);
        if let Some(function_index) = self.start {
            module.section(&wasm_encoder::StartSection { function_index });
        }
        module.section(&self.elements).section(&self.code).section(&self.data);
        for section in &self.custom {
            module.section(section);
        }
        module.finish()
    }
}

fn function<'a>(
    locals: impl IntoIterator<Item = (u32, ValType)>,
    body: impl IntoIterator<Item = Instruction<'a>>,
) -> Function {
    let mut function = Function::new(locals.into_iter().collect::<Vec<_>>());
    for instruction in body {
        function.instruction(&instruction);
    }
    function.instruction(&Instruction::End);
    function
}

/// A function body repeated: `vat_deliver` does `unit` this many times, and answers 0.
fn repeated(locals: &[(u32, ValType)], unit: &[Instruction<'_>], times: usize) -> Vec<u8> {
    let body = std::iter::repeat_n(unit, times).flatten().cloned().chain([Instruction::I32Const(0)]);
    Parts::delivering(&function(locals.iter().copied(), body)).bytes()
}

/// Sums, as many as fit into one function.
pub(crate) fn one_long_function() -> Vec<u8> {
    let unit =
        [Instruction::LocalGet(0), Instruction::I32Const(1), Instruction::I32Add, Instruction::LocalSet(0)];
    repeated(&[], &unit, (1 << 20) / 7 - 10)
}

/// The same and one more.
pub(crate) fn a_function_that_is_too_long() -> Vec<u8> {
    repeated(&[], &[Instruction::Nop], (1 << 20) + 1)
}

/// Divisions of many values that are all alive at once.
pub(crate) fn many_values_alive() -> Vec<u8> {
    let push = std::iter::repeat_n(
        [Instruction::LocalGet(0), Instruction::I32Const(3), Instruction::I32DivU],
        19_000,
    );
    let sum = std::iter::repeat_n(Instruction::I32Add, 18_999);
    let answer = [Instruction::Drop, Instruction::I32Const(0)];
    Parts::delivering(&function([], push.flatten().chain(sum).chain(answer))).bytes()
}

/// All locals that there may be, written and read in loops within loops: each loop carries each local.
pub(crate) fn locals_through_loops(locals: u32, loops: usize) -> Vec<u8> {
    let open = std::iter::repeat_n(Instruction::Loop(BlockType::Empty), loops);
    let touch = (1..locals).flat_map(|local| {
        [
            Instruction::LocalGet(local),
            Instruction::I32Const(1),
            Instruction::I32Add,
            Instruction::LocalSet(local),
        ]
    });
    let close = std::iter::repeat_n(
        [Instruction::LocalGet(0), Instruction::I32Eqz, Instruction::BrIf(0), Instruction::End],
        loops,
    );
    let body = open.chain(touch).chain(close.flatten()).chain([Instruction::I32Const(0)]);
    Parts::delivering(&function([(locals - 1, ValType::I32)], body)).bytes()
}

/// Many branches that meet again, one after the other, with all locals alive from the first to the last.
pub(crate) fn locals_through_branches(locals: u32, branches: u32) -> Vec<u8> {
    let diamond = (0..branches).flat_map(|n| {
        [
            Instruction::LocalGet(0),
            Instruction::If(BlockType::Empty),
            Instruction::LocalGet(0),
            Instruction::LocalSet(1 + n % (locals - 1)),
            Instruction::End,
        ]
    });
    let read = (1..locals).flat_map(|local| [Instruction::LocalGet(local), Instruction::Drop]);
    let body = diamond.chain(read).chain([Instruction::I32Const(0)]);
    Parts::delivering(&function([(locals, ValType::I32)], body)).bytes()
}

/// A table of branches to everywhere, as long as there may be one, from the innermost of many blocks.
pub(crate) fn a_table_of_branches() -> Vec<u8> {
    tables_of_branches(900, 1, 65_000, 2)
}

/// Tables of branches within blocks that carry locals: each table has an edge to each block, and each edge passes the block's locals.
pub(crate) fn tables_of_branches(depth: u32, tables: usize, edges: u32, locals: u32) -> Vec<u8> {
    let targets: Vec<u32> = (0..edges).map(|n| n % depth).collect();
    let open = std::iter::repeat_n(Instruction::Block(BlockType::Empty), depth as usize);
    let table = [
        Instruction::Block(BlockType::Empty),
        Instruction::LocalGet(0),
        Instruction::BrTable(targets.into(), 0),
        Instruction::End,
    ];
    let tables = std::iter::repeat_n(table, tables).flatten();
    let write = |n: u32| [Instruction::I32Const(1), Instruction::LocalSet(1 + n % (locals - 1))];
    let close = (0..depth).flat_map(move |n| write(n).into_iter().chain([Instruction::End]));
    let read = (1..locals).flat_map(|local| [Instruction::LocalGet(local), Instruction::Drop]);
    let body = open.chain(tables).chain(close).chain(read).chain([Instruction::I32Const(0)]);
    Parts::delivering(&function([(locals, ValType::I32)], body)).bytes()
}

/// Blocks within blocks.
pub(crate) fn nesting(depth: usize) -> Vec<u8> {
    let open = std::iter::repeat_n(Instruction::Block(BlockType::Empty), depth);
    let close = std::iter::repeat_n(Instruction::End, depth);
    Parts::delivering(&function([], open.chain(close).chain([Instruction::I32Const(0)]))).bytes()
}

/// Values on the operand stack.
pub(crate) fn operands(count: usize) -> Vec<u8> {
    let push = std::iter::repeat_n(Instruction::I32Const(1), count);
    let sum = std::iter::repeat_n(Instruction::I32Add, count - 1);
    Parts::delivering(&function([], push.chain(sum))).bytes()
}

/// Functions that do nothing.
pub(crate) fn functions(count: u32) -> Vec<u8> {
    let mut parts = Parts::idle();
    let nothing = function([], []);
    for _ in 1..count {
        parts.functions.function(NOTHING);
        parts.code.function(&nothing);
    }
    parts.bytes()
}

/// Many functions that each do some work.
pub(crate) fn many_functions_that_work() -> Vec<u8> {
    let mut parts = Parts::idle();
    let unit =
        [Instruction::LocalGet(0), Instruction::I64Const(1), Instruction::I64Add, Instruction::LocalSet(0)];
    let body = function([(4, ValType::I64)], std::iter::repeat_n(unit, 170).flatten());
    for _ in 1..10_000 {
        parts.functions.function(NOTHING);
        parts.code.function(&body);
    }
    parts.bytes()
}

/// A section that nobody reads, of this many bytes.
pub(crate) fn custom_section(bytes: usize) -> Vec<u8> {
    let mut parts = Parts::idle();
    parts.custom.push(CustomSection { name: "padding".into(), data: vec![0; bytes].into() });
    parts.bytes()
}

/// Names for functions that there are not, and not in UTF-8.
pub(crate) fn broken_names() -> Vec<u8> {
    let mut parts = Parts::idle();
    parts.custom.push(CustomSection { name: "name".into(), data: vec![0xff; 4 << 20].into() });
    parts.bytes()
}

/// Types.
pub(crate) fn types(count: u32) -> Vec<u8> {
    let mut parts = Parts::idle();
    for _ in 2..count {
        parts.types.ty().function([], []);
    }
    parts.bytes()
}

/// One type of many values.
pub(crate) fn signature(values: usize) -> Vec<u8> {
    let mut parts = Parts::idle();
    parts.types.ty().function(std::iter::repeat_n(ValType::I64, values), []);
    parts.bytes()
}

/// Types with as many values as there may be, and a function of each type.
pub(crate) fn wide_signatures() -> Vec<u8> {
    let mut parts = Parts::idle();
    for n in 0..5_000 {
        parts.types.ty().function(std::iter::repeat_n(ValType::V128, 999), []);
        parts.functions.function(2 + n);
        parts.code.function(&function([], []));
    }
    parts.bytes()
}

/// Imports of what every vat may import.
pub(crate) fn imports(count: u32) -> Vec<u8> {
    let mut parts = Parts::idle();
    parts.types.ty().function([ValType::I32], []);
    for _ in 0..count {
        parts.imports.import("vat", "delivery_read", EntityType::Function(2));
    }
    parts.bytes()
}

/// Exports.
pub(crate) fn exports(count: u32) -> Vec<u8> {
    let mut parts = Parts::idle();
    for n in 2..count {
        parts.exports.export(&format!("export number {n}"), ExportKind::Func, 0);
    }
    parts.bytes()
}

/// Mutable globals.
pub(crate) fn globals(count: u32) -> Vec<u8> {
    let mut parts = Parts::idle();
    for _ in 0..count {
        let kind = GlobalType { val_type: ValType::V128, mutable: true, shared: false };
        parts.globals.global(kind, &ConstExpr::v128_const(1));
    }
    parts.bytes()
}

/// Tables with this many elements each.
pub(crate) fn tables(count: u32, elements: u64) -> Vec<u8> {
    let mut parts = Parts::idle();
    for _ in 0..count {
        parts.tables.table(TableType {
            element_type: RefType::FUNCREF,
            minimum: elements,
            maximum: None,
            table64: false,
            shared: false,
        });
    }
    parts.bytes()
}

/// Element segments.
pub(crate) fn element_segments(count: u32) -> Vec<u8> {
    let mut parts = Parts::idle();
    parts.tables.table(TableType {
        element_type: RefType::FUNCREF,
        minimum: 100_000,
        maximum: None,
        table64: false,
        shared: false,
    });
    let functions = vec![0_u32; 1_000];
    for _ in 0..count {
        parts.elements.active(
            None,
            &ConstExpr::i32_const(7),
            Elements::Functions(functions.as_slice().into()),
        );
    }
    parts.bytes()
}

/// Data segments that all write to the same place.
pub(crate) fn data_segments(count: u32) -> Vec<u8> {
    let mut parts = Parts::idle();
    for _ in 0..count {
        parts.data.active(0, &ConstExpr::i32_const(64), [1, 2, 3]);
    }
    parts.bytes()
}

/// A memory that begins with this many wasm pages.
pub(crate) fn memory(pages: u64) -> Vec<u8> {
    let mut parts = Parts::idle();
    parts.memory_pages = pages;
    parts.bytes()
}

/// A start function that never returns.
pub(crate) fn a_start_without_end() -> Vec<u8> {
    let mut parts = Parts::idle();
    parts.functions.function(NOTHING);
    parts
        .code
        .function(&function([], [Instruction::Loop(BlockType::Empty), Instruction::Br(0), Instruction::End]));
    parts.start = Some(1);
    parts.bytes()
}

/// A start function that fills a gigabyte and more.
pub(crate) fn a_start_that_fills_all_memory() -> Vec<u8> {
    let mut parts = Parts::idle();
    parts.functions.function(NOTHING);
    parts.code.function(&function(
        [],
        [
            Instruction::I32Const(65_535),
            Instruction::MemoryGrow(0),
            Instruction::Drop,
            Instruction::I32Const(0),
            Instruction::I32Const(7),
            Instruction::MemorySize(0),
            Instruction::I32Const(16),
            Instruction::I32Shl,
            Instruction::MemoryFill(0),
        ],
    ));
    parts.start = Some(1);
    parts.bytes()
}

/// A function's locals, as one number of four bytes.
pub(crate) fn four_billion_locals() -> Vec<u8> {
    Parts::delivering(&function([(u32::MAX - 1, ValType::I64)], [Instruction::I32Const(0)])).bytes()
}

/// Sections that say that they are longer than the file.
pub(crate) fn lengths_beyond_the_end() -> Vec<u8> {
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    // Code section, 4 GiB long, with 4 billion functions.
    bytes.extend([10, 0xff, 0xff, 0xff, 0xff, 0x0f, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    bytes
}
