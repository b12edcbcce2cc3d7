//! The commands that kill and soak, a little of each; and a disk that is full.

use std::process::{Command, Output};

use crate::harness::Vats;
use crate::wat::answering;

fn has_guests() -> bool {
    vat_guests::ALL.iter().any(|guest| guest.wasm.is_ok())
}

#[test]
fn a_few_kills_lose_nothing() {
    if !has_guests() {
        return;
    }
    let vats = Vats::nowhere();
    let report = vats.json(&["torture", "--kills", "8", "--vats", "8"]);
    assert_eq!(report["verdict"], "nothing lost");
    assert_eq!(report["kills"], 8);
    assert!(report["upgrades"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["travellers"], 8, "all went elsewhere in the end");
    assert!(!report["within"].as_object().unwrap().is_empty(), "{report}");
    assert!(report["commits"].as_u64().unwrap() > 0, "{report}");
    assert!(!vats.data().exists(), "the ordinary data directory is left alone");
}

#[test]
fn torture_finds_what_a_life_could_not_have_left() {
    if !has_guests() {
        return;
    }
    let vats = Vats::nowhere();
    let life = ["torture-life", "--vats", "4", "--seed", "1", "--life", "0", "--data", "place"];
    assert!(vats.output(&life).status.success(), "a life that nobody ends, ends by itself");
    // A store that somebody else filled is none that torture begins with.
    let output = vats.output(&["torture", "--kills", "1", "--data", "place"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("empty directory"));
}

#[test]
fn a_short_soak_is_sound() {
    if !has_guests() {
        return;
    }
    let vats = Vats::nowhere();
    let report = vats.json(&["soak", "--minutes", "0", "--vats", "20", "--online", "5"]);
    assert_eq!(report["verdict"], "sound");
    let counted = [
        "crashes",
        "restarts",
        "forks",
        "pages_scrubbed",
        "replays",
        "upgrades",
        "upgrades_in_vain",
        "converted",
        "spans_pruned",
        "travellers",
        "questions",
    ];
    for what in counted {
        assert!(report[what].as_u64().unwrap() > 0, "{what}: {report}");
    }
}

/// Runs the binary where no file may grow beyond this many blocks of 512 or 1,024 bytes, as on a full disk.
fn limited(vats: &Vats, blocks: u32, args: &[&str]) -> Output {
    let whole = vats.command();
    let mut command = Command::new("sh");
    command.env_clear().current_dir(whole.get_current_dir().unwrap());
    command.envs(whole.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(whole.get_program()).args(args);
    command.output().expect("there is a shell")
}

#[test]
fn where_files_cannot_grow_nothing_is_lost_and_the_reason_is_told() {
    let vats = Vats::with_alice(&answering("#1"));
    let mut count = vats.json(&["transcript", "alice"]).as_array().unwrap().len();
    let (mut refused, mut done) = (0, 0);
    for blocks in (0..320).step_by(20) {
        let output = limited(&vats, blocks, &["send", "alice", "add", "[1]"]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => {
                done += 1;
                count += 1;
            }
            Some(1) => {
                refused += 1;
                assert!(error.starts_with("error: ") || error.contains("\nerror: "), "{blocks}: {error}");
            }
            code => panic!("{blocks} blocks: {code:?}, {error}"),
        }
        let stored = vats.json(&["transcript", "alice"]).as_array().unwrap().len();
        assert!(
            stored == count || output.status.code() == Some(1) && stored == count + 1,
            "{blocks}: {stored} of {count}"
        );
        count = stored;
    }
    assert!(refused > 0 && done > 0, "{refused} refused, {done} done");
    assert_eq!(vats.json(&["replay"])["verdict"], "identical");
    assert!(vats.json(&["scrub"])["damaged"].as_array().unwrap().is_empty());
}
