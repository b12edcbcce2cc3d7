//! Generated vats: modules that nobody wrote, run through prepare, delivery, capture and restore at every step, and beside an
//! interpreter.
//!
//! ```text
//!   seed ──► source ──► module ──► vat ──► prepare ── refused: counted by reason
//!                                            └─────► life: stays, restored, captured, and twice in wasmi
//!                                            └─ one in 24 ─► hosted: in a whole warehouse
//! ```
//!
//! What must hold: an accepted module can be born and captured, or its birth is refused as the interpreter has it; no schedule of
//! captures and restores shows; what faulted left nothing; the rewrite changed nothing but where state can be seen; preparing is a
//! function of the bytes, and refuses its own output.
//!
//! `PROVE_MODULES` says how many, `PROVE_SEED` which is the first. A seed that fails is printed with the command that runs
//! it again, and its module is left in Cargo's directory for tests. Should the process die, the seeds that were under way are there, in
//! `generated-underway-*`.

mod answers;
mod dispatcher;
mod enough;
mod host;
mod hosted;
mod interpreter;
mod judge;
mod kinds;
mod life;
mod pieces;
mod repairs;
mod source;
mod spared;
mod tally;
mod vat;
mod witness;

use std::io::ErrorKind;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread;

use anyhow::{Result, anyhow};
use vat_engine::thread_stack_bytes;
use vat_image::RestoreMethod;

use self::host::{Host, Loss};
use self::life::{Fate, live};
use self::source::Subject;
use self::tally::Tally;

/// Modules tried where nobody says how many.
const MODULES: u64 = 800;
/// One module of so many also lives in a warehouse.
const HOSTED_ONE_IN: u64 = 24;
/// Modules after which a thread begins with a new page store.
const MODULES_PER_STORE: u64 = 64;
/// Modules within which a loss must be found.
const CANARY_MODULES: u64 = 40;

/// A seed that failed.
#[derive(Debug)]
struct Failure {
    seed: u64,
    why: anyhow::Error,
}

/// The hosts of one thread: both ways of restoring.
struct Hosts(Host, Host);

impl Hosts {
    fn new(loss: Loss) -> Hosts {
        Hosts(Host::new(RestoreMethod::Map, loss), Host::new(RestoreMethod::Copy, loss))
    }

    fn run(&self, seed: u64, tally: &mut Tally) -> Result<(), Failure> {
        let host = if seed.is_multiple_of(4) { &self.1 } else { &self.0 };
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let subject = Subject::new(seed);
            let fate = live(host, &subject, tally)?;
            if fate == Fate::Lived && seed.is_multiple_of(HOSTED_ONE_IN) && hosted::host(&subject) {
                tally.hosted += 1;
            }
            Ok(())
        }));
        let ran = ran.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(anyhow!(
                "a panic: {}",
                text.or(panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
            ))
        });
        ran.map_err(|why| Failure { seed, why })
    }
}

/// Runs every `step`th seed, up to the first that fails.
fn run(seeds: Range<u64>, step: usize, loss: Loss) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let mut hosts = Hosts::new(loss);
    let underway = files().join(format!("generated-underway-{}", seeds.start % step as u64));
    for (n, seed) in (1..).zip(seeds.step_by(step)) {
        std::fs::write(&underway, format!("{seed}\n")).expect("a file for the seed");
        hosts.run(seed, &mut tally)?;
        if n % MODULES_PER_STORE == 0 {
            hosts = Hosts::new(loss);
        }
    }
    if let Err(error) = std::fs::remove_file(&underway) {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"); // There was no seed for this thread.
    }
    Ok(tally)
}

/// The same on as many threads as there are processors, with stacks deep enough for vats.
fn run_all(seeds: &Range<u64>, loss: Loss) -> Result<Tally, Failure> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let ran: Vec<Result<Tally, Failure>> = thread::scope(|scope| {
        let spawned: Vec<_> = (seeds.start..)
            .take(threads)
            .map(|first| {
                let work = move || run(first..seeds.end, threads, loss);
                let builder = thread::Builder::new().stack_size(thread_stack_bytes());
                builder.spawn_scoped(scope, work).expect("a thread")
            })
            .collect();
        spawned.into_iter().map(|thread| thread.join().expect("panics are caught")).collect()
    });
    let mut total = Tally::default();
    for tally in ran {
        total.add(tally?);
    }
    Ok(total)
}

/// Where modules are left that failed, and the seeds that are under way.
fn files() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// What to say of a seed that failed; its module is left in a file.
fn report(failure: &Failure) -> String {
    let Failure { seed, why } = failure;
    let file = files().join(format!("generated-{seed}.wasm"));
    let written = std::fs::write(&file, Subject::new(*seed).wasm);
    let file =
        written.map_or_else(|error| format!("cannot be written: {error}"), |()| file.display().to_string());
    format!(
        "seed {seed}: {why:#}\nits module: {file}\nrun it again: PROVE_SEED={seed} cargo test --test prove generated::any -- --nocapture"
    )
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
#[expect(clippy::print_stderr, reason = "figures for who asks with --nocapture")]
fn any_accepted_module_is_captured_whole_and_means_what_it_meant() {
    let first = number("PROVE_SEED");
    let modules = number("PROVE_MODULES").unwrap_or(if first.is_some() { 1 } else { MODULES });
    let first = first.unwrap_or(1);
    let tally = run_all(&(first..first + modules), Loss::Nothing)
        .unwrap_or_else(|failure| panic!("{}", report(&failure)));
    eprintln!("{tally}");
    let missing = if modules < MODULES { Vec::new() } else { enough::missing(&tally) };
    assert!(missing.is_empty(), "too seldom: {missing:#?}");
}

/// The loss is found, in words that speak of it.
#[expect(clippy::print_stderr, reason = "how, for who asks with --nocapture")]
fn finds(loss: Loss, words: &str) {
    let hosts = Hosts::new(loss);
    let found: Vec<Failure> =
        (1..=CANARY_MODULES).filter_map(|seed| hosts.run(seed, &mut Tally::default()).err()).collect();
    let first =
        found.first().unwrap_or_else(|| panic!("{loss:?} was not found with {CANARY_MODULES} modules"));
    let Failure { seed, why } = first;
    eprintln!("{loss:?} was found by {} of {CANARY_MODULES} modules, first by {seed}: {why:#}", found.len());
    for Failure { seed, why } in &found {
        assert!(format!("{why:#}").contains(words), "{loss:?}, seed {seed}: {why:#}");
    }
}

#[test]
fn finds_a_restore_that_forgets_a_global() {
    finds(Loss::Global, "globals");
}

#[test]
fn finds_a_capture_that_misses_a_page() {
    finds(Loss::Page, "of the heap");
}

#[test]
fn finds_a_fault_that_is_undone_too_far() {
    finds(Loss::Undo, "restored, after delivery");
}

#[test]
fn finds_a_rewrite_that_leaves_out_what_birth_does() {
    finds(Loss::Init, "the rewritten module, interpreted");
}
