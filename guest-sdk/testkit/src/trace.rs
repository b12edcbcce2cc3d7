//! All that can be observed of a vat, and how two observations differ.
//!
//! Compared are, for each delivery, outcome, syscalls with their results, log and computrons; and at the end
//! vat storage, globals, and every byte of the heap. The first difference is reported, in that order, because
//! the later ones mostly follow from it.

use std::collections::BTreeMap;
use std::fmt;

use vat_abi::{Computrons, Delivery, Outcome, SyscallRecord};

use crate::listener::LogLine;

/// Bytes of a page, the unit in which heaps are saved.
const PAGE_BYTES: usize = 4096;

/// What can be observed of one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// How it ended.
    pub outcome: Outcome,
    /// What it was charged.
    pub computrons: Computrons,
    /// What the vat asked, and what it heard back.
    pub syscalls: Vec<SyscallRecord>,
    /// What it wrote to the log.
    pub logs: Vec<LogLine>,
}

/// What can be observed of a vat between two deliveries.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) heap: Vec<u8>,
    pub(crate) globals: Vec<String>,
    pub(crate) storage: BTreeMap<String, String>,
}

/// A vat's life, as observed: its deliveries, and its state after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub(crate) deliveries: Vec<(Delivery, Observed)>,
    pub(crate) state: State,
}

/// Where two traces differ first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which delivery it is: its position, 0 for the start. `None` if that is not known.
    pub position: Option<usize>,
    /// The delivery, as text.
    pub delivery: Option<String>,
    /// What differs.
    pub aspect: Aspect,
    /// What was observed first, or in memory.
    pub expected: String,
    /// What was observed then.
    pub got: String,
}

/// What can differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// How many deliveries there are.
    Length,
    /// The delivery itself.
    Delivery,
    /// Its outcome.
    Outcome,
    /// The syscall at this index, or its result.
    Syscall(usize),
    /// The log line at this index.
    Log(usize),
    /// What it was charged.
    Computrons,
    /// The value under this key in vat storage.
    Storage(String),
    /// The mutable global at this index.
    Global(usize),
    /// The size of the heap.
    HeapSize,
    /// The heap's bytes, first at this address, and in as many pages of 4 KiB.
    Heap {
        /// The first byte.
        address: usize,
        /// How many pages differ.
        pages: usize,
    },
}

/// An aspect, and the two sides of it.
type Found = (Aspect, String, String);

impl Trace {
    /// The deliveries, the start first, and what was observed of each.
    pub fn deliveries(&self) -> &[(Delivery, Observed)] {
        &self.deliveries
    }

    /// Vat storage at the end.
    pub fn storage(&self) -> &BTreeMap<String, String> {
        &self.state.storage
    }

    /// The bytes of the heap at the end.
    pub fn heap(&self) -> &[u8] {
        &self.state.heap
    }

    /// Where `other` differs from this first; `None` if it does not.
    pub fn difference(&self, other: &Trace) -> Option<Difference> {
        for (position, (ours, theirs)) in self.deliveries.iter().zip(&other.deliveries).enumerate() {
            let found = unequal(Aspect::Delivery, &ours.0, &theirs.0).or_else(|| ours.1.compare(&theirs.1));
            if let Some(found) = found {
                return Some(Difference::new(found).at(position, &ours.0));
            }
        }
        unequal(Aspect::Length, &self.deliveries.len(), &other.deliveries.len())
            .or_else(|| self.state.compare(&other.state))
            .map(Difference::new)
    }
}

impl Observed {
    /// Where `other` differs from this.
    pub(crate) fn difference(&self, other: &Observed) -> Option<Difference> {
        self.compare(other).map(Difference::new)
    }

    fn compare(&self, other: &Observed) -> Option<Found> {
        unequal_lists(Aspect::Syscall, &self.syscalls, &other.syscalls)
            .or_else(|| unequal(Aspect::Outcome, &self.outcome, &other.outcome))
            .or_else(|| unequal_lists(Aspect::Log, &self.logs, &other.logs))
            .or_else(|| unequal(Aspect::Computrons, &self.computrons, &other.computrons))
    }
}

impl State {
    fn compare(&self, other: &State) -> Option<Found> {
        let keys = self.storage.keys().chain(other.storage.keys());
        let key = keys.filter(|key| self.storage.get(*key) != other.storage.get(*key)).min();
        if let Some(key) = key {
            let side = |state: &State| state.storage.get(key).cloned().unwrap_or_else(nothing);
            return Some((Aspect::Storage(key.clone()), side(self), side(other)));
        }
        unequal_lists(Aspect::Global, &self.globals, &other.globals)
            .or_else(|| unequal(Aspect::HeapSize, &self.heap.len(), &other.heap.len()))
            .or_else(|| self.compare_heaps(other))
    }

    fn compare_heaps(&self, other: &State) -> Option<Found> {
        if self.heap == other.heap {
            return None; // Asked first, because it is the usual answer, and a fast one.
        }
        let chunks = self.heap.chunks(PAGE_BYTES).zip(other.heap.chunks(PAGE_BYTES));
        let pages = chunks.filter(|(a, b)| a != b).count();
        let address = self.heap.iter().zip(&other.heap).position(|(a, b)| a != b)?;
        let side = |state: &State| format!("{:#04x}", state.heap[address]);
        Some((Aspect::Heap { address, pages }, side(self), side(other)))
    }
}

fn nothing() -> String {
    "nothing".to_owned()
}

fn unequal<T: PartialEq + fmt::Display>(aspect: Aspect, a: &T, b: &T) -> Option<Found> {
    (a != b).then(|| (aspect, a.to_string(), b.to_string()))
}

fn unequal_lists<T: PartialEq + fmt::Display>(
    aspect: fn(usize) -> Aspect,
    a: &[T],
    b: &[T],
) -> Option<Found> {
    let index = (0..a.len().max(b.len())).find(|index| a.get(*index) != b.get(*index))?;
    let side = |list: &[T]| list.get(index).map_or_else(nothing, T::to_string);
    Some((aspect(index), side(a), side(b)))
}

impl Difference {
    fn new((aspect, expected, got): Found) -> Difference {
        Difference { position: None, delivery: None, aspect, expected, got }
    }

    /// Says where it is.
    pub(crate) fn at(self, position: usize, delivery: &Delivery) -> Difference {
        Difference { position: Some(position), delivery: Some(delivery.to_string()), ..self }
    }

    /// Whether it is in what remains, and not in what a single delivery did.
    pub(crate) fn is_in_state(&self) -> bool {
        match self.aspect {
            Aspect::Storage(_) | Aspect::Global(_) | Aspect::HeapSize | Aspect::Heap { .. } => true,
            Aspect::Length
            | Aspect::Delivery
            | Aspect::Outcome
            | Aspect::Syscall(_)
            | Aspect::Log(_)
            | Aspect::Computrons => false,
        }
    }
}

/// ```text
/// delivery 2 differs in its syscall 0
///   message o+0 #["add",[5]] result p-61
///     expected: vatstoreSet 'count' '12' -> ok
///          got: vatstoreSet 'count' '13' -> ok
/// ```
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) if self.is_in_state() => {
                write!(f, "from delivery {position} on, {}", self.aspect)?
            }
            Some(position) => write!(f, "in delivery {position}, {}", self.aspect)?,
            None => write!(f, "{}", self.aspect)?,
        }
        writeln!(f, " not the same")?;
        if let Some(delivery) = &self.delivery {
            writeln!(f, "  {delivery}")?;
        }
        writeln!(f, "    expected: {}", self.expected)?;
        write!(f, "         got: {}", self.got)
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aspect::Length => f.write_str("the number of deliveries is"),
            Aspect::Delivery => f.write_str("what was delivered is"),
            Aspect::Outcome => f.write_str("the outcome is"),
            Aspect::Syscall(index) => write!(f, "syscall {index} is"),
            Aspect::Log(index) => write!(f, "log line {index} is"),
            Aspect::Computrons => f.write_str("the computrons are"),
            Aspect::Storage(key) => write!(f, "vat storage under {key:?} is"),
            Aspect::Global(index) => write!(f, "global {index} is"),
            Aspect::HeapSize => f.write_str("the heap's size in bytes is"),
            Aspect::Heap { address, pages } => {
                write!(f, "the byte at address {address:#x} of the heap (and {pages} pages in all) is")
            }
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("heap_bytes", &self.heap.len())
            .field("globals", &self.globals)
            .field("storage", &self.storage)
            .finish()
    }
}

#[cfg(test)]
mod tests;
