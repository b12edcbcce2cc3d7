//! Spans: looking at them, compressing, pruning.

use expect_test::expect;

use crate::harness::Vats;
use crate::wat::answering;

#[test]
fn spans_are_shown_and_pruned() {
    let mut vats = Vats::with_alice(&answering("#@"));
    vats.run(&["send", "alice", "count"]).run(&["spans", "alice"]).run(&["spans", "nobody"]);
    vats.run(&["prune"])
        .run(&["prune", "--retention", "all"])
        .run(&["prune", "alice", "--retention", "operational"])
        .run(&["prune", "nobody"])
        .run(&["prune"])
        .run(&["compact"]);
    vats.saw(expect![[""]]);
    let spans = vats.json(&["spans", "alice"]);
    assert_eq!(spans[0]["start"], 0);
    assert_eq!(spans[0]["end"], 2);
    assert_eq!(spans[0]["content"], "stored");
    assert_eq!(spans[0]["hash"].as_str().unwrap().len(), 64);
    assert_eq!(vats.json(&["prune"])["retention"], "operational");
    assert_eq!(vats.json(&["compact"])["compressed_entries"], 0);
}
