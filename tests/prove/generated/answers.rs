//! What a generated vat is told, and answered: one host's side for both engines.

use std::collections::BTreeMap;

use vat_abi::{CapData, Delivery, LogLevel, Message, Syscall, SyscallResult, Vref};
use vat_engine::{CrankContext, SyscallHandler, SyscallVerdict};

use super::source::Subject;

/// Computrons of each delivery.
pub(crate) const COMPUTRONS_MAX: u64 = 2_000_000;
/// Wasm pages that a vat may have.
pub(crate) const PAGES_MAX: u32 = 12;

/// What the vat is given at its `n`th delivery besides the delivery.
pub(crate) fn context(n: usize) -> CrankContext {
    CrankContext { time_ns: n as u64, seed: [7; 32], computrons_max: COMPUTRONS_MAX }
}

/// The `n`th delivery to a vat.
pub(crate) fn delivery(subject: &Subject, n: usize) -> Delivery {
    let (word, padding) = subject.words(n);
    Delivery::Message {
        target: Vref::root(),
        message: Message {
            methargs: CapData::data(format!("#[\"m{word:016x}\",[{padding:?}]]")),
            result: None,
        },
    }
}

/// Vat storage and the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    pub(crate) storage: BTreeMap<String, String>,
    pub(crate) log: Vec<(LogLevel, String)>,
}

impl Answers {
    /// Answers a syscall.
    pub(crate) fn answer(&mut self, syscall: &Syscall) -> SyscallResult {
        SyscallResult::Ok(match syscall {
            Syscall::VatstoreGet(key) => self.storage.get(key).cloned(),
            Syscall::VatstoreSet(key, value) => {
                self.storage.insert(key.clone(), value.clone());
                None
            }
            _ => None,
        })
    }
}

impl SyscallHandler for Answers {
    fn syscall(&mut self, syscall: &Syscall) -> SyscallVerdict {
        SyscallVerdict::Answer(self.answer(syscall))
    }

    fn log(&mut self, level: LogLevel, text: &str) {
        self.log.push((level, text.to_owned()));
    }
}
