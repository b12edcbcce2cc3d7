//! Conversion: transcripts are turned into local snapshots, for a host that got vats as transcripts only, or lost its page store.
//!
//! ```text
//!   plan: [first …, then by computrons to replay]         a vat is converted
//!            │                                              ┌ behind ┐
//!   worker ──┤ lock the vat's cell, if nobody has it        ▼        │
//!   worker ──┘ newest state ─► replay ─► replay ─► … ─► capture ─► save ── the caller's next commit ─► durable
//!                                 │ └ somebody wants the vat, or stop: capture what there is, let go
//!                                 └ step: let go, keep what was replayed, ask the caller's pace, lock again
//! ```
//!
//! Invariants: nothing here commits, so the caller's open block stays the caller's; what is captured in the middle of a replay is
//! a state of the vat like any other, so that neither stopping nor yielding loses work; a vat that diverges is quarantined,
//! and the rest are converted.
//!
//! There is no clock here. How fast to go is the caller's [`Pace`], asked after every step of a bounded number of computrons; it
//! may wait before it answers. Nobody's vat is held meanwhile: whoever wants it brings it back from its newest snapshot, and what the
//! conversion had replayed is dropped.
//!
//! A vat that is being converted takes a place among those in memory, so that there are never more of both than may be.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use vat_storage::{Position, VatId, VatRow, VatStatus};

use crate::canary::Canary;
use crate::error::Error;
use crate::name::VatName;
use crate::page_in::{PagedIn, Step, decode_entry, kept_options};
use crate::residency::{CellGuard, Resident};
use crate::stats::Counter;
use crate::warehouse::{Inner, Warehouse};

/// Rows of vats that are looked at together.
const VATS_AT_ONCE: usize = 256;
/// How often a vat that somebody has is tried again at the end of the plan.
const ATTEMPTS_MAX: u32 = 16;

/// A vat whose newest snapshot does not cover its transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// Its name.
    pub vat: VatName,
    /// Deliveries that the next page-in from disk would replay.
    pub deliveries: u64,
    /// Computrons that they used.
    pub computrons: u64,
}

/// What became of one vat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Converted {
    /// Its newest state is captured.
    Current,
    /// Somebody wanted it, or the conversion was stopped: a state on the way is captured, if there is one.
    Interrupted,
}

/// Whether to go on after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// With the next step.
    Go,
    /// No further: what was replayed is captured, and the workers end.
    Stop,
}

/// What the steps since the pace was asked last have used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Computrons of replayed deliveries.
    pub computrons: u64,
    /// Bytes written to the page store.
    pub bytes_written: u64,
}

/// What a background conversion may use.
pub struct Budget {
    /// Vats replayed at the same time, each on a thread of its own.
    pub threads: NonZeroUsize,
    /// Computrons after which a worker asks for its pace. A single delivery is never cut.
    pub computrons_per_step: u64,
    /// Asked by a worker after each step, and after each vat; may wait. No vat is held meanwhile.
    pub pace: Box<dyn Fn(Spent) -> Pace + Send + Sync>,
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("threads", &self.threads)
            .field("computrons_per_step", &self.computrons_per_step)
            .finish_non_exhaustive()
    }
}

/// How far a conversion has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConversionProgress {
    /// Vats in the plan.
    pub vats: u64,
    /// Vats whose newest state is captured.
    pub converted: u64,
    /// Times a vat was let go since somebody wanted it.
    pub yielded: u64,
    /// Vats that could not be brought back (the log says why), or that somebody always had.
    pub left: u64,
    /// Computrons in the plan.
    pub computrons: u64,
    /// Computrons replayed.
    pub replayed_computrons: u64,
}

#[derive(Debug, Default)]
struct Tally {
    converted: Counter,
    yielded: Counter,
    left: Counter,
    computrons: Counter,
}

/// A conversion under way. Dropping it stops it and waits for the workers.
#[derive(Debug)]
pub struct Conversion {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    inner: Arc<Inner>,
    budget: Budget,
    queue: Mutex<VecDeque<(VatName, u32)>>,
    tally: Tally,
    stopped: AtomicBool,
    vats: u64,
    computrons: u64,
}

impl Warehouse {
    /// The vats whose newest durable snapshot is behind their transcript: those of `first` in that order, then the others, most
    /// computrons to replay first. Reads what would be replayed, but runs nothing. Quarantined vats are not in it.
    ///
    /// # Errors
    /// [`Error::UnknownVat`] for one of `first`; or if a transcript cannot be read.
    pub fn conversion_plan(&self, first: &[VatName]) -> Result<Vec<Behind>, Error> {
        let inner = &self.inner;
        let mut plan = Vec::new();
        for name in first {
            plan.extend(inner.behind(&self.vat(name)?)?);
        }
        let important = plan.len();
        let mut after = VatId(0);
        loop {
            let rows = inner.storage.vats_after(after, VATS_AT_ONCE)?;
            let Some(last) = rows.last() else { break };
            after = last.id;
            for row in rows.iter().filter(|row| !first.iter().any(|name| name.as_str() == row.name)) {
                plan.extend(inner.behind(row)?);
            }
        }
        plan[important..].sort_by(|a, b| b.computrons.cmp(&a.computrons).then_with(|| a.vat.cmp(&b.vat)));
        Ok(plan)
    }

    /// Replays a vat to its newest state and captures that, without keeping it in memory. Durable after the next
    /// [`checkpoint`](Warehouse::checkpoint). Waits while somebody has the vat.
    ///
    /// # Errors
    /// As [`Warehouse::provide`]; or if the state cannot be written.
    pub fn convert(&self, name: &VatName) -> Result<Converted, Error> {
        let vat = self.inner.find(name)?;
        let mut cell = self.inner.residency.lock_blocking(vat);
        let place = cell.is_none().then(|| Place::take(&self.inner));
        let advanced = self.inner.advance(vat, &mut cell, None, &mut |_| Step::Next);
        drop((cell, place));
        self.inner.residency.tidy(vat);
        advanced.map(|_| Converted::Current)
    }

    /// Converts the vats of a plan while the warehouse is in use, within a budget. Nothing is committed: the snapshots become
    /// durable with the caller's commits, once their pages are synced, which the workers do.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn convert_in_background(&self, plan: &[Behind], budget: Budget) -> Result<Conversion, Error> {
        let threads = budget.threads.get().min(plan.len());
        let shared = Arc::new(Shared {
            inner: Arc::clone(&self.inner),
            budget,
            queue: Mutex::new(plan.iter().map(|behind| (behind.vat.clone(), 1)).collect()),
            tally: Tally::default(),
            stopped: AtomicBool::new(false),
            vats: plan.len() as u64,
            computrons: plan.iter().map(|behind| behind.computrons).sum(),
        });
        let mut conversion = Conversion { shared, workers: Vec::new() };
        for _ in 0..threads {
            let shared = Arc::clone(&conversion.shared);
            let builder = std::thread::Builder::new()
                .name("vat-convert".to_owned())
                .stack_size(vat_engine::thread_stack_bytes());
            let worker = builder.spawn(move || shared.work()).map_err(Error::Thread)?;
            conversion.workers.push(worker);
        }
        Ok(conversion)
    }
}

impl Conversion {
    /// How far it has come.
    pub fn progress(&self) -> ConversionProgress {
        let Shared { tally, vats, computrons, .. } = self.shared.as_ref();
        ConversionProgress {
            vats: *vats,
            converted: tally.converted.get(),
            yielded: tally.yielded.get(),
            left: tally.left.get(),
            computrons: *computrons,
            replayed_computrons: tally.computrons.get(),
        }
    }

    /// Stops at the next step of each worker, and waits for that.
    pub fn stop(self) -> ConversionProgress {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.wait()
    }

    /// Waits until everything is converted, or the pace said stop.
    pub fn wait(mut self) -> ConversionProgress {
        self.join();
        self.progress()
    }

    fn join(&mut self) {
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a thread that converted vats panicked");
            }
        }
    }
}

impl Drop for Conversion {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.join();
    }
}

impl Shared {
    fn work(&self) {
        while !self.is_stopped()
            && let Some((name, attempt)) = self.next()
        {
            self.attempt(name, attempt);
        }
        // What was captured can become durable with the caller's next commit.
        if let Err(error) = self.inner.snapshots.sync() {
            tracing::error!(%error, "the page store could not be synced; converted vats are not made durable yet");
        }
    }

    fn attempt(&self, name: VatName, attempt: u32) {
        match self.convert(&name) {
            Ok(Some(Converted::Current)) => {
                self.tally.converted.add(1);
                self.inner.counters.converted.add(1);
            }
            Ok(Some(Converted::Interrupted) | None) if self.is_stopped() => {}
            Ok(interrupted) => {
                self.tally.yielded.add(u64::from(interrupted.is_some()));
                if attempt < ATTEMPTS_MAX {
                    self.queue().push_back((name, attempt + 1));
                } else {
                    self.tally.left.add(1);
                }
            }
            Err(error) => {
                tracing::warn!(vat = %name, %error, "the vat could not be converted");
                self.tally.left.add(1);
            }
        }
    }

    /// `None` if somebody has the vat.
    fn convert(&self, name: &VatName) -> Result<Option<Converted>, Error> {
        let inner = &self.inner;
        let vat = inner.find(name)?;
        let written = inner.counters.bytes_written.get();
        let mut place = None;
        let mut carried = None;
        let mut in_step = 0;
        loop {
            let Some(mut cell) = inner.residency.try_lock(vat) else {
                return Ok(carried.map(|_: Resident| Converted::Interrupted));
            };
            if cell.is_none() && place.is_none() {
                place = Some(Place::take(inner));
            }
            let mut is_pause = false;
            let advanced = inner.advance(vat, &mut cell, carried.take(), &mut |computrons| {
                in_step += computrons;
                self.tally.computrons.add(computrons);
                let is_wanted = inner.residency.is_wanted(vat);
                is_pause = !is_wanted && in_step >= self.budget.computrons_per_step;
                if is_wanted || is_pause { Step::Leave } else { Step::Next }
            });
            let leg = advanced.and_then(|advanced| match advanced {
                None => Ok(Leg::Ended(Converted::Current)),
                Some(resident) if is_pause => Ok(Leg::Paused(Box::new(resident))),
                Some(mut resident) => {
                    inner.capture_on_the_way(vat, &mut resident)?;
                    Ok(Leg::Ended(Converted::Interrupted))
                }
            });
            drop(cell);
            inner.residency.tidy(vat);
            let resident = match leg? {
                Leg::Paused(resident) => *resident,
                Leg::Ended(converted) => {
                    // What others wrote meanwhile is in it, too: with several threads the pace is told of more than there was,
                    // never of less.
                    let bytes_written = inner.counters.bytes_written.get() - written;
                    self.ask(Spent { computrons: in_step, bytes_written });
                    return Ok(Some(converted));
                }
            };
            let spent = Spent { computrons: std::mem::take(&mut in_step), bytes_written: 0 };
            if self.ask(spent) == Pace::Stop {
                self.keep_advanced(vat, resident)?;
                return Ok(Some(Converted::Interrupted));
            }
            carried = Some(resident);
        }
    }

    /// Captures what was replayed of a vat, unless somebody had it meanwhile.
    fn keep_advanced(&self, vat: VatId, mut resident: Resident) -> Result<(), Error> {
        let Some(cell) = self.inner.residency.try_lock(vat) else { return Ok(()) };
        let kept = match self.inner.storage.vat(vat)? {
            row if cell.is_none() && row.incarnation.0 == resident.incarnation => {
                self.inner.capture_on_the_way(vat, &mut resident)
            }
            _ => Ok(()),
        };
        drop(cell);
        self.inner.residency.tidy(vat);
        kept
    }

    fn ask(&self, spent: Spent) -> Pace {
        let pace = (self.budget.pace)(spent);
        if pace == Pace::Stop {
            self.stopped.store(true, Ordering::Relaxed);
        }
        if self.is_stopped() { Pace::Stop } else { Pace::Go }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn next(&self) -> Option<(VatName, u32)> {
        self.queue().pop_front()
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<(VatName, u32)>> {
        self.queue.lock().expect("no thread panicked while it held the queue")
    }
}

impl Inner {
    /// What a page-in of the vat from disk would replay; `None` if nothing.
    fn behind(&self, row: &VatRow) -> Result<Option<Behind>, Error> {
        if row.status != VatStatus::Alive {
            return Ok(None);
        }
        let snapshots = self.storage.newest_snapshots(row.id, 1)?;
        let newest = snapshots.first().filter(|newest| newest.incarnation == row.incarnation);
        let from = newest.map_or(kept_options(row)?.since, |newest| newest.position.0);
        let deliveries = row.next_position.0 - from;
        if deliveries == 0 {
            return Ok(None);
        }
        let mut computrons = 0u64;
        for recorded in self.storage.entries(row.id, Position(from), row.next_position) {
            let (position, entry) = recorded?;
            computrons = computrons.saturating_add(decode_entry(row, position, &entry)?.computrons.0);
        }
        let damaged = |_| Error::Damaged { vat: row.name.clone(), what: "its name".to_owned() };
        Ok(Some(Behind { vat: row.name.parse().map_err(damaged)?, deliveries, computrons }))
    }

    /// Brings the vat's captured state up to date behind a lock that the caller has, going on from what was replayed before if that
    /// is given. A vat that is in memory stays there. `None` when its newest state is captured; else what was replayed until `step`
    /// left, which is not captured yet.
    fn advance(
        &self,
        vat: VatId,
        cell: &mut CellGuard,
        carried: Option<Resident>,
        step: &mut dyn FnMut(u64) -> Step,
    ) -> Result<Option<Resident>, Error> {
        if let Some(resident) = cell.as_mut() {
            if resident.captured != resident.next || self.snapshots.newest(vat).is_none() {
                self.capture(vat, resident)?;
            }
            return Ok(None);
        }
        let paged_in = match carried {
            Some(resident) => self.page_in_further(vat, resident, step)?,
            None => self.page_in_stepwise(vat, step)?,
        };
        match paged_in {
            PagedIn::Whole(mut resident) => self.capture_advanced(vat, &mut resident).map(|()| None),
            PagedIn::Until(resident) => Ok(Some(resident)),
        }
    }

    /// Captures a state that is not the newest.
    fn capture_on_the_way(&self, vat: VatId, resident: &mut Resident) -> Result<(), Error> {
        if self.has(Canary::ConvertsToTheWrongPosition) {
            resident.next += 1;
        }
        self.capture_advanced(vat, resident)
    }

    fn capture_advanced(&self, vat: VatId, resident: &mut Resident) -> Result<(), Error> {
        // Somebody may have brought the vat further, and captured that, while the conversion waited.
        let is_behind = self.snapshots.newest(vat).is_some_and(|newest| {
            (newest.incarnation, newest.position) > (resident.incarnation, resident.next)
        });
        if is_behind || resident.captured == resident.next { Ok(()) } else { self.capture(vat, resident) }
    }
}

/// What a worker did with a vat before it let go of it.
enum Leg {
    Ended(Converted),
    /// To go on when the pace says so.
    Paused(Box<Resident>),
}

/// A place among the vats in memory, for as long as it lives.
struct Place<'a>(&'a Inner);

impl Place<'_> {
    fn take(inner: &Inner) -> Place<'_> {
        inner.residency.reserve();
        inner.make_room();
        Place(inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.residency.not_entered();
    }
}
