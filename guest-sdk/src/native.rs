//! The host where there is none: outside wasm.
//!
//! A vat's crate also compiles for the machine it is written on, so that its plain functions can be tested
//! there and editors understand it. What needs a host panics with directions; this crate's own tests bring a
//! small one along, per thread. It does not run vats: `vat-testkit` does, in the real engine.

#[cfg(test)]
pub(crate) use fake::Fake;

/// Reads the delivery.
pub(crate) fn delivery(len: usize) -> Vec<u8> {
    #[cfg(test)]
    return fake::with(|fake| {
        assert_eq!(len, fake.delivery.len(), "the delivery is read once, with the length that was told");
        std::mem::take(&mut fake.delivery)
    });
    #[cfg(not(test))]
    absent(&format!("read a delivery of {len} bytes"))
}

/// Makes a syscall.
pub(crate) fn syscall(request: &[u8]) -> Vec<u8> {
    #[cfg(test)]
    return fake::with(|fake| fake.answer(request));
    #[cfg(not(test))]
    absent(&format!("make the syscall {}", String::from_utf8_lossy(request)))
}

/// Writes a line to nobody's log.
pub(crate) fn log(_level: i32, _text: &str) {}

/// Says why the delivery is about to fail.
pub(crate) fn fail(message: &str) {
    #[cfg(test)]
    return fake::with(|fake| fake.failure = Some(message.to_owned()));
    #[cfg(not(test))]
    absent(&format!("fail with {message}"))
}

#[cfg(not(test))]
fn absent(wish: &str) -> ! {
    panic!("cannot {wish}: there is no host outside wasm; test the vat as a whole with vat-testkit")
}

#[cfg(test)]
mod fake {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use vat_abi::{Delivery, Syscall, SyscallResult};

    /// A host for one test: answers vatstore syscalls, accepts the others, remembers all.
    #[derive(Default)]
    pub(crate) struct Fake {
        pub(super) delivery: Vec<u8>,
        pub(crate) syscalls: Vec<Syscall>,
        pub(crate) store: BTreeMap<String, String>,
        pub(crate) failure: Option<String>,
    }

    thread_local! {
        static FAKE: RefCell<Fake> = RefCell::default();
    }

    pub(super) fn with<T>(act: impl FnOnce(&mut Fake) -> T) -> T {
        FAKE.with_borrow_mut(act)
    }

    impl Fake {
        /// Enters the vat with one delivery; returns its status and the syscalls it made.
        pub(crate) fn deliver<V: crate::Vat>(delivery: &Delivery) -> (i32, Vec<Syscall>) {
            let bytes = delivery.to_json().into_bytes();
            let len = bytes.len();
            with(|fake| fake.delivery = bytes);
            let status = crate::enter::<V>(len);
            (status, Fake::take_syscalls())
        }

        /// The syscalls since the last call.
        pub(crate) fn take_syscalls() -> Vec<Syscall> {
            with(|fake| std::mem::take(&mut fake.syscalls))
        }

        /// What `fail` was told since the last call.
        pub(crate) fn take_failure() -> Option<String> {
            with(|fake| fake.failure.take())
        }

        pub(super) fn answer(&mut self, request: &[u8]) -> Vec<u8> {
            let syscall = Syscall::from_json(request).expect("the SDK makes well-formed syscalls");
            let found = match &syscall {
                Syscall::VatstoreGet(key) => self.store.get(key).cloned(),
                Syscall::VatstoreSet(key, value) => {
                    self.store.insert(key.clone(), value.clone());
                    None
                }
                Syscall::VatstoreDelete(key) => {
                    self.store.remove(key);
                    None
                }
                Syscall::VatstoreGetNextKey(prior) => {
                    self.store.keys().find(|key| key.as_str() > prior.as_str()).cloned()
                }
                _ => None,
            };
            self.syscalls.push(syscall);
            SyscallResult::Ok(found).to_json().into_bytes()
        }
    }
}
