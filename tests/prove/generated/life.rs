//! One module's life: six deliveries, after each of which everybody who hosts the vat must agree.
//!
//! ```text
//!   stays      never captured                                        │
//!   restored   captured and restored before every delivery           │ same outcome, computrons, syscalls, log;
//!   captured   captured after every delivery, restored after faults  │ same heap, globals, vat storage
//!   wasmi      the module as it was installed                        │ (the interpreter counts no computrons)
//!   wasmi      the module as it was rewritten                        │
//! ```
//!
//! A fault spends an instance. The one that stays is then born again and told all that did not fault, the others are restored
//! from the state before: *as if the delivery had not happened* is compared with exactly that.

use anyhow::{Context as _, Result, bail, ensure};
use vat_abi::{Delivery, Outcome, VatFault};
use vat_engine::{Error, Globals, HeapState, Refusal, Report, VatInstance, VatModule};

use super::answers::{Answers, context, delivery};
use super::host::{Host, Loss, prepared};
use super::interpreter::Version;
use super::kinds::kinds;
use super::source::Subject;
use super::tally::Tally;
use super::witness::{State, Witness, same_globals, same_heap};

/// Deliveries to each vat.
pub(crate) const DELIVERIES: usize = 6;

/// How far a module came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Refused,
    Lived,
}

/// Lives the life of a module, or says what is wrong.
pub(crate) fn live(host: &Host, subject: &Subject, tally: &mut Tally) -> Result<Fate> {
    tally.generated(subject.origin);
    let rewritten = match prepared(&subject.wasm)? {
        Ok(prepared) => prepared,
        Err(refusal) => {
            tally.refused(&refusal);
            return Ok(Fate::Refused);
        }
    };
    let module = host.module(&subject.wasm).context("an accepted module cannot be compiled")?;
    let installed = Witness::birth(&subject.wasm, Version::Installed);
    let version = if host.loss() == Loss::Init { Version::Uninitialised } else { Version::Rewritten };
    let rewritten = Witness::birth(rewritten.wasm(), version);
    let stays = match host.birth(&module) {
        Ok(stays) => stays,
        Err(Error::Refused(refusal @ Refusal::Birth(_))) => {
            unborn(&refusal, &installed.err(), &rewritten.err())?;
            tally.refused(&refusal);
            return Ok(Fate::Refused);
        }
        // Its birth is the same for all vats, and made it larger than this one may be.
        Err(Error::MemoryLimitTooLow { .. }) => {
            tally.too_large();
            return Ok(Fate::Refused);
        }
        Err(error) => return Err(error).context("an accepted module cannot be born"),
    };
    let alike = "our engine gives birth to a vat that the interpreter does not";
    let installed = installed.map_err(|fault| anyhow::anyhow!("{alike}: {fault}"))?;
    let rewritten = rewritten.map_err(|fault| anyhow::anyhow!("{alike}, when rewritten: {fault}"))?;
    tally.accepted(subject.origin, kinds(&subject.wasm));
    Family::new(host, subject, &module, stays, installed, rewritten)?.live(tally)?;
    Ok(Fate::Lived)
}

/// A module that is not born here is not born there.
fn unborn(refusal: &Refusal, installed: &Option<VatFault>, rewritten: &Option<VatFault>) -> Result<()> {
    let text = refusal.to_string();
    if text.contains("out of computrons") {
        return Ok(()); // Of which the interpreter knows nothing.
    }
    for (version, fault) in [("installed", installed), ("rewritten", rewritten)] {
        let Some(fault) = fault else { bail!("{text}; but the {version} module, interpreted, is born") };
        let is_same = match fault {
            VatFault::Trap(_) => text.contains(&fault.to_string()),
            VatFault::IllegalSyscall => text.contains("while it is born"),
            VatFault::BadPointer => text.contains("the guest was stopped"),
            VatFault::StackOverflow => text.contains("stack overflow"),
            _ => false,
        };
        // The module as it was installed has no logical stack, and goes on until something else ends it.
        let is_same = is_same || version == "installed" && text.contains("stack overflow");
        ensure!(is_same, "{text}; but the {version} module, interpreted: {fault}");
    }
    Ok(())
}

/// All who host the same vat.
struct Family<'a> {
    host: &'a Host,
    subject: &'a Subject,
    module: &'a VatModule,
    born: Globals,
    stays: VatInstance,
    captured: VatInstance,
    installed: Witness,
    rewritten: Witness,
    /// What `restored` is restored from; and before the last delivery that did not fault.
    state: HeapState,
    state_before: HeapState,
    /// What `captured` is restored from.
    other_state: HeapState,
    answers: Answers,
    /// Deliveries that did not fault.
    history: Vec<usize>,
}

impl<'a> Family<'a> {
    fn new(
        host: &'a Host,
        subject: &'a Subject,
        module: &'a VatModule,
        mut stays: VatInstance,
        installed: Witness,
        rewritten: Witness,
    ) -> Result<Family<'a>> {
        let born = stays.globals();
        let mut captured = host.birth(module)?;
        let state = host.capture(&mut host.birth(module)?, &born)?;
        let other_state = host.capture(&mut captured, &born)?;
        Ok(Family {
            host,
            subject,
            module,
            born,
            stays,
            captured,
            installed,
            rewritten,
            state_before: state.clone(),
            state,
            other_state,
            answers: Answers::default(),
            history: Vec::new(),
        })
    }

    fn live(mut self, tally: &mut Tally) -> Result<()> {
        tally.captures += 2;
        self.agree("after birth", tally)?;
        for n in 0..DELIVERIES {
            self.deliver(n, tally).with_context(|| format!("delivery {n}"))?;
            self.agree(&format!("after delivery {n}"), tally)?;
        }
        let last = self.host.restore(self.module, &self.other_state)?;
        same_heap(self.stays.heap(), last.heap(), "restored from the last capture")?;
        tally.restores += 1;
        Ok(())
    }

    fn deliver(&mut self, n: usize, tally: &mut Tally) -> Result<()> {
        let delivery = delivery(self.subject, n);
        let before = (self.stays.globals(), self.stays.heap().to_vec());
        let mut restored = self.host.restore(self.module, &self.state)?;
        tally.restores += 1;
        let (report, answers) = deliver(&mut self.stays, &delivery, n, &self.answers)?;
        for (instance, who) in [(&mut restored, "restored"), (&mut self.captured, "captured")] {
            let (other, other_answers) = deliver(instance, &delivery, n, &self.answers)?;
            ensure!(report == other, "{who}: {other:?}, and not {report:?}");
            ensure!(answers == other_answers, "{who}: {other_answers:?}, and not {answers:?}");
        }
        tally.delivered(&report);
        for witness in [&mut self.installed, &mut self.rewritten] {
            witness.deliver(&delivery, &report, &answers, tally)?;
        }
        match report.outcome {
            Outcome::Delivered => {
                self.state_before = self.state.clone();
                self.state = self.host.capture(&mut restored, &self.born)?;
                self.other_state = self.host.capture(&mut self.captured, &self.born)?;
                tally.captures += 2;
                self.answers = Answers { log: Vec::new(), ..answers };
                self.history.push(n);
                tally.changed(&before, (&self.stays.globals(), self.stays.heap()));
            }
            Outcome::Faulted(_) => {
                if self.host.loss() == Loss::Undo {
                    self.state = self.state_before.clone();
                }
                self.captured = self.host.restore(self.module, &self.other_state)?;
                tally.restores += 1;
                self.stays = self.host.birth(self.module)?;
                self.again()?;
            }
        }
        Ok(())
    }

    /// Tells the one that stays, once more, all that did not fault.
    fn again(&mut self) -> Result<()> {
        let mut answers = Answers::default();
        for n in &self.history {
            let (report, after) = deliver(&mut self.stays, &delivery(self.subject, *n), *n, &answers)?;
            ensure!(report.outcome == Outcome::Delivered, "delivery {n} again: {:?}", report.outcome);
            answers = Answers { log: Vec::new(), ..after };
        }
        ensure!(answers == self.answers, "told again, the vat has another storage");
        Ok(())
    }

    /// Everybody has the same state.
    fn agree(&mut self, when: &str, tally: &mut Tally) -> Result<()> {
        let globals = self.stays.globals();
        let mut restored = self.host.restore(self.module, &self.state)?;
        for (instance, who) in [(&mut restored, "restored"), (&mut self.captured, "captured")] {
            let whose = format!("{who}, {when}");
            same_globals(&globals, &instance.globals(), &whose)?;
            same_heap(self.stays.heap(), instance.heap(), &whose)?;
        }
        let ours = State { heap: self.stays.heap(), globals: &globals, storage: &self.answers.storage };
        for witness in [&mut self.installed, &mut self.rewritten] {
            witness.agree(ours, when, tally)?;
        }
        Ok(())
    }
}

fn deliver(
    instance: &mut VatInstance,
    delivery: &Delivery,
    n: usize,
    answers: &Answers,
) -> Result<(Report, Answers)> {
    let (report, answers) = instance.deliver(delivery, &context(n), answers.clone());
    Ok((report.context("a delivery to a generated vat is an error of the host")?, answers))
}
