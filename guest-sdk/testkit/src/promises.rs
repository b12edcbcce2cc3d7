//! Which promises the vat may settle, and which it waits for: the one rule of a kernel that is kept here.
//!
//! ```text
//!   message … result p-60     the vat decides p-60, until it resolves it or sends it on as a result
//!   p+5 in an argument        the vat decides p+5, until it resolves it
//!   send … result p+5         somebody else decides p+5
//! ```

use std::collections::BTreeSet;

use vat_abi::{Allocator, Delivery, Resolution, Syscall, Vref};

/// The state of all promises that were mentioned.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promises {
    /// Of the host's promises, those that the vat decides.
    given: BTreeSet<Vref>,
    /// Of the vat's own promises, those that it no longer decides.
    spent: BTreeSet<Vref>,
    /// Those that it wants to hear of, and has not.
    subscribed: BTreeSet<Vref>,
}

impl Promises {
    /// Notes what a delivery brings.
    pub(crate) fn receive(&mut self, delivery: &Delivery) {
        match delivery {
            Delivery::Message { message, .. } => self.given.extend(message.result.clone()),
            Delivery::Notify(resolutions) => {
                for resolution in resolutions {
                    self.subscribed.remove(&resolution.promise);
                }
            }
            _ => {}
        }
    }

    /// Notes a syscall, unless it is illegal: then the answer says why.
    pub(crate) fn perform(&mut self, syscall: &Syscall) -> Result<(), String> {
        match syscall {
            Syscall::Resolve(resolutions) => resolutions.iter().try_for_each(|it| self.resolve(it)),
            Syscall::Send { message, .. } => message.result.as_ref().map_or(Ok(()), |it| self.give_up(it)),
            Syscall::Subscribe(promise) => {
                self.subscribed.insert(promise.clone());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether the vat waits for this promise.
    pub(crate) fn is_subscribed(&self, promise: &Vref) -> bool {
        self.subscribed.contains(promise)
    }

    fn resolve(&mut self, resolution: &Resolution) -> Result<(), String> {
        self.give_up(&resolution.promise)
    }

    fn give_up(&mut self, promise: &Vref) -> Result<(), String> {
        let decided = match promise.allocator() {
            Allocator::Kernel => self.given.remove(promise),
            Allocator::Vat => self.spent.insert(promise.clone()),
        };
        if decided { Ok(()) } else { Err(format!("{promise} is not the vat's to decide")) }
    }
}

#[cfg(test)]
mod tests {
    use vat_abi::{CapData, Message};

    use super::*;

    fn vref(text: &str) -> Vref {
        text.parse().unwrap()
    }

    fn message(result: &str) -> Message {
        Message { methargs: CapData::data("#[\"m\",[]]"), result: Some(vref(result)) }
    }

    fn resolve(promise: &str) -> Syscall {
        Syscall::Resolve(vec![Resolution::fulfilled(vref(promise), CapData::undefined())])
    }

    fn send(result: &str) -> Syscall {
        Syscall::Send { target: vref("o-1"), message: message(result) }
    }

    #[test]
    fn a_vat_settles_what_it_decides_and_that_once() {
        let legal: [&[Syscall]; 4] = [&[resolve("p-60")], &[resolve("p+5")], &[send("p-60")], &[send("p+5")]];
        let illegal: [&[Syscall]; 6] = [
            &[resolve("p-61")],
            &[resolve("p-60"), resolve("p-60")],
            &[resolve("p+5"), resolve("p+5")],
            &[send("p+5"), resolve("p+5")],
            &[send("p-60"), resolve("p-60")],
            &[resolve("p-60"), send("p-60")],
        ];
        for (syscalls, expected) in
            legal.map(|it| (it, true)).into_iter().chain(illegal.map(|it| (it, false)))
        {
            let mut promises = Promises::default();
            promises.receive(&Delivery::Message { target: Vref::root(), message: message("p-60") });
            let (last, before) = syscalls.split_last().unwrap();
            assert!(before.iter().all(|it| promises.perform(it).is_ok()));
            assert_eq!(promises.perform(last).is_ok(), expected, "{syscalls:?}");
        }
    }

    #[test]
    fn a_vat_waits_from_its_subscription_until_it_is_notified() {
        let mut promises = Promises::default();
        assert!(!promises.is_subscribed(&vref("p+5")));
        promises.perform(&Syscall::Subscribe(vref("p+5"))).unwrap();
        assert!(promises.is_subscribed(&vref("p+5")));
        promises.receive(&Delivery::Notify(vec![Resolution::fulfilled(vref("p+5"), CapData::undefined())]));
        assert!(!promises.is_subscribed(&vref("p+5")));
    }
}
