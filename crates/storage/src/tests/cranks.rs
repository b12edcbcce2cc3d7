//! Cranks: entries and vat storage, written and read back.

use super::{Scratch, raw};
use crate::{Error, Position, VatId};

#[test]
fn positions_count_per_vat_and_survive_reopening() {
    let scratch = Scratch::new();
    let (a, b) = (scratch.vat("a"), scratch.vat("b"));
    let positions = [a, a, b, a, b].map(|vat| scratch.append(vat, "entry", &[]).expect("appended").0);
    assert_eq!(positions, [0, 1, 0, 2, 1]);
    scratch.storage.commit().expect("committed");
    let scratch = scratch.reopened();
    assert_eq!(scratch.append(a, "entry", &[]).expect("appended"), Position(3));
    assert_eq!(scratch.storage.vat(a).expect("the vat").next_position, Position(4));
    assert_eq!(scratch.storage.vat(b).expect("the vat").next_position, Position(2));
}

/// First and last position.
type Bounds = (u64, u64);

/// Ranges of a transcript of 1,000 entries, and what each gives.
const RANGES: [(u64, u64, Option<Bounds>); 9] = [
    (0, 1_000, Some((0, 999))),
    (0, Position::END.0, Some((0, 999))),
    (0, 1, Some((0, 0))),
    (0, 0, None),
    (255, 257, Some((255, 256))),
    (0, 256, Some((0, 255))),
    (999, 2_000, Some((999, 999))),
    (1_000, 2_000, None),
    (7, 3, None),
];

#[test]
fn any_range_can_be_read() {
    let scratch = Scratch::new();
    let (before, vat, after) = (scratch.vat("before"), scratch.vat("vat"), scratch.vat("after"));
    for number in 0..1_000 {
        for vat in [before, vat, after] {
            scratch.append(vat, &format!("{vat}:{number}"), &[]).expect("appended");
        }
    }
    for (from, to, expected) in RANGES {
        let entries = scratch.storage.transcript(vat, Position(from), Position(to)).expect("entries");
        let expected: Vec<_> = expected.map_or(Vec::new(), |(first, last)| {
            (first..=last).map(|number| (Position(number), format!("{vat}:{number}").into_bytes())).collect()
        });
        assert_eq!(entries, expected, "{from}..{to}");
    }
    assert_eq!(scratch.texts(VatId(99), 0, 9).expect("no vat, no entries"), [] as [&str; 0]);
}

#[test]
fn entries_larger_than_a_chunk_are_read() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    let large = "x".repeat(700_000);
    for _ in 0..5 {
        scratch.append(vat, &large, &[]).expect("appended");
    }
    assert!(scratch.texts(vat, 0, 9).expect("entries").iter().eq(std::iter::repeat_n(&large, 5)));
}

#[test]
fn the_storage_can_be_used_while_entries_are_read() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    for number in 0..600 {
        scratch.append(vat, &number.to_string(), &[]).expect("appended");
    }
    // At most 700, so that an end that moves with the appends fails instead of going on for ever.
    for entry in scratch.storage.entries(vat, Position(0), Position(600)).take(700) {
        let (position, _) = entry.expect("an entry");
        scratch.append(vat, "more", &[("last", Some(&position.to_string()))]).expect("not blocked");
    }
    assert_eq!(scratch.storage.vat(vat).expect("the vat").next_position, Position(1_200));
}

#[test]
fn a_hole_is_an_error_where_it_is() {
    for hole in [0, 5, 256, 299] {
        let scratch = Scratch::new();
        let vat = scratch.vat("a");
        for number in 0..300 {
            scratch.append(vat, &number.to_string(), &[]).expect("appended");
        }
        raw(&scratch.storage, &format!("DELETE FROM transcript WHERE position = {hole}"));
        let mut entries = scratch.storage.entries(vat, Position::START, Position::END);
        assert_eq!(entries.by_ref().take_while(Result::is_ok).count(), usize::try_from(hole).expect("small"));
        assert!(entries.next().is_none(), "an error is the end");
        let error = scratch.storage.transcript(vat, Position::START, Position::END).expect_err("a hole");
        assert!(matches!(error, Error::MissingEntry { position, .. } if position.0 == hole), "{error:?}");
        assert_eq!(
            scratch.texts(vat, hole + 1, 300).expect("the rest").len(),
            usize::try_from(299 - hole).expect("small")
        );
    }
}

#[test]
fn cranks_of_several_threads_stay_whole() {
    let scratch = Scratch::new();
    let vats = ["a", "b", "c", "d"].map(|name| scratch.vat(name));
    std::thread::scope(|scope| {
        for vat in vats {
            let scratch = &scratch;
            scope.spawn(move || {
                for number in 0..200 {
                    let text = number.to_string();
                    let position = scratch.append(vat, &text, &[("last", Some(&text))]).expect("appended");
                    assert_eq!(position, Position(number));
                    if number % 50 == 0 {
                        scratch.storage.commit().expect("committed");
                    }
                }
            });
        }
    });
    scratch.storage.commit().expect("committed");
    for vat in vats {
        let expected: Vec<_> = (0..200).map(|number| number.to_string()).collect();
        assert_eq!(scratch.texts(vat, 0, 200).expect("entries"), expected);
        assert_eq!(scratch.storage.vatstore_get(vat, "last").expect("read").as_deref(), Some("199"));
        scratch.storage.verify_spans(vat).expect("the hash of those entries");
    }
}

#[test]
fn vat_storage_changes_apply_in_order_and_to_one_vat() {
    let scratch = Scratch::new();
    let (a, b) = (scratch.vat("a"), scratch.vat("b"));
    scratch
        .append(a, "0", &[("x", Some("1")), ("x", Some("2")), ("y", Some("")), ("z", Some("3"))])
        .expect("appended");
    scratch
        .append(a, "1", &[("z", None), ("absent", None), ("x", None), ("x", Some("4"))])
        .expect("appended");
    scratch.append(b, "0", &[("x", Some("b"))]).expect("appended");
    let get = |vat, key| scratch.storage.vatstore_get(vat, key).expect("read");
    assert_eq!(
        ["x", "y", "z", "absent"].map(|key| get(a, key)),
        [Some("4".into()), Some("".into()), None, None]
    );
    assert_eq!(["x", "y"].map(|key| get(b, key)), [Some("b".into()), None]);
    assert_eq!([a, b, VatId(99)].map(|vat| scratch.storage.vatstore_len(vat).expect("counted")), [2, 1, 0]);
}

#[test]
fn keys_follow_each_other_by_their_bytes() {
    // In the order of their UTF-8 bytes, which is that of code points, and not that of UTF-16 (the last two).
    let ordered = ["", "\0", " ", "A", "B", "a", "a\0", "a\0b", "aa", "ab", "b", "é", "中", "\u{ffee}", "😀"];
    let scratch = Scratch::new();
    let (vat, other) = (scratch.vat("a"), scratch.vat("b"));
    let writes: Vec<_> = ordered.iter().rev().map(|key| (*key, Some("value"))).collect();
    scratch.append(vat, "entry", &writes).expect("appended");
    scratch.append(other, "entry", &[("zz", Some("value"))]).expect("appended");

    let mut walked = vec![String::new()];
    while let Some(key) = scratch.storage.vatstore_next_key(vat, walked.last().expect("one")).expect("read") {
        assert!(walked.last() < Some(&key), "a walk ends");
        walked.push(key);
    }
    assert_eq!(walked, ordered);
    assert_eq!(
        scratch.storage.vatstore_next_key(vat, "a\u{1}").expect("read").as_deref(),
        Some("aa"),
        "absent prior"
    );
}
