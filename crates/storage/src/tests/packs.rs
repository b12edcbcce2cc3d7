//! Compressed entries: nobody can tell, and damage is found where it is.

use super::{Scratch, dump, raw};
use crate::{Compressed, Error, Position, SpanContent, SpanPolicy, Storage, VatId};

fn compress_all(storage: &Storage) -> Compressed {
    let mut sum = Compressed::default();
    while !sum.done {
        let step = storage.compress().expect("compressed");
        sum.entries += step.entries;
        sum.bytes_before += step.bytes_before;
        sum.bytes_after += step.bytes_after;
        sum.done = step.done;
    }
    sum
}

fn append_many(scratch: &Scratch, vat: VatId, count: u64) {
    for number in 0..count {
        scratch
            .append(vat, &format!("{{\"delivery\":\"number {number} of vat {vat}\"}}"), &[])
            .expect("appended");
    }
}

fn rows(scratch: &Scratch, table: &str) -> u64 {
    let sql = format!("SELECT count(*) FROM {table}");
    let count = |session: &mut crate::session::Session| {
        Ok(session.connection.query_row(&sql, [], |row| row.get(0))?)
    };
    scratch.storage.read("count", count).expect("a count")
}

#[test]
fn nobody_can_tell_that_entries_are_compressed() {
    let scratch = Scratch::new();
    let (a, b) = (scratch.vat("a"), scratch.vat("b"));
    for vat in [a, b] {
        append_many(&scratch, vat, 600);
        scratch.storage.close_span(vat).expect("closed");
        append_many(&scratch, vat, 10);
    }
    let plain = scratch.texts(a, 0, 999).expect("entries");
    let sum = compress_all(&scratch.storage);
    assert_eq!(sum.entries, 1_200, "closed spans only");
    assert!(sum.bytes_after * 4 < sum.bytes_before, "{sum:?}");
    assert_eq!((rows(&scratch, "transcript"), rows(&scratch, "packs")), (20, 2));
    assert!(!scratch.storage.may_have_loose_spans());
    scratch.storage.commit().expect("committed");
    let scratch = scratch.reopened();
    assert_eq!(scratch.texts(a, 0, 999).expect("entries"), plain);
    for (from, to) in [(0, 1), (599, 601), (300, 302), (600, 999), (5, 5)] {
        let (first, last) = (usize::try_from(from).expect("small"), usize::try_from(to).expect("small"));
        assert_eq!(scratch.texts(a, from, to).expect("entries"), plain[first..last.min(610)], "{from}..{to}");
    }
    scratch.storage.verify_spans(a).expect("in order");
    let span = scratch.storage.spans(a).expect("spans")[0];
    assert_eq!(span.content, SpanContent::Compressed);
    assert!(span.compressed_bytes > 0 && span.compressed_bytes < span.bytes);
    assert_eq!(scratch.append(a, "next", &[]).expect("goes on"), Position(610));
}

#[test]
fn a_large_span_is_compressed_in_steps_and_can_be_read_in_between() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    let entry = "0123456789".repeat(30_000);
    for number in 0..10 {
        scratch.append(vat, &format!("{number}{entry}"), &[]).expect("appended");
    }
    scratch.storage.close_span(vat).expect("closed");
    let mut steps = 0;
    while !scratch.storage.compress().expect("compressed").done {
        steps += 1;
        scratch.storage.verify_spans(vat).expect("all entries are there");
    }
    assert_eq!(
        (steps, rows(&scratch, "packs"), rows(&scratch, "transcript")),
        (3, 3, 0),
        "4 to a pack, 4, 2"
    );
}

#[test]
fn compression_commits_nothing() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    append_many(&scratch, vat, 5);
    scratch.storage.close_span(vat).expect("closed");
    scratch.storage.commit().expect("committed");
    let committed = dump(&scratch.storage);
    append_many(&scratch, vat, 1);
    compress_all(&scratch.storage);
    assert_eq!(dump(&scratch.reopened().storage), committed);
}

#[test]
fn forks_share_compressed_entries_and_the_last_takes_them_along() {
    let scratch = Scratch::new();
    let storage = &scratch.storage;
    let parent = scratch.vat("parent");
    append_many(&scratch, parent, 6);
    let child = storage.fork_vat(parent, "child", "{}").expect("forked");
    append_many(&scratch, parent, 4);
    storage.close_span(parent).expect("closed");
    let before = scratch.texts(child, 0, 99).expect("entries");
    compress_all(storage);
    assert_eq!(scratch.texts(child, 0, 99).expect("entries"), before, "a fork in the middle of a pack");
    assert_eq!(before.len(), 6);
    storage.terminate(parent, "over").expect("terminated");
    assert_eq!(scratch.texts(child, 0, 99).expect("entries"), before);
    storage.terminate(child, "over").expect("terminated");
    assert_eq!((rows(&scratch, "transcript"), rows(&scratch, "packs")), (0, 0));
}

/// Changes of a pack behind the storage's back.
const DAMAGES: [&str; 5] = [
    "UPDATE packs SET entries = CAST(substr(entries, 1, length(entries) - 1) || x'00' AS BLOB)",
    "UPDATE packs SET entries = CAST(x'01' || substr(entries, 2) AS BLOB)",
    "UPDATE packs SET checksum = zeroblob(32)",
    "UPDATE packs SET end_position = end_position + 1",
    "UPDATE packs SET vat = 2",
];

#[test]
fn a_damaged_pack_is_named() {
    for sql in DAMAGES {
        let scratch = Scratch::new();
        let (vat, other) = (scratch.vat("a"), scratch.vat("b"));
        append_many(&scratch, vat, 9);
        scratch.storage.close_span(vat).expect("closed");
        compress_all(&scratch.storage);
        append_many(&scratch, other, 9);
        raw(&scratch.storage, sql);
        let error = match sql.contains("SET vat") {
            true => {
                raw(&scratch.storage, "DELETE FROM transcript WHERE vat = 2");
                scratch.texts(other, 0, 9).expect_err(sql)
            }
            false => scratch.texts(vat, 0, 9).expect_err(sql),
        };
        assert!(matches!(error, Error::Damaged { .. }), "{sql}: {error:?}");
        let text = error.to_string();
        assert!(text.contains("the compressed entries 0..") && text.contains("of vat "), "{sql}: {text}");
    }
}

#[test]
fn spans_that_close_by_themselves_are_found() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    compress_all(&scratch.storage);
    assert!(!scratch.storage.may_have_loose_spans());
    let entries_max = std::num::NonZeroU64::new(3).expect("not zero");
    scratch.storage.set_span_policy(SpanPolicy { entries_max, ..SpanPolicy::NEVER }).expect("set");
    append_many(&scratch, vat, 7);
    assert!(scratch.storage.may_have_loose_spans());
    assert_eq!(compress_all(&scratch.storage).entries, 6);
}
