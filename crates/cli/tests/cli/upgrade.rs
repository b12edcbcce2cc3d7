//! `vats upgrade`: new code on the same vat storage, or nothing at all.

use expect_test::expect;

use crate::harness::Vats;
use crate::wat::answering;

#[test]
fn new_code_answers_and_failed_code_leaves_the_old() {
    let mut vats = Vats::with_alice(&answering("#@"));
    // It is told at position 2 that it started, and its first message has position 3.
    let next = answering("#[@]")
        .replace("(mut i32) (i32.const -1)", "(mut i32) (i32.const 1)")
        .replace("(i32.eqz (global.get $position))", "(i32.eq (global.get $position) (i32.const 2))");
    vats.file("next.wat", next);
    vats.file("broken.wat", answering("#@").replace("(then (return (i32.const 0)))", "(then (unreachable))"));
    vats.run(&["send", "alice", "count"])
        .run(&["install", "next", "next.wat"])
        .run(&["install", "broken", "broken.wat"])
        .run(&["upgrade", "alice", "broken"])
        .run(&["show", "alice"])
        .run(&["upgrade", "alice", "next", "--args", "{\"start\":7}"])
        .run(&["send", "alice", "count"])
        .run(&["transcript", "alice", "--from", "2"])
        .run(&["upgrade", "alice", "nothing"])
        .run(&["upgrade", "nobody", "next"])
        .run(&["show", "alice"])
        .run(&["replay"]);
    vats.saw(expect![[r#"
        $ vats send alice count
        1
        $ vats install next next.wat
        installed next (304 bytes, HASH)
        $ vats install broken broken.wat
        installed broken (298 bytes, HASH)
        $ vats upgrade alice broken
        ! error: the vat alice was not upgraded and goes on as before, since the start of its new code faulted: trap: unreachable
        = 1
        $ vats show alice
        vat           alice
        module        program (HASH)
        status        alive
        incarnation   0
        deliveries    2
        snapshot      none; its next use replays 2 deliveries
        heap          64.0 KiB
        at rest       0 bytes in 0 layers, 0 pages copied by a restore
        in memory     MEASURED
        storage keys  0
        memory limit  16384 pages of 64 KiB
        computrons    1000000000 per delivery
        $ vats upgrade alice next --args '{"start":7}'
        upgraded alice to next, incarnation 1
        $ vats send alice count
        [3]
        $ vats transcript alice --from 2
        #2 startVat #{"start":7}
          = ok, N computrons, at TIME
        #3 message o+0 #["count",[]] result p-63
          resolve p-63 fulfilled #[3] -> ok
          = ok, N computrons, at TIME
        $ vats upgrade alice nothing
        ! error: there is no module nothing; install it first
        = 1
        $ vats upgrade nobody next
        ! error: there is no vat nobody; `vats list` shows which there are
        = 1
        $ vats show alice
        vat           alice
        module        next (HASH)
        status        alive
        incarnation   1
        deliveries    4
        snapshot      none; its next use replays 2 deliveries
        heap          64.0 KiB
        at rest       0 bytes in 0 layers, 0 pages copied by a restore
        in memory     MEASURED
        storage keys  0
        memory limit  16384 pages of 64 KiB
        computrons    1000000000 per delivery
        $ vats replay
        identical: 1 of 1 vat (4 deliveries replayed, 64.0 KiB of heap compared)
    "#]]);
}
