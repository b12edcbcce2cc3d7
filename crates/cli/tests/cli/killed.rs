//! kill −9 in the middle of every long command, and the command run again: the end is that of a run that nobody disturbed.
//!
//! ```text
//!   traffic    0 ──── what opening takes ────┬────┬────┬────┬──── all that the command reads and writes
//!                                            ✗    ✗    ✗    ✗
//! ```
//!
//! When to kill is not a time, which would be another on each machine: it is how many bytes the process has read and written, which the
//! system counts. An undisturbed run on a copy of the same directory says how many there are in all. A kill may come a little
//! later than it was meant, since the process runs on while it is looked at; those that come too late are counted, and most must
//! not.

use std::fs;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use vat_warehouse::{Warehouse, WarehouseConfig};

use crate::harness::Vats;
use crate::wat::answering;

/// Kills of each command, at as many places of its work; the environment variable `KILLS` asks for another number.
const KILLS: u64 = 6;
const VATS: [&str; 3] = ["alice", "bob", "carol"];

/// What the process has read and written, in bytes.
fn traffic(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let figure = |line: &str| line.split_once(' ').unwrap().1.parse::<u64>().unwrap();
    text.lines().filter(|line| line.starts_with("rchar") || line.starts_with("wchar")).map(figure).sum()
}

/// Whether the process has ended, and only waits to be asked how.
fn is_over(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.trim_start().starts_with(['Z', 'X'])
}

/// Runs a command, and kills it when it has read and written so many bytes. Answers how many it came to.
fn run_until(vats: &Vats, args: &[&str], limit: u64) -> (u64, ExitStatus) {
    let mut child = vats.command().args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let seen = loop {
        let is_over = is_over(child.id()); // Before the look at the traffic, which is then all.
        let seen = traffic(child.id());
        if is_over || seen >= limit {
            break seen;
        }
        std::thread::yield_now();
    };
    child.kill().unwrap();
    (seen, child.wait().unwrap())
}

/// Three vats, each with two incarnations and a snapshot.
fn host() -> Vats {
    let vats = Vats::ready();
    let program = answering("#@");
    vats.file("one.wat", &program);
    vats.file("two.wat", answering("#true"));
    done(&vats, &["install", "one", "one.wat"]);
    done(&vats, &["install", "two", "two.wat"]);
    for vat in VATS {
        done(&vats, &["create", vat, "one"]);
        done(&vats, &["send", vat, "work"]);
        done(&vats, &["upgrade", vat, "one"]);
        done(&vats, &["send", vat, "more"]);
        done(&vats, &["evict", vat]);
        done(&vats, &["send", vat, "last"]);
    }
    vats
}

fn done(vats: &Vats, args: &[&str]) -> String {
    let output = vats.output(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// All that can be told of a data directory, but for what the background may or may not have done yet.
fn state(vats: &Vats, data: &str) -> String {
    let json = |args: &[&str]| vats.json(&[&["--data", data], args].concat());
    let list = json(&["list"]);
    let mut told = list.to_string();
    for vat in list.as_array().unwrap() {
        let name = vat["vat"].as_str().or(vat["name"].as_str()).expect("a vat has a name");
        for mut span in json(&["spans", name]).as_array().unwrap().clone() {
            if span["content"] != "pruned" {
                span["content"] = Value::Null;
                span["stored_bytes"] = Value::Null;
            }
            told.push_str(&span.to_string());
        }
        told.push_str(&json(&["root", name])["root"].to_string());
    }
    told.push_str(&json(&["replay"])["verdict"].to_string());
    told
}

/// The names and contents of all files below a directory.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            found.push((name, fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}

/// Where a killed command left its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// As if it had not begun, or nothing that can be seen from outside.
    Nothing,
    /// Something half done, that the next run completes.
    Half,
    /// All of it: only the report was missing.
    All,
}

/// Kills a command at places spread over its work and runs it again; `end` looks at the result, `left` at what the kill left.
fn kill_and_run_again<T: PartialEq + std::fmt::Debug>(
    base: &Vats,
    args: &[&str],
    left: impl Fn(&Vats) -> Left,
    end: impl Fn(&Vats) -> T,
) -> Vec<Left> {
    let opening = base.copied();
    let (opened, _) = run_until(&opening, &["stats"], u64::MAX);
    let undisturbed = base.copied();
    let (whole, status) = run_until(&undisturbed, args, u64::MAX);
    assert!(status.success(), "{args:?}");
    assert!(whole > opened, "{args:?} reads and writes {whole} bytes, opening alone {opened}");
    let expected = end(&undisturbed);
    let mut seen = Vec::new();
    let kills = std::env::var("KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    // A short command may be over before the kill comes: then it is tried again, at another place.
    for attempt in 1..=4 * kills {
        if seen.len() as u64 == kills {
            break;
        }
        let vats = base.copied();
        let part = (attempt - 1) % kills + 1;
        let limit = opened + (whole - opened) * part / (kills + 1);
        let (_, status) = run_until(&vats, args, limit);
        if status.code().is_some() {
            continue; // It was over before the kill came.
        }
        let found = left(&vats);
        if found != Left::All {
            done(&vats, args);
        }
        assert_eq!(
            end(&vats),
            expected,
            "{args:?} killed after {limit} of {whole} bytes, which left {found:?}"
        );
        seen.push(found);
    }
    assert!(!seen.is_empty(), "{args:?}: no kill came in time");
    seen
}

#[test]
fn export() {
    let base = host();
    let archive = |vats: &Vats| vats.data().with_file_name("archive");
    let left = |vats: &Vats| match (archive(vats).join("manifest.json").exists(), archive(vats).exists()) {
        (true, _) => Left::All,
        (_, exists) => {
            if exists {
                Left::Half
            } else {
                Left::Nothing
            }
        }
    };
    let end = |vats: &Vats| (files(&archive(vats)), state(vats, "data"));
    let args = ["export", "archive", "--retention", "archival", "--snapshots"];
    let seen = kill_and_run_again(&base, &args, left, end);
    assert!(seen.contains(&Left::Half), "{seen:?}");
}

/// What an import into `there` leaves when it is killed.
fn left_by_import(vats: &Vats) -> Left {
    let there = vats.data().with_file_name("there");
    match there.with_file_name("there.importing").exists() {
        true => Left::Half,
        false if there.join("store.sqlite").exists() => Left::All,
        false => Left::Nothing,
    }
}

#[test]
fn import() {
    let base = host();
    done(&base, &["export", "archive", "--retention", "archival", "--snapshots"]);
    let args = ["--data", "there", "import", "archive"];
    let seen = kill_and_run_again(&base, &args, left_by_import, |vats| state(vats, "there"));
    assert!(seen.contains(&Left::Half), "{seen:?}");
}

#[test]
fn import_into_a_store_that_has_vats() {
    let base = host();
    done(&base, &["export", "archive", "--retention", "archival", "--snapshots"]);
    done(&base, &["--data", "there", "init"]);
    done(&base, &["--data", "there", "install", "one", "one.wat"]);
    done(&base, &["--data", "there", "create", "dave", "one"]);
    let left = |vats: &Vats| match left_by_import(vats) {
        Left::All if !done(vats, &["--data", "there", "list"]).contains("alice") => Left::Nothing,
        left => left,
    };
    let args = ["--data", "there", "import", "archive", "--add"];
    let seen = kill_and_run_again(&base, &args, left, |vats| state(vats, "there"));
    assert!(seen.contains(&Left::Half), "{seen:?}");
}

/// How many of the vats are pruned.
fn left_by_pruning(vats: &Vats) -> Left {
    let is_pruned = |vat: &&&str| done(vats, &["spans", vat]).contains("pruned");
    match VATS.iter().filter(is_pruned).count() {
        0 => Left::Nothing,
        all if all == VATS.len() => Left::All,
        _ => Left::Half,
    }
}

#[test]
fn prune() {
    let args = ["prune", "--retention", "operational"];
    let seen = kill_and_run_again(&host(), &args, left_by_pruning, |vats| state(vats, "data"));
    assert!(seen.contains(&Left::Half), "{seen:?}");
}

#[test]
fn prune_behind_an_archive() {
    let base = host();
    done(&base, &["export", "archive", "--retention", "archival"]);
    let args = ["prune", "--archive", "archive"];
    let seen = kill_and_run_again(&base, &args, left_by_pruning, |vats| state(vats, "data"));
    assert!(seen.contains(&Left::Half), "{seen:?}");
}

#[test]
fn restore() {
    let base = host();
    done(&base, &["export", "archive", "--retention", "archival"]);
    done(&base, &["prune", "--archive", "archive"]);
    let left = |vats: &Vats| match left_by_pruning(vats) {
        Left::All => Left::Nothing,
        Left::Nothing => Left::All,
        Left::Half => Left::Half,
    };
    let seen = kill_and_run_again(&base, &["restore", "archive"], left, |vats| state(vats, "data"));
    assert!(seen.contains(&Left::Half), "{seen:?}");
}

/// Saves all vats' heaps into segments so small that some are complete.
fn save_all(vats: &Vats) {
    let config = WarehouseConfig { segment_bytes: 64 << 10, ..WarehouseConfig::default() };
    let warehouse = Warehouse::open_existing(&vats.data(), config).unwrap();
    for vat in VATS {
        warehouse.provide_blocking(&vat.parse().unwrap()).unwrap().snapshot().unwrap();
    }
    warehouse.checkpoint().unwrap();
}

#[test]
fn compact() {
    let base = host();
    for _ in 0..5 {
        VATS.iter().for_each(|vat| drop(done(&base, &["send", vat, "work"])));
        save_all(&base);
    }
    done(&base, &["terminate", "alice"]);
    done(&base, &["terminate", "carol"]);
    let work = base.copied().json(&["compact"]);
    for figure in ["segments", "layers", "compressed_entries"] {
        assert!(work[figure].as_u64() > Some(0), "{work}");
    }
    let end = |vats: &Vats| {
        let again = vats.json(&["compact"]);
        (again["segments"].clone(), again["compressed_entries"].clone(), state(vats, "data"))
    };
    kill_and_run_again(&base, &["compact"], |_| Left::Nothing, end);
}

#[test]
fn convert() {
    kill_and_run_again(
        &host(),
        &["convert"],
        |_| Left::Half,
        |vats| (vats.json(&["convert"])["vats"].clone(), state(vats, "data")),
    );
}

/// An upgrade is there, or it is not: whoever finds that it is not runs it again.
#[test]
fn upgrade() {
    let left = |vats: &Vats| match vats.json(&["show", "alice"])["incarnation"].as_u64() {
        Some(2) => Left::All,
        _ => Left::Nothing,
    };
    // When the new code was started is in its first entry, and differs.
    let end = |vats: &Vats| {
        let spans = vats.json(&["spans", "alice"]);
        let newest = spans.as_array().unwrap().last().unwrap()["hash"].as_str().unwrap().to_owned();
        state(vats, "data").replace(&newest, "NEWEST")
    };
    kill_and_run_again(&host(), &["upgrade", "alice", "two"], left, end);
}

#[test]
fn fork() {
    let left = |vats: &Vats| match done(vats, &["list"]).contains("twin") {
        true => Left::All,
        false => Left::Nothing,
    };
    kill_and_run_again(&host(), &["fork", "alice", "twin"], left, |vats| state(vats, "data"));
}

/// Commands that only look: a kill changes nothing, and the next run says the same.
#[test]
fn whatever_only_looks() {
    let base = host();
    for args in [
        &["replay", "--jobs", "1"][..],
        &["scrub"],
        &["at", "bob", "4", "--keys"],
        &["diff", "carol", "2", "4"],
        &["bisect", "alice"],
    ] {
        let before = state(&base.copied(), "data");
        let said = done(&base.copied(), args);
        kill_and_run_again(
            &base,
            args,
            |_| Left::Nothing,
            |vats| {
                assert_eq!(done(vats, args), said, "{args:?}");
                assert_eq!(state(vats, "data"), before, "{args:?}");
            },
        );
    }
}
