//! A vat that a test talks to.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vat_abi::{Computrons, Delivery, Outcome, SyscallRecord, VatFault, Vref};
use vat_sdk::Promise;

use crate::Rejection;
use crate::error::{Error, Result};
use crate::host::{Host, TIME_START, TIME_STEP};
use crate::listener::LogLine;
use crate::message::{self, RESULT_FIRST, Sent};
use crate::schedule::STEADY;
use crate::subject::Subject;
use crate::trace::Observed;

/// A vat in a warehouse of its own, which is gone with it.
///
/// A delivery that faults leaves the vat as it was before; the test goes on with it. What the accessors tell
/// ([`logs`](TestVat::logs), [`sent`](TestVat::sent), …) is of the last delivery.
#[derive(Debug)]
pub struct TestVat {
    host: Host,
    /// When the next delivery happens.
    time_ns: u64,
    /// The number of the next promise for an answer.
    next_result: u64,
}

impl TestVat {
    /// Compiles the vat if need be, and creates it with these parameters; `()` for none.
    ///
    /// # Errors
    /// [`Error::Build`], [`Error::Faulted`] if it would not start, [`Error::Host`] if its module is refused.
    pub fn start(subject: Subject, parameters: impl Serialize) -> Result<TestVat> {
        let parameters = message::marshal("the parameters", &parameters)?;
        let host = Host::open(&subject, STEADY.hosting)?;
        let mut vat = TestVat { host, time_ns: TIME_START, next_result: RESULT_FIRST };
        vat.deliver(Delivery::StartVat(parameters))?;
        Ok(vat)
    }

    /// Sends a message to the root object and reads the answer. The arguments are a tuple: `()`, `(1,)`,
    /// `("a", 2)`; the type of the answer is whatever it can be read as.
    ///
    /// # Errors
    /// [`Error::Rejected`], [`Error::Faulted`]; [`Error::Unanswered`] if the vat answers later;
    /// [`Error::Answer`] if the answer is no `T`.
    pub fn call<T: DeserializeOwned>(&mut self, method: &str, arguments: impl Serialize) -> Result<T> {
        let promise = self.send(method, arguments)?;
        self.answer(&promise).map_err(|error| match error {
            Error::Rejected { reason, .. } => Error::Rejected { call: method.to_owned(), reason },
            other => other,
        })
    }

    /// Sends a message that should be rejected; returns the reason.
    ///
    /// # Errors
    /// [`Error::Unexpected`] if it is answered, and otherwise as [`TestVat::call`].
    pub fn rejects(&mut self, method: &str, arguments: impl Serialize) -> Result<Rejection> {
        match self.call::<serde::de::IgnoredAny>(method, arguments) {
            Err(Error::Rejected { reason, .. }) => Ok(reason),
            Err(other) => Err(other),
            Ok(_) => Err(unexpected(method, "rejected", "it was answered")),
        }
    }

    /// Sends a message whose delivery should fault; returns how.
    ///
    /// # Errors
    /// [`Error::Unexpected`] if it does not.
    pub fn faults(&mut self, method: &str, arguments: impl Serialize) -> Result<VatFault> {
        match self.send(method, arguments) {
            Err(Error::Faulted { fault, .. }) => Ok(fault),
            Err(other) => Err(other),
            Ok(_) => Err(unexpected(method, "a fault", "it was delivered")),
        }
    }

    /// Sends a message to the root object; returns the promise for the answer.
    ///
    /// # Errors
    /// [`Error::Faulted`], [`Error::Marshal`].
    pub fn send(&mut self, method: &str, arguments: impl Serialize) -> Result<Promise> {
        let promise = message::promise(self.next_result);
        let delivery = message::message(method, &arguments, Some(promise.vref().clone()))?;
        self.next_result += 1;
        self.hand_over(method, delivery)?;
        Ok(promise)
    }

    /// Sends a message whose answer nobody waits for.
    ///
    /// # Errors
    /// As [`TestVat::send`].
    pub fn send_only(&mut self, method: &str, arguments: impl Serialize) -> Result {
        self.hand_over(method, message::message(method, &arguments, None)?)
    }

    /// The answer for which [`TestVat::send`] gave this promise, in whichever delivery it came.
    ///
    /// # Errors
    /// [`Error::Unanswered`] if it has not come, and otherwise as [`TestVat::call`].
    pub fn answer<T: DeserializeOwned>(&self, promise: &Promise) -> Result<T> {
        let vref = promise.vref();
        let delivered = self.host.observed().filter(|observed| observed.outcome == Outcome::Delivered);
        match message::resolution(delivered.flat_map(|observed| &observed.syscalls), vref) {
            Some(resolution) => message::value(resolution, vref.as_str()),
            None => Err(Error::Unanswered { promise: vref.to_string() }),
        }
    }

    /// Plays the other vat: fulfils a promise that this one subscribed to, and tells it.
    ///
    /// # Errors
    /// [`Error::NotSubscribed`], [`Error::Faulted`], [`Error::Marshal`].
    pub fn notify_fulfilled(&mut self, promise: &Promise, value: impl Serialize) -> Result {
        let delivery = message::fulfilled(self.subscribed(promise)?, &value)?;
        self.hand_over("notify", delivery)
    }

    /// Plays the other vat: rejects a promise that this one subscribed to, and tells it.
    ///
    /// # Errors
    /// [`Error::NotSubscribed`], [`Error::Faulted`].
    pub fn notify_rejected(&mut self, promise: &Promise, reason: &Rejection) -> Result {
        let delivery = message::rejected(self.subscribed(promise)?, reason);
        self.hand_over("notify", delivery)
    }

    /// Makes any delivery. A fault is no error here; the outcome tells it.
    ///
    /// # Errors
    /// The host's failures only; and [`Error::Faulted`] for a `startVat`.
    pub fn deliver(&mut self, delivery: Delivery) -> Result<&Observed> {
        let time_ns = self.time_ns;
        self.time_ns = time_ns.saturating_add(TIME_STEP);
        self.host.deliver(delivery, time_ns)
    }

    /// Sets the time of the next delivery, in nanoseconds since the Unix epoch; it goes on from there by about
    /// a second with each delivery. Only vats compiled for WASI can see it.
    pub fn set_time(&mut self, time_ns: u64) {
        self.time_ns = time_ns;
    }

    /// Has the vat evicted from memory; the next delivery brings it back.
    ///
    /// # Errors
    /// The host's failures.
    pub fn evict(&mut self) -> Result {
        self.host.evict()
    }

    /// Has the vat's state captured, and the vat left in memory.
    ///
    /// # Errors
    /// The host's failures.
    pub fn snapshot(&mut self) -> Result {
        self.host.snapshot()
    }

    /// Closes the warehouse properly and opens it again.
    ///
    /// # Errors
    /// The host's failures.
    pub fn restart(&mut self) -> Result {
        self.host.restart()
    }

    /// Makes all deliveries so far durable: a later crash does not lose them.
    ///
    /// # Errors
    /// The host's failures.
    pub fn commit(&mut self) -> Result {
        self.host.commit()
    }

    /// Crashes the warehouse and opens it again. What was not durable (see [`TestVat::commit`] and
    /// [`TestVat::restart`]) is delivered again.
    ///
    /// # Errors
    /// [`Error::Different`] if a delivery did something else the second time, and the host's failures.
    pub fn crash(&mut self) -> Result {
        self.host.crash()
    }

    /// Replays all deliveries from birth and compares with the vat as it is.
    ///
    /// # Errors
    /// [`Error::Replay`] if that is not the same, and the host's failures.
    pub fn verify(&mut self) -> Result {
        self.host.verify("as the test has treated it")
    }

    /// What was observed of the last delivery.
    pub fn last(&self) -> &Observed {
        self.host.observed().next_back().expect("a vat exists from its start on")
    }

    /// What the last delivery asked of its host, also if it faulted in the end.
    pub fn syscalls(&self) -> &[SyscallRecord] {
        &self.last().syscalls
    }

    /// The messages to others among them.
    pub fn sent(&self) -> Vec<Sent> {
        Sent::among(self.syscalls())
    }

    /// What the last delivery wrote to the log.
    pub fn logs(&self) -> &[LogLine] {
        &self.last().logs
    }

    /// What the last delivery was charged.
    pub fn computrons(&self) -> Computrons {
        self.last().computrons
    }

    /// What there is in vat storage.
    ///
    /// # Errors
    /// The host's failures.
    pub fn storage(&self) -> Result<BTreeMap<String, String>> {
        Ok(self.host.state()?.storage)
    }

    /// The bytes of the heap.
    ///
    /// # Errors
    /// The host's failures.
    pub fn heap(&self) -> Result<Vec<u8>> {
        Ok(self.host.state()?.heap)
    }

    /// Whether the vat is in memory.
    ///
    /// # Errors
    /// The host's failures.
    pub fn is_resident(&self) -> Result<bool> {
        self.host.is_resident()
    }

    fn hand_over(&mut self, call: &str, delivery: Delivery) -> Result {
        match &self.deliver(delivery)?.outcome {
            Outcome::Delivered => Ok(()),
            Outcome::Faulted(fault) => Err(Error::Faulted { call: call.to_owned(), fault: fault.clone() }),
        }
    }

    fn subscribed(&self, promise: &Promise) -> Result<Vref> {
        let vref = promise.vref();
        if self.host.promises().is_subscribed(vref) {
            Ok(vref.clone())
        } else {
            Err(Error::NotSubscribed(vref.to_string()))
        }
    }
}

fn unexpected(method: &str, expected: &'static str, got: &str) -> Error {
    Error::Unexpected { call: method.to_owned(), expected, got: got.to_owned() }
}
