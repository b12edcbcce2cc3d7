//! The snapshot policy of a data directory: shown, set, measured, and obeyed by the commands that deliver.

use expect_test::expect;

use crate::harness::Vats;
use crate::wat::answering;

/// Where alice's newest snapshot is, after so many messages.
fn snapshot_after(vats: &Vats, messages: u64) -> Option<u64> {
    for _ in 0..messages {
        vats.json(&["send", "alice", "x"]);
    }
    vats.json(&["show", "alice"])["snapshot"].as_u64()
}

#[test]
fn a_policy_is_shown_and_set() {
    let mut vats = Vats::ready();
    vats.run(&["policy"])
        .run(&["policy", "--every", "7"])
        .run(&["policy"])
        .run(&["policy", "--measure"])
        .run(&["policy", "--default"])
        .run(&["policy"])
        .run(&["policy", "--every", "0"])
        .run(&["policy", "--every", "1", "--max-replay-ms", "5"]);
    vats.saw(expect![[r#"
        $ vats policy
        a snapshot every 200 deliveries; nothing is set
        $ vats policy --every 7
        a snapshot every 7 deliveries
        $ vats policy
        a snapshot every 7 deliveries
        $ vats policy --measure
        ! error: no bound in milliseconds is set, so no speed is needed: set one with --max-replay-ms N
        = 1
        $ vats policy --default
        a snapshot every 200 deliveries; nothing is set
        $ vats policy
        a snapshot every 200 deliveries; nothing is set
        $ vats policy --every 0
        ! error: invalid value '0' for '--every <N>': number would be zero for non-zero type
        = 2
        $ vats policy --every 1 --max-replay-ms 5
        ! error: the argument '--every <N>' cannot be used with '--max-replay-ms <N>'
        ! 
        ! Usage: vats policy --every <N>
        ! 
        ! For more information, try '--help'.
        = 2
    "#]]);
}

#[test]
fn a_bound_in_milliseconds_is_converted_by_a_measured_speed() {
    let vats = Vats::with_alice(&answering("#1"));
    let set = vats.json(&["policy", "--max-replay-ms", "20"]);
    let speed = set["computrons_per_ms"].as_u64().unwrap();
    assert!(speed > 100, "{set}: nothing replays so slowly");
    assert!(set["bytes_per_ms"].as_u64().unwrap() > 100, "{set}: nothing writes so slowly");
    assert_eq!(set["max_replay_computrons"].as_u64(), Some(20 * speed));
    assert_eq!(vats.json(&["policy"]), set, "it is kept");
    let again = vats.json(&["policy", "--measure"]);
    assert_eq!(again["max_replay_ms"], 20, "measured again: {again}");
}

#[test]
fn commands_that_deliver_obey_the_policy() {
    let vats = Vats::with_alice(&answering("#1"));
    assert_eq!(snapshot_after(&vats, 2), None, "200 deliveries are not reached");
    vats.json(&["policy", "--every", "1"]);
    assert_eq!(snapshot_after(&vats, 1), Some(4));
    vats.json(&["policy", "--max-replay-ms", "1000000000"]);
    assert_eq!(snapshot_after(&vats, 1), Some(4), "a replay of that is short");
}
