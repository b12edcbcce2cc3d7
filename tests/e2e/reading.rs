//! Looking into a data directory that a host is serving.

use vat_abi::CapData;
use vat_warehouse::{Error, Reader, VatOptions, Warehouse, WarehouseConfig};

use crate::scenario::{Listener, message, vat};

const STATE: &str = include_str!("../vats/state.wat");

#[test]
fn a_reader_sees_what_was_committed_and_disturbs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(dir.path(), WarehouseConfig::default()).unwrap();
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    warehouse
        .create(&vat(), "state", VatOptions::default(), CapData::undefined(), 0, Listener::default())
        .0
        .unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    assert!(matches!(reader.vat(&vat()), Err(Error::UnknownVat(_))), "nothing is committed yet");
    warehouse.checkpoint().unwrap();
    for n in 1..6 {
        assert_eq!(reader.vat(&vat()).unwrap().next_position.0, n);
        let deliver = |mut lease: vat_warehouse::VatLease| {
            lease.deliver(message("step", "[]"), 7, Listener::default()).0
        };
        deliver(warehouse.provide_blocking(&vat()).unwrap()).unwrap();
        assert_eq!(reader.transcript(&vat(), 0).unwrap().count() as u64, n, "an open block is not seen");
        warehouse.evict(&vat()).unwrap();
        warehouse.checkpoint().unwrap();
    }
    let (seen, known) = (reader.disk_figures().unwrap(), warehouse.disk_figures().unwrap());
    assert_eq!((seen.segments, seen.bytes), (known.segments, known.bytes));
    assert!(
        reader
            .storage()
            .set_status(reader.vat(&vat()).unwrap().id, &vat_warehouse::VatStatus::Alive)
            .is_err()
    );
    assert!(warehouse.verify(&vat()).unwrap().verdict.is_identical());
}

#[test]
fn there_is_nothing_to_read_where_there_is_no_store() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Reader::open(dir.path()).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "and nothing is made");
}
