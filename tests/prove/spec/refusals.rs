//! Why modules of the specification are no vats: each refusal of a valid module must be one of these.

use vat_engine::Refusal;

/// What is refused, and how the refusal says it: a part of its text. The first that fits counts.
const REASONS: &[(&str, &[&str])] = &[
    ("tables that change", &["`table.set`", "`table.init`", "`table.copy`", "`table.fill`", "`table.grow`"]),
    ("dropped segments", &["`data.drop`", "`elem.drop`"]),
    ("mutable reference globals", &["a reference cannot be saved in a snapshot"]),
    ("constants of other globals", &["constant expression required: global.get of locally defined global"]),
    ("several memories", &["multiple memories"]),
    ("64-bit memories", &["memory64 must be enabled"]),
    ("threads", &["threads must be enabled", "are not deterministic; build without atomics"]),
    ("relaxed vectors", &["relaxed SIMD differs between processors"]),
    ("tail calls", &["tail calls are not accepted"]),
    ("exceptions", &["exceptions are not accepted", "without the exception handling feature"]),
    ("custom page sizes", &["the custom page sizes proposal must be enabled"]),
    ("custom descriptors", &["custom descriptors required"]),
    ("wide arithmetic", &["`i64.add128`"]),
    ("typed references", &["function references required", "the function-references proposal", "call_ref`"]),
    (
        "collected types",
        &[
            "which requires gc",
            "requires `gc` proposal",
            "without the gc feature",
            "gc proposal must be enabled",
        ],
    ),
];

/// The reason that a refusal gives; `None` if a valid module must not be refused so.
pub(crate) fn reason(refusal: &Refusal) -> Option<&'static str> {
    let text = refusal.to_string();
    REASONS.iter().find(|(_, words)| words.iter().any(|word| text.contains(word))).map(|(reason, _)| *reason)
}
