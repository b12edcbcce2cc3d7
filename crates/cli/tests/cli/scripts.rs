//! What scripts rely on: one JSON value on stdout, whatever happens, and its keys.

use expect_test::{Expect, expect};
use serde_json::Value;

use crate::harness::Vats;
use crate::wat::{answering, rejecting, vat};

/// The keys of an object, and of the objects in its first-level lists.
fn keys(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let key = |(name, value): (&String, &Value)| match value {
                Value::Array(_) | Value::Object(_) => format!("{name}: {}", keys(value)),
                _ => name.clone(),
            };
            format!("{{{}}}", object.iter().map(key).collect::<Vec<_>>().join(", "))
        }
        Value::Array(list) => format!("[{}]", list.first().map(keys).unwrap_or_default()),
        other => other.to_string(),
    }
}

#[test]
fn the_keys_are_part_of_the_interface() {
    let vats = Vats::nowhere();
    vats.file("program.wat", answering("#@"));
    let check = |args: &[&str], expected: Expect| expected.assert_eq(&keys(&vats.json(args)));
    check(&["init"], expect!["{data, vats}"]);
    check(&["list"], expect!["[]"]);
    check(&["install", "program", "program.wat"], expect!["{bytes, hash, module}"]);
    check(&["create", "alice", "program"], expect!["{computrons, exited, module, sends, vat}"]);
    check(
        &["send", "alice", "x"],
        expect![
            "{capdata: {body, slots: []}, computrons, exited, method, position, sends, status, value, vat}"
        ],
    );
    check(&["list"], expect!["[{deliveries, id, incarnation, module, module_hash, reason, status, vat}]"]);
    check(
        &["show", "alice"],
        expect![
            "{computrons_per_delivery, deliveries, heap_bytes, id, incarnation, layers, memory_pages_max, module, module_hash, reason, resident_bytes, snapshot, status, storage_keys, stored_bytes, vat}"
        ],
    );
    check(&["fork", "alice", "bob"], expect!["{parent, position, vat}"]);
    check(&["root", "bob"], expect!["{position, root, vat}"]);
    check(&["evict", "alice"], expect!["{deliveries, pages_written, replayed, vat}"]);
    check(
        &["transcript", "alice"],
        expect![[r#"[{d: ["startVat"], position, r: {computrons, status: ["ok"]}, sc: [], t}]"#]],
    );
    check(&["transcript", "alice", "--from", "9"], expect!["[]"]);
    check(
        &["replay"],
        expect!["{vats: [{computrons, deliveries, heap_bytes, problem, report, vat, verdict}], verdict}"],
    );
    check(
        &["stats"],
        expect![
            "{data, deliveries, garbage_bytes, layer_bytes, layers, log_bytes, module_bytes, modules, page_store_bytes, snapshots, spans, storage_keys, store_bytes, vats_alive, vats_quarantined, vats_terminated}"
        ],
    );
    check(
        &["scrub"],
        expect!["{damaged: [], layers, mended: [], pages, pruned_spans, records: [], restored: [], vats}"],
    );
    check(
        &["compact"],
        expect![
            "{compressed_bytes_after, compressed_bytes_before, compressed_entries, freed_bytes, layers, left, segments}"
        ],
    );
    check(&["export", "archive"], expect!["{bytes, entries, manifest, snapshots, vats}"]);
    check(&["prune", "--archive", "archive"], expect!["{archive, rows, shared, spans, uncovered, vats}"]);
    check(&["restore", "archive"], expect!["{absent, entries, spans, vats}"]);
    check(
        &["--data", "there", "import", "archive"],
        expect!["{entries, manifest, replayed, replayed_snapshots, resumed, trusted_snapshots, vats}"],
    );
    check(&["key", "our.key"], expect!["{public}"]);
    vats.file("statement", vats.output(&["attest", "alice", "--key", "our.key"]).stdout);
    check(
        &["check", "statement", "--archive", "archive"],
        expect!["{archive, position, replayed, root_compared, signer, vat}"],
    );
    check(&["terminate", "alice"], expect!["{reason, vat}"]);
}

#[test]
fn a_negative_answer_is_json_too() {
    for (wat, status, key) in [
        (rejecting("#{\"#error\":\"no\",\"name\":\"Error\"}"), "rejected", "/value/message"),
        (vat(&[], "(unreachable)"), "faulted", "/fault/trap"),
    ] {
        let vats = Vats::with_alice(&wat);
        let output = vats.output(&["send", "alice", "x", "--json"]);
        assert_eq!(output.status.code(), Some(1));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["status"], status);
        assert!(json.pointer(key).is_some(), "{json}");
    }
}

#[test]
fn an_answer_that_is_not_there_yet_is_no_failure() {
    let vats = Vats::with_alice(&vat(&[], "(i32.const 0)"));
    let json = vats.json(&["send", "alice", "x"]);
    assert_eq!(json["status"], "unresolved");
    assert_eq!(json.get("value"), None);
}

#[test]
fn a_reader_who_stops_is_no_error() {
    let vats = Vats::with_alice(&answering("#@"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = vats.command().args(["transcript", "alice"]).stdout(writer).output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
