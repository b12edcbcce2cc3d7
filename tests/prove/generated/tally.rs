//! What was tried: the counts that a run prints, and that must not be too small.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use vat_engine::{GlobalValue, Globals, Refusal, Report};
use wasmparser::ValType;

use super::kinds::global_kind;
use super::source::Origin;

/// Bytes of a page, and the one that every delivery is read into.
const PAGE_BYTES: usize = 4_096;
const BUFFER_PAGE: usize = 15;

/// Counts of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Modules and accepted modules by where they come from.
    origins: BTreeMap<Origin, (u64, u64)>,
    /// By reason.
    refused: BTreeMap<String, u64>,
    /// Accepted modules that have a kind of state, deliveries that changed it.
    kinds: BTreeMap<&'static str, u64>,
    deliveries: u64,
    faults: BTreeMap<String, u64>,
    pub(crate) captures: u64,
    pub(crate) restores: u64,
    /// Deliveries compared with an interpreted one; deliveries that could not be.
    pub(crate) interpreted: u64,
    pub(crate) uncompared: u64,
    /// Modules, installed or rewritten, that the interpreter got wrong, by the judge's word.
    pub(crate) misread: u64,
    /// Vats that also lived in a warehouse.
    pub(crate) hosted: u64,
}

impl Tally {
    pub(crate) fn generated(&mut self, origin: Origin) {
        self.origins.entry(origin).or_default().0 += 1;
    }

    pub(crate) fn accepted(&mut self, origin: Origin, kinds: BTreeSet<&'static str>) {
        self.origins.entry(origin).or_default().1 += 1;
        for kind in kinds {
            self.found(kind);
        }
    }

    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        *self.refused.entry(reason(refusal)).or_default() += 1;
    }

    /// A birth that made a vat larger than it may be.
    pub(crate) fn too_large(&mut self) {
        *self.refused.entry("birth: larger than the vat may be".to_owned()).or_default() += 1;
    }

    pub(crate) fn delivered(&mut self, report: &Report) {
        self.deliveries += 1;
        if let Some(fault) = report.outcome.fault() {
            let name = match fault {
                vat_abi::VatFault::Trap(trap) => trap.name(),
                other => other.kind(),
            };
            *self.faults.entry(name.to_owned()).or_default() += 1;
        }
        if !report.syscalls.is_empty() {
            self.found("made syscalls");
        }
    }

    /// What a delivery left different.
    pub(crate) fn changed(&mut self, before: &(Globals, Vec<u8>), after: (&Globals, &[u8])) {
        let pairs = before.0.values().iter().zip(after.0.values());
        // The last one is the dispatcher's own.
        let own = before.0.values().len() - 1;
        let changed: BTreeSet<&'static str> = pairs
            .take(own)
            .filter(|(before, after)| before != after)
            .filter_map(|(value, _)| Some(global_kind(type_of(value))?.1))
            .collect();
        changed.into_iter().for_each(|kind| self.found(kind));
        if before.1.len() < after.1.len() {
            self.found("grew its memory");
        }
        let pages = before.1.chunks(PAGE_BYTES).zip(after.1.chunks(PAGE_BYTES)).enumerate();
        if pages.filter(|(page, (before, after))| *page != BUFFER_PAGE && before != after).count() > 0 {
            self.found("wrote to its memory");
        }
    }

    fn found(&mut self, kind: &'static str) {
        *self.kinds.entry(kind).or_default() += 1;
    }

    /// Adds what another thread counted.
    pub(crate) fn add(&mut self, other: Tally) {
        for (origin, (generated, accepted)) in other.origins {
            let entry = self.origins.entry(origin).or_default();
            *entry = (entry.0 + generated, entry.1 + accepted);
        }
        other.refused.into_iter().for_each(|(reason, n)| *self.refused.entry(reason).or_default() += n);
        other.kinds.into_iter().for_each(|(kind, n)| *self.kinds.entry(kind).or_default() += n);
        other.faults.into_iter().for_each(|(fault, n)| *self.faults.entry(fault).or_default() += n);
        self.deliveries += other.deliveries;
        self.captures += other.captures;
        self.restores += other.restores;
        self.interpreted += other.interpreted;
        self.uncompared += other.uncompared;
        self.misread += other.misread;
        self.hosted += other.hosted;
    }

    /// Modules generated, and accepted, of those origins.
    pub(crate) fn of(&self, is_meant: impl Fn(Origin) -> bool) -> (u64, u64) {
        let meant = self.origins.iter().filter(|(origin, _)| is_meant(**origin)).map(|(_, counts)| counts);
        meant.fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
    }

    /// How often a kind of state, of change or of fault was seen.
    pub(crate) fn seen(&self, kind: &str) -> u64 {
        self.kinds.get(kind).or_else(|| self.faults.get(kind)).copied().unwrap_or_default()
    }

    pub(crate) fn reasons(&self) -> usize {
        self.refused.len()
    }

    /// How often this was the reason to refuse.
    pub(crate) fn refused_for(&self, reason: &str) -> u64 {
        self.refused.get(reason).copied().unwrap_or_default()
    }
}

fn type_of(value: &GlobalValue) -> ValType {
    match value {
        GlobalValue::I32(_) => ValType::I32,
        GlobalValue::I64(_) => ValType::I64,
        GlobalValue::F32(_) => ValType::F32,
        GlobalValue::F64(_) => ValType::F64,
        GlobalValue::V128(_) => ValType::V128,
    }
}

/// The reason, without names and numbers of one module.
fn reason(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Invalid { reason, .. } => {
            let text: String = reason.chars().filter(|c| !c.is_ascii_digit()).collect();
            format!("not valid: {}", text.trim())
        }
        Refusal::Instruction { instruction, .. } => instruction.clone(),
        Refusal::Declaration { .. } => "mutable reference global".to_owned(),
        Refusal::Import { .. } => "import".to_owned(),
        Refusal::Export { .. } => "export".to_owned(),
        Refusal::Limit { what, .. } => format!("limit of {what}"),
        Refusal::Birth(why) => format!("birth: {why}"),
        other => other.to_string(),
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |counts: &mut dyn Iterator<Item = (String, u64)>| {
            counts.map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
        };
        let (generated, accepted) = self.of(|_| true);
        let refused: u64 = self.refused.values().sum();
        let faulted: u64 = self.faults.values().sum();
        let percent = accepted * 100 / generated.max(1);
        writeln!(
            f,
            "modules      {generated} generated, {accepted} accepted ({percent} %), {refused} refused"
        )?;
        let origins = self.origins.iter().map(|(o, (n, yes))| (format!("{o:?} {yes} of"), *n));
        writeln!(f, "  accepted   {}", list(&mut { origins }))?;
        writeln!(f, "  refused    {}", list(&mut self.refused.iter().map(|(k, n)| (k.clone(), *n))))?;
        writeln!(f, "  kinds      {}", list(&mut self.kinds.iter().map(|(k, n)| ((*k).to_owned(), *n))))?;
        writeln!(f, "deliveries   {}, of which {faulted} faulted", self.deliveries)?;
        writeln!(f, "  faults     {}", list(&mut self.faults.iter().map(|(k, n)| (k.clone(), *n))))?;
        writeln!(
            f,
            "captures     {}, restores {}, in a warehouse {}",
            self.captures, self.restores, self.hosted
        )?;
        let (compared, others) = (self.interpreted, self.uncompared);
        let misread = self.misread;
        write!(
            f,
            "interpreted  {compared} deliveries compared, {others} could not be, {misread} modules misread by it"
        )
    }
}
