//! How a replay differed, told so that somebody can act on it.
//!
//! ```text
//!   delivery 13: wrong syscall at index 1: …
//!     ok           0  vatstoreGet "count"
//!     wrong        1  expected  vatstoreSet "count" = "4"
//!                     got       vatstoreSet "count" = "5"
//!                     at [2]: "4", not "5"
//!     not reached  2  resolve p-60 fulfilled #4
//! ```
//!
//! Long syscalls are shown in part; where they differ is found in the whole of them, by their fields.

use std::fmt::Write as _;

use serde_json::{Value, json};
use vat_abi::Syscall;

use crate::replay::{Comparison, Divergence};

/// Fields that are named where two syscalls differ.
const FIELDS_MAX: usize = 8;
/// Syscalls that were as recorded and are shown before the first that was not.
const OK_SHOWN_MAX: usize = 8;
/// Characters that are the same and are shown before those that differ.
const SAME_SHOWN_MAX: usize = 20;
/// Characters of a field that are shown.
const FIELD_CHARS_MAX: usize = 80;

impl Comparison {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Comparison::Ok => "ok",
            Comparison::Wrong => "wrong",
            Comparison::Extra => "extra",
            Comparison::Missing => "missing",
            Comparison::NotReached => "not reached",
        }
    }
}

impl Divergence {
    /// The delivery's syscalls, one per line, each with its verdict, and where they differ.
    pub fn report(&self) -> String {
        let mut text = format!("{self}\n");
        let ok = self.syscalls.iter().take_while(|compared| compared.verdict == Comparison::Ok).count();
        let hidden = ok.saturating_sub(OK_SHOWN_MAX);
        if hidden > 0 {
            writeln!(text, "  ok           0 to {}", hidden - 1).expect("a text takes all");
        }
        for (index, compared) in self.syscalls.iter().enumerate().skip(hidden) {
            let lines = match (&compared.expected, &compared.got) {
                (Some(expected), Some(got)) if compared.verdict == Comparison::Wrong => {
                    let mut lines = vec![format!("expected  {expected}"), format!("got       {got}")];
                    lines.extend(differences(expected, got));
                    lines
                }
                (Some(syscall), _) | (None, Some(syscall)) => vec![syscall.to_string()],
                (None, None) => Vec::new(),
            };
            for (number, line) in lines.iter().enumerate() {
                let (verdict, at) = match number {
                    0 => (compared.verdict.as_str(), index.to_string()),
                    _ => ("", String::new()),
                };
                writeln!(text, "  {verdict:<11} {at:>2}  {line}").expect("a text takes all");
            }
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// The same for a program.
    pub fn to_json(&self) -> Value {
        let syscalls = self.syscalls.iter().map(|compared| {
            json!({
                "verdict": compared.verdict.as_str(),
                "expected": compared.expected,
                "got": compared.got,
            })
        });
        json!({
            "position": self.position,
            "difference": self.difference.to_string(),
            "syscalls": syscalls.collect::<Vec<_>>(),
        })
    }
}

/// Where two syscalls differ, a line each.
fn differences(expected: &Syscall, got: &Syscall) -> Vec<String> {
    let mut found = Vec::new();
    compare("", &json!(expected), &json!(got), &mut found);
    let more = found.len().saturating_sub(FIELDS_MAX);
    found.truncate(FIELDS_MAX);
    if more > 0 {
        found.push(format!("and at {more} more places"));
    }
    found
}

fn compare(path: &str, expected: &Value, got: &Value, found: &mut Vec<String>) {
    match (expected, got) {
        (Value::Array(expected), Value::Array(got)) => {
            for index in 0..expected.len().max(got.len()) {
                let at = |values: &[Value]| values.get(index).cloned();
                compare_fields(&format!("{path}[{index}]"), at(expected), at(got), found);
            }
        }
        (Value::Object(expected), Value::Object(got)) => {
            let mut keys: Vec<&String> = expected.keys().chain(got.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                compare_fields(
                    &format!("{path}.{key}"),
                    expected.get(key).cloned(),
                    got.get(key).cloned(),
                    found,
                );
            }
        }
        (Value::String(expected), Value::String(got)) if expected != got => {
            found.push(compare_texts(path, expected, got));
        }
        (expected, got) if expected != got => {
            found.push(format!("at {path}: {}, not {}", shown(expected), shown(got)));
        }
        _ => {}
    }
}

fn compare_fields(path: &str, expected: Option<Value>, got: Option<Value>, found: &mut Vec<String>) {
    match (expected, got) {
        (Some(expected), Some(got)) => compare(path, &expected, &got, found),
        (Some(expected), None) => found.push(format!("at {path}: {}, not nothing", shown(&expected))),
        (None, Some(got)) => found.push(format!("at {path}: nothing, not {}", shown(&got))),
        (None, None) => {}
    }
}

/// Two texts that differ, from shortly before they do.
fn compare_texts(path: &str, expected: &str, got: &str) -> String {
    let same = expected.chars().zip(got.chars()).take_while(|(a, b)| a == b).count();
    let skipped = if same > SAME_SHOWN_MAX { same - SAME_SHOWN_MAX / 2 } else { 0 };
    let rest = |text: &str| shown(&Value::from(text.chars().skip(skipped).collect::<String>()));
    match skipped {
        0 => format!("at {path}: {}, not {}", rest(expected), rest(got)),
        _ => format!("at {path}, after {skipped} characters: {}, not {}", rest(expected), rest(got)),
    }
}

/// A value as JSON, from where it is too long on left out. JSON has no control characters.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(FIELD_CHARS_MAX) {
        Some((end, _)) => format!("{}… (+{} bytes)", &text[..end], text.len() - end),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use vat_abi::{Computrons, Delivery, Outcome, SyscallRecord, SyscallResult, TranscriptEntry};

    use super::*;
    use crate::replay::Difference;

    fn set(value: &str) -> Syscall {
        Syscall::VatstoreSet("count".to_owned(), value.to_owned())
    }

    fn entry(values: &[&str]) -> TranscriptEntry {
        let record = |value: &&str| SyscallRecord { syscall: set(value), result: SyscallResult::Ok(None) };
        TranscriptEntry {
            delivery: Delivery::BringOutYourDead,
            time_ns: 0,
            syscalls: values.iter().map(record).collect(),
            outcome: Outcome::Delivered,
            computrons: Computrons(5),
        }
    }

    #[test]
    fn every_syscall_has_its_verdict() {
        let recorded = entry(&["1", "2", "3"]);
        let cases = [
            (1, Difference::Wrong { index: 1, expected: Box::new(set("2")), got: Box::new(set("7")) }),
            (3, Difference::Extra { index: 3, got: Box::new(set("4")) }),
            (2, Difference::Missing { index: 2, expected: Box::new(set("3")) }),
            (3, Difference::Computrons { expected: Computrons(5), got: Computrons(6) }),
        ];
        let reports =
            cases.map(|(same, difference)| Divergence::new(13, difference, &recorded, same).report());
        expect![[r#"
            delivery 13: wrong syscall at index 1: expected vatstoreSet 'count' '2', got vatstoreSet 'count' '7'
              ok           0  vatstoreSet 'count' '1'
              wrong        1  expected  vatstoreSet 'count' '2'
                              got       vatstoreSet 'count' '7'
                              at [2]: "2", not "7"
              not reached  2  vatstoreSet 'count' '3'
            delivery 13: extra syscall at index 3: vatstoreSet 'count' '4'
              ok           0  vatstoreSet 'count' '1'
              ok           1  vatstoreSet 'count' '2'
              ok           2  vatstoreSet 'count' '3'
              extra        3  vatstoreSet 'count' '4'
            delivery 13: missing syscall at index 2: expected vatstoreSet 'count' '3'
              ok           0  vatstoreSet 'count' '1'
              ok           1  vatstoreSet 'count' '2'
              missing      2  vatstoreSet 'count' '3'
            delivery 13: computrons: expected 5, got 6
              ok           0  vatstoreSet 'count' '1'
              ok           1  vatstoreSet 'count' '2'
              ok           2  vatstoreSet 'count' '3'
        "#]].assert_eq(&format!("{}\n", reports.join("\n")));
    }

    #[test]
    fn what_is_long_is_shown_in_part() {
        let long = "x".repeat(300);
        let many: Vec<&str> = vec!["1"; 20];
        let mut recorded = entry(&many);
        recorded.syscalls.push(SyscallRecord { syscall: set(&long), result: SyscallResult::Ok(None) });
        let other = format!("{long}y");
        let difference =
            Difference::Wrong { index: 20, expected: Box::new(set(&long)), got: Box::new(set(&other)) };
        let report = Divergence::new(0, difference, &recorded, 20).report();
        assert!(report.contains("ok           0 to 11\n"), "{report}");
        assert!(report.lines().all(|line| line.len() < 700), "{report}");
        assert!(
            report.contains("at [2], after 290 characters: \"xxxxxxxxxx\", not \"xxxxxxxxxxy\""),
            "{report}"
        );
    }
}
