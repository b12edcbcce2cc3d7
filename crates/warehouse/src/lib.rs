//! Which vats are in memory.
