//! The example vats, compiled to WebAssembly, for tests, benches and the demo.
//!
//! ```
//! match vat_guests::wasm("counter") {
//!     Ok(module) => assert!(module.starts_with(b"\0asm")),
//!     Err(reason) => eprintln!("skipped: {reason}"), // what to install, in words for people
//! }
//! ```
//!
//! This crate's build script compiles them from the sources beside it, with nothing to be done first. Where
//! that is impossible the build still succeeds, and [`wasm`] says why for each vat that is missing:
//! everything that needs no guest can be tested without a wasm toolchain. The build script is repeated when a
//! source changes, or when something was missing.
//!
//! It holds no logic about vats, and production code has no reason to depend on it.

/// An example vat.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// Its name, the same as its directory's.
    pub name: &'static str,
    /// The module, or why there is none.
    pub wasm: Result<&'static [u8], &'static str>,
}

/// All example vats, in the order of their names.
pub static ALL: &[Guest] = include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// Returns the module of the vat called `name`.
///
/// # Errors
/// Why it could not be built on this machine, and what to do. The text may have several lines.
///
/// # Panics
/// There is no such example.
pub fn wasm(name: &str) -> Result<&'static [u8], &'static str> {
    let Some(guest) = ALL.iter().find(|guest| guest.name == name) else {
        let names: Vec<_> = ALL.iter().map(|guest| guest.name).collect();
        panic!("no example vat is called {name:?}; there are: {}", names.join(", "));
    };
    guest.wasm
}

#[cfg(test)]
mod tests;
