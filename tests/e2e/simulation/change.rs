//! Changes to a vat itself: new code, and being taken out of service for a while.

use anyhow::{Result, bail, ensure};
use vat_abi::CapData;
use vat_warehouse::{Error, Hint, Release, VatName, VatStatus};

use super::world::World;
use crate::scenario::Listener;
use crate::steady::{Kind, REFUSING};

impl World {
    /// New code, with the vat storage of the old one.
    pub(crate) fn upgrade(&mut self, name: &VatName) -> Result<()> {
        let kind = self.random.pick(&Kind::ALL);
        let vat = self.vats.get_mut(name).expect("it was just there");
        vat.script = vat.script.upgraded(vat.deliveries, kind);
        let faults = self.summary.faults;
        self.deliver(name)?;
        self.summary.upgrades += u64::from(self.summary.faults == faults);
        Ok(())
    }

    /// New code whose start faults: nothing happened.
    pub(crate) fn upgrade_in_vain(&mut self, name: &VatName) -> Result<()> {
        let (start, time) = (CapData::undefined(), self.random.next());
        let (upgraded, _) = self.warehouse().upgrade(name, REFUSING, start, time, Listener::default());
        match upgraded {
            Err(Error::UpgradeFaulted { .. }) => self.check(name),
            Err(error) => self.allow("upgrade", Err::<(), _>(error)).map(drop),
            Ok(report) => bail!("{name} was upgraded to code that faults: {report:?}"),
        }
    }

    /// The vat is taken out of service, as one that diverged is: it answers nobody, can be looked at, and goes on once released.
    pub(super) fn quarantine(&mut self, name: &VatName) -> Result<()> {
        let faults = self.summary.faults;
        self.restart_unseen()?;
        if self.summary.faults != faults {
            return Ok(());
        }
        let id = self.warehouse().vat(name)?.id;
        let status = VatStatus::Quarantined { reason: "the simulation says so".to_owned() };
        let set = self.warehouse().storage().set_status(id, &status);
        if self.allow("quarantine", set.map_err(Error::from))?.is_none() {
            return Ok(());
        }
        match self.warehouse().provide_blocking(name) {
            Err(Error::Quarantined { .. }) => {}
            Err(error) => return self.allow("be refused", Err::<(), _>(error)).map(drop),
            Ok(_) => bail!("{name} is quarantined, and takes deliveries"),
        }
        self.look_at(name)?;
        if self.summary.faults != faults {
            return Ok(());
        }
        let released = match self.warehouse().release(name, Release::Checked) {
            // A past that is gone cannot be replayed, and somebody has to decide.
            Err(error) if self.may_be_gone(name, 0, &error) => {
                self.warehouse().release(name, Release::Forced)
            }
            released => released,
        };
        if self.allow("release", released)?.is_some() {
            let status = self.warehouse().vat(name)?.status;
            ensure!(status == VatStatus::Alive, "{name} was released, and is {status:?}");
            self.check(name)?;
        }
        Ok(())
    }

    /// What the host is told of the vat's future, true or not.
    pub(super) fn hint(&mut self, name: &VatName) -> Result<()> {
        let hint = self.random.pick(&[Hint::Automatic, Hint::Queued, Hint::Pinned]);
        self.disturb(|host| host.hint(name, hint))
    }
}
