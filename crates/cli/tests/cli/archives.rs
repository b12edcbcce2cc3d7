//! Archives and statements, from one data directory to another.

use std::io::Write as _;
use std::process::Stdio;

use expect_test::expect;

use crate::harness::Vats;
use crate::wat::answering;

fn served() -> Vats {
    let vats = Vats::with_alice(&answering("#@"));
    for _ in 0..3 {
        assert!(vats.output(&["send", "alice", "count"]).status.success());
    }
    assert!(vats.output(&["evict", "alice"]).status.success());
    vats
}

fn settled(vats: &Vats, args: &[&str]) -> String {
    let output = vats.output(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_vat_moves_with_a_signature_in_place_of_its_past() {
    let mut vats = served();
    let public = settled(&vats, &["key", "our.key"]);
    vats.file("trust", format!("us {public}"));
    vats.file("statement", settled(&vats, &["attest", "alice", "--key", "our.key"]));
    vats.run(&["check", "statement", "--replay", "--trust", "trust"])
        .run(&["export", "archive", "--retention", "replay", "--sign", "our.key", "--snapshots"])
        .run(&["export", "archive"])
        .run(&["import", "archive"])
        .run(&["--data", "there", "import", "archive"])
        .run(&["--data", "trusting", "import", "archive", "--trust", "trust"])
        .run(&["--data", "there", "check", "statement", "--replay", "--trust", "trust"])
        .run(&["--data", "there", "send", "alice", "count"])
        .run(&["check", "trust"])
        .run(&["key", "our.key"]);
    vats.saw(expect![[r#"
        $ vats check statement --replay --trust trust
        signed and replayed: vat alice at position 4, by us
        $ vats export archive --retention replay --sign our.key --snapshots
        exported 1 vat, 4 entries and 1 snapshot in 5,769 bytes, manifest HASH
        $ vats export archive
        ! error: archive is not empty: choose a new directory
        = 1
        $ vats import archive
        ! error: DIR/data is not empty: choose a new data directory, or add the vats to it (`--add`)
        = 1
        $ vats --data there import archive
        imported 1 vat, replayed 4 deliveries, trusted 0 snapshots
        $ vats --data trusting import archive --trust trust
        imported 1 vat, replayed 0 deliveries, trusted 1 snapshot
        $ vats --data there check statement --replay --trust trust
        signed and replayed: vat alice at position 4, by us
        $ vats --data there send alice count
        4
        $ vats check trust
        ! error: this is not a statement, or not in the form in which `vats attest` writes it
        = 1
        $ vats key our.key
        ! error: cannot write the key our.key: File exists (os error 17)
        = 1
    "#]]);
}

#[test]
fn a_private_key_is_its_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let vats = Vats::ready();
    settled(&vats, &["key", "our.key"]);
    let file = vats.data().parent().unwrap().join("our.key");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_import_that_was_killed_leaves_no_store_and_can_be_run_again() {
    let vats = served();
    let stream = vats.output(&["export", "-", "--retention", "archival"]).stdout;
    let there = vats.data().parent().unwrap().join("there");
    let mut child = vats
        .command()
        .args(["--data", "there", "import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It waits for the rest of the stream, which never comes.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&stream[..stream.len() / 2]).unwrap();
    stdin.flush().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!there.exists());
    vats.file("stream", &stream);
    let file = std::fs::File::open(vats.data().parent().unwrap().join("stream")).unwrap();
    let again = vats.command().args(["--data", "there", "import", "-"]).stdin(file).output().unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(settled(&vats, &["--data", "there", "send", "alice", "count"]), "4\n");
}

#[test]
fn an_archive_stands_in_for_what_was_pruned_and_for_a_store() {
    let mut vats = served();
    let public = settled(&vats, &["key", "our.key"]);
    vats.file("trust", format!("us {public}"));
    assert!(vats.output(&["upgrade", "alice", "program"]).status.success());
    vats.file("statement", settled(&vats, &["attest", "alice", "--key", "our.key"]));
    vats.run(&["export", "archive", "--retention", "archival"])
        .run(&["prune", "--archive", "archive"])
        .run(&["prune", "--archive", "archive", "--retention", "replay"])
        .run(&["prune", "--archive", "nowhere"])
        .run(&["spans", "alice"])
        .run(&["scrub"])
        .run(&["at", "alice", "1"])
        .run(&["attest", "nobody", "--key", "our.key"])
        .run(&["check", "statement", "--trust", "trust", "--archive", "archive"])
        .run(&["check", "statement", "--trust", "trust", "--archive", "archive", "--replay"])
        .run(&["restore", "archive"])
        .run(&["restore", "archive", "alice"])
        .run(&["replay"]);
    let after = settled(&vats, &["attest", "alice", "--key", "our.key"]);
    assert_eq!(after.as_bytes(), vats.read("statement"), "what was pruned and restored is still claimed");
    vats.saw(expect![[r#"
        $ vats export archive --retention archival
        exported 1 vat, 5 entries and 0 snapshots in 1,268 bytes, manifest HASH
        $ vats prune --archive archive
        deleted 1 span (4 rows) of 1 vat, which the archive HASH has: keep it
        $ vats prune --archive archive --retention replay
        ! error: the argument '--archive <DIR>' cannot be used with '--retention <LEVEL>'
        ! 
        ! Usage: vats prune --archive <DIR> [VAT]...
        ! 
        ! For more information, try '--help'.
        = 2
        $ vats prune --archive nowhere
        ! error: cannot open nowhere/manifest.json: No such file or directory (os error 2)
        = 1
        $ vats spans alice
        START  END  INCARNATION  STATE   CONTENT  BYTES      STORED     HASH
        0      4    0            closed  pruned   837 bytes  0 bytes    HASH
        4      5    1            open    stored   126 bytes  126 bytes  HASH
        ! note: what was pruned is in the archive HASH, which was at DIR/archive
        $ vats scrub
        read 1 pages in 1 layer, and the records of 1 vat
        not read: 1 span was pruned, and what vat storage should hold is not known there
        $ vats at alice 1
        ! error: the entries 0..4 of vat 1 were pruned: restore that span from an archive (`vats restore`), or go on from a snapshot
        = 1
        $ vats attest nobody --key our.key
        ! error: there is no vat nobody; `vats list` shows which there are
        = 1
        $ vats check statement --trust trust --archive archive
        signed, and as the archive has it: vat alice at position 5, by us
        ! note: the archive has no snapshot at that position: the heap root was not compared; --replay does that
        $ vats check statement --trust trust --archive archive --replay
        signed, and as the replayed archive has it: vat alice at position 5, by us
        $ vats restore archive
        restored 1 span (4 entries) of 1 vat
        $ vats restore archive alice
        restored 0 spans (0 entries) of 1 vat
        $ vats replay
        identical: 1 of 1 vat (5 deliveries replayed, 64.0 KiB of heap compared)
    "#]]);
}

#[test]
fn vats_are_added_to_those_that_are_there() {
    let mut vats = served();
    assert!(vats.output(&["export", "archive", "--retention", "replay"]).status.success());
    vats.run(&["import", "archive", "--add"])
        .run(&["--data", "nowhere", "import", "archive", "--add"])
        .run(&["terminate", "alice"])
        .run(&["create", "bob", "program"])
        .run(&["import", "archive", "--add"])
        .run(&["send", "alice", "count"])
        .run(&["list"]);
    vats.saw(expect![[r#"
        $ vats import archive --add
        ! error: nothing was imported, since these names are taken: vat alice; terminate the vats, or choose another data directory
        = 1
        $ vats --data nowhere import archive --add
        ! error: there is no vat store at nowhere/store.sqlite: run `vats init`, or name the right data directory
        = 1
        $ vats terminate alice
        terminated alice
        $ vats create bob program
        created bob of program
        $ vats import archive --add
        imported 1 vat, replayed 0 deliveries, trusted 0 snapshots
        $ vats send alice count
        4
        $ vats list
        VAT    MODULE   DELIVERIES  STATUS
        bob    program  1           alive
        alice  program  5           alive
    "#]]);
}

#[test]
fn an_export_into_a_file_and_one_that_was_interrupted() {
    let mut vats = served();
    vats.file("stream", vats.output(&["export", "-"]).stdout);
    vats.file("short", &vats.read("stream")[..200]);
    std::fs::create_dir_all(vats.data().parent().unwrap().join("archive/artifacts")).unwrap();
    vats.file("archive/manifest.new", "");
    vats.file("archive/artifacts/span-alice-0-4", "[");
    let import = |file: &str| {
        let file = std::fs::File::open(vats.data().parent().unwrap().join(file)).unwrap();
        vats.command().args(["--data", "there", "import", "-"]).stdin(file).output().unwrap()
    };
    let cut = String::from_utf8(import("short").stderr).unwrap();
    assert!(cut.contains("it ends too early, within module-"), "{cut}");
    assert!(import("stream").status.success());
    vats.run(&["--data", "second", "import", "archive"])
        .run(&["export", "archive"])
        .run(&["--data", "second", "import", "archive"]);
    vats.saw(expect![[r#"
        $ vats --data second import archive
        ! error: archive is no archive yet: the export into it was interrupted before its manifest was written; run that again, and it goes on
        = 1
        $ vats export archive
        exported 1 vat, 4 entries and 0 snapshots in 1,141 bytes, manifest HASH
        $ vats --data second import archive
        imported 1 vat, replayed 0 deliveries, trusted 0 snapshots
    "#]]);
}
