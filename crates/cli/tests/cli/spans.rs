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
    vats.saw(expect![[r#"
        $ vats send alice count
        1
        $ vats spans alice
        START  END  INCARNATION  STATE  CONTENT  BYTES      STORED     HASH
        0      2    0            open   stored   363 bytes  363 bytes  HASH
        $ vats spans nobody
        ! error: there is no vat nobody; `vats list` shows which there are
        = 1
        $ vats prune
        ! error: the retention level is archival, which keeps everything: choose --retention replay or operational
        = 1
        $ vats prune --retention all
        ! error: invalid value 'all' for '--retention <LEVEL>': `all` is not one of operational, replay, archival, debug
        = 2
        $ vats prune alice --retention operational
        operational: deleted 0 rows of 1 vat
        $ vats prune nobody
        ! error: there is no vat nobody; `vats list` shows which there are
        = 1
        $ vats prune
        operational: deleted 0 rows of 1 vat
        $ vats compact
        removed 0 segments, wrote 0 layers again, gave 0 bytes back
    "#]]);
    let spans = vats.json(&["spans", "alice"]);
    assert_eq!(spans[0]["start"], 0);
    assert_eq!(spans[0]["end"], 2);
    assert_eq!(spans[0]["content"], "stored");
    assert_eq!(spans[0]["hash"].as_str().unwrap().len(), 64);
    assert_eq!(vats.json(&["prune"])["retention"], "operational");
    assert_eq!(vats.json(&["compact"])["compressed_entries"], 0);
}
