//! The crank buffer: nobody can tell when cranks reach SQLite.

use super::{Numbers, Scratch, dump, raw};
use crate::{Error, Position, VatId};

/// Rows that SQLite has of a table, without writing what is buffered.
fn rows(scratch: &Scratch, table: &str) -> u64 {
    let sql = format!("SELECT count(*) FROM {table}");
    let count = |session: &mut crate::session::Session| {
        Ok(session.connection.query_row(&sql, [], |row| row.get(0))?)
    };
    scratch.storage.read_beside("count", count).expect("a count")
}

#[test]
fn cranks_stay_in_memory_until_somebody_needs_them() {
    let scratch = Scratch::new();
    let (a, b) = (scratch.vat("a"), scratch.vat("b"));
    let storage = &scratch.storage;
    for number in 0..5 {
        scratch.append(a, "entry", &[("x", Some(&number.to_string())), ("y", Some(""))]).expect("appended");
    }
    scratch.append(a, "entry", &[("y", None)]).expect("appended");
    // The hot paths of a host, answered from the buffer.
    assert_eq!(storage.vatstore_get(a, "x").expect("read").as_deref(), Some("4"));
    assert_eq!(storage.vatstore_get(a, "y").expect("read"), None);
    assert_eq!(storage.vatstore_next_key(a, "").expect("read").as_deref(), Some("x"));
    assert_eq!(storage.vat(a).expect("a vat").next_position, Position(6));
    assert_eq!(storage.vat_by_name("a").expect("read").expect("a vat").next_position, Position(6));
    assert_eq!(storage.vats().expect("vats")[0].next_position, Position(6));
    assert_eq!(scratch.texts(b, 0, 9).expect("another's"), [] as [&str; 0]);
    storage.host_put("key", Some(b"value")).expect("written");
    assert_eq!((rows(&scratch, "transcript"), rows(&scratch, "vatstore")), (0, 0), "not written yet");

    assert_eq!(storage.spans(a).expect("spans")[0].end, Position(6));
    assert_eq!((rows(&scratch, "transcript"), rows(&scratch, "vatstore")), (6, 1), "each key once");
    storage.verify_spans(a).expect("the hash of those entries");
}

#[test]
fn a_full_buffer_is_written() {
    for entry_bytes in [1, 100_000] {
        let scratch = Scratch::new();
        let vat = scratch.vat("a");
        let entry = "x".repeat(entry_bytes);
        let mut appended = 0;
        while rows(&scratch, "transcript") == 0 {
            scratch.append(vat, &entry, &[]).expect("appended");
            appended += 1;
            assert!(
                appended <= 4_096 && appended * entry_bytes <= 5_000_000,
                "{appended} of {entry_bytes} bytes"
            );
        }
    }
}

/// What is in a store that got the same random cranks, with something that may write the buffer after each.
fn after(between: impl Fn(&Scratch, VatId, u64)) -> String {
    let scratch = Scratch::new();
    let vats = ["a", "b", "c"].map(|name| scratch.vat(name));
    let mut numbers = Numbers(7);
    for number in 0..300 {
        let vat = vats[usize::try_from(numbers.below(3)).expect("small")];
        let key = format!("key {}", numbers.below(12));
        let value = number.to_string();
        let value = (numbers.below(3) > 0).then_some(value.as_str());
        let position = scratch.append(vat, &format!("entry {number}"), &[(&key, value)]).expect("appended");
        assert_eq!(scratch.storage.vatstore_get(vat, &key).expect("read").as_deref(), value);
        between(&scratch, vat, position.0);
    }
    for vat in vats {
        scratch.storage.verify_spans(vat).expect("in order");
    }
    dump(&scratch.storage)
}

#[test]
fn when_cranks_are_written_makes_no_difference() {
    let steady = after(|_, _, _| {});
    let walk = |scratch: &Scratch, vat: VatId| {
        let mut keys = vec![String::new()];
        while let Some(key) = scratch.storage.vatstore_next_key(vat, keys.last().expect("one")).expect("read")
        {
            keys.push(key);
        }
        keys.len() as u64 - 1
    };
    let between: [fn(&Scratch, VatId, u64); 3] = [
        |scratch, _, _| drop(dump(&scratch.storage)),
        |scratch, _, _| scratch.storage.commit().expect("committed"),
        |scratch, vat, position| {
            let newest = scratch.texts(vat, position, Position::END.0).expect("entries");
            assert_eq!(newest.len(), 1);
        },
    ];
    for between in between {
        assert_eq!(after(between), steady);
    }
    let walked = after(|scratch, vat, _| {
        let seen = walk(scratch, vat);
        assert_eq!(seen, scratch.storage.vatstore_len(vat).expect("counted"));
    });
    assert_eq!(walked, steady);
}

#[test]
fn deleted_and_new_keys_are_walked_over_in_order() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    let old: Vec<_> = ["a", "c", "e", "g"].iter().map(|key| (*key, Some("old"))).collect();
    scratch.append(vat, "0", &old).expect("appended");
    scratch.storage.commit().expect("committed");
    scratch
        .append(vat, "1", &[("b", Some("new")), ("c", None), ("e", None), ("h", Some("new"))])
        .expect("ok");
    for (prior, expected) in
        [("", "a"), ("a", "b"), ("b", "g"), ("c", "g"), ("g", "h")].map(|(prior, next)| (prior, Some(next)))
    {
        assert_eq!(
            scratch.storage.vatstore_next_key(vat, prior).expect("read").as_deref(),
            expected,
            "{prior}"
        );
    }
    assert_eq!(scratch.storage.vatstore_next_key(vat, "h").expect("read"), None);
}

#[test]
fn a_failed_write_of_buffered_cranks_stops_the_storage_and_undoes_them_all() {
    let scratch = Scratch::new();
    let (a, b) = (scratch.vat("a"), scratch.vat("b"));
    scratch.storage.commit().expect("committed");
    let committed = dump(&scratch.storage);
    raw(
        &scratch.storage,
        "CREATE TEMP TRIGGER refuse BEFORE INSERT ON transcript WHEN NEW.vat = 2 \
        BEGIN SELECT RAISE(ABORT, 'not this vat'); END",
    );
    scratch.append(a, "fine", &[]).expect("buffered");
    scratch.append(b, "refused", &[]).expect("buffered");
    let error = scratch.storage.close_span(a).expect_err("the buffer comes first");
    assert!(matches!(error, Error::Refused { attempt: "write cranks", .. }), "{error:?}");
    assert!(matches!(scratch.storage.vatstore_get(a, "x"), Err(Error::Poisoned { .. })));
    assert!(matches!(scratch.storage.commit(), Err(Error::Poisoned { .. })));
    assert_eq!(dump(&scratch.reopened().storage), committed);
}
