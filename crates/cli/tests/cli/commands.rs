//! Each command as it is meant to be used.

use expect_test::expect;

use crate::harness::Vats;
use crate::wat::{answering, rejecting, resolve, vat};

#[test]
fn a_session() {
    let mut vats = Vats::nowhere();
    vats.file("program.wat", answering("#@"));
    vats.run(&["init"])
        .run(&["init"])
        .run(&["list"])
        .run(&["install", "program", "program.wat"])
        .run(&["create", "alice", "program"])
        .run(&["create", "bob", "program", "--args", "{\"$a\":[1,\"#x\"]}", "--memory-pages", "2"])
        .run(&["send", "alice", "count"])
        .run(&["send", "alice", "count", "[1,\"$two\",null,9007199254740993]"])
        .run(&["send", "bob", "count"])
        .run(&["list"])
        .run(&["show", "alice"])
        .run(&["evict", "alice"])
        .run(&["evict", "alice"])
        .run(&["show", "alice"])
        .run(&["send", "alice", "count"])
        .run(&["transcript", "alice"])
        .run(&["transcript", "alice", "--from", "1", "--limit", "1"])
        .run(&["transcript", "bob", "--limit", "1"])
        .run(&["replay"])
        .run(&["replay", "bob", "--jobs", "1"])
        .run(&["terminate", "bob"])
        .run(&["terminate", "alice", "--reason", "no longer needed"])
        .run(&["list"])
        .run(&["list", "--all"])
        .run(&["replay"]);
    vats.saw(expect![[r##"
        $ vats init
        ready for vats: DIR/data
        $ vats init
        ready for vats: DIR/data
        $ vats list
        there are no vats; `vats create` makes one
        $ vats install program program.wat
        installed program (300 bytes, HASH)
        $ vats create alice program
        created alice of program
        $ vats create bob program --args '{"$a":[1,"#x"]}' --memory-pages 2
        created bob of program
        $ vats send alice count
        1
        $ vats send alice count '[1,"$two",null,9007199254740993]'
        2
        $ vats send bob count
        1
        $ vats list
        VAT    MODULE   DELIVERIES  STATUS
        alice  program  3           alive
        bob    program  2           alive
        $ vats show alice
        vat           alice
        module        program (HASH)
        status        alive
        incarnation   0
        deliveries    3
        snapshot      none; its next use replays 3 deliveries
        heap          64.0 KiB
        at rest       0 bytes in 0 layers, 0 pages copied by a restore
        in memory     MEASURED
        storage keys  0
        memory limit  16384 pages of 64 KiB
        computrons    1000000000 per delivery
        $ vats evict alice
        evicted alice after 3 deliveries: 3 replayed, 1 page of 4 KiB saved
        $ vats evict alice
        evicted alice after 3 deliveries: 0 replayed, 0 pages of 4 KiB saved
        $ vats show alice
        vat           alice
        module        program (HASH)
        status        alive
        incarnation   0
        deliveries    3
        snapshot      after 3 deliveries; its next use replays 0
        heap          64.0 KiB
        at rest       16.0 KiB in 2 layers, 1 page copied by a restore
        in memory     MEASURED
        storage keys  0
        memory limit  16384 pages of 64 KiB
        computrons    1000000000 per delivery
        $ vats send alice count
        3
        $ vats transcript alice
        #0 startVat #"#undefined"
          = ok, N computrons, at TIME
        #1 message o+0 #["count",[]] result p-61
          resolve p-61 fulfilled #1 -> ok
          = ok, N computrons, at TIME
        #2 message o+0 #["count",[1,"!$two",null,"+9007199254740993"]] result p-62
          resolve p-62 fulfilled #2 -> ok
          = ok, N computrons, at TIME
        #3 message o+0 #["count",[]] result p-63
          resolve p-63 fulfilled #3 -> ok
          = ok, N computrons, at TIME
        $ vats transcript alice --from 1 --limit 1
        #1 message o+0 #["count",[]] result p-61
          resolve p-61 fulfilled #1 -> ok
          = ok, N computrons, at TIME
        $ vats transcript bob --limit 1
        #0 startVat #{"!$a":[1,"!#x"]}
          = ok, N computrons, at TIME
        $ vats replay
        identical: 2 of 2 vats (6 deliveries replayed, 128.0 KiB of heap compared)
        $ vats replay bob --jobs 1
        identical: 1 of 1 vat (2 deliveries replayed, 64.0 KiB of heap compared)
        $ vats terminate bob
        terminated bob
        $ vats terminate alice --reason 'no longer needed'
        terminated alice
        $ vats list
        there are no vats; `vats create` makes one
        $ vats list --all
        VAT    MODULE   DELIVERIES  STATUS
        alice  program  0           terminated: no longer needed
        bob    program  0           terminated: terminated by hand
        $ vats replay
        identical: 0 of 0 vats (0 deliveries replayed, 0 bytes of heap compared)
    "##]]);
}

#[test]
fn stats_count_what_there_is() {
    let vats = Vats::with_alice(&answering("#@"));
    vats.json(&["send", "alice", "x"]);
    let stats = vats.json(&["stats"]);
    for (key, expected) in [
        ("modules", 1),
        ("vats_alive", 1),
        ("vats_quarantined", 0),
        ("vats_terminated", 0),
        ("deliveries", 2),
    ] {
        assert_eq!(stats[key], expected, "{key}");
    }
    let text = String::from_utf8(vats.output(&["stats"]).stdout).unwrap();
    assert!(text.contains("\nvats          1 alive, 0 quarantined, 0 terminated\n"), "{text}");
    assert!(text.contains("\ndeliveries    2 in 1 span\n"), "{text}");
}

#[test]
fn answers_are_plain_json() {
    for (body, expected) in [
        ("#\"#undefined\"", "null"),
        ("#[\"!$5\",\"+7\",{\"a\":true}]", "[\"$5\",7,{\"a\":true}]"),
        ("no smallcaps", "\"no smallcaps\""),
    ] {
        let vats = Vats::with_alice(&answering(body));
        let output = vats.output(&["send", "alice", "x"]);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{expected}\n"));
    }
}

#[test]
fn a_rejection_is_one_line_and_exit_code_1() {
    let mut vats = Vats::with_alice(&rejecting("#{\"#error\":\"no such\\naccount\",\"name\":\"TypeError\"}"));
    vats.run(&["send", "alice", "pay", "[5]"]).run(&["send", "alice", "pay"]).run(&["replay"]);
    vats.saw(expect![[r#"
        $ vats send alice pay '[5]'
        ! error: alice rejected pay: TypeError: no such account
        = 1
        $ vats send alice pay
        ! error: alice rejected pay: TypeError: no such account
        = 1
        $ vats replay
        identical: 1 of 1 vat (3 deliveries replayed, 64.0 KiB of heap compared)
    "#]]);
}

#[test]
fn references_are_shown() {
    let answer =
        "[\"resolve\",[[\"p-6@\",false,{\"body\":\"#[\\\"$0.Alleged: Purse\\\"]\",\"slots\":[\"o+7\"]}]]]";
    let mut vats = Vats::with_alice(&vat(&[answer], "(i32.const 0)"));
    vats.run(&["send", "alice", "open"]);
    vats.saw(expect![[r#"
        $ vats send alice open
        [{"iface":"Alleged: Purse","slot":"o+7"}]
    "#]]);
}

#[test]
fn what_goes_nowhere_is_noted() {
    let send = "[\"send\",\"o-50\",{\"methargs\":{\"body\":\"#[\\\"hello\\\",[]]\",\"slots\":[]},\"result\":\"p+1\"}]";
    let mut vats = Vats::with_alice(&vat(&[send, "[\"subscribe\",\"p+1\"]"], "(i32.const 0)"));
    vats.run(&["send", "alice", "greet"]).run(&["send", "alice", "greet", "-q"]).run(&[
        "transcript",
        "alice",
        "--from",
        "1",
    ]);
    vats.saw(expect![[r#"
        $ vats send alice greet
        ! note: alice sent a message to others; without a kernel they are recorded, and carried nowhere
        ! note: alice has not answered greet yet
        $ vats send alice greet -q
        $ vats transcript alice --from 1
        #1 message o+0 #["greet",[]] result p-61
          send o-50 #["hello",[]] result p+1 -> ok
          subscribe p+1 -> ok
          = ok, N computrons, at TIME
        #2 message o+0 #["greet",[]] result p-62
          send o-50 #["hello",[]] result p+1 -> ok
          subscribe p+1 -> ok
          = ok, N computrons, at TIME
    "#]]);
}

#[test]
fn a_vat_that_exits_is_terminated() {
    let exit = |failure| format!("[\"exit\",{failure},{{\"body\":\"#\\\"so long\\\"\",\"slots\":[]}}]");
    let mut vats = Vats::with_alice(&vat(&[&resolve(false, "#1"), &exit(false)], "(i32.const 0)"));
    vats.file("bob.wat", vat(&[&exit(true)], "(i32.const 0)"));
    vats.run(&["send", "alice", "leave"])
        .run(&["send", "alice", "leave"])
        .run(&["install", "bob", "bob.wat"])
        .run(&["create", "bob", "bob"])
        .run(&["send", "bob", "leave"])
        .run(&["list", "--all"]);
    vats.saw(expect![[r#"
        $ vats send alice leave
        1
        ! note: alice ended itself and is gone: "so long"
        $ vats send alice leave
        ! error: there is no vat alice; `vats list` shows which there are
        = 1
        $ vats install bob bob.wat
        installed bob (275 bytes, HASH)
        $ vats create bob bob
        created bob of bob
        $ vats send bob leave
        ! error: bob failed, ended itself and is gone: "so long"
        = 1
        $ vats list --all
        VAT    MODULE   DELIVERIES  STATUS
        alice  program  0           terminated: done: "so long"
        bob    bob      0           terminated: failed: "so long"
    "#]]);
}

#[test]
fn a_vats_log_goes_to_stderr() {
    let wat = crate::wat::module(
        "  (data (i32.const 0) \"watch\\nout \\1b[31m\")",
        "    (call $log (i32.const 1) (i32.const 0) (i32.const 14))
    (call $log (i32.const 3) (i32.const 0) (i32.const 5))
    (i32.const 0)",
    );
    let mut vats = Vats::with_alice(&wat);
    vats.run(&["send", "alice", "x"]).run(&["send", "alice", "x", "-v"]).run(&["send", "alice", "x", "-q"]);
    vats.saw(expect![[r#"
        $ vats send alice x
        !  WARN guest: watch out \u001b[31 vat=alice
        ! note: alice has not answered x yet
        $ vats send alice x -v
        !  WARN guest: watch out \u001b[31 vat=alice
        ! DEBUG guest: watch vat=alice
        ! note: alice has not answered x yet
        $ vats send alice x -q
    "#]]);
}

#[test]
fn a_snapshot_spares_the_replay_and_changes_nothing() {
    let vats = Vats::with_alice(&answering("#@"));
    vats.json(&["send", "alice", "x"]);
    assert_eq!(vats.json(&["evict", "alice"])["replayed"], 2);
    assert_eq!(vats.json(&["evict", "alice"])["replayed"], 0);
    assert_eq!(vats.json(&["show", "alice"])["snapshot"], 2);
    assert_eq!(vats.json(&["send", "alice", "x"])["value"], 2);
    assert_eq!(vats.json(&["replay"])["verdict"], "identical");
}

#[test]
fn the_data_directory_is_found() {
    let vats = Vats::nowhere();
    let home = vats.data();
    let ready = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = vats.command();
        command.env_remove("VATS_DATA").args(args);
        for (name, value) in variables {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        let text = if output.status.success() { output.stdout } else { output.stderr };
        String::from_utf8(text).unwrap().trim_end().to_owned()
    };
    let home = home.to_str().unwrap();
    let at = |dir: &str| format!("ready for vats: {home}/{dir}");
    assert_eq!(ready(&[("HOME", home)], &["init"]), at(".local/share/vats"));
    let xdg = format!("{home}/xdg");
    assert_eq!(ready(&[("HOME", home), ("XDG_DATA_HOME", &xdg)], &["init"]), at("xdg/vats"));
    assert_eq!(ready(&[("HOME", home), ("XDG_DATA_HOME", "relative")], &["init"]), at(".local/share/vats"));
    let named = format!("{home}/named");
    let both = [("VATS_DATA", named.as_str()), ("XDG_DATA_HOME", &xdg)];
    assert_eq!(ready(&both, &["init"]), at("named"));
    assert_eq!(ready(&both, &["init", "--data", &format!("{home}/given")]), at("given"));
    assert_eq!(ready(&[], &["init"]), "error: no data directory: give --data DIR, or set VATS_DATA");
}

#[test]
fn completions_name_the_commands() {
    let vats = Vats::nowhere();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = vats.output(&["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("transcript"), "{shell}");
    }
}

#[test]
fn every_command_has_help() {
    let vats = Vats::nowhere();
    for command in [
        "init",
        "install",
        "create",
        "send",
        "list",
        "show",
        "evict",
        "transcript",
        "replay",
        "stats",
        "terminate",
        "demo",
        "completions",
    ] {
        for help in [&[command, "--help"][..], &[command, "-h"], &["help", command]] {
            let output = vats.output(help);
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(
                output.status.success() && text.contains(&format!("Usage: vats {command}")),
                "{help:?}: {text}"
            );
        }
    }
    assert!(!vats.data().exists(), "asking for help makes nothing");
}

/// Two messages, then one byte of what is recorded about the second is changed behind the command's back: the answer was `#2`, and
/// becomes `#7`.
pub fn tampered(evicted: bool) -> Vats {
    let vats = Vats::with_alice(&answering("#@"));
    for _ in 0..2 {
        vats.json(&["send", "alice", "x"]);
    }
    if evicted {
        vats.json(&["evict", "alice"]);
    }
    let store = vats.data().join("store.sqlite");
    let mut bytes = std::fs::read(&store).unwrap();
    let recorded = b"[[\"p-62\",false,{\"body\":\"#2\"";
    let at =
        bytes.windows(recorded.len()).position(|window| window == recorded).expect("the record is there");
    bytes[at + recorded.len() - 2] = b'7';
    reseal(&mut bytes, at);
    std::fs::write(&store, bytes).unwrap();
    vats
}

/// Gives the row of the entry around `at`, alice's at position 2, the sum of what it holds now: the eight bytes before the entry.
fn reseal(bytes: &mut [u8], at: usize) {
    let opening = b"{\"d\"";
    let starts = (0..at).rev().filter(|start| bytes[*start..].starts_with(opening));
    let entry = |start: usize| {
        let mut values =
            serde_json::Deserializer::from_slice(&bytes[start..]).into_iter::<serde_json::Value>();
        let is_entry = values.next().and_then(Result::ok)?.get("sc").is_some();
        is_entry.then(|| (start, start + values.byte_offset()))
    };
    let (start, end) = starts.into_iter().find_map(entry).expect("an entry is around it");
    let fold = |state: u64, word: u64| {
        let mixed = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 32)
    };
    let length = u64::try_from(end - start).unwrap();
    // The fifth table; vat 1, position 2, some bytes.
    let sum = [5, 2, 1, 2, 2, 4, length].into_iter().fold(0x9e37_79b9_7f4a_7c15, fold);
    let sum = bytes[start..end].chunks(8).fold(sum, |sum, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        fold(sum, u64::from_le_bytes(word))
    });
    bytes[start - 8..start].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn a_replay_that_differs_is_told() {
    let mut vats = tampered(true);
    vats.run(&["replay"]).run(&["replay", "--json"]);
    vats.saw(expect![[r##"
        $ vats replay
        alice: different at delivery 2: wrong syscall at index 0: expected resolve p-62 fulfilled #7, got resolve p-62 fulfilled #2
          wrong        0  expected  resolve p-62 fulfilled #7
                          got       resolve p-62 fulfilled #2
                          at [1][0][2].body: "#7", not "#2"
        identical: 0 of 1 vat (0 deliveries replayed, 0 bytes of heap compared)
        ! error: 1 of 1 vat could not be shown to be identical to a replay
        = 1
        $ vats replay --json
        {"vats":[{"computrons":2218,"deliveries":3,"heap_bytes":0,"problem":"different at delivery 2: wrong syscall at index 0: expected resolve p-62 fulfilled #7, got resolve p-62 fulfilled #2","report":{"difference":"wrong syscall at index 0: expected resolve p-62 fulfilled #7, got resolve p-62 fulfilled #2","position":2,"syscalls":[{"expected":["resolve",[["p-62",false,{"body":"#7","slots":[]}]]],"got":["resolve",[["p-62",false,{"body":"#2","slots":[]}]]],"verdict":"wrong"}]},"vat":"alice","verdict":"different"}],"verdict":"different"}
        ! error: 1 of 1 vat could not be shown to be identical to a replay
        = 1
    "##]]);
}

#[test]
fn a_vat_that_cannot_be_brought_back_is_quarantined() {
    let mut vats = tampered(false);
    vats.run(&["send", "alice", "x"])
        .run(&["list"])
        .run(&["show", "alice"])
        .run(&["send", "alice", "x"])
        .run(&["evict", "alice"])
        .run(&["list"])
        .run(&["replay"])
        .run(&["transcript", "alice", "--from", "2"])
        .run(&["terminate", "alice"]);
    vats.saw(expect![[r##"
        $ vats send alice x
        ! ERROR vat_warehouse::page_in: the replay differs from the transcript; the vat is quarantined vat=alice divergence=delivery 2: wrong syscall at index 0: expected resolve p-62 fulfilled #7, got resolve p-62 fulfilled #2
        ! error: the replay of vat alice differs from its transcript at delivery 2: wrong syscall at index 0: expected resolve p-62 fulfilled #7, got resolve p-62 fulfilled #2; the vat is quarantined
        = 1
        $ vats list
        VAT    MODULE   DELIVERIES  STATUS
        alice  program  3           quarantined: delivery 2: wrong syscall at index 0: expected resolve p-62 fulfilled #7, got resolve p-62 fulfilled #2
        $ vats show alice
        vat           alice
        module        program (HASH)
        status        quarantined: delivery 2: wrong syscall at index 0: expected resolve p-62 fulfilled #7, got resolve p-62 fulfilled #2
        incarnation   0
        deliveries    3
        snapshot      none; its next use replays 3 deliveries
        heap          unknown
        at rest       0 bytes in 0 layers, 0 pages copied by a restore
        storage keys  0
        memory limit  16384 pages of 64 KiB
        computrons    1000000000 per delivery
        $ vats send alice x
        ! error: the vat alice is quarantined: delivery 2: wrong syscall at index 0: expected resolve p-62 fulfilled #7, got resolve p-62 fulfilled #2
        = 1
        $ vats evict alice
        ! error: the vat alice is quarantined: delivery 2: wrong syscall at index 0: expected resolve p-62 fulfilled #7, got resolve p-62 fulfilled #2
        = 1
        $ vats list
        VAT    MODULE   DELIVERIES  STATUS
        alice  program  3           quarantined: delivery 2: wrong syscall at index 0: expected resolve p-62 fulfilled #7, got resolve p-62 fulfilled #2
        $ vats replay
        alice: quarantined: delivery 2: wrong syscall at index 0: expected resolve p-62 fulfilled #7, got resolve p-62 fulfilled #2
          wrong        0  expected  resolve p-62 fulfilled #7
                          got       resolve p-62 fulfilled #2
                          at [1][0][2].body: "#7", not "#2"
        identical: 0 of 1 vat (0 deliveries replayed, 0 bytes of heap compared)
        ! error: 1 of 1 vat could not be shown to be identical to a replay
        = 1
        $ vats transcript alice --from 2
        #2 message o+0 #["x",[]] result p-62
          resolve p-62 fulfilled #7 -> ok
          = ok, N computrons, at TIME
        $ vats terminate alice
        terminated alice
    "##]]);
}

#[test]
fn forks_roots_and_upkeep() {
    let mut vats = Vats::with_alice(&answering("#@"));
    vats.run(&["send", "alice", "count"])
        .run(&["fork", "alice", "bob"])
        .run(&["fork", "alice", "bob"])
        .run(&["fork", "nobody", "carol"])
        .run(&["send", "bob", "count"])
        .run(&["send", "alice", "count"])
        .run(&["transcript", "bob", "--from", "2"])
        .run(&["scrub"])
        .run(&["compact"])
        .run(&["scrub"])
        .run(&["replay"]);
    vats.saw(expect![[r#"
        $ vats send alice count
        1
        $ vats fork alice bob
        forked bob from alice after 2 deliveries
        $ vats fork alice bob
        ! error: there is already a vat bob; choose another name, or terminate it first
        = 1
        $ vats fork nobody carol
        ! error: there is no vat nobody; `vats list` shows which there are
        = 1
        $ vats send bob count
        2
        $ vats send alice count
        2
        $ vats transcript bob --from 2
        #2 message o+0 #["count",[]] result p-62
          resolve p-62 fulfilled #2 -> ok
          = ok, N computrons, at TIME
        $ vats scrub
        read 2 pages in 2 layers, and the records of 2 vats
        $ vats compact
        removed 0 segments, wrote 0 layers again, gave 0 bytes back
        $ vats scrub
        read 2 pages in 2 layers, and the records of 2 vats
        $ vats replay
        identical: 2 of 2 vats (6 deliveries replayed, 128.0 KiB of heap compared)
    "#]]);
    let root = |vat: &str| vats.json(&["root", vat])["root"].clone();
    assert_eq!(root("alice"), root("bob"), "the same deliveries make the same heap");
    vats.output(&["send", "bob", "count"]);
    assert_ne!(root("alice"), root("bob"));
}

#[test]
fn scrub_finds_one_flipped_byte_and_names_the_vat() {
    let vats = Vats::with_alice(&answering("#@"));
    vats.output(&["send", "alice", "count"]);
    vats.output(&["evict", "alice"]);
    let segment = std::fs::read_dir(vats.data().join("pages"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pages"))
        .max()
        .unwrap();
    let good = vats.json(&["scrub"]);
    assert_eq!(good["damaged"], serde_json::json!([]));
    let mut bytes = std::fs::read(&segment).unwrap();
    // The first byte of the last data page: layers end with an index page.
    let index = bytes.len() - 2 * 4096;
    bytes[index] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let output = vats.output(&["scrub", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["damaged"][0]["vats"], serde_json::json!(["alice"]), "{found}");
    assert_eq!(found["damaged"][0]["pages"].as_array().map(Vec::len), Some(1), "{found}");
}

#[test]
fn a_changed_byte_of_a_record_is_named_and_mended() {
    let vats = Vats::with_alice(&answering("#@"));
    vats.output(&["send", "alice", "count"]);
    let store = vats.data().join("store.sqlite");
    let mut bytes = std::fs::read(&store).unwrap();
    let at =
        bytes.windows(7).position(|window| window == b"\"count\\").expect("the message is in the transcript");
    bytes[at + 2] ^= 1;
    std::fs::write(&store, bytes).unwrap();
    let named = "the row vat 1, position 1 of the table transcript is not what was written";
    let output = vats.output(&["send", "alice", "count"]);
    assert_eq!(output.status.code(), Some(1), "it is not replayed as it is");
    assert!(String::from_utf8_lossy(&output.stderr).contains(named), "{output:?}");
    let output = vats.output(&["scrub"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains(named), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("`vats scrub --repair`"), "{output:?}");
    let repaired = vats.json(&["scrub", "--repair"]);
    let row = serde_json::json!([{ "table": "transcript", "row": "vat 1, position 1" }]);
    assert_eq!((&repaired["mended"], &repaired["records"]), (&row, &serde_json::json!([])), "{repaired}");
    assert_eq!(vats.json(&["send", "alice", "count"])["value"], 2);
    assert_eq!(vats.json(&["replay"])["verdict"], "identical");
}
