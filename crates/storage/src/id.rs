//! Identifiers and counts, each its own type so that one cannot stand in for another.
//!
//! All of them are stored as SQLite integers, which are signed: a value above `i64::MAX` is refused when it is bound,
//! and never reaches the disk.

use std::fmt;

/// Names a vat for as long as the store exists; starts at 1, never used again after the vat is terminated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VatId(pub u64);

/// Index of a delivery in its vat's transcript; starts at 0, goes on across spans and incarnations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The first delivery of a vat.
    pub const START: Position = Position(0);
    /// As the end of a range: up to the newest entry.
    pub const END: Position = Position(i64::MAX.unsigned_abs());

    /// The position that follows.
    #[must_use]
    pub fn next(self) -> Position {
        Position(self.0 + 1)
    }
}

/// How many times the vat's code has been replaced; 0 for a new vat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u32);

/// BLAKE3 of a module's original wasm bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleHash(pub [u8; 32]);

impl ModuleHash {
    /// The hash of `wasm`.
    #[must_use]
    pub fn of(wasm: &[u8]) -> ModuleHash {
        ModuleHash(*blake3::hash(wasm).as_bytes())
    }
}

/// Names a layer of the page store, wherever compaction moves it; starts at 1, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerId(pub u64);

macro_rules! display_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

display_number!(VatId, Position, Incarnation, LayerId);

impl fmt::Display for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModuleHash({self})")
    }
}
