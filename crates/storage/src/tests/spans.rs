//! Spans: their running hash, how they follow each other, and that a changed entry shows.

use std::num::NonZeroU64;

use super::{Scratch, dump, raw};
use crate::{Error, Incarnation, ModuleHash, Position, SpanHash, SpanPolicy, SpanState};

/// The hash of no entry, of `foo`, of `foo` and `bar`: what the original system's transcript store gives.
const VECTORS: [(&[&str], &str); 3] = [
    (&[], "43e6be43a3a34d60c0ebeb8498b5849b094fc20fc68483a7aeb3624fa10f79f6"),
    (&["foo"], "3a676f1d"),
    (&["foo", "bar"], "92bf47a2"),
];

#[test]
fn the_hash_is_the_originals() {
    for (entries, expected) in VECTORS {
        let scratch = Scratch::new();
        let vat = scratch.vat("a");
        for entry in entries {
            scratch.append(vat, entry, &[]).expect("appended");
        }
        let stored = scratch.storage.spans(vat).expect("spans")[0].hash;
        let computed = entries.iter().fold(SpanHash::seed(), |hash, entry| hash.extended(entry.as_bytes()));
        assert_eq!(stored, computed);
        assert!(stored.as_str().starts_with(expected), "{entries:?}: {stored}");
    }
}

/// The spans of a vat, as `start..end incarnation state`.
fn shown(scratch: &Scratch, vat: crate::VatId) -> Vec<String> {
    let spans = scratch.storage.spans(vat).expect("spans");
    spans.iter().map(|s| format!("{}..{} {} {:?}", s.start, s.end, s.incarnation, s.state)).collect()
}

#[test]
fn spans_follow_each_other_without_gap() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    assert_eq!(shown(&scratch, vat), ["0..0 0 Open"]);
    assert_eq!(scratch.storage.close_span(vat).expect("nothing to close"), None);
    for entry in ["foo", "bar"] {
        scratch.append(vat, entry, &[]).expect("appended");
    }
    let closed = scratch.storage.close_span(vat).expect("closed").expect("not empty");
    assert_eq!((closed.start, closed.end, closed.state), (Position(0), Position(2), SpanState::Closed));
    assert!(closed.hash.as_str().starts_with("92bf47a2"));
    assert_eq!(scratch.storage.close_span(vat).expect("nothing to close"), None);
    assert_eq!(scratch.append(vat, "foo", &[]).expect("appended"), Position(2));
    assert_eq!(shown(&scratch, vat), ["0..2 0 Closed", "2..3 0 Open"]);
    let spans = scratch.storage.spans(vat).expect("spans");
    assert_eq!(spans[0], closed);
    assert!(spans[1].hash.as_str().starts_with("3a676f1d"), "the hash starts again");
    scratch.storage.commit().expect("committed");
    let scratch = scratch.reopened();
    assert_eq!(scratch.storage.spans(vat).expect("spans"), spans);
    scratch.storage.verify_spans(vat).expect("all of them");
}

#[test]
fn an_incarnation_begins_with_a_span() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    let next = ModuleHash::of(b"next");
    scratch.storage.put_module(next, "next", b"next").expect("kept");
    scratch.append(vat, "0", &[("x", Some("1"))]).expect("appended");
    assert_eq!(scratch.storage.begin_incarnation(vat, next).expect("begun"), Incarnation(1));
    assert_eq!(shown(&scratch, vat), ["0..1 0 Closed", "1..1 1 Open"]);
    assert_eq!(scratch.storage.begin_incarnation(vat, next).expect("begun"), Incarnation(2));
    assert_eq!(shown(&scratch, vat), ["0..1 0 Closed", "1..1 2 Open"], "an empty span is replaced");
    assert_eq!(scratch.append(vat, "1", &[]).expect("appended"), Position(1));
    let row = scratch.storage.vat(vat).expect("the vat");
    assert_eq!((row.module, row.incarnation, row.next_position), (next, Incarnation(2), Position(2)));
    assert_eq!(scratch.storage.vatstore_get(vat, "x").expect("read").as_deref(), Some("1"));
}

/// Changes behind the storage's back, and what verification says of them.
const CHANGES: [(&str, &str); 4] = [
    (
        "UPDATE transcript SET entry = x'62617a' WHERE position = 1",
        "the entries 0..3 of vat 1 do not give the hash of their span",
    ),
    (
        "UPDATE transcript SET entry = x'62617a' WHERE position = 4",
        "the entries 3..5 of vat 1 do not give the hash of their span",
    ),
    (
        "UPDATE spans SET hash = replace(hash, substr(hash, 1, 4), '0000') WHERE open",
        "the entries 3..5 of vat 1 do not",
    ),
    ("UPDATE spans SET hash = upper(hash) WHERE open", "is not a span hash"),
];

#[test]
fn a_changed_entry_or_hash_is_damage() {
    for (sql, expected) in CHANGES {
        let scratch = Scratch::new();
        let vat = scratch.vat("a");
        for number in 0..5 {
            scratch.append(vat, &format!("entry {number}"), &[]).expect("appended");
            if number == 2 {
                scratch.storage.close_span(vat).expect("closed");
            }
        }
        scratch.storage.verify_spans(vat).expect("in order before");
        raw(&scratch.storage, sql);
        let error = scratch.storage.verify_spans(vat).expect_err(sql);
        assert!(matches!(error, Error::DamagedRow { .. }), "{sql}: {error:?}");
        super::reseal(&scratch.storage); // As if somebody had changed the row and its sum.
        let error = scratch.storage.verify_spans(vat).expect_err(sql);
        assert!(matches!(error, Error::Damaged { .. }), "{sql}: {error:?}");
        assert!(error.to_string().contains(expected), "{sql}: {error}");
    }
}

#[test]
fn a_lost_entry_is_missing() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    for number in 0..5 {
        scratch.append(vat, &format!("entry {number}"), &[]).expect("appended");
    }
    raw(&scratch.storage, "DELETE FROM transcript WHERE position = 3");
    let error = scratch.storage.verify_spans(vat).expect_err("a hole");
    assert!(matches!(error, Error::MissingEntry { position: Position(3), .. }), "{error:?}");
}

#[test]
fn more_vats_than_spans_in_memory() {
    let scratch = Scratch::new();
    let vats: Vec<_> = (0..5_000).map(|number| scratch.vat(&number.to_string())).collect();
    for round in 0..2 {
        for vat in &vats {
            assert_eq!(scratch.append(*vat, "entry", &[]).expect("appended"), Position(round));
        }
    }
    for vat in vats.iter().step_by(500) {
        scratch.storage.verify_spans(*vat).expect("in order");
    }
}

/// Case 129: entry by entry, or all of them at once.
#[test]
fn a_streamed_hash_is_the_one_of_all_entries() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    let mut streamed = Vec::new();
    for number in 0..20 {
        scratch.append(vat, &"entry ".repeat(number), &[]).expect("appended");
        streamed.push(scratch.storage.spans(vat).expect("spans")[0].hash); // Written to SQLite each time.
    }
    let entries = scratch.storage.transcript(vat, Position::START, Position::END).expect("entries");
    for (count, streamed) in (1..).zip(streamed) {
        let at_once = entries[..count].iter().fold(SpanHash::seed(), |hash, (_, entry)| hash.extended(entry));
        assert_eq!(streamed, at_once);
    }
}

fn policy(entries_max: u64, bytes_max: u64) -> SpanPolicy {
    let limit = |number| NonZeroU64::new(number).expect("not zero");
    SpanPolicy { entries_max: limit(entries_max), bytes_max: limit(bytes_max) }
}

#[test]
fn spans_close_by_the_entry_that_reaches_a_limit() {
    for (policy, expected) in [
        (SpanPolicy::NEVER, vec!["0..10 0 Open"]),
        (policy(4, u64::MAX), vec!["0..4 0 Closed", "4..8 0 Closed", "8..10 0 Open"]),
        (policy(5, u64::MAX), vec!["0..5 0 Closed", "5..10 0 Closed", "10..10 0 Open"]),
        // Entries of 7 bytes.
        (policy(u64::MAX, 28), vec!["0..4 0 Closed", "4..8 0 Closed", "8..10 0 Open"]),
        (policy(u64::MAX, 29), vec!["0..5 0 Closed", "5..10 0 Closed", "10..10 0 Open"]),
    ] {
        let scratch = Scratch::new();
        scratch.storage.set_span_policy(policy).expect("set");
        let vat = scratch.vat("a");
        for number in 0..10 {
            scratch.append(vat, &format!("entry {number}"), &[]).expect("appended");
        }
        assert_eq!(shown(&scratch, vat), expected, "{policy:?}");
        assert_eq!(scratch.storage.spans(vat).expect("spans").iter().map(|span| span.bytes).sum::<u64>(), 70);
        scratch.storage.verify_spans(vat).expect("each with its hash");
    }
}

#[test]
fn hosts_of_one_policy_have_equal_spans_whenever_they_commit_or_restart() {
    let run = |every: usize| {
        let mut scratch = Scratch::new();
        let vats = ["a", "b"].map(|name| scratch.vat(name));
        scratch.storage.set_span_policy(policy(7, 60)).expect("set");
        for number in 0..100 {
            scratch.append(vats[number % 2], &"x".repeat(number % 23), &[]).expect("appended");
            if number % every == 0 {
                scratch.storage.commit().expect("committed");
            }
            if number % (3 * every) == 0 {
                scratch = scratch.reopened();
                scratch.storage.set_span_policy(policy(7, 60)).expect("set");
            }
        }
        dump(&scratch.storage)
    };
    let once = run(1);
    for every in [2, 5, 13, 50] {
        // What a reopening loses is lost on purpose only where everything was committed before it.
        assert_eq!(run(every), once, "a commit every {every} cranks");
    }
}
