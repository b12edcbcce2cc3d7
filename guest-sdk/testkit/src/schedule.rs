//! What is done to a vat between its deliveries, while nobody may notice.
//!
//! [`DISTURBED`] is the list that every scenario goes through. Its aim is that each way out of memory (evicted,
//! snapshotted, restarted, crashed) meets each way back (mapped, copied, replayed from a snapshot, replayed
//! from birth) after every delivery.

use vat_warehouse::{RestoreMethod, Tracking};

use crate::error::Result;
use crate::host::{Host, Hosting};

/// What happens after each delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Nothing.
    Stay,
    /// It is captured, and stays in memory.
    Snapshot,
    /// It is evicted.
    Evict,
    /// The warehouse is closed and opened.
    Restart,
    /// The warehouse crashes before the delivery is durable, and again when it is.
    Crash,
    /// Each of the others in turn.
    Turns,
}

/// A way to disturb a vat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// For messages: "… after every delivery".
    pub(crate) name: &'static str,
    pub(crate) event: Event,
    pub(crate) hosting: Hosting,
}

/// No snapshot unless somebody asks for one.
const NEVER: u64 = u64::MAX;

/// The vat that never leaves memory.
pub(crate) const STEADY: Schedule = schedule("left in memory", Event::Stay, mapped(NEVER));

/// All that is done to a vat to find out whether it notices.
pub(crate) const DISTURBED: &[Schedule] = &[
    schedule("snapshotted by policy, never restored", Event::Stay, copied(1)),
    schedule("snapshotted, left in memory", Event::Snapshot, mapped(NEVER)),
    schedule("evicted, and restored by mapping", Event::Evict, mapped(NEVER)),
    schedule("evicted, and restored by copying", Event::Evict, copied(NEVER)),
    schedule("restarted, and replayed from birth", Event::Restart, mapped(NEVER)),
    schedule("restarted, and restored by copying with some replay", Event::Restart, copied(3)),
    schedule("crashed twice, and replayed from birth", Event::Crash, copied(NEVER)),
    schedule("crashed twice, and restored by mapping with some replay", Event::Crash, mapped(2)),
    schedule("snapshotted, evicted, restarted, crashed in turn", Event::Turns, mapped(NEVER)),
];

const fn schedule(name: &'static str, event: Event, hosting: Hosting) -> Schedule {
    Schedule { name, event, hosting }
}

const fn mapped(snapshot_interval: u64) -> Hosting {
    Hosting { restore: RestoreMethod::Map, tracking: Tracking::Best, snapshot_interval }
}

const fn copied(snapshot_interval: u64) -> Hosting {
    Hosting { restore: RestoreMethod::Copy, tracking: Tracking::Compare, snapshot_interval }
}

impl Event {
    const ALL: [Event; 5] = [Event::Snapshot, Event::Evict, Event::Restart, Event::Stay, Event::Crash];

    /// Does it, after the delivery at `position`.
    pub(crate) fn happen(self, host: &mut Host, position: usize) -> Result {
        match self {
            Event::Stay => Ok(()),
            Event::Snapshot => host.snapshot(),
            Event::Evict => host.evict(),
            Event::Restart => host.restart(),
            Event::Crash => {
                host.crash()?;
                host.commit()?;
                host.crash()
            }
            Event::Turns => Event::ALL[position % Event::ALL.len()].happen(host, position),
        }
    }
}
