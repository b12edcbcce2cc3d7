//! End-to-end tests of the whole warehouse, in one binary, since every further one links wasmtime again.

mod archived;
mod archives;
mod compaction;
mod convert;
mod crash_matrix;
mod fallback;
mod faults;
mod flipped;
mod forks;
mod golden_archive;
mod golden_store;
mod guests;
mod isolation;
mod oracle;
mod policy;
mod reading;
mod residency;
mod retention;
mod scenario;
mod simulation;
mod steady;
mod store_faults;
mod swingset;
mod tidy;
mod travel;
mod upgrade;
