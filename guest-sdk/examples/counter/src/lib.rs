//! The smallest useful vat: a number that others can add to.
//!
//! Start here to learn the SDK. A vat is a struct, its fields are its state, and nothing has to be saved: the
//! next delivery finds the struct as this one left it, be it a microsecond or a year later, in this process
//! or on another machine. Methods take and return what serde can carry; `Err` rejects the caller's promise
//! and leaves the vat running.
//!
//! ```text
//!   start({"start":7})   increment()  → 8     add(10) → 18     add(-100) → rejected: below zero
//! ```

use serde::Deserialize;
use vat_sdk::{Result, bail, vat};

/// What a creator may choose. Every field has a default, so that a counter can be created with nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The number to begin with.
    start: u64,
}

/// A number that never goes below zero.
#[derive(Debug)]
struct Counter {
    count: u64,
    /// Where [`Counter::reset`] goes back to.
    start: u64,
}

#[vat]
impl Counter {
    fn start(config: Config) -> Self {
        Counter { count: config.start, start: config.start }
    }

    /// Adds one; answers the new count.
    fn increment(&mut self) -> Result<u64> {
        self.add(1)
    }

    /// Adds a number, which may be negative; answers the new count.
    fn add(&mut self, by: i64) -> Result<u64> {
        // Checked before anything changes: a rejected message leaves no trace.
        let Some(count) = self.count.checked_add_signed(by) else {
            bail!("{} {by:+} is no count", self.count);
        };
        self.count = count;
        Ok(count)
    }

    /// Answers the count.
    fn peek(&self) -> u64 {
        self.count
    }

    /// Goes back to the number it was created with.
    fn reset(&mut self) {
        self.count = self.start;
    }

    /// Panics. The delivery fails, whatever it changed is undone, and the counter goes on from before.
    fn crash(&mut self, why: &str) {
        self.count = 0;
        panic!("{why}");
    }
}
