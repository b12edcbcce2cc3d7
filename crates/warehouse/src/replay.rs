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

use vat_abi::{Computrons, LogLevel, Outcome, Syscall, SyscallRecord, TranscriptEntry, VatFault};
use vat_engine::{CrankContext, Error as EngineError, SyscallHandler, SyscallVerdict, VatInstance};

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

/// Runs one recorded delivery again.
///
/// `Ok(None)` means that everything was as recorded. After a recorded fault the instance is spent, as it was then.
pub(crate) fn replay_delivery(
    instance: &mut VatInstance,
    position: u64,
    entry: &TranscriptEntry,
    context: &CrankContext,
) -> Result<Option<Divergence>, EngineError> {
    let simulator = Simulator {
        recorded: entry.syscalls.clone(),
        then_illegal: entry.outcome == Outcome::Faulted(VatFault::IllegalSyscall),
        next: 0,
        difference: None,
    };
    let (result, simulator) = instance.deliver(&entry.delivery, context, simulator);
    if let Some(difference) = simulator.difference {
        return Ok(Some(Divergence::new(position, difference, entry, simulator.next)));
    }
    let report = result?;
    let difference = if let Some(expected) = simulator.recorded.get(simulator.next) {
        Some(Difference::Missing { index: simulator.next, expected: Box::new(expected.syscall.clone()) })
    } else if report.outcome != entry.outcome {
        Some(Difference::Outcome { expected: entry.outcome.clone(), got: report.outcome })
    } else if report.computrons != entry.computrons {
        Some(Difference::Computrons { expected: entry.computrons, got: report.computrons })
    } else {
        None
    };
    Ok(difference.map(|difference| Divergence::new(position, difference, entry, simulator.next)))
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

/// Answers from the record.
struct Simulator {
    recorded: Vec<SyscallRecord>,
    /// Whether the record ends in a syscall that was refused: it has no result, so only the outcome tells of it.
    then_illegal: bool,
    next: usize,
    difference: Option<Difference>,
}

impl Simulator {
    fn diverge(&mut self, difference: Difference) -> SyscallVerdict {
        self.difference = Some(difference);
        SyscallVerdict::Abandon("the replay differs from the record".into())
    }
}

impl SyscallHandler for Simulator {
    fn syscall(&mut self, syscall: &Syscall) -> SyscallVerdict {
        let index = self.next;
        let Some(record) = self.recorded.get(index) else {
            if self.then_illegal {
                return SyscallVerdict::Illegal("as recorded".to_owned());
            }
            return self.diverge(Difference::Extra { index, got: Box::new(syscall.clone()) });
        };
        if record.syscall != *syscall {
            let expected = Box::new(record.syscall.clone());
            return self.diverge(Difference::Wrong { index, expected, got: Box::new(syscall.clone()) });
        }
        self.next += 1;
        SyscallVerdict::Answer(record.result.clone())
    }

    fn log(&mut self, _level: LogLevel, _text: &str) {} // It was heard when the delivery was new.
}
