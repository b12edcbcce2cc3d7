//! What mends itself, and what is not touched because nobody can say what it was.

use std::path::Path;

use rusqlite::Connection;
use vat_abi::Syscall;
use vat_warehouse::{Error, KeptPolicy, Warehouse, WarehouseConfig};

use crate::divergence::{DELIVERIES, change, store};
use crate::scenario::vat;
use crate::steady::code_cache;

fn open(dir: &Path) -> Result<Warehouse, Error> {
    let config = WarehouseConfig { code_cache: Some(code_cache()), ..WarehouseConfig::default() };
    Warehouse::open_existing(dir, config)
}

/// A store with a snapshot and a policy, both of which are read when it is opened.
fn furnished() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let warehouse = open(dir.path()).unwrap();
    warehouse.provide_blocking(&vat()).unwrap().snapshot().unwrap();
    warehouse.keep_policy(Some(&KeptPolicy::Every(9.try_into().unwrap()))).unwrap();
    warehouse.checkpoint().unwrap();
    dir
}

fn damage(dir: &Path, sql: &str) {
    let connection = Connection::open(dir.join("store.sqlite")).unwrap();
    assert!(connection.execute(sql, []).unwrap() > 0, "{sql}");
}

#[test]
fn a_row_that_opening_needs_is_mended_by_opening() {
    for (table, one_byte, more) in [
        ("host", "value = CAST(replace(value, '9', '8') AS BLOB)", "value = x'00'"),
        ("layers", "offset = offset + 1", "offset = offset + 257"),
    ] {
        let dir = furnished();
        damage(dir.path(), &format!("UPDATE {table} SET {one_byte}"));
        let warehouse = open(dir.path()).unwrap_or_else(|error| panic!("{table}: {error}"));
        assert!(warehouse.scrub(|_, _| {}).unwrap().is_clean(), "{table}");
        drop(warehouse.provide_blocking(&vat()).unwrap());
        assert_eq!(warehouse.stats().fallbacks, 0, "{table}");
        drop(warehouse);
        damage(dir.path(), &format!("UPDATE {table} SET {more}"));
        let error = open(dir.path()).expect_err("more than a byte").to_string();
        assert!(error.contains(&format!("of the table {table} is not what was written")), "{table}: {error}");
    }
}

/// The rows of the transcript have their sums, so that only the hash of the span says that they are not what was recorded.
#[test]
fn vat_storage_is_not_restored_from_a_transcript_that_is_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let kept = |warehouse: &Warehouse| {
        let id = warehouse.vat(&vat()).unwrap().id;
        warehouse.storage().vatstore_get(id, "count").unwrap()
    };
    let before = kept(&open(dir.path()).unwrap());
    change(dir.path(), DELIVERIES - 1, |entry| {
        let Syscall::VatstoreSet(_, value) = &mut entry.syscalls[1].syscall else { panic!("a write") };
        *value = "another".to_owned();
    });
    let warehouse = open(dir.path()).unwrap();
    assert_eq!(warehouse.restore_vat_storage().unwrap(), []);
    assert_eq!(kept(&warehouse), before);
}
