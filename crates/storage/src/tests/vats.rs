//! Vats: names, standing, listing, the end.

use super::{Scratch, WASM, dump};
use crate::{Error, Incarnation, ModuleHash, NewSnapshot, Position, VatId, VatRow, VatStatus};

#[test]
fn a_vat_is_what_was_created() {
    let scratch = Scratch::new();
    let id = scratch.vat("alice");
    let row = VatRow {
        id,
        name: "alice".to_owned(),
        module: ModuleHash::of(WASM),
        status: VatStatus::Alive,
        options: "{}".to_owned(),
        incarnation: Incarnation(0),
        next_position: Position(0),
    };
    assert_eq!(scratch.storage.vat(id).expect("by id"), row);
    assert_eq!(scratch.storage.vat_by_name("alice").expect("by name"), Some(row));
    assert_eq!(scratch.storage.vat_by_name("bob").expect("by name"), None);
    scratch.storage.set_options(id, "[1]").expect("set");
    assert_eq!(scratch.storage.vat(id).expect("by id").options, "[1]");
}

#[test]
fn vats_are_listed_page_by_page() {
    let scratch = Scratch::new();
    let ids: Vec<_> = (0..25).map(|number| scratch.vat(&number.to_string())).collect();
    let mut seen = Vec::new();
    loop {
        let page = scratch.storage.vats_after(seen.last().copied().unwrap_or(VatId(0)), 10).expect("a page");
        if page.is_empty() {
            break;
        }
        seen.extend(page.iter().map(|row| row.id));
    }
    assert_eq!(seen, ids);
    assert!(scratch.storage.vats().expect("all").iter().map(|row| row.id).eq(ids));
}

#[test]
fn quarantine_can_be_lifted_and_termination_cannot() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    let quarantined = VatStatus::Quarantined { reason: "diverged".to_owned() };
    let terminated = VatStatus::Terminated { reason: "done".to_owned() };
    for status in [&quarantined, &VatStatus::Alive, &quarantined, &terminated] {
        scratch.storage.set_status(vat, status).expect("set");
        assert_eq!(&scratch.storage.vat(vat).expect("the vat").status, status);
    }
    for error in [
        scratch.storage.set_status(vat, &VatStatus::Alive).expect_err("over"),
        scratch.storage.set_options(vat, "[]").expect_err("over"),
        scratch.storage.begin_incarnation(vat, ModuleHash::of(WASM)).expect_err("over"),
        scratch.storage.close_span(vat).expect_err("over"),
        scratch.storage.terminate(vat, "again").expect_err("over"),
        scratch.append(vat, "entry", &[]).expect_err("over"),
    ] {
        assert!(matches!(error, Error::Unknown { .. }), "{error:?}");
    }
}

/// Gives a vat some of everything; the layer that only it uses.
fn furnish(scratch: &Scratch, vat: VatId) -> crate::LayerId {
    for number in 0..10 {
        let key = format!("key {number}");
        scratch.append(vat, "entry", &[(&key, Some("value"))]).expect("appended");
        if number == 4 {
            scratch.storage.close_span(vat).expect("closed");
        }
    }
    let layer = scratch.storage.add_layer(1, vat.0 * 8_192, 8_192).expect("a layer");
    for position in [5, 10].map(Position) {
        let (incarnation, layers) = (Incarnation(0), &[layer]);
        scratch
            .storage
            .put_snapshot(&NewSnapshot { vat, position, incarnation, image: b"image", root: None, layers })
            .expect("kept");
    }
    layer
}

/// The lines of a dump that speak of a vat, but for its row in `vats`.
fn remains(scratch: &Scratch, vat: VatId) -> usize {
    let mark = format!(" {vat} ");
    let tables = ["transcript", "spans", "snapshots", "snapshot_layers", "vatstore"];
    let text = dump(&scratch.storage);
    text.lines().filter(|line| tables.iter().any(|table| line.starts_with(&format!("{table}{mark}")))).count()
}

#[test]
fn a_terminated_vat_leaves_its_row_and_frees_its_name() {
    let scratch = Scratch::new();
    let (vat, other) = (scratch.vat("a"), scratch.vat("b"));
    let layer = furnish(&scratch, vat);
    furnish(&scratch, other);
    let before = remains(&scratch, other);
    let released = scratch.storage.terminate(vat, "no longer wanted").expect("terminated");
    assert_eq!(released.iter().map(|row| row.id).collect::<Vec<_>>(), [layer]);
    assert_eq!((remains(&scratch, vat), remains(&scratch, other)), (0, before));

    let row = scratch.storage.vat(vat).expect("its row stays");
    assert_eq!(row.status, VatStatus::Terminated { reason: "no longer wanted".to_owned() });
    assert_eq!(row.next_position, Position(0));
    assert_eq!(scratch.storage.vat_by_name("a").expect("read"), None);
    let again = scratch.vat("a");
    assert!(again > other, "ids are not used again");
    assert_eq!(scratch.storage.vat_by_name("a").expect("read").map(|row| row.id), Some(again));
    assert_eq!(scratch.append(again, "entry", &[]).expect("appended"), Position(0));
}

#[test]
fn a_purge_in_steps_ends_where_one_does() {
    for rows_max in [1, 3, 7, 1_000] {
        let scratch = Scratch::new();
        let vat = scratch.vat("a");
        furnish(&scratch, vat);
        scratch.storage.set_status(vat, &VatStatus::Terminated { reason: "slowly".to_owned() }).expect("set");
        // 2 snapshots, 10 keys, 10 entries, 2 spans.
        let mut left = 24;
        loop {
            let step = scratch.storage.purge(vat, rows_max).expect("a step");
            assert_eq!(step.rows, left.min(rows_max));
            left -= step.rows;
            if step.done {
                break;
            }
        }
        assert_eq!((left, remains(&scratch, vat)), (0, 0), "steps of {rows_max}");
        assert_eq!(scratch.storage.live_layers().expect("listed"), []);
        assert_eq!(scratch.storage.stats().expect("counted").layers, 0);
    }
}

#[test]
fn counts_are_what_was_written() {
    let scratch = Scratch::new();
    let (a, b, c) = (scratch.vat("a"), scratch.vat("b"), scratch.vat("c"));
    furnish(&scratch, a);
    scratch.storage.set_status(b, &VatStatus::Quarantined { reason: "diverged".to_owned() }).expect("set");
    scratch.storage.terminate(c, "done").expect("terminated");
    scratch.storage.commit().expect("committed");
    let stats = scratch.storage.stats().expect("counted");
    assert_eq!((stats.modules, stats.module_bytes), (1, 8));
    assert_eq!((stats.vats_alive, stats.vats_quarantined, stats.vats_terminated), (1, 1, 1));
    assert_eq!((stats.transcript_entries, stats.spans, stats.vatstore_keys), (10, 3, 10));
    assert_eq!((stats.snapshots, stats.layers, stats.layer_bytes), (2, 1, 8_192));
    assert!(stats.file_bytes > 0 && stats.log_bytes > 0, "{stats:?}");
}
