//! Bursts: threads that deliver at the same time, while another disturbs them.

use anyhow::{Result, bail};
use vat_warehouse::{Error, VatName, Warehouse};

use super::world::{Vat, World};
use crate::scenario::Observed;

/// A vat, and what must be observed of its next deliveries.
pub(super) type Work = (VatName, Vat, Vec<Observed>);

impl World {
    /// The next `each` deliveries of a vat.
    pub(super) fn work(&self, name: &VatName, each: u64) -> Work {
        let vat = self.vats[name].clone();
        let mut steady = self.steady.borrow_mut();
        let positions = vat.deliveries..vat.deliveries + each;
        let expected = positions.map(|position| steady.observed(&vat.script, position).clone()).collect();
        (name.clone(), vat, expected)
    }

    /// Several threads deliver, each to vats of its own; another commits, evicts and compacts meanwhile.
    pub(super) fn burst(&mut self) -> Result<()> {
        self.commit(Warehouse::commit)?;
        let threads = 2 + usize::try_from(self.random.below(2))?;
        let each = 1 + self.random.below(6);
        let mut shares: Vec<Vec<Work>> = vec![Vec::new(); threads];
        for (n, name) in self.vats.keys().enumerate() {
            shares[n % threads].push(self.work(name, each));
        }
        let disturbance = self.random.below(4);
        let warehouse = self.warehouse();
        let results: Vec<Result<u64, Failed>> = std::thread::scope(|scope| {
            let workers: Vec<_> =
                shares.iter().map(|share| scope.spawn(move || deliver_all(warehouse, share, each))).collect();
            for _ in 0..each {
                // What goes wrong here goes wrong on the threads, too, or with the next commit.
                let _ = match disturbance {
                    0 => warehouse.commit(),
                    1 => warehouse.evict_all(),
                    2 => warehouse.compact().map(drop),
                    _ => warehouse.checkpoint(),
                };
            }
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|_| Err(Failed::Panicked)))
                .collect()
        });
        // Which of these deliveries were committed, only the threads' schedule knows.
        if disturbance == 0 || disturbance == 3 {
            self.log = None;
            for (name, durable) in &mut self.committed {
                durable.vat.deliveries = self.vats[name].deliveries + each;
            }
        }
        for result in results {
            match result {
                Ok(delivered) => self.summary.deliveries += delivered,
                Err(Failed::Host(error)) => return self.allow("a burst", Err::<(), _>(error)).map(drop),
                Err(Failed::Differs(what)) => bail!("in a burst: {what}"),
                Err(Failed::Panicked) => bail!("a thread panicked"),
            }
        }
        self.vats.values_mut().for_each(|vat| vat.deliveries += each);
        Ok(())
    }
}

/// Why a thread of a burst gave up.
#[derive(Debug)]
pub(super) enum Failed {
    Host(Error),
    Differs(String),
    Panicked,
}

/// Delivers in turn to all vats of a share.
pub(super) fn deliver_all(warehouse: &Warehouse, share: &[Work], each: u64) -> Result<u64, Failed> {
    let mut delivered = 0;
    for turn in 0..each {
        for (name, vat, expected) in share {
            let position = vat.deliveries + turn;
            let observed = vat.script.deliver(warehouse, name, position).map_err(Failed::Host)?;
            let expected = &expected[usize::try_from(turn).expect("few turns")];
            if observed != *expected {
                return Err(Failed::Differs(format!(
                    "{name}, delivery {position}: {observed:?} for {expected:?}"
                )));
            }
            delivered += 1;
        }
    }
    Ok(delivered)
}
