//! Who is in memory, and when.
