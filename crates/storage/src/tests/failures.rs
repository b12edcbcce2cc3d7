//! What a failed write leaves behind, and how each cause is named.

use std::io;
use std::path::Path;

use rusqlite::ffi;

use super::{Scratch, dump, raw};
use crate::{
    CrankRecord, Error, ModuleHash, NewSnapshot, Position, Storage, VALUE_BYTES_MAX, VatId, VatStatus,
};

/// Makes SQLite itself refuse the third row of a crank, after the entry and one key are written.
const REFUSE: &str = "CREATE TEMP TRIGGER refuse BEFORE INSERT ON vatstore WHEN NEW.key = 'bad' \
    BEGIN SELECT RAISE(ABORT, 'bad key'); END";

#[test]
fn a_crank_that_fails_half_way_leaves_no_trace() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    scratch.append(vat, "first", &[("kept", Some("1"))]).expect("appended");
    scratch.storage.commit().expect("committed");
    raw(&scratch.storage, REFUSE);
    let before = dump(&scratch.storage);
    scratch.append(vat, "half", &[("kept", Some("2")), ("bad", Some("3"))]).expect("only buffered");
    let error = scratch.storage.spans(vat).expect_err("cannot be written");
    assert!(matches!(error, Error::Refused { attempt: "write cranks", .. }), "{error:?}");
    let error = scratch.storage.commit().expect_err("half a crank is never committed");
    assert!(matches!(error, Error::Poisoned { .. }), "{error:?}");

    let scratch = scratch.reopened();
    assert_eq!(dump(&scratch.storage), before);
    assert_eq!(scratch.append(vat, "second", &[]).expect("goes on"), Position(1));
    scratch.storage.verify_spans(vat).expect("the running hash skipped the failed crank");
}

#[test]
fn a_crank_too_large_is_refused_and_the_next_goes_on() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    let before = dump(&scratch.storage);
    // Zeros that nobody reads cost no memory.
    let large = String::from_utf8(vec![0; VALUE_BYTES_MAX + 1]).expect("zeros are text");
    for (entry, vatstore) in [
        (large.as_str(), &[][..]),
        ("entry", &[("fine", Some("")), ("key", Some(large.as_str()))]),
        ("entry", &[("fine", Some("")), (large.as_str(), None)]),
    ] {
        let error = scratch.append(vat, entry, vatstore).expect_err("too large");
        assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    }
    assert_eq!(dump(&scratch.storage), before);
    assert_eq!(scratch.append(vat, "entry", &[]).expect("goes on"), Position(0));
}

#[test]
fn a_call_that_fails_half_way_is_undone_alone() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    scratch.append(vat, "kept", &[]).expect("appended");
    let before = dump(&scratch.storage);
    // The last of its statements fails, after the vat and its snapshots are changed.
    raw(
        &scratch.storage,
        "CREATE TEMP TRIGGER refuse BEFORE DELETE ON transcript BEGIN SELECT RAISE(ABORT, 'not now'); END",
    );
    let error = scratch.storage.terminate(vat, "test").expect_err("refused");
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert_eq!(dump(&scratch.storage), before);
    assert_eq!(scratch.append(vat, "kept too", &[]).expect("alive"), Position(1));
    scratch.storage.commit().expect("committed");
    assert_eq!(scratch.reopened().texts(vat, 0, 9).expect("entries"), ["kept", "kept too"]);
}

/// A call with its name.
type Call = (&'static str, fn(&Storage, VatId) -> Result<(), Error>);

/// A way to make SQLite fail, with its name and the test of its error.
type Break = (&'static str, fn(&Scratch, VatId) -> Error, fn(&Error) -> bool);

/// Every call that writes, with arguments that would be right.
const WRITES: [Call; 15] = [
    ("append_crank", |s, vat| {
        s.append_crank(&CrankRecord { vat, entry: &[7; 90_000], vatstore: &[] })?;
        s.commit()
    }),
    ("close_span", |s, vat| s.close_span(vat).map(drop)),
    ("create_vat", |s, _| s.create_vat("other", ModuleHash::of(super::WASM), "{}").map(drop)),
    ("set_status", |s, vat| s.set_status(vat, &VatStatus::Alive)),
    ("set_options", |s, vat| s.set_options(vat, "[]")),
    ("begin_incarnation", |s, vat| s.begin_incarnation(vat, ModuleHash::of(super::WASM)).map(drop)),
    ("terminate", |s, vat| s.terminate(vat, "test").map(drop)),
    ("put_module", |s, _| s.put_module(ModuleHash::of(b"2"), "2", b"2")),
    ("set_birth", |s, _| s.set_birth(ModuleHash::of(super::WASM), b"", &[]).map(drop)),
    ("add_layer", |s, _| s.add_layer(1, 0, 1).map(drop)),
    ("delete_unused_layers", |s, _| s.delete_unused_layers().map(drop)),
    ("put_snapshot", |s, vat| {
        let (position, incarnation) = (Position(0), crate::Incarnation(0));
        s.put_snapshot(&NewSnapshot { vat, position, incarnation, image: b"", root: None, layers: &[] })
            .map(drop)
    }),
    ("host_put", |s, _| s.host_put("key", Some(b"value"))),
    ("purge", |s, vat| s.purge(vat, 1).map(drop)),
    ("commit", |s, _| s.commit()),
];

/// Every call that reads.
const READS: [Call; 10] = [
    ("vat", |s, vat| s.vat(vat).map(drop)),
    ("vats", |s, _| s.vats().map(drop)),
    ("modules", |s, _| s.modules().map(drop)),
    ("module", |s, _| s.module(ModuleHash::of(super::WASM)).map(drop)),
    ("transcript", |s, vat| s.transcript(vat, Position(0), Position::END).map(drop)),
    ("spans", |s, vat| s.spans(vat).map(drop)),
    ("snapshots", |s, vat| s.snapshots(vat).map(drop)),
    ("live_layers", |s, _| s.live_layers().map(drop)),
    ("vatstore_get", |s, vat| s.vatstore_get(vat, "key").map(drop)),
    ("stats", |s, _| s.stats().map(drop)),
];

/// Ways to make SQLite fail on the next write or commit, and the error that says so.
const BREAKS: [Break; 3] = [
    (
        "full",
        |scratch, vat| write_when(scratch, vat, "PRAGMA max_page_count = 1"),
        |e| matches!(e, Error::Full { .. }),
    ),
    (
        "read-only",
        |scratch, vat| write_when(scratch, vat, "PRAGMA query_only = 1"),
        |e| matches!(e, Error::ReadOnly { .. }),
    ),
    (
        "commit",
        |scratch, _| {
            // A dangling reference that SQLite may only complain of at the end.
            raw(
                &scratch.storage,
                "PRAGMA defer_foreign_keys = 1; INSERT INTO snapshots (vat, position, incarnation, image, sum) VALUES (99, 0, 0, x'', 0)",
            );
            scratch.storage.commit().expect_err("a dangling reference")
        },
        |e| matches!(e, Error::Refused { attempt: "commit", .. }),
    ),
];

/// The error of a crank too large for the pages that the file has left, after `sql`.
fn write_when(scratch: &Scratch, vat: VatId, sql: &str) -> Error {
    raw(&scratch.storage, sql);
    let crank = CrankRecord { vat, entry: &[7; 90_000], vatstore: &[] };
    scratch.storage.append_crank(&crank).expect("only buffered");
    scratch.storage.commit().expect_err("SQLite fails")
}

#[test]
fn after_a_failed_write_everything_is_refused_until_reopened() {
    for (name, break_it, is_expected) in BREAKS {
        let scratch = Scratch::new();
        let vat = scratch.vat("a");
        scratch.append(vat, "committed", &[("key", Some("1"))]).expect("appended");
        scratch.storage.commit().expect("committed");
        let committed = dump(&scratch.storage);
        scratch.append(vat, "not committed", &[("key", Some("2"))]).expect("appended");

        let error = break_it(&scratch, vat);
        assert!(is_expected(&error), "{name}: {error:?}");
        for (call, run) in WRITES.iter().chain(&READS) {
            match run(&scratch.storage, vat) {
                Err(Error::Poisoned { cause }) => assert_eq!(cause, error.to_string(), "{name}, {call}"),
                other => panic!("{name}, {call}: {other:?}"),
            }
        }
        let scratch = scratch.reopened();
        assert_eq!(dump(&scratch.storage), committed, "{name}");
        assert_eq!(scratch.append(vat, "again", &[]).expect("works again"), Position(1), "{name}");
        scratch.storage.check_file().expect("whole");
    }
}

#[test]
fn the_calls_listed_here_are_right_when_nothing_is_broken() {
    for (name, run) in WRITES.iter().chain(&READS).filter(|(name, _)| *name != "purge") {
        let scratch = Scratch::new();
        let vat = scratch.vat("a");
        run(&scratch.storage, vat).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn every_write_to_a_full_store_says_full_or_succeeds() {
    for (name, run) in WRITES.iter().filter(|(name, _)| *name != "purge") {
        let scratch = Scratch::new();
        let vat = scratch.vat("a");
        scratch.storage.commit().expect("committed");
        let committed = dump(&scratch.storage);
        raw(&scratch.storage, "PRAGMA max_page_count = 1");
        match run(&scratch.storage, vat) {
            Ok(()) => {}
            Err(Error::Full { path }) => {
                assert_eq!(path, scratch.storage.path(), "{name}");
                assert_eq!(dump(&scratch.reopened().storage), committed, "{name}");
            }
            Err(other) => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_read_that_loses_the_transaction_stops_the_storage() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    let error = scratch
        .storage
        .read("read", |session| {
            // What SQLite does by itself when it runs out of memory in the middle of a query.
            session.connection.execute_batch("ROLLBACK")?;
            Ok(session.connection.execute_batch("SELECT * FROM absent")?)
        })
        .expect_err("no such table");
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    let error = scratch.append(vat, "entry", &[]).expect_err("the vat is lost");
    assert!(matches!(error, Error::Poisoned { .. }), "{error:?}");
}

#[test]
fn a_read_that_finds_damage_stops_nothing() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    raw(&scratch.storage, "PRAGMA ignore_check_constraints = 1; UPDATE vats SET incarnation = -1");
    let error = scratch.storage.vat(vat).expect_err("damaged");
    assert!(matches!(error, Error::DamagedRow { table: "vats", .. }), "{error:?}");
    scratch.append(vat, "entry", &[]).expect("goes on");
    scratch.storage.commit().expect("goes on");
}

#[test]
fn a_panic_inside_a_call_stops_the_storage() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        scratch.storage.write("panic", |_| -> Result<(), crate::error::Fault> { panic!("on purpose") })
    }));
    assert!(panicked.is_err());
    let error = scratch.storage.vat(vat).expect_err("stopped");
    assert!(matches!(error, Error::Poisoned { .. }), "{error:?}");
    assert_eq!(scratch.reopened().storage.vats().expect("readable"), []);
}

#[test]
fn caller_mistakes_stop_nothing() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    let before = dump(&scratch.storage);
    let storage = &scratch.storage;
    let module = ModuleHash::of(super::WASM);
    let mistakes = [
        scratch.append(VatId(99), "entry", &[]).expect_err("no vat"),
        scratch.append(VatId(u64::MAX), "entry", &[]).expect_err("no vat"),
        storage.create_vat("a", module, "{}").expect_err("taken"),
        storage.create_vat("b", ModuleHash([0; 32]), "{}").expect_err("no module"),
        storage.put_module(ModuleHash::of(b"2"), "module", b"2").expect_err("taken"),
        storage.module(ModuleHash([0; 32])).expect_err("no module"),
        storage.delete_module(module).expect_err("in use"),
        storage.purge(vat, 1).expect_err("alive"),
        storage.move_layer(crate::LayerId(5), 1, 0, 0).expect_err("no layer"),
        storage.delete_snapshot(vat, Position(4)).expect_err("no snapshot"),
    ];
    let texts = mistakes.map(|error| error.to_string());
    assert_eq!(
        texts.each_ref().map(String::as_str),
        [
            "there is no vat 99",
            "cannot append a crank: out of range integral type conversion attempted",
            "there is already a vat named a: choose another name",
            "there is no module 0000000000000000000000000000000000000000000000000000000000000000",
            "there is already a module named module: choose another name",
            "there is no module 0000000000000000000000000000000000000000000000000000000000000000",
            &format!("cannot delete module {module}: vat a uses it"),
            "cannot purge a vat: vat 1 is not terminated",
            "there is no layer 5",
            "there is no snapshot 1@4",
        ]
    );
    assert_eq!(dump(storage), before);
    storage.commit().expect("still in order");
}

/// SQLite's result codes, and the error that each becomes, by the beginning of its `Debug`.
const CODES: [(std::ffi::c_int, &str); 16] = [
    (ffi::SQLITE_FULL, "Full"),
    (ffi::SQLITE_READONLY, "ReadOnly"),
    (ffi::SQLITE_READONLY_DBMOVED, "ReadOnly"),
    (ffi::SQLITE_CORRUPT, "Damaged"),
    (ffi::SQLITE_NOTADB, "Damaged"),
    (ffi::SQLITE_ERROR, "Damaged"),
    (ffi::SQLITE_BUSY, "Locked"),
    (ffi::SQLITE_BUSY_SNAPSHOT, "Locked"),
    (ffi::SQLITE_LOCKED, "Locked"),
    (ffi::SQLITE_CONSTRAINT_FOREIGNKEY, "Refused"),
    (ffi::SQLITE_TOOBIG, "TooLarge"),
    (ffi::SQLITE_CANTOPEN, "Io"),
    (ffi::SQLITE_IOERR_FSYNC, "Io"),
    (ffi::SQLITE_IOERR_WRITE, "Io"),
    (ffi::SQLITE_NOMEM, "Io"),
    (ffi::SQLITE_PERM, "Io"),
];

#[test]
fn sqlite_codes_have_names() {
    for (code, expected) in CODES {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        let error = Error::from_sqlite("test", Path::new("store.sqlite"), error);
        assert!(format!("{error:?}").starts_with(expected), "{code}: {error:?}");
    }
}

#[test]
fn file_errors_have_names() {
    for (kind, expected) in [
        (io::ErrorKind::StorageFull, "Full"),
        (io::ErrorKind::QuotaExceeded, "Full"),
        (io::ErrorKind::ReadOnlyFilesystem, "ReadOnly"),
        (io::ErrorKind::PermissionDenied, "ReadOnly"),
        (io::ErrorKind::NotADirectory, "Io"),
    ] {
        let error = Error::from_io("test", Path::new("lock"), kind.into());
        assert!(format!("{error:?}").starts_with(expected), "{kind}: {error:?}");
    }
}
