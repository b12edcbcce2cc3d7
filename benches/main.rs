//! The benches: what the warehouse takes, beside the least that it could take.
//!
//! ```text
//!   cargo bench                          everything
//!   cargo bench -- --quick               few samples, heaps up to 64 MiB: under three minutes
//!   cargo bench -- restore evict/heap=64MiB     figures whose names begin so
//!   cargo bench -- curves [--publish]           capacity curves: many vats under load, some minutes
//!   cargo bench -- --gate                       fails if a ratio that the repository keeps has become worse
//! ```
//!
//! One program for all families, so that a run ends with one table, and writes one report
//! (`target/bench/report.json`, `report.html`). The families: [instantiation], [heap], [delivery], [history], [codec], [throughput]; what is
//! measured is [vat], the floors are in [floor], the method in [harness].

mod codec;
mod curves;
mod delivery;
mod floor;
mod harness;
mod heap;
mod history;
mod instantiation;
mod throughput;
mod vat;

use std::process::ExitCode;

use anyhow::{Result, anyhow};

use crate::harness::{Arguments, Session};

fn main() -> ExitCode {
    match on_deep_stack() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => harness::failure(&error),
    }
}

/// Deliveries run on a thread with room for a vat's stack, as they do in the warehouse's own threads.
fn on_deep_stack() -> Result<()> {
    let bench = std::thread::Builder::new().stack_size(vat_warehouse::thread_stack_bytes()).spawn(run)?;
    bench.join().map_err(|_| anyhow!("the bench panicked"))?
}

fn run() -> Result<()> {
    if let Some(answered) = heap::answer() {
        return answered;
    }
    let mut session = Session::new(Arguments::parse(std::env::args().skip(1))?)?;
    instantiation::bench(&mut session)?;
    heap::bench(&mut session)?;
    heap::bench_memory(&mut session)?;
    delivery::bench(&mut session)?;
    history::bench(&mut session)?;
    codec::bench(&mut session)?;
    throughput::bench(&mut session)?;
    curves::bench(&session)?;
    session.finish()
}

/// A directory for one family's files, on the disk that the target directory is on.
fn scratch() -> Result<tempfile::TempDir> {
    Ok(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?)
}

/// A sample: the time that `act` takes, and what it made.
fn timed<T>(act: impl FnOnce() -> Result<T>) -> Result<(std::time::Duration, T)> {
    let started = std::time::Instant::now();
    let made = act()?;
    Ok((started.elapsed(), made))
}
