//! The life of a delivery inside the vat: bytes in, a method called, an answer sent.
//!
//! ```text
//!   vat_deliver(len) ─► enter ─► Delivery ─┬─ startVat ─► Vat::start ─────────────► the root, kept here
//!                                          ├─ message ──► Vat::dispatch ─► resolve [[promise, rejected, data]]
//!                                          ├─ notify ───► Vat::settled, once for each promise
//!                                          └─ the rest ─► nothing to do yet
//! ```
//!
//! Invariants:
//! - The root exists from a successful `startVat` on, and is borrowed only within a delivery: syscalls cannot
//!   re-enter.
//! - What a caller got wrong rejects the caller's promise. A status other than 0 means that the host sent
//!   something that this SDK does not understand, or that the vat could not start.
//!
//! Garbage collection deliveries are accepted and ignored: the only export is the root object, and imports
//! are kept.

use crate::args::Args;
use crate::remote::Settled;
use crate::{Error, Promise, Result, host, panic, syscall, warn};
use std::any::Any;
use std::cell::RefCell;
use vat_abi::{CapData, Delivery, Message, Resolution, Vref};

/// A vat's root object. `#[vat]` implements it.
pub trait Vat: Sized + 'static {
    /// The names that [`Vat::dispatch`] knows, for error messages.
    const METHODS: &'static [&'static str];

    /// Makes the root from the vat's parameters.
    ///
    /// # Errors
    /// The vat cannot start with these parameters; the host then fails the creation with the error's message.
    fn start(parameters: Args) -> Result<Self>;

    /// Runs the method that the message names and returns its marshalled answer.
    ///
    /// # Errors
    /// What the promise for the answer is rejected with.
    fn dispatch(&mut self, message: Args) -> Result<CapData>;

    /// Hears that a promise which the vat subscribed to has settled.
    fn settled(&mut self, promise: Promise, outcome: Settled) {
        let _ = (promise, outcome);
    }
}

thread_local! {
    /// The root object, of whichever type the module exports. A vat has one thread.
    static ROOT: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// Takes the delivery that the host announced, and reacts to it. Returns the status of `vat_deliver`.
#[must_use]
pub fn enter<V: Vat>(len: usize) -> i32 {
    panic::report_to_host();
    let delivery = match Delivery::from_json(&host::delivery(len)) {
        Ok(delivery) => delivery,
        Err(error) => return fail(&format!("the delivery cannot be understood: {error}")),
    };
    match delivery {
        Delivery::StartVat(parameters) => start::<V>(&parameters),
        delivery => {
            ROOT.with_borrow_mut(|root| match root.as_mut().and_then(|root| root.downcast_mut::<V>()) {
                Some(root) => react(root, delivery),
                None => fail("a delivery arrived before startVat"),
            })
        }
    }
}

fn fail(message: &str) -> i32 {
    host::fail(message);
    1
}

fn start<V: Vat>(parameters: &CapData) -> i32 {
    match Args::parameters(parameters).and_then(V::start) {
        Ok(root) => {
            ROOT.set(Some(Box::new(root)));
            0
        }
        Err(error) => fail(&format!("the vat cannot start: {error}")),
    }
}

fn react<V: Vat>(root: &mut V, delivery: Delivery) -> i32 {
    match delivery {
        Delivery::Message { target, message } => answer(root, &target, message),
        Delivery::Notify(resolutions) => {
            for resolution in resolutions {
                let (promise, outcome) = Settled::read(resolution);
                root.settled(promise, outcome);
            }
            0
        }
        _ => 0,
    }
}

/// Runs the method; tells whoever waits. An error that nobody waits for would vanish, so it is logged.
fn answer<V: Vat>(root: &mut V, target: &Vref, message: Message) -> i32 {
    let outcome =
        Args::message(target, &message.methargs).and_then(|args| root.dispatch(args)).and_then(settling);
    let resolution = match (message.result, outcome) {
        (Some(promise), Ok(data)) => Resolution::fulfilled(promise, data),
        (Some(promise), Err(error)) => Resolution::rejected(promise, error.to_capdata()),
        (None, Ok(_)) => return 0,
        (None, Err(error)) => {
            warn!("a message that nobody awaits was rejected: {error}");
            return 0;
        }
    };
    match syscall::resolve(vec![resolution]) {
        Ok(()) => 0,
        Err(error) => fail(&format!("the answer cannot be given: {error}")),
    }
}

/// A promise cannot be fulfilled with a promise: to the kernel that would settle nothing.
fn settling(answer: CapData) -> Result<CapData> {
    if answer.body.starts_with("#\"&") {
        return Err(Error::type_error("the answer is itself a promise; answer with it inside of something"));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests;
