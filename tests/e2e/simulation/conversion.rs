//! Conversion beside vats that are served: threads replay and capture, and yield to whoever wants a vat.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};
use vat_warehouse::{Budget, Pace, Warehouse};

use super::burst::{Failed, Work, deliver_all};
use super::world::World;

impl World {
    /// Converts in the background, as far as the pace lets it, while vats get deliveries.
    pub(super) fn convert(&mut self) -> Result<()> {
        let first: Vec<_> = self.some_vat().into_iter().collect();
        let plan = self.warehouse().conversion_plan(&first);
        let Some(plan) = self.allow("plan a conversion", plan)? else { return Ok(()) };
        let each = 1 + self.random.below(3);
        let count = 1 + usize::try_from(self.random.below(3))?;
        let work: Vec<Work> = self.vats.keys().take(count).map(|name| self.work(name, each)).collect();
        let is_stopped = self.random.below(3) == 0;
        let budget = self.budget();
        let conversion = self.warehouse().convert_in_background(&plan, budget)?;
        let delivered = deliver_all(self.warehouse(), &work, each);
        // It holds the host, which can only crash without it.
        let progress = if is_stopped { conversion.stop() } else { conversion.wait() };
        self.summary.converted += progress.converted;
        match delivered {
            Ok(delivered) => self.summary.deliveries += delivered,
            Err(Failed::Host(error)) => return self.allow("deliver beside", Err::<(), _>(error)).map(drop),
            Err(Failed::Differs(what)) => bail!("beside a conversion: {what}"),
            Err(Failed::Panicked) => bail!("a thread panicked"),
        }
        for (name, ..) in &work {
            self.vats.get_mut(name).expect("nobody ended it").deliveries += each;
        }
        match self.random.below(2) {
            0 => self.commit(Warehouse::checkpoint),
            _ => Ok(()),
        }
    }

    fn budget(&mut self) -> Budget {
        let steps_max = self.random.pick(&[0, 1, 4, u64::MAX]);
        let steps = AtomicU64::new(0);
        Budget {
            threads: NonZeroUsize::new(1 + usize::from(self.random.below(2) == 0)).expect("at least one"),
            computrons_per_step: self.random.pick(&[1, 500, u64::MAX]),
            pace: Box::new(move |_| match steps.fetch_add(1, Ordering::Relaxed) < steps_max {
                true => Pace::Go,
                false => Pace::Stop,
            }),
        }
    }
}
