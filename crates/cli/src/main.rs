//! The vats command.
fn main() {}
