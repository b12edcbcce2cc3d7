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
        ! error: DIR/data is not empty: choose a new directory
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
