//! Proofs of the engine: the table of hazards, segments, and golden transcripts. One binary, since every further one links
//! wasmtime again.

mod bench;
mod golden;
mod hazards;
mod numbers;
mod segments;
