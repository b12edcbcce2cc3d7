//! Forks: one transcript that two vats share up to a point.

use super::Scratch;
use crate::{CrankRecord, Position, Storage, VatId};

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
