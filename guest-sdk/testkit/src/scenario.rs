//! A scenario: what is delivered to a vat, written down, so that it can happen again and again.
//!
//! It checks no answers; a [`TestVat`](crate::TestVat) is for that. It checks that whatever the vat does, it
//! does wherever it is: in memory all the time, or evicted, restored, restarted and crashed after every
//! delivery.

use serde::Serialize;
use vat_abi::{Delivery, Resolution, Vref};

use crate::error::{Error, Result};
use crate::host::{Host, TIME_START, TIME_STEP};
use crate::message::{self, RESULT_FIRST};
use crate::schedule::{DISTURBED, STEADY, Schedule};
use crate::subject::Subject;
use crate::trace::{Difference, Trace};
use crate::{CapData, Rejection};

/// What is delivered to a vat.
///
/// ```no_run
/// # use vat_testkit::{Scenario, json, this_vat};
/// Scenario::of(this_vat!())
///     .start(json!({"start": 7}))
///     .call("add", (5,))
///     .calls("add", (0..10).map(|n| (n,)))
///     .assert_deterministic();
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is delivered before the scenario is run, for example by `assert_deterministic`"]
pub struct Scenario {
    subject: Subject,
    /// Invariant: the first is `startVat`, no other is.
    steps: Vec<(Delivery, u64)>,
    /// When the next delivery happens.
    time_ns: u64,
    /// The number of the next promise for an answer.
    next_result: u64,
}

impl Scenario {
    /// The vat's creation, without parameters, and nothing else yet.
    pub fn of(subject: Subject) -> Scenario {
        let start = Delivery::StartVat(CapData::undefined());
        Scenario {
            subject,
            steps: vec![(start, TIME_START)],
            time_ns: TIME_START + TIME_STEP,
            next_result: RESULT_FIRST,
        }
    }

    /// Creates the vat with these parameters.
    ///
    /// # Panics
    /// If they cannot be marshalled.
    #[track_caller]
    pub fn start(mut self, parameters: impl Serialize) -> Scenario {
        self.steps[0].0 = Delivery::StartVat(written(message::marshal("the parameters", &parameters)));
        self
    }

    /// Sends a message to the root object, with a promise for the answer. The arguments are a tuple.
    ///
    /// # Panics
    /// If they are something else, or cannot be marshalled.
    #[track_caller]
    pub fn call(mut self, method: &str, arguments: impl Serialize) -> Scenario {
        let result = Vref::promise(vat_abi::Allocator::Kernel, self.next_result);
        self.next_result += 1;
        let delivery = written(message::message(method, &arguments, Some(result)));
        self.deliver(delivery)
    }

    /// Sends a message for each of these arguments.
    ///
    /// # Panics
    /// As [`Scenario::call`].
    #[track_caller]
    pub fn calls<A: Serialize>(mut self, method: &str, arguments: impl IntoIterator<Item = A>) -> Scenario {
        for arguments in arguments {
            self = self.call(method, arguments);
        }
        self
    }

    /// Sends a message whose answer nobody waits for.
    ///
    /// # Panics
    /// As [`Scenario::call`].
    #[track_caller]
    pub fn send_only(self, method: &str, arguments: impl Serialize) -> Scenario {
        let delivery = written(message::message(method, &arguments, None));
        self.deliver(delivery)
    }

    /// Tells the vat that a promise was fulfilled. The promises that a vat makes for its own messages are
    /// called `p+5`, `p+6` and so on by the SDK.
    ///
    /// # Panics
    /// If `promise` is no promise's name, or the value cannot be marshalled.
    #[track_caller]
    pub fn notify_fulfilled(self, promise: &str, value: impl Serialize) -> Scenario {
        let data = written(message::marshal("the value", &value));
        self.deliver(Delivery::Notify(vec![Resolution::fulfilled(named(promise), data)]))
    }

    /// Tells the vat that a promise was rejected.
    ///
    /// # Panics
    /// If `promise` is no promise's name.
    #[track_caller]
    pub fn notify_rejected(self, promise: &str, reason: &Rejection) -> Scenario {
        self.deliver(message::rejected(named(promise), reason))
    }

    /// Makes any delivery.
    ///
    /// # Panics
    /// If it is `startVat`, which happens once; see [`Scenario::start`].
    #[track_caller]
    pub fn deliver(mut self, delivery: Delivery) -> Scenario {
        assert!(!matches!(delivery, Delivery::StartVat(_)), "a vat starts once; `start` sets its parameters");
        self.steps.push((delivery, self.time_ns));
        self.time_ns = self.time_ns.saturating_add(TIME_STEP);
        self
    }

    /// Sets the time of the next step, in nanoseconds since the Unix epoch. The steps after it are about a
    /// second apart.
    pub fn at(mut self, time_ns: u64) -> Scenario {
        self.time_ns = time_ns;
        self
    }

    /// Runs it once, with the vat in memory all the time, and replays it from birth at the end.
    ///
    /// # Errors
    /// The vat could not be built, or its start faulted. A later fault is an outcome, and part of the trace.
    pub fn run(&self) -> Result<Trace> {
        let host = self.first(self.steps.len(), &STEADY)?;
        host.verify(STEADY.name)?;
        host.trace()
    }

    /// Runs it with the vat left in memory, and then with the vat evicted, restored, restarted and crashed
    /// after every delivery, mapped and copied; replays each run from birth; and compares everything. Returns
    /// what was the same each time.
    ///
    /// # Errors
    /// [`Error::Different`] with the first difference, [`Error::Replay`], and those of [`Scenario::run`].
    pub fn check(&self) -> Result<Trace> {
        let steady = self.run()?;
        for schedule in DISTURBED {
            self.compare(&steady, self, schedule)?;
        }
        Ok(steady)
    }

    /// [`Scenario::check`] for the last line of a test.
    ///
    /// # Panics
    /// With the first difference, or whatever kept the vat from running.
    #[track_caller]
    pub fn assert_deterministic(self) {
        if let Err(error) = self.check() {
            panic!("the vat is not deterministic, or could not be run:\n{error}");
        }
    }

    /// Compares what this scenario gives in memory with what `other`, which is the same but in this crate's own
    /// tests, gives by this schedule. The replay comes last, since a difference between the runs says more.
    fn compare(&self, steady: &Trace, other: &Scenario, schedule: &Schedule) -> Result {
        let host = other.first(other.steps.len(), schedule)?;
        match steady.difference(&host.trace()?) {
            None => host.verify(schedule.name),
            Some(difference) => {
                let difference = Box::new(self.locate(difference, other, schedule));
                Err(Error::Different { situation: schedule.name.to_owned(), difference })
            }
        }
    }

    /// Makes the first so many deliveries.
    fn first(&self, steps: usize, schedule: &Schedule) -> Result<Host> {
        let mut host = Host::open(&self.subject, schedule.hosting)?;
        for (position, (delivery, time_ns)) in self.steps[..steps].iter().enumerate() {
            host.deliver(delivery.clone(), *time_ns)?;
            schedule.event.happen(&mut host, position).map_err(|error| during(schedule, error))?;
        }
        Ok(host)
    }

    /// Finds the delivery after which the states differ, by running ever longer beginnings of the scenario. A
    /// state is looked at only at the end of a run, so that those which do not differ cost nothing.
    fn locate(&self, difference: Difference, other: &Scenario, schedule: &Schedule) -> Difference {
        if !difference.is_in_state() {
            return difference;
        }
        for steps in 1..=self.steps.len() {
            let steady = self.first(steps, &STEADY).and_then(|host| host.trace());
            let disturbed = other.first(steps, schedule).and_then(|host| host.trace());
            let (Ok(steady), Ok(disturbed)) = (steady, disturbed) else {
                break; // What differs differs from run to run; then what is known has to do.
            };
            if let Some(earlier) = steady.difference(&disturbed) {
                let (delivery, _) = &self.steps[steps - 1];
                return if earlier.is_in_state() { earlier.at(steps - 1, delivery) } else { earlier };
            }
        }
        difference
    }
}

/// Names the schedule in a difference that was found under way.
fn during(schedule: &Schedule, error: Error) -> Error {
    match error {
        Error::Different { situation, difference } => {
            Error::Different { situation: format!("{}: {situation}", schedule.name), difference }
        }
        other => other,
    }
}

#[track_caller]
fn written<T>(marshalled: Result<T>) -> T {
    marshalled.unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn named(promise: &str) -> Vref {
    promise.parse().unwrap_or_else(|error| panic!("{promise:?} is no promise: {error}"))
}

#[cfg(test)]
mod tests;
