//! The table of determinism hazards (`tests/HAZARDS.md`) is complete, and every test that it names exists.
//!
//! It reads sources as text, so that a test which is renamed or removed fails here. It does not judge whether a test is good.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const TABLE: &str = include_str!("../HAZARDS.md");
const HAZARDS: usize = 36;

/// One row: number, hazard, answer, and tests or a reason.
fn rows() -> Vec<Vec<&'static str>> {
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    TABLE.lines().filter(|line| line.starts_with("| ")).map(cells).filter(|row| row[0] != "#").collect()
}

/// The words between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Names of all functions that follow a test attribute, in all sources below a directory.
fn tests_below(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            tests_of(&fs::read_to_string(&path).unwrap(), found);
        }
    }
}

fn tests_of(source: &str, found: &mut BTreeSet<String>) {
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if let Some(name) = function.and_then(|rest| rest.split(['(', '<']).next())
            && std::mem::take(&mut is_test)
        {
            found.insert(name.to_owned());
        }
    }
}

fn all_tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for part in ["crates", "tests", "guest-sdk"] {
        tests_below(&root.join(part), &mut found);
    }
    found
}

#[test]
fn every_hazard_has_a_row_with_a_test_that_exists_or_a_reason() {
    let tests = all_tests();
    let rows = rows();
    let numbers: Vec<_> = rows.iter().map(|row| row[0].parse::<usize>().unwrap()).collect();
    assert_eq!(numbers, (1..=HAZARDS).collect::<Vec<_>>());
    for row in rows {
        let [number, _, answer, proof] = row[..] else { panic!("a row has four cells: {row:?}") };
        assert!(!answer.is_empty(), "hazard {number} has no answer");
        let names: Vec<_> = quoted(proof).collect();
        assert!(!names.is_empty() || proof.starts_with("reason: "), "hazard {number}: a test or a reason");
        for name in names {
            assert!(tests.contains(name), "hazard {number} names `{name}`, which is no test");
        }
    }
}

#[test]
fn a_function_that_is_no_test_is_not_found() {
    let mut found = BTreeSet::new();
    tests_of("#[test]\nfn one() {}\nfn two() {}\n#[tokio::test]\nasync fn three() {}", &mut found);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["one", "three"]);
}
