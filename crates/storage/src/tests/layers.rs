//! Snapshots and layers: a layer is live exactly while something refers to it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Numbers, Scratch, WASM};
use crate::{Error, Incarnation, LayerId, LayerRow, ModuleHash, NewSnapshot, Position, SnapshotRow, VatId};

fn put(scratch: &Scratch, vat: VatId, position: u64, layers: &[LayerId]) -> Result<Vec<LayerRow>, Error> {
    let (position, incarnation) = (Position(position), Incarnation(0));
    scratch.storage.put_snapshot(&NewSnapshot {
        vat,
        position,
        incarnation,
        image: b"image",
        root: None,
        layers,
    })
}

fn deliver_five(scratch: &Scratch, vat: VatId) {
    for _ in 0..5 {
        scratch.append(vat, "entry", &[]).expect("appended");
    }
}

fn ids(rows: &[LayerRow]) -> BTreeSet<LayerId> {
    rows.iter().map(|row| row.id).collect()
}

#[test]
fn snapshots_come_newest_first_and_as_they_were_kept() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    for _ in 0..300 {
        scratch.append(vat, "entry", &[]).expect("appended");
    }
    for position in [2, 300, 0, 256] {
        put(&scratch, vat, position, &[]).expect("kept");
    }
    scratch.storage.set_snapshot_root(vat, Position(256), [9; 32]).expect("set");
    let row = |position, root| SnapshotRow {
        position: Position(position),
        incarnation: Incarnation(0),
        image: b"image".to_vec(),
        root,
    };
    let all = [row(300, None), row(256, Some([9; 32])), row(2, None), row(0, None)];
    assert_eq!(scratch.storage.snapshots(vat).expect("listed"), all);
    assert_eq!(scratch.storage.newest_snapshots(vat, 1).expect("listed"), all[..1]);
    scratch.storage.delete_snapshot(vat, Position(300)).expect("deleted");
    assert_eq!(scratch.storage.snapshots(vat).expect("listed"), all[1..]);
}

#[test]
fn a_snapshot_of_the_future_is_refused() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    scratch.append(vat, "entry", &[]).expect("appended");
    put(&scratch, vat, 1, &[]).expect("the present");
    let error = put(&scratch, vat, 2, &[]).expect_err("the future");
    assert_eq!(error.to_string(), "cannot keep a snapshot: vat 1 is at position 1, the snapshot at 2");
}

#[test]
fn an_unknown_layer_leaves_the_snapshot_before_it() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    let layer = scratch.storage.add_layer(1, 0, 4_096).expect("a layer");
    put(&scratch, vat, 0, &[layer]).expect("kept");
    let error = put(&scratch, vat, 0, &[LayerId(99)]).expect_err("no such layer");
    assert_eq!(error.to_string(), "there is no layer 99");
    assert_eq!(ids(&scratch.storage.live_layers().expect("listed")), BTreeSet::from([layer]));
}

#[test]
fn a_moved_layer_keeps_its_name_and_users() {
    let scratch = Scratch::new();
    let vat = scratch.vat("a");
    let layer = scratch.storage.add_layer(1, 8_192, 4_096).expect("a layer");
    put(&scratch, vat, 0, &[layer]).expect("kept");
    scratch.storage.move_layer(layer, 7, 1 << 40, 4_096).expect("moved");
    let row = LayerRow { id: layer, segment: 7, offset: 1 << 40, bytes: 4_096 };
    assert_eq!(scratch.storage.layer(layer).expect("there"), row);
    assert_eq!(scratch.storage.live_layers().expect("listed"), [row]);
}

#[test]
fn ids_of_layers_are_not_used_again() {
    let scratch = Scratch::new();
    let first = scratch.storage.add_layer(1, 0, 1).expect("a layer");
    scratch.storage.commit().expect("committed");
    let scratch = scratch.reopened();
    assert_eq!(ids(&scratch.storage.delete_unused_layers().expect("deleted")), BTreeSet::from([first]));
    scratch.storage.commit().expect("committed");
    let scratch = scratch.reopened();
    assert!(scratch.storage.add_layer(1, 0, 1).expect("a layer") > first);
}

/// Who needs which layers: the same rule as the tables, written as sets.
#[derive(Default)]
struct Model {
    images: BTreeMap<(VatId, u64), BTreeSet<LayerId>>,
    birth: BTreeSet<LayerId>,
    known: BTreeSet<LayerId>,
}

impl Model {
    fn live(&self) -> BTreeSet<LayerId> {
        self.images.values().chain([&self.birth]).flatten().copied().collect()
    }

    /// Forgets the layers that were live and are not; the answer expected of the call that did it.
    fn released(&mut self, before: &BTreeSet<LayerId>) -> BTreeSet<LayerId> {
        let gone: BTreeSet<_> = before - &self.live();
        self.known = &self.known - &gone;
        gone
    }
}

#[test]
fn a_layer_is_live_exactly_while_something_refers_to_it() {
    for seed in 1..=20 {
        let scratch = Scratch::new();
        let mut numbers = Numbers(seed);
        let mut model = Model::default();
        let mut vats: Vec<_> = (0..3).map(|number| scratch.vat(&number.to_string())).collect();
        for vat in &vats {
            deliver_five(&scratch, *vat);
        }
        for step in 0..120 {
            let live = model.live();
            let vat = vats[usize::try_from(numbers.below(3)).expect("small")];
            let position = numbers.below(6);
            // One new layer on top of some that are there.
            let mut layers: Vec<_> = model.known.iter().copied().filter(|_| numbers.below(4) == 0).collect();
            let action = numbers.below(10);
            if action < 7 {
                layers.push(scratch.storage.add_layer(1, step * 4_096, 4_096).expect("a layer"));
                model.known.extend(&layers);
            }
            let released = match action {
                0..=5 => {
                    model.images.insert((vat, position), layers.iter().copied().collect());
                    put(&scratch, vat, position, &layers).expect("kept")
                }
                6 => {
                    model.birth = layers.iter().copied().collect();
                    scratch.storage.set_birth(ModuleHash::of(WASM), b"birth", &layers).expect("set")
                }
                7 | 8 => match model.images.remove(&(vat, position)) {
                    Some(_) => scratch.storage.delete_snapshot(vat, Position(position)).expect("deleted"),
                    None => Vec::new(),
                },
                _ => {
                    model.images.retain(|(owner, _), _| *owner != vat);
                    let released = scratch.storage.terminate(vat, "test").expect("terminated");
                    vats.retain(|other| *other != vat);
                    vats.push(scratch.vat(&format!("step {step}")));
                    deliver_five(&scratch, vats[2]);
                    released
                }
            };
            assert_eq!(ids(&released), model.released(&live), "seed {seed}, step {step}");
            let stored = scratch.storage.live_layers().expect("listed");
            for segment in stored.iter().map(|row| row.segment).chain([99]) {
                let expected: Vec<_> = stored.iter().filter(|row| row.segment == segment).copied().collect();
                let found = scratch.storage.live_layers_in(segment).expect("listed");
                assert_eq!(found, expected, "segment {segment}");
            }
            assert_eq!(ids(&stored), model.live(), "seed {seed}, step {step}");
            assert_eq!(model.known, model.live());
        }
        assert_eq!(scratch.storage.delete_unused_layers().expect("nothing left over"), []);
        scratch.storage.check_file().expect("every reference leads somewhere");
    }
}

#[test]
fn a_layer_at_a_known_place_keeps_its_name_and_knows_its_vats() {
    let scratch = Scratch::new();
    let storage = &scratch.storage;
    let first = storage.add_layer(3, 4096, 8192).expect("a layer");
    assert_eq!(storage.add_layer(3, 4096, 8192).expect("the same layer"), first);
    assert_ne!(storage.add_layer(3, 12_288, 8192).expect("another layer"), first);
    assert_eq!(storage.vats_of_layer(first).expect("no vats"), []);
}
