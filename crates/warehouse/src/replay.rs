//! Replay: a recorded delivery is run again, its syscalls served from the record and compared with it.
//!
//! ```text
//!   record   s0 ─ s1 ─ s2 ─ s3          verdict per index
//!   replay   s0 ─ x1 ─ s2               ok, wrong, ok, missing        (a syscall beyond the record: extra)
//! ```
//!
//! The first wrong or extra syscall ends the delivery: what it would be answered is not known. Outcome and computrons are
//! compared as well. Nothing of a replay reaches the caller's handler, the log or the store.

use std::fmt;

use vat_abi::{Computrons, DecodeError, Outcome, RecordedEntry, Syscall, TranscriptEntry, VatFault};
use vat_engine::{Counterpart, CrankContext, Ended, Refused, VatInstance};

use crate::error::Error;

/// How a replay differed from the record: the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// The delivery's position.
    pub position: u64,
    /// What differs.
    pub difference: Difference,
    /// Each syscall of the delivery, recorded or made, in order.
    pub syscalls: Vec<Compared>,
}

/// A syscall of a recorded delivery beside that of its replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// How they compare.
    pub verdict: Comparison,
    /// What was recorded.
    pub expected: Option<Syscall>,
    /// What the vat did.
    pub got: Option<Syscall>,
}

/// How a syscall compares with the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// It is the recorded one.
    Ok,
    /// It is another one.
    Wrong,
    /// Nothing was recorded here.
    Extra,
    /// The vat did nothing here, and ended.
    Missing,
    /// The replay had ended before, by what was wrong earlier.
    NotReached,
}

/// What differs between a recorded delivery and its replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The syscall at `index` is not the recorded one.
    Wrong {
        /// Its index in the delivery.
        index: usize,
        /// What was recorded.
        expected: Box<Syscall>,
        /// What the vat did.
        got: Box<Syscall>,
    },
    /// The vat made a syscall after all recorded ones.
    Extra {
        /// Its index in the delivery.
        index: usize,
        /// What the vat did.
        got: Box<Syscall>,
    },
    /// The vat did not make the recorded syscall at `index`.
    Missing {
        /// Its index in the delivery.
        index: usize,
        /// What was recorded.
        expected: Box<Syscall>,
    },
    /// It ended differently.
    Outcome {
        /// What was recorded.
        expected: Outcome,
        /// How it ended.
        got: Outcome,
    },
    /// It was charged differently.
    Computrons {
        /// What was recorded.
        expected: Computrons,
        /// What it used.
        got: Computrons,
    },
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delivery {}: {}", self.position, self.difference)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Wrong { index, expected, got } => {
                write!(f, "wrong syscall at index {index}: expected {expected}, got {got}")
            }
            Difference::Extra { index, got } => write!(f, "extra syscall at index {index}: {got}"),
            Difference::Missing { index, expected } => {
                write!(f, "missing syscall at index {index}: expected {expected}")
            }
            Difference::Outcome { expected, got } => write!(f, "outcome: expected {expected}, got {got}"),
            Difference::Computrons { expected, got } => {
                write!(f, "computrons: expected {}, got {}", expected.0, got.0)
            }
        }
    }
}

/// Runs one recorded delivery of `vat` again.
///
/// `Ok(None)` means that everything was as recorded. After a recorded fault the instance is spent, as it was then.
///
/// # Errors
/// [`Error::Damaged`] if the record is not one; a host error.
pub(crate) fn replay_delivery(
    instance: &mut VatInstance,
    vat: &str,
    position: u64,
    entry: RecordedEntry,
    context: &CrankContext,
) -> Result<Option<Divergence>, Error> {
    let (result, simulator) = instance.run(context, Simulator { entry, next: 0, difference: None });
    let Simulator { entry, next, difference } = simulator;
    let difference = match difference {
        Some(difference) => Some(difference),
        None => differs_in_the_end(&entry, next, result?).map_err(|error| damaged(vat, position, &error))?,
    };
    let Some(difference) = difference else { return Ok(None) };
    let entry = TranscriptEntry::from_json(entry.text()).map_err(|error| damaged(vat, position, &error))?;
    Ok(Some(Divergence::new(position, difference, &entry, next)))
}

/// Whether the delivery stopped short of the record after `made` syscalls, or ended otherwise.
fn differs_in_the_end(
    entry: &RecordedEntry,
    made: usize,
    ended: Ended,
) -> Result<Option<Difference>, DecodeError> {
    Ok(if let Some(expected) = entry.syscall(made) {
        let expected = Box::new(Syscall::from_json(expected)?);
        Some(Difference::Missing { index: made, expected })
    } else if ended.outcome != *entry.outcome() {
        Some(Difference::Outcome { expected: entry.outcome().clone(), got: ended.outcome })
    } else if ended.computrons != entry.computrons() {
        Some(Difference::Computrons { expected: entry.computrons(), got: ended.computrons })
    } else {
        None
    })
}

fn damaged(vat: &str, position: u64, error: &DecodeError) -> Error {
    Error::Damaged { vat: vat.to_owned(), what: format!("the entry at position {position}: {error}") }
}

/// An entry whose parts are needed, not their meaning.
///
/// # Errors
/// [`Error::Damaged`].
pub(crate) fn recorded(vat: &str, position: u64, entry: Vec<u8>) -> Result<RecordedEntry, Error> {
    RecordedEntry::read(entry).map_err(|error| damaged(vat, position, &error))
}

impl Divergence {
    /// After `same` syscalls that were as recorded.
    pub(crate) fn new(
        position: u64,
        difference: Difference,
        entry: &TranscriptEntry,
        same: usize,
    ) -> Divergence {
        let recorded = |index: usize| entry.syscalls.get(index).map(|record| record.syscall.clone());
        let ok = (0..same).map(|index| (Comparison::Ok, recorded(index), recorded(index)));
        let at = match &difference {
            Difference::Wrong { got, .. } => Some((Comparison::Wrong, recorded(same), Some((**got).clone()))),
            Difference::Extra { got, .. } => Some((Comparison::Extra, None, Some((**got).clone()))),
            Difference::Missing { .. } | Difference::Outcome { .. } | Difference::Computrons { .. } => None,
        };
        let (rest, verdict) = match difference {
            Difference::Wrong { .. } => (same + 1, Comparison::NotReached),
            _ => (same, Comparison::Missing),
        };
        let rest = (rest..entry.syscalls.len()).map(|index| (verdict, recorded(index), None));
        let syscalls = ok.chain(at).chain(rest);
        let compared = |(verdict, expected, got)| Compared { verdict, expected, got };
        Divergence { position, difference, syscalls: syscalls.map(compared).collect() }
    }
}

/// Answers from the record. What the vat wrote byte for byte as it is recorded needs no decoding, and nearly everything is.
struct Simulator {
    entry: RecordedEntry,
    next: usize,
    difference: Option<Difference>,
}

impl Simulator {
    /// The vat wrote another text than the recorded one. It may still be the same syscall.
    fn compare(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let index = self.next;
        let got = Syscall::from_json(bytes).map_err(|_| Refused::Fault(VatFault::BadSyscallBytes))?;
        let Some(recorded) = self.entry.syscall(index) else {
            return Err(self.beyond_record(index, got));
        };
        let expected = Syscall::from_json(recorded).map_err(|error| Refused::Abandon(error.into()))?;
        if expected != got {
            let (expected, got) = (Box::new(expected), Box::new(got));
            return Err(self.diverge(Difference::Wrong { index, expected, got }));
        }
        self.next += 1;
        Ok(())
    }

    /// A syscall that was refused, or whose answer was too much, has no record: only the outcome tells of it.
    fn beyond_record(&mut self, index: usize, got: Syscall) -> Refused {
        match self.entry.outcome().fault() {
            Some(fault @ (VatFault::IllegalSyscall | VatFault::SyscallLimit)) => {
                Refused::Fault(fault.clone())
            }
            _ => self.diverge(Difference::Extra { index, got: Box::new(got) }),
        }
    }

    fn diverge(&mut self, difference: Difference) -> Refused {
        self.difference = Some(difference);
        Refused::Abandon("the replay differs from the record".into())
    }
}

impl Counterpart for Simulator {
    fn delivery(&self) -> &[u8] {
        self.entry.delivery()
    }

    fn syscall(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        if self.entry.syscall(self.next) == Some(bytes) {
            self.next += 1;
            return Ok(());
        }
        self.compare(bytes)
    }

    fn reply(&self) -> &[u8] {
        self.next.checked_sub(1).and_then(|last| self.entry.result(last)).unwrap_or_default()
    }
}
