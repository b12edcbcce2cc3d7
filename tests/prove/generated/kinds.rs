//! What a module has that is state, or that changes state: to show that nothing of it was left out by chance.
//!
//! This reads declarations and instructions. What deliveries *did* is counted where they are made, under names of the same kind.

use std::collections::BTreeSet;

use wasmparser::{DataKind, ElementKind, ExternalKind, Operator, Parser, Payload, ValType};

/// The kinds of a valid module.
pub(crate) fn kinds(wasm: &[u8]) -> BTreeSet<&'static str> {
    let mut kinds = Kinds::default();
    for payload in Parser::new(0).parse_all(wasm) {
        kinds.payload(&payload.expect("an accepted module"));
    }
    kinds.found
}

/// The name of a mutable global's kind, and that of its change.
pub(crate) fn global_kind(ty: ValType) -> Option<(&'static str, &'static str)> {
    Some(match ty {
        ValType::I32 => ("mutable i32", "changed an i32"),
        ValType::I64 => ("mutable i64", "changed an i64"),
        ValType::F32 => ("mutable f32", "changed an f32"),
        ValType::F64 => ("mutable f64", "changed an f64"),
        ValType::V128 => ("mutable v128", "changed a v128"),
        ValType::Ref(_) => return None,
    })
}

#[derive(Default)]
struct Kinds {
    found: BTreeSet<&'static str>,
    active_data: Vec<bool>,
    /// Segments that `memory.init` names: code comes before data.
    inits: BTreeSet<u32>,
}

impl Kinds {
    fn payload(&mut self, payload: &Payload<'_>) {
        const VALID: &str = "an accepted module";
        match payload {
            Payload::GlobalSection(section) => {
                // The last one is the dispatcher's own.
                let globals = section.count() - 1;
                for global in section.clone().into_iter().take(globals as usize) {
                    let ty = global.expect(VALID).ty;
                    self.found.insert(match (ty.mutable, global_kind(ty.content_type)) {
                        (true, Some((kind, _))) => kind,
                        (_, None) => "reference global",
                        (false, _) => "constant global",
                    });
                }
            }
            Payload::TableSection(section) => {
                self.found.insert(if section.count() > 1 { "several tables" } else { "one table" });
            }
            Payload::MemorySection(section) => {
                for memory in section.clone() {
                    let bounded = memory.expect(VALID).maximum.is_some();
                    self.found.insert(if bounded {
                        "memory with a maximum"
                    } else {
                        "memory without a maximum"
                    });
                }
            }
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    let export = export.expect(VALID);
                    if export.kind == ExternalKind::Func && export.name == "_initialize" {
                        self.found.insert("_initialize");
                    }
                }
            }
            Payload::StartSection { .. } => drop(self.found.insert("start")),
            Payload::ElementSection(section) => {
                for element in section.clone() {
                    self.found.insert(match element.expect(VALID).kind {
                        ElementKind::Active { .. } => "active elements",
                        ElementKind::Passive => "passive elements",
                        ElementKind::Declared => "declared elements",
                    });
                }
            }
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader().expect(VALID) {
                    self.operator(&operator.expect(VALID));
                }
            }
            Payload::DataSection(section) => {
                for data in section.clone() {
                    let is_active = matches!(data.expect(VALID).kind, DataKind::Active { .. });
                    self.active_data.push(is_active);
                    self.found.insert(if is_active { "active data" } else { "passive data" });
                }
                for segment in &self.inits {
                    let is_active = self.active_data[*segment as usize];
                    self.found.insert(if is_active { "memory.init of active data" } else { "memory.init" });
                }
            }
            _ => {}
        }
    }

    fn operator(&mut self, operator: &Operator<'_>) {
        let found = match operator {
            Operator::MemoryInit { data_index, .. } => {
                self.inits.insert(*data_index);
                return;
            }
            Operator::MemoryGrow { .. } => "memory.grow",
            Operator::MemoryCopy { .. } => "memory.copy",
            Operator::MemoryFill { .. } => "memory.fill",
            Operator::CallIndirect { .. } => "call_indirect",
            Operator::TableGet { .. } => "table.get",
            Operator::RefFunc { .. } => "ref.func",
            Operator::Return => "return",
            Operator::V128Const { .. } | Operator::V128Load { .. } | Operator::V128Store { .. } => "v128",
            Operator::F32Add | Operator::F64Add | Operator::F32Div | Operator::F64Div => "floats",
            _ => return,
        };
        self.found.insert(found);
    }
}
