//! Pruning: what each level keeps, what is refused, and how entries come back.

use super::{Scratch, dump};
use crate::{Error, Incarnation, ModuleHash, NewSnapshot, Position, Retention, SpanContent, Storage, VatId};

fn snapshot(storage: &Storage, vat: VatId, position: u64, incarnation: u32) {
    let (position, incarnation) = (Position(position), Incarnation(incarnation));
    let new = NewSnapshot { vat, position, incarnation, image: b"image", root: None, layers: &[] };
    storage.put_snapshot(&new).expect("kept");
}

/// Ten spans of three entries each: 0..3, 3..6, … The second incarnation begins at 9. Every other span is compressed.
fn furnished() -> (Scratch, VatId) {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    for span in 0..10 {
        for entry in 0..3 {
            scratch.append(vat, &format!("entry {span} {entry}"), &[]).expect("appended");
        }
        if span == 2 {
            scratch.storage.begin_incarnation(vat, ModuleHash::of(super::WASM)).expect("begun");
        } else {
            scratch.storage.close_span(vat).expect("closed");
        }
        if span % 2 == 0 {
            while !scratch.storage.compress().expect("compressed").done {}
        }
    }
    scratch.storage.commit().expect("committed");
    (scratch, vat)
}

/// First positions of the spans that still have entries.
fn kept(scratch: &Scratch, vat: VatId) -> Vec<u64> {
    let spans = scratch.storage.spans(vat).expect("spans");
    let kept = spans.iter().filter(|span| span.content != SpanContent::Pruned && span.start != span.end);
    kept.map(|span| span.start.0).collect()
}

#[test]
fn each_level_keeps_what_it_promises() {
    for (level, snapshots, expected) in [
        (Retention::Operational, &[][..], 9),
        (Retention::Operational, &[(6, 0)], 9), // Of an incarnation that is over.
        (Retention::Operational, &[(6, 0), (21, 1), (27, 1)], 21),
        (Retention::Operational, &[(22, 1), (27, 1)], 21), // In the middle of a span.
        (Retention::Operational, &[(30, 1)], 30),
        (Retention::Replay, &[(21, 1), (27, 1)], 9),
    ] {
        let (scratch, vat) = furnished();
        for (position, incarnation) in snapshots {
            snapshot(&scratch.storage, vat, *position, *incarnation);
        }
        let before = scratch.storage.spans(vat).expect("spans");
        assert!(scratch.storage.prune(vat, level, usize::MAX).expect("pruned").done);
        let expected: Vec<u64> = (0..30).step_by(3).filter(|start| *start >= expected).collect();
        assert_eq!(kept(&scratch, vat), expected, "{level}, {snapshots:?}");
        let after = scratch.storage.spans(vat).expect("spans");
        let hashes = |spans: &[crate::SpanRow]| {
            spans.iter().map(|s| (s.start, s.end, s.hash, s.bytes)).collect::<Vec<_>>()
        };
        assert_eq!(hashes(&after), hashes(&before), "what was pruned can still be checked");
        scratch.storage.verify_spans(vat).expect("what is left");
        scratch.storage.check_file().expect("whole");
    }
    for level in [Retention::Archival, Retention::Debug] {
        let (scratch, vat) = furnished();
        let error = scratch.storage.prune(vat, level, 1).expect_err("keeps everything");
        assert!(error.to_string().contains(level.as_str()), "{error}");
        assert_eq!(kept(&scratch, vat).len(), 10);
    }
}

/// Case 121: old spans are readable, and an error after pruning.
#[test]
fn pruned_entries_are_an_error_that_says_so() {
    let (scratch, vat) = furnished();
    snapshot(&scratch.storage, vat, 21, 1);
    scratch.storage.prune(vat, Retention::Operational, usize::MAX).expect("pruned");
    for from in [0, 4, 20] {
        let error = scratch.texts(vat, from, 99).expect_err("pruned");
        let start = from - from % 3;
        assert!(matches!(error, Error::Pruned { start: at, .. } if at.0 == start), "{error:?}");
    }
    assert_eq!(scratch.texts(vat, 21, 99).expect("the rest").len(), 9);
}

#[test]
fn pruning_takes_bounded_steps_and_survives_a_crash_between_them() {
    let (scratch, vat) = furnished();
    snapshot(&scratch.storage, vat, 30, 1);
    let mut scratch = scratch;
    let mut rows = 0;
    loop {
        let step = scratch.storage.prune(vat, Retention::Operational, 2).expect("pruned");
        assert!(step.rows <= 2);
        rows += step.rows;
        scratch.storage.commit().expect("committed");
        scratch = scratch.reopened();
        scratch.storage.verify_spans(vat).expect("what is left");
        if step.done {
            break;
        }
    }
    assert_eq!(rows, 9 + 3, "nine compressed spans, and three entries of one that is not");
    assert_eq!(kept(&scratch, vat), [] as [u64; 0]);
}

#[test]
fn what_is_needed_is_not_pruned_and_the_reason_is_told() {
    let (scratch, vat) = furnished();
    let storage = &scratch.storage;
    scratch.append(vat, "open", &[]).expect("appended");
    snapshot(storage, vat, 21, 1);
    let fork = storage.fork_vat(vat, "fork", "{}").expect("forked");
    let before = dump(storage);
    for (start, expected) in [
        (30, "cannot prune: vat 1 has no closed span that begins at 30"),
        (1, "cannot prune: vat 1 has no closed span that begins at 1"),
        (
            21,
            "the entries 21..24 of vat 1 are needed: the oldest snapshot, or the incarnation, covers what is before 21",
        ),
        (0, "the entries 0..3 of vat 1 are needed: a fork shares them"),
    ] {
        let error = storage.prune_span(vat, Position(start), 9).expect_err(expected);
        assert!(matches!(error, Error::Refused { .. }) && error.to_string().contains(expected), "{error}");
    }
    assert_eq!(storage.prune(vat, Retention::Operational, 99).expect("nothing").rows, 0);
    assert_eq!(dump(storage), before);
    storage.terminate(fork, "over").expect("terminated");
    assert!(storage.prune_span(vat, Position(0), 9).expect("nobody needs it").done);
    assert_eq!(kept(&scratch, vat).first(), Some(&3));
}

#[test]
fn what_is_kept_elsewhere_is_needed_from_the_newest_snapshot_on_only() {
    let (scratch, vat) = furnished();
    let storage = &scratch.storage;
    snapshot(storage, vat, 12, 1);
    snapshot(storage, vat, 25, 1);
    assert_eq!(storage.prunable_before(vat, Retention::Operational).expect("asked"), Some(Position(12)));
    assert_eq!(storage.prunable_before(vat, Retention::Replay).expect("asked"), Some(Position(9)));
    assert!(storage.prunable_before(vat, Retention::Archival).is_err());
    let error =
        storage.prune_span(vat, Position(21), 9).expect_err("the older snapshot needs it").to_string();
    assert!(error.contains("the oldest snapshot"), "{error}");
    assert!(storage.prune_archived_span(vat, Position(21), 9).expect("pruned").done);
    let error = storage.prune_archived_span(vat, Position(24), 9).expect_err("needed").to_string();
    assert!(error.contains("the newest snapshot, or the incarnation, covers what is before 25"), "{error}");
    storage.fork_vat(vat, "fork", "{}").expect("forked");
    assert_eq!(storage.shared_before(vat).expect("asked"), Position(30));
    let error = storage.prune_archived_span(vat, Position(18), 9).expect_err("shared").to_string();
    assert!(error.contains("a fork shares them"), "{error}");
    assert_eq!(storage.prunable_before(vat, Retention::Operational).expect("asked"), None);
    assert_eq!(kept(&scratch, vat), [0, 3, 6, 9, 12, 15, 18, 24, 27]);
}

#[test]
fn a_span_comes_back_from_anywhere_if_it_has_the_hash() {
    let (scratch, vat) = furnished();
    let storage = &scratch.storage;
    let texts = scratch.texts(vat, 0, 99).expect("entries");
    snapshot(storage, vat, 30, 1);
    storage.prune(vat, Retention::Operational, usize::MAX).expect("pruned");
    let entries = |start: usize| {
        texts[start..start + 3].iter().map(|text| text.clone().into_bytes()).collect::<Vec<_>>()
    };
    let mut swapped = entries(3);
    swapped.swap(0, 1);
    let before = dump(storage);
    for wrong in [swapped, entries(6), entries(3)[..2].to_vec(), Vec::new()] {
        let error = storage.restore_span(vat, Position(3), &wrong).expect_err("not the hash");
        assert!(matches!(error, Error::Refused { attempt: "restore a span", .. }), "{error:?}");
    }
    assert_eq!(dump(storage), before);
    for start in (0..30).step_by(3) {
        let row = storage.restore_span(vat, Position(start as u64), &entries(start)).expect("restored");
        assert_eq!(row.content, SpanContent::Compressed);
    }
    storage.commit().expect("committed");
    let scratch = scratch.reopened();
    assert_eq!(scratch.texts(vat, 0, 99).expect("entries"), texts);
    scratch.storage.verify_spans(vat).expect("all of it");
}

#[test]
fn a_damaged_span_is_repaired_by_its_entries() {
    let (scratch, vat) = furnished();
    let entries: Vec<_> = (0..3).map(|entry| format!("entry 0 {entry}").into_bytes()).collect();
    super::raw(&scratch.storage, "UPDATE packs SET checksum = zeroblob(32) WHERE start_position = 0");
    assert!(matches!(scratch.storage.verify_spans(vat), Err(Error::Damaged { .. })));
    scratch.storage.restore_span(vat, Position(0), &entries).expect("repaired");
    scratch.storage.verify_spans(vat).expect("in order");
}

/// Case 122: a snapshot that is saved again after its deletion is what a vat has; it covers what the old one did.
#[test]
fn a_deleted_snapshot_covers_nothing_and_one_saved_again_does() {
    let (scratch, vat) = furnished();
    let storage = &scratch.storage;
    snapshot(storage, vat, 30, 1);
    storage.delete_snapshot(vat, Position(30)).expect("deleted");
    assert!(storage.prune_span(vat, Position(27), 9).is_err());
    snapshot(storage, vat, 30, 1);
    assert!(storage.prune_span(vat, Position(27), 9).expect("covered").done);
    assert_eq!(storage.snapshots(vat).expect("snapshots").len(), 1);
}

#[test]
fn the_level_is_kept_by_the_store() {
    let scratch = Scratch::new();
    assert_eq!(scratch.storage.retention().expect("read"), Retention::Archival);
    for level in Retention::ALL {
        scratch.storage.set_retention(level).expect("set");
        assert_eq!(scratch.storage.retention().expect("read"), level);
        assert_eq!(level.as_str().parse(), Ok(level));
    }
    scratch.storage.host_put("retention", Some(b"all")).expect("written");
    assert!(matches!(scratch.storage.retention(), Err(Error::Damaged { .. })));
}
