//! The interpreter as a witness to a vat's life: what our engine did is compared with what it says; where they differ, the judge
//! decides who is wrong.
//!
//! Two faults cannot be compared: the interpreter counts no computrons, and of the module as it was installed it knows no logical
//! stack. Such deliveries are left out there, which is the same as undoing them. A witness that was wrong once is not asked again.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use vat_abi::{Delivery, VatFault};
use vat_engine::{Globals, Report};

use super::answers::Answers;
use super::interpreter::{Done, Interpreter, Version};
use super::judge::{Ruling, judge};
use super::tally::Tally;

/// The module in the interpreter, as it was installed or rewritten.
pub(crate) struct Witness {
    interpreter: Interpreter,
    wasm: Vec<u8>,
    version: Version,
    is_trusted: bool,
}

/// What our engine made of the vat.
#[derive(Clone, Copy)]
pub(crate) struct State<'a> {
    pub(crate) heap: &'a [u8],
    pub(crate) globals: &'a Globals,
    pub(crate) storage: &'a BTreeMap<String, String>,
}

impl Witness {
    /// The witness of a vat's birth, or what stopped that.
    pub(crate) fn birth(wasm: &[u8], version: Version) -> Result<Witness, VatFault> {
        let interpreter = Interpreter::birth(wasm, version)?;
        Ok(Witness { interpreter, wasm: wasm.to_vec(), version, is_trusted: true })
    }

    /// Makes a delivery that our engine made, with the same results.
    pub(crate) fn deliver(
        &mut self,
        delivery: &Delivery,
        ours: &Report,
        answers: &Answers,
        tally: &mut Tally,
    ) -> Result<()> {
        let is_silent = match ours.outcome.fault() {
            Some(VatFault::OutOfComputrons) => true,
            Some(VatFault::StackOverflow) => self.version == Version::Installed,
            _ => false,
        };
        if is_silent || !self.is_trusted {
            tally.uncompared += 1;
            return Ok(());
        }
        tally.interpreted += 1;
        let before = self.interpreter.history().len();
        let theirs = self.interpreter.deliver(delivery);
        let compared = same_done(ours, answers, &theirs);
        let history: Vec<Delivery> = self.interpreter.history().iter().take(before).cloned().collect();
        self.appeal(compared, &history, Some(delivery), tally, |ruling| {
            same_done(ours, answers, ruling.done.as_ref().expect("it was asked for one"))
        })
    }

    /// Has the same state as our engine's vat.
    pub(crate) fn agree(&mut self, ours: State<'_>, when: &str, tally: &mut Tally) -> Result<()> {
        if !self.is_trusted {
            return Ok(());
        }
        let storage = &self.interpreter.answers().storage;
        let theirs = State { heap: self.interpreter.heap(), globals: &self.interpreter.globals(), storage };
        let compared = same_state(ours, theirs, when);
        let history = self.interpreter.history().to_vec();
        self.appeal(compared, &history, None, tally, |ruling| {
            let Ruling { heap, globals, answers, .. } = ruling;
            same_state(ours, State { heap, globals, storage: &answers.storage }, when)
        })
    }

    /// Who is wrong, if anybody is: nobody is, if the judge says so and finds that our engine is right.
    fn appeal(
        &mut self,
        compared: Result<()>,
        history: &[Delivery],
        last: Option<&Delivery>,
        tally: &mut Tally,
        compare: impl FnOnce(&Ruling) -> Result<()>,
    ) -> Result<()> {
        let Err(difference) = compared else { return Ok(()) };
        let ruling = judge(&self.wasm, self.version, history, last);
        if let Err(confirmed) = compare(&ruling) {
            let name = self.name();
            bail!("the {name} module, interpreted, {difference:#}; and the judge: {confirmed:#}");
        }
        self.is_trusted = false;
        tally.misread += 1;
        Ok(())
    }

    fn name(&self) -> &'static str {
        match self.version {
            Version::Installed => "installed",
            Version::Rewritten | Version::Uninitialised => "rewritten",
        }
    }
}

fn same_done(ours: &Report, answers: &Answers, theirs: &Done) -> Result<()> {
    ensure!(ours.outcome == theirs.outcome, "{}, and not {}", theirs.outcome, ours.outcome);
    ensure!(ours.syscalls == theirs.syscalls, "syscalls {:?}, and not {:?}", theirs.syscalls, ours.syscalls);
    let is_delivered = ours.outcome.is_delivered();
    ensure!(!is_delivered || answers.log == theirs.log, "log {:?}, and not {:?}", theirs.log, answers.log);
    Ok(())
}

fn same_state(ours: State<'_>, theirs: State<'_>, when: &str) -> Result<()> {
    same_globals(ours.globals, theirs.globals, when)?;
    same_heap(ours.heap, theirs.heap, when)?;
    ensure!(
        ours.storage == theirs.storage,
        "{when}: storage {:?}, and not {:?}",
        theirs.storage,
        ours.storage
    );
    Ok(())
}

/// The globals are equal, or which are not.
pub(crate) fn same_globals(ours: &Globals, theirs: &Globals, when: &str) -> Result<()> {
    ensure!(ours == theirs, "{when}: globals {theirs:?}, and not {ours:?}");
    Ok(())
}

/// The heaps are equal, or the first byte that is not.
pub(crate) fn same_heap(ours: &[u8], theirs: &[u8], when: &str) -> Result<()> {
    ensure!(ours.len() == theirs.len(), "{when}: {} bytes of heap, and not {}", theirs.len(), ours.len());
    if ours != theirs {
        let at = ours.iter().zip(theirs).position(|(a, b)| a != b).unwrap_or_default();
        bail!("{when}: byte {at:#x} of the heap is {:#x}, and not {:#x}", theirs[at], ours[at]);
    }
    Ok(())
}
