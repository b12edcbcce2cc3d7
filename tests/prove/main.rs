//! Proofs of the engine: the table of hazards, golden transcripts, and the specification's own tests. One binary, since every
//! further one links wasmtime again.

mod bench;
mod golden;
mod hazards;
mod numbers;
mod segments;
mod spec;
mod startup;
