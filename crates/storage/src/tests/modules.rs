//! Modules and host metadata.

use super::{Scratch, WASM, raw};
use crate::{Error, ModuleHash};

#[test]
fn a_module_is_kept_once_under_any_number_of_names() {
    let scratch = Scratch::new();
    let hash = ModuleHash::of(WASM);
    for name in ["b", "a", "b"] {
        scratch.storage.put_module(hash, name, WASM).expect("kept");
    }
    let other = ModuleHash::of(b"other");
    scratch.storage.put_module(other, "c", b"other").expect("kept");
    let row = scratch.storage.module_row(hash).expect("there");
    assert_eq!(
        (row.names.as_slice(), row.wasm_bytes, &row.birth),
        (&["a".to_owned(), "b".to_owned()][..], 8, &None)
    );
    assert_eq!(
        ["a", "b", "c", "d"].map(|name| scratch.storage.module_by_name(name).expect("read")),
        [Some(hash), Some(hash), Some(other), None]
    );
    assert_eq!(scratch.storage.module(hash).expect("its bytes"), WASM);
    let mut listed =
        scratch.storage.modules().expect("listed").into_iter().map(|row| row.hash).collect::<Vec<_>>();
    listed.sort();
    assert_eq!(listed.len(), 2);
    assert!(listed.contains(&hash) && listed.contains(&other));
}

#[test]
fn changed_bytes_are_damage() {
    let scratch = Scratch::new();
    let hash = ModuleHash::of(WASM);
    scratch.storage.put_module(hash, "module", WASM).expect("kept");
    raw(&scratch.storage, "UPDATE modules SET wasm = x'0061736d02000000'");
    let error = scratch.storage.module(hash).expect_err("damaged");
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains(&hash.to_string()), "{error}");
}

#[test]
#[should_panic(expected = "a module is kept under the hash of its bytes")]
fn a_wrong_hash_is_our_bug() {
    drop(Scratch::new().storage.put_module(ModuleHash([0; 32]), "module", WASM));
}

#[test]
fn a_module_can_go_when_its_vats_are_gone() {
    let scratch = Scratch::new();
    let hash = ModuleHash::of(WASM);
    let vat = scratch.vat("a");
    let layer = scratch.storage.add_layer(1, 0, 4_096).expect("a layer");
    assert_eq!(scratch.storage.set_birth(hash, b"birth", &[layer]).expect("set"), []);
    let error = scratch.storage.delete_module(hash).expect_err("in use");
    assert!(matches!(error, Error::InUse { .. }), "{error:?}");
    scratch.storage.terminate(vat, "done").expect("terminated");
    let released = scratch.storage.delete_module(hash).expect("deleted");
    assert_eq!(released.iter().map(|row| row.id).collect::<Vec<_>>(), [layer]);
    assert_eq!(scratch.storage.modules().expect("listed"), []);
    assert_eq!(scratch.storage.module_by_name("module").expect("read"), None);
}

#[test]
fn host_metadata_is_kept() {
    let scratch = Scratch::new();
    scratch.storage.host_put("recent", Some(b"1")).expect("written");
    scratch.storage.host_put("recent", Some(b"2")).expect("written");
    scratch.storage.host_put("empty", Some(b"")).expect("written");
    scratch.storage.host_put("gone", Some(b"3")).expect("written");
    scratch.storage.host_put("gone", None).expect("deleted");
    scratch.storage.commit().expect("committed");
    let scratch = scratch.reopened();
    let get = |key| scratch.storage.host_get(key).expect("read");
    assert_eq!(["recent", "empty", "gone"].map(get), [Some(b"2".to_vec()), Some(Vec::new()), None]);
}
