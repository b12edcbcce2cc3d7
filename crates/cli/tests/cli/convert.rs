//! `vats convert`: transcripts into snapshots, and a kill in the middle of it.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use expect_test::expect;

use crate::harness::Vats;
use crate::wat::answering;

/// Vats of one program, each with a start and a message, which no snapshot covers.
fn transcripts_only(program: &str, vats: &[&str]) -> Vats {
    let host = Vats::with_alice(program);
    for vat in vats.iter().filter(|vat| **vat != "alice") {
        assert!(host.output(&["create", vat, "program"]).status.success());
    }
    for vat in vats {
        assert!(host.output(&["send", vat, "work"]).status.success());
    }
    host
}

#[test]
fn what_is_behind_is_converted_once() {
    let mut vats = transcripts_only(&answering("#@"), &["alice", "bob"]);
    vats.run(&["send", "bob", "more"])
        .run(&["convert", "--first", "nobody"])
        .run(&["convert", "--first", "bob,alice", "--jobs", "2"])
        .run(&["convert"])
        .run(&["replay"]);
    vats.saw(expect![[r#"
        $ vats send bob more
        2
        $ vats convert --first nobody
        ! error: there is no vat nobody; `vats list` shows which there are
        = 1
        $ vats convert --first 'bob,alice' --jobs 2
        converted 2 of 2 vats (5 deliveries to replay)
        $ vats convert
        converted 0 of 0 vats (0 deliveries to replay)
        $ vats replay
        identical: 2 of 2 vats (5 deliveries replayed, 128.0 KiB of heap compared)
    "#]]);
}

#[test]
fn killed_in_the_middle_it_goes_on_where_it_was() {
    // Long enough that the second vat is still being replayed when the first is durable.
    let busy = answering("#@").replace(
        "    (global.set $position (i32.add",
        "    (local $n i32)
    (loop $again
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 60000000))))
    (global.set $position (i32.add",
    );
    let names = ["alice", "bob", "carol", "dave"];
    let vats = transcripts_only(&busy, &names);
    let mut child = vats
        .command()
        .args(["convert", "--jobs", "1", "-v"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut heard = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = heard.by_ref().map(Result::unwrap).find(|line| line.contains("vats converted"));
    assert!(first.expect("it tells what is durable").contains("durable=1"));
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(!status.success(), "it was killed: {status}");
    let rest = vats.json(&["convert"]);
    let left = rest["vats"].as_array().unwrap().len();
    assert!((1..names.len()).contains(&left), "some were durable, some not: {rest}");
    assert_eq!(vats.json(&["convert"])["vats"].as_array().unwrap().len(), 0);
    assert_eq!(vats.json(&["replay"])["verdict"], "identical");
}
