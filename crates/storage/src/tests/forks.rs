//! Forks: one transcript that two vats share up to a point.

use super::Scratch;
use crate::{CrankRecord, Error, Incarnation, NewSnapshot, Position, Retention, Storage, VatId};

fn append(storage: &Storage, vat: VatId, entry: &str) {
    let writes = [("last", Some(entry))];
    storage.append_crank(&CrankRecord { vat, entry: entry.as_bytes(), vatstore: &writes }).expect("a crank");
}

fn entries(storage: &Storage, vat: VatId) -> Vec<String> {
    let end = Position(u64::MAX);
    let entries = storage.transcript(vat, Position::START, end).expect("a transcript");
    for (index, (position, _)) in entries.iter().enumerate() {
        assert_eq!(position.0, index as u64, "positions go on");
    }
    entries.into_iter().map(|(_, entry)| String::from_utf8(entry).expect("text")).collect()
}

#[test]
fn a_fork_has_its_parents_past_and_a_future_of_its_own() {
    let scratch = Scratch::new();
    let storage = &scratch.storage;
    let parent = scratch.vat("parent");
    ["a", "b", "c"].iter().for_each(|entry| append(storage, parent, entry));
    let child = storage.fork_vat(parent, "child", "{}").expect("a fork");
    append(storage, parent, "d");
    append(storage, child, "D");
    let grandchild = storage.fork_vat(child, "grandchild", "{}").expect("a fork of a fork");
    append(storage, grandchild, "E");
    assert_eq!(entries(storage, parent).concat(), "abcd");
    assert_eq!(entries(storage, child).concat(), "abcD");
    assert_eq!(entries(storage, grandchild).concat(), "abcDE");
    assert_eq!(storage.vat(child).expect("a row").next_position, Position(4));
    assert_eq!(storage.vatstore_get(parent, "last").expect("a value").as_deref(), Some("d"));
    assert_eq!(storage.vatstore_get(child, "last").expect("a value").as_deref(), Some("D"));
    assert_eq!(storage.origin(child).expect("an origin").expect("a fork").parent, parent);
    assert!(storage.fork_vat(parent, "child", "{}").is_err(), "names are unique");
}

#[test]
fn a_parent_may_go_before_its_forks() {
    let scratch = Scratch::new();
    let storage = &scratch.storage;
    let parent = scratch.vat("parent");
    ["a", "b", "c"].iter().for_each(|entry| append(storage, parent, entry));
    let child = storage.fork_vat(parent, "child", "{}").expect("a fork");
    append(storage, parent, "d");
    storage.terminate(parent, "over").expect("terminated");
    assert_eq!(entries(storage, child).concat(), "abc");
    let rows = || {
        let count = |session: &mut crate::session::Session| {
            Ok(session
                .connection
                .query_row("SELECT count(*) FROM transcript", [], |row| row.get::<_, u64>(0))?)
        };
        storage.read("count", count).expect("a count")
    };
    assert_eq!(rows(), 3, "the parent's own future is gone, the shared past is not");
    storage.terminate(child, "over").expect("terminated");
    assert_eq!(rows(), 0, "nobody needs it any longer");
}

#[test]
fn what_was_pruned_before_a_fork_is_known_when_its_parent_is_gone() {
    let scratch = Scratch::new();
    let storage = &scratch.storage;
    let parent = scratch.vat("parent");
    for entry in ["a", "b", "c"] {
        append(storage, parent, entry);
        storage.close_span(parent).expect("closed");
    }
    let (position, incarnation) = (Position(2), Incarnation(0));
    let snapshot =
        NewSnapshot { vat: parent, position, incarnation, image: b"image", root: None, layers: &[] };
    storage.put_snapshot(&snapshot).expect("kept");
    assert_eq!(storage.prune(parent, Retention::Operational, 99).expect("pruned").rows, 2);
    let child = storage.fork_vat(parent, "child", "{}").expect("a fork");
    append(storage, parent, "d");
    storage.close_span(parent).expect("closed");
    let spans = || {
        let select = "SELECT vat, start_position, end_position, open FROM spans ORDER BY vat, start_position";
        let list = |session: &mut crate::session::Session| {
            let mut statement = session.connection.prepare(select)?;
            let rows = statement.query_map([], |row| {
                Ok((
                    row.get::<_, u64>(0)?,
                    row.get::<_, u64>(1)?,
                    row.get::<_, u64>(2)?,
                    row.get::<_, bool>(3)?,
                ))
            })?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
        };
        storage.read("list", list).expect("a list")
    };
    storage.terminate(parent, "over").expect("terminated");
    let shared = [(1, 0, 1, false), (1, 1, 2, false), (1, 2, 3, false)];
    assert_eq!(spans(), [&shared[..], &[(2, 3, 3, true)]].concat(), "its own future is gone");
    let error = storage.transcript(child, Position::START, Position(3)).expect_err("pruned");
    assert!(matches!(error, Error::Pruned { start: Position(0), end: Position(1), .. }), "{error:?}");
    assert_eq!(storage.transcript(child, Position(2), Position(3)).expect("an entry").len(), 1);
    storage.terminate(child, "over").expect("terminated");
    assert_eq!(spans(), [], "nobody needs them any longer");
}
