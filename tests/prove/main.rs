//! Proofs of the engine: the table of hazards, golden transcripts, the specification's own tests, and generated vats. One binary,
//! since every further one links wasmtime again.

mod bench;
mod generated;
mod golden;
mod hazards;
mod numbers;
mod segments;
mod spec;
mod startup;
