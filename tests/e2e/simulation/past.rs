//! Looking back: a vat as it was after any of its deliveries, as the host that never stops recorded it then; and forgetting what
//! the retention level does not keep.

use anyhow::{Result, ensure};
use vat_warehouse::{Contrast, Error, Retention, VatName};

use super::world::{Vat, World};
use crate::scenario::{Digest, Listener, Observed};

impl World {
    /// Whether `error` says that entries are gone which a replay needs to get to `position`, and they may be.
    pub(super) fn may_be_gone(&self, name: &VatName, position: u64, error: &Error) -> bool {
        let Some(Vat { script, .. }) = self.vats.get(name) else { return false };
        let may_be = match self.kept {
            Retention::Operational => true,
            Retention::Replay => position < script.incarnation_start(),
            Retention::Archival | Retention::Debug => false,
        };
        may_be
            && match error {
                Error::Storage(vat_storage::Error::Pruned { .. }) => true,
                // An ancestor that was terminated has no spans that could tell why.
                Error::Storage(vat_storage::Error::MissingEntry { .. }) => script.is_fork(),
                _ => false,
            }
    }

    /// A moment of the vat is what it was then, and answers what it would have answered.
    pub(super) fn look_at(&mut self, name: &VatName) -> Result<()> {
        let Vat { script, deliveries } = self.vats[name].clone();
        let position = self.random.below(deliveries);
        let mut moment = match self.warehouse().at(name, position) {
            Ok(moment) => moment,
            Err(error) if self.may_be_gone(name, position, &error) => return Ok(()),
            Err(error) => return self.allow("look back", Err::<(), _>(error)).map(drop),
        };
        let expected = self.steady.borrow_mut().state(&script, position + 1).clone();
        let storage = match moment.storage() {
            Ok(storage) => storage.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            // What the first entries wrote went with them.
            Err(error) if self.may_be_gone(name, 0, &error) => return Ok(()),
            Err(error) => {
                drop(moment);
                return self.allow("look at vat storage of then", Err::<(), _>(error)).map(drop);
            }
        };
        let globals = moment.globals();
        let found = Digest::new(moment.heap(), globals, storage);
        ensure!(
            found == expected,
            "{name} after delivery {position} was {expected:?}, and is told as {found:?}"
        );
        self.summary.moments += 1;
        if script.is_upgrade(position + 1) {
            return Ok(());
        }
        let (delivery, time) = script.said(position + 1);
        let (answer, _) = moment.ask(&delivery, time, Listener::default());
        drop(moment);
        let Some(answer) = self.allow("ask a moment", answer)? else { return Ok(()) };
        let expected = self.steady.borrow_mut().observed(&script, position + 1).clone();
        let answer = Observed::of(answer);
        ensure!(answer == expected, "{name} asked after delivery {position}: {answer:?} for {expected:?}");
        Ok(())
    }

    /// What is said to differ between two moments is what differs.
    pub(super) fn contrast(&mut self, name: &VatName) -> Result<()> {
        let Vat { script, deliveries } = self.vats[name].clone();
        let (a, b) = (self.random.below(deliveries), self.random.below(deliveries));
        let contrast = match self.warehouse().contrast(name, a, b) {
            Ok(contrast) => contrast,
            // Vat storage of then is computed from the first entry on.
            Err(error) if self.may_be_gone(name, 0, &error) => return Ok(()),
            Err(error) => return self.allow("compare moments", Err::<(), _>(error)).map(drop),
        };
        let mut steady = self.steady.borrow_mut();
        let before = steady.state(&script, a + 1).clone();
        let after = steady.state(&script, b + 1);
        let Contrast { heap_bytes, pages, globals, keys } = &contrast;
        let is_true = *heap_bytes == (before.heap_bytes(), after.heap_bytes())
            && (pages.is_empty() || !before.is_same_heap(after))
            && (!pages.is_empty() || heap_bytes.0 != heap_bytes.1 || before.is_same_heap(after))
            && globals.len() == before.globals_that_differ(after)
            && keys.len() == before.keys_that_differ(after);
        ensure!(is_true, "{name}, {a} beside {b}: {contrast:?} of {before:?} and {after:?}");
        self.summary.moments += 1;
        Ok(())
    }

    /// What the level does not keep goes; nobody must notice.
    pub(super) fn prune(&mut self, name: &VatName) -> Result<()> {
        if self.warehouse().retention() > Retention::Replay {
            return Ok(()); // It keeps everything, and says so.
        }
        match self.warehouse().prune(name) {
            // What stands for the entries is damaged, and they stay.
            Err(Error::Uncovered { .. }) if self.is_damaged => Ok(()),
            pruned => self.allow("prune", pruned).map(drop),
        }
    }

    /// Every vat is what a replay from birth makes, where its past is still there.
    pub(super) fn verify_all(&mut self) -> Result<()> {
        for name in self.vats.keys() {
            match self.warehouse().verify(name) {
                Ok(verification) => {
                    let verdict = verification.verdict;
                    ensure!(verdict.is_identical(), "{name}: a replay from birth is {verdict}");
                }
                Err(error) if self.may_be_gone(name, 0, &error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
