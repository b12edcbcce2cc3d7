//! The index, compiled and hosted: a few hundred documents found again, and its determinism while it grows.

use vat_testkit::{Result, Scenario, TestVat, Value, json, this_vat};

/// A document of made-up words, the same for each number every time.
fn document(number: u64) -> (String, String) {
    let word = |n: u64| format!("word{}", (number * 31 + n * n * 17) % 997);
    (format!("doc-{number:04}"), (0..60).map(word).collect::<Vec<_>>().join(" "))
}

#[test]
fn documents_are_found_by_their_words() -> Result {
    let mut vat = TestVat::start(this_vat!(), ())?;
    assert_eq!(vat.call::<u64>("add", ("moby", "Call me Ishmael. The whale, the WHALE!"))?, 7);
    assert_eq!(vat.call::<u64>("add", ("jonah", "And the fish was no whale but a great fish"))?, 10);
    for number in 0..50 {
        assert_eq!(vat.call::<u64>("add", document(number))?, 60);
    }
    vat.evict()?;
    let hits: Vec<Value> = vat.call("query", ("whale ishmael",))?;
    let ids: Vec<&Value> = hits.iter().map(|hit| &hit["id"]).collect();
    assert_eq!(ids, ["moby", "jonah"]);
    assert!(vat.call::<bool>("remove", ("moby",))?);
    let statistics: Value = vat.call("statistics", ())?;
    assert_eq!(statistics["documents"], json!(51));
    Ok(())
}

#[test]
fn nobody_can_tell_where_it_was() {
    Scenario::of(this_vat!())
        .calls("add", (0..6).map(document))
        .call("query", ("word17 word48",))
        .call("remove", ("doc-0003",))
        .call("query", ("word17 word48", 2))
        .assert_deterministic();
}
