//! `vats bench`: what it measures and what it refuses to. No figure is compared, for they are the machine's.

use serde_json::Value;

use crate::harness::Vats;
use crate::wat::{module, resolve, vat};

/// A vat that writes a page in each delivery.
fn writing() -> String {
    module(
        "",
        "(i32.store (i32.const 4096) (i32.add (i32.load (i32.const 4096)) (i32.const 1))) (i32.const 0)",
    )
}

/// What is said on the error stream, but for the note that this build is slow.
fn said(vats: &Vats, args: &[&str]) -> (Option<i32>, String) {
    let output = vats.output(&[&["bench", "--seconds", "1"], args].concat());
    let stderr = String::from_utf8(output.stderr).unwrap();
    let lines = stderr.lines().filter(|line| !line.contains("built without --release"));
    (output.status.code(), lines.collect::<Vec<_>>().join("\n"))
}

fn of<'a>(report: &'a Value, figure: &str) -> &'a Value {
    let figures = report["figures"].as_array().unwrap();
    figures.iter().find(|row| row["name"] == figure).unwrap_or_else(|| panic!("no {figure}: {report}"))
}

#[test]
fn every_step_of_a_vats_life_is_measured() {
    let vats = Vats::nowhere();
    vats.file("writing.wat", writing());
    let report = vats.json(&["bench", "writing.wat", "--seconds", "1", "--html", "page.html"]);
    for figure in [
        "compile",
        "cached",
        "create",
        "restore",
        "deliver",
        "wake",
        "evict",
        "fork",
        "commit/every=1",
        "commit/every=100",
        "replay",
        "memory",
        "heap",
        "disk",
    ] {
        assert!(of(&report, figure)["p50"].as_f64().unwrap() > 0.0, "{figure}: {report}");
    }
    assert_eq!(of(&report, "heap")["p50"], 65_536.0);
    // It wrote one page since it was born; what a layer has beside its pages is less than another.
    let disk = of(&report, "disk")["p50"].as_f64().unwrap();
    assert!((4_096.0..12_288.0).contains(&disk), "{disk}");
    let residency = report["residency"].as_array().unwrap();
    let percents: Vec<u64> =
        residency.iter().map(|place| place["resident_percent"].as_u64().unwrap()).collect();
    assert_eq!(percents, [100, 50, 20, 4]);
    for place in residency {
        assert!(place["messages_per_s"].as_f64().unwrap() > 0.0, "{place}");
    }
    assert!(residency[3]["page_in_us"]["p99"].as_f64() >= residency[3]["page_in_us"]["p50"].as_f64());
    assert_eq!(report["message"], "bringOutYourDead");

    let page = std::fs::read_to_string(vats.data().with_file_name("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.matches("<svg").count() == 2, "{page}");
    assert!(!vats.data().exists(), "the ordinary data directory is left alone");
    let mut left: Vec<_> = std::fs::read_dir(vats.data().parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["page.html", "writing.wat"], "temporary directories are removed");
}

#[test]
fn an_installed_module_and_a_message_can_be_named() {
    let vats = Vats::with_alice(&writing());
    let report = vats.json(&["bench", "program", "--seconds", "1", "--message", "add", "[5]"]);
    assert_eq!((&report["module"], &report["message"]), (&"program".into(), &"add [5]".into()));
    assert_eq!(vats.json(&["list"]).as_array().unwrap().len(), 1, "alice is alone, as before");
}

#[test]
fn people_get_a_table_and_bars() {
    let vats = Vats::nowhere();
    vats.file("writing.wat", writing());
    let output = vats.output(&["bench", "writing.wat", "--seconds", "1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["writing.wat, ", "FIGURE", "restore  ", "█", "  4 % in memory", "load average"] {
        assert!(text.contains(part), "no {part}: {text}");
    }
}

#[test]
fn what_fails_is_not_measured() {
    let vats = Vats::ready();
    vats.file("faulting.wat", vat(&[], "unreachable"));
    vats.file("never.wat", module("", "unreachable"));
    vats.file("leaving.wat", vat(&[r##"["exit",false,{"body":"#1","slots":[]}]"##], "(i32.const 0)"));
    vats.file("text.wat", "hello");
    for (args, expected) in [
        (&["faulting.wat"][..], "error: the delivery faulted, so there is nothing to measure: "),
        (&["never.wat"], "error: the vat probe-0 was not created, since its start faulted: "),
        (&["leaving.wat"], "error: the delivery ends the vat, so there is nothing to measure"),
        (&["text.wat"], "error: cannot measure text.wat: it is no WebAssembly module"),
        (&["missing.wat"], "error: there is no file missing.wat"),
        (&["missing"], "error: missing is neither a file nor an installed module"),
        (&["faulting.wat", "--message", "add", "5"], "error: --message: the arguments must be a JSON array"),
    ] {
        let (code, stderr) = said(&vats, args);
        assert_eq!(code, Some(1), "{args:?}: {stderr}");
        assert!(stderr.lines().last().unwrap().starts_with(expected), "{args:?}: {stderr}");
    }
}

#[test]
fn what_is_odd_is_told() {
    let vats = Vats::nowhere();
    let refusal = resolve(true, "#{\"#error\":\"no\",\"name\":\"Error\"}").replace('@', "1");
    vats.file("refusing.wat", vat(&[&refusal], "(i32.const 0)"));
    let (code, stderr) = said(&vats, &["refusing.wat", "--message", "please"]);
    assert_eq!((code, stderr.as_str()), (Some(0), "note: what is measured are rejections: Error: no"));
}
