//! A small demo, with real guests. Where none of them could be built, it says so.

use serde_json::Value;

use crate::harness::Vats;

const SMALL: &[&str] = &["--vats", "60", "--online", "8", "--messages", "600"];

/// Runs a small demo and reads its JSON; `None` if no guest was built with this program.
fn demo(vats: &Vats, args: &[&str]) -> Option<Value> {
    let output = vats.output(&[&["demo", "--json"], SMALL, args].concat());
    let stderr = String::from_utf8(output.stderr).unwrap();
    if vat_guests::ALL.iter().all(|guest| guest.wasm.is_err()) {
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr.contains("were not built"), "{stderr}");
        return None;
    }
    assert!(output.status.success(), "{stderr}");
    Some(serde_json::from_slice(&output.stdout).expect("one JSON value"))
}

#[test]
fn nobody_can_tell() {
    let vats = Vats::nowhere();
    let Some(report) = demo(&vats, &["--verify", "all"]) else { return };
    let keys: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "evictions",
        "messages",
        "messages_per_s",
        "online",
        "page_in_us",
        "peak_memory_bytes",
        "reopen_ms",
        "resident_bytes",
        "total_bytes",
        "vats",
        "verdict",
        "verified_vats",
    ];
    assert_eq!(keys, expected);
    for (key, expected) in [("vats", 60), ("online", 8), ("messages", 600), ("verified_vats", 60)] {
        assert_eq!(report[key], expected, "{key}");
    }
    assert_eq!(report["verdict"], "identical");
    assert!(report["evictions"].as_u64().unwrap() > 100, "{report}");
    assert!(report["page_in_us"]["p99"].as_f64() >= report["page_in_us"]["p50"].as_f64(), "{report}");
    assert!(report["resident_bytes"].as_u64() < report["total_bytes"].as_u64(), "{report}");
    assert!(!vats.data().exists(), "the demo leaves the ordinary data directory alone");
    let left: Vec<_> = std::fs::read_dir(vats.data().parent().unwrap()).unwrap().collect();
    assert!(left.is_empty(), "the demo leaves its temporary directory: {left:?}");
}

#[test]
fn the_vats_stay_where_data_says_and_follow_from_the_seed() {
    let transcripts = |seed: &str| {
        let vats = Vats::nowhere();
        let data = vats.data();
        let place = ["--data", data.to_str().unwrap(), "--seed", seed];
        demo(&vats, &place)?;
        assert_eq!(vats.json(&["replay"])["verdict"], "identical");
        let again = vats.output(&[&["demo"], &place[..]].concat());
        assert_eq!(again.status.code(), Some(1), "the directory is not empty now");
        let mut names: Vec<String> = vats
            .json(&["list"])
            .as_array()
            .unwrap()
            .iter()
            .map(|vat| vat["vat"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        assert_eq!(names.len(), 60);
        Some(names.iter().take(5).map(|vat| vats.json(&["transcript", vat])).collect::<Vec<_>>())
    };
    let Some(first) = transcripts("5") else { return };
    assert_eq!(Some(&first), transcripts("5").as_ref());
    assert_ne!(Some(&first), transcripts("6").as_ref());
}
