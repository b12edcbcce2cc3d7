//! The two kinds of wasm that Rust vats are compiled to.

/// What a vat is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuestTarget {
    /// `wasm32-unknown-unknown`: imports nothing but `vat`. The right choice unless a dependency wants WASI.
    Unknown,
    /// `wasm32-wasip1`: the host adds a deterministic WASI.
    Wasip1,
}

impl GuestTarget {
    /// Returns the name that rustc knows the target by.
    pub fn triple(self) -> &'static str {
        match self {
            GuestTarget::Unknown => "wasm32-unknown-unknown",
            GuestTarget::Wasip1 => "wasm32-wasip1",
        }
    }
}
