//! Transcripts at rest: a host that prunes and compresses is one that nobody can tell from another, until somebody asks for what is
//! gone; then it says so.

use std::fs;
use std::num::NonZeroU64;
use std::path::Path;

use vat_abi::CapData;
use vat_warehouse::{
    Error, HeapRoot, Retention, SpanClosing, SpanContent, SpanPolicy, SpanRow, VatOptions, Warehouse,
    WarehouseConfig,
};

use crate::scenario::{Listener, message, vat};

const STATE: &str = include_str!("../vats/state.wat");
const DELIVERIES: usize = 60;

fn config(retention: Retention) -> WarehouseConfig {
    let entries_max = NonZeroU64::new(4).unwrap();
    let span_policy = SpanPolicy { entries_max, ..SpanPolicy::default() };
    WarehouseConfig { span_policy, retention: Some(retention), ..WarehouseConfig::default() }
}

/// A vat of many deliveries, evicted and made durable after every so many.
fn hosted(dir: &Path, config: WarehouseConfig, every: usize) -> Warehouse {
    let warehouse = Warehouse::open(dir, config).unwrap();
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    let (options, undefined) = (VatOptions::default(), CapData::undefined());
    warehouse.create(&vat(), "state", options, undefined, 0, Listener::default()).0.unwrap();
    for n in 0..DELIVERIES {
        deliver(&warehouse, n);
        if n % every == 0 {
            warehouse.evict(&vat()).unwrap();
            warehouse.checkpoint().unwrap();
        }
    }
    warehouse.checkpoint().unwrap();
    warehouse
}

fn deliver(warehouse: &Warehouse, n: usize) {
    let delivery = message("step", &format!("[{n}]"));
    let mut lease = warehouse.provide_blocking(&vat()).unwrap();
    lease.deliver(delivery, n as u64, Listener::default()).0.unwrap();
}

fn spans(warehouse: &Warehouse) -> Vec<SpanRow> {
    warehouse.storage().spans(warehouse.vat(&vat()).unwrap().id).unwrap()
}

fn root(warehouse: &Warehouse) -> (u64, HeapRoot) {
    warehouse.root(&vat()).unwrap()
}

#[test]
fn a_host_that_prunes_is_as_one_that_keeps_everything() {
    let (lean, full) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = hosted(full.path(), config(Retention::Archival), 7);
    let warehouse = hosted(lean.path(), config(Retention::Operational), 7);
    let pruned = spans(&warehouse).iter().filter(|span| span.content == SpanContent::Pruned).count();
    assert!(pruned > 8, "pruned by commits, as snapshots became durable: {pruned}");
    assert!(spans(&archive).iter().all(|span| span.content != SpanContent::Pruned));
    drop(warehouse);
    let warehouse = Warehouse::open(lean.path(), config(Retention::Operational)).unwrap();
    deliver(&warehouse, DELIVERIES);
    deliver(&archive, DELIVERIES);
    assert_eq!(root(&warehouse), root(&archive));
    let scrubbed = warehouse.scrub(|_, _| {}).unwrap();
    assert!(scrubbed.is_clean(), "what is gone on purpose is not damaged: {scrubbed:?}");

    let error = warehouse.verify(&vat()).unwrap_err();
    assert!(matches!(&error, Error::Storage(vat_storage::Error::Pruned { .. })), "{error}");
    assert!(error.to_string().contains("were pruned: restore that span from an archive"), "{error}");

    // What is gone comes back from the other host, span by span, and the replay from birth is possible again.
    let (id, other) = (warehouse.vat(&vat()).unwrap().id, archive.vat(&vat()).unwrap().id);
    for span in spans(&warehouse).iter().filter(|span| span.content == SpanContent::Pruned) {
        let entries = archive.storage().transcript(other, span.start, span.end).unwrap();
        let entries: Vec<_> = entries.into_iter().map(|(_, entry)| entry).collect();
        warehouse.storage().restore_span(id, span.start, &entries).unwrap();
    }
    assert!(warehouse.verify(&vat()).unwrap().verdict.is_identical());
}

#[test]
fn a_fork_with_a_pruned_past_survives_a_crash_right_after_its_commit() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = hosted(dir.path(), config(Retention::Operational), 7);
    deliver(&warehouse, DELIVERIES);
    let fork = "fork".parse().unwrap();
    warehouse.fork(&vat(), &fork).unwrap();
    warehouse.commit().unwrap(); // Which does not wait for the fork's own snapshot.
    let before = root(&warehouse);
    warehouse.abandon().expect("no lease is held");
    let warehouse = Warehouse::open(dir.path(), config(Retention::Operational)).unwrap();
    assert_eq!(warehouse.root(&fork).unwrap(), before);
    assert_eq!(root(&warehouse), before);
    assert!(warehouse.conversion_plan(&[]).unwrap().iter().any(|behind| behind.vat == fork));
}

#[test]
fn the_older_snapshot_is_enough_after_pruning() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = hosted(dir.path(), config(Retention::Operational), 7);
    deliver(&warehouse, DELIVERIES);
    let before = root(&warehouse);
    warehouse.checkpoint().unwrap();
    let id = warehouse.vat(&vat()).unwrap().id;
    drop(warehouse);
    let store = rusqlite::Connection::open(dir.path().join("store.sqlite")).unwrap();
    let newest = "UPDATE snapshots SET image = x'00' WHERE vat = ?1 AND position = (SELECT max(position) FROM snapshots WHERE vat = ?1)";
    assert_eq!(store.execute(newest, [id.0]).unwrap(), 1);
    drop(store);
    let warehouse = Warehouse::open(dir.path(), config(Retention::Operational)).unwrap();
    assert_eq!(root(&warehouse), before);
    let stats = warehouse.stats();
    assert!(stats.fallbacks == 1 && stats.replayed > 0, "{stats:?}");
}

#[test]
fn hosts_with_one_policy_have_equal_spans() {
    let of = |every: usize, retention: Retention| {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = hosted(dir.path(), config(retention), every);
        spans(&warehouse).iter().map(|span| (span.start, span.end, span.hash, span.bytes)).collect::<Vec<_>>()
    };
    let steady = of(DELIVERIES, Retention::Archival);
    assert_eq!(steady.len(), DELIVERIES / 4 + 1);
    assert_eq!(of(1, Retention::Operational), steady);
    assert_eq!(of(5, Retention::Debug), steady);
}

#[test]
fn a_snapshot_closes_a_span_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let config = WarehouseConfig {
        span_policy: SpanPolicy::NEVER,
        span_closing: SpanClosing::PolicyAndSnapshots,
        retention: Some(Retention::Operational),
        ..WarehouseConfig::default()
    };
    let warehouse = hosted(dir.path(), config, 10);
    let spans = spans(&warehouse);
    assert!(spans.len() > 5, "{}", spans.len());
    assert!(spans.iter().any(|span| span.content == SpanContent::Pruned));
}

#[test]
fn closed_spans_are_compressed_in_the_background_and_verified_from_birth() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = hosted(dir.path(), config(Retention::Replay), 20);
    let is_compressed = || {
        warehouse.commit().unwrap();
        let closed = spans(&warehouse);
        closed.iter().rev().skip(1).all(|span| span.content == SpanContent::Compressed)
    };
    // As often as any machine needs; a background that does nothing fails.
    let waited =
        (0..1_000_000).take_while(|_| !is_compressed()).inspect(|_| std::thread::yield_now()).count();
    assert!(waited < 1_000_000);
    warehouse.evict(&vat()).unwrap();
    assert!(warehouse.verify(&vat()).unwrap().verdict.is_identical());
    assert_eq!(warehouse.transcript(&vat(), 0).unwrap().filter(Result::is_ok).count(), DELIVERIES + 1);
}

#[test]
fn the_debug_level_keeps_all_snapshots() {
    for (level, expected) in [(Retention::Debug, 7), (Retention::Archival, 2)] {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = hosted(dir.path(), config(level), 10);
        assert!(warehouse.prune(&vat()).is_err(), "{level} keeps everything");
        let snapshots = warehouse.storage().snapshots(warehouse.vat(&vat()).unwrap().id).unwrap().len();
        assert!(if level == Retention::Debug { snapshots >= expected - 1 } else { snapshots == expected });
    }
}

/// What a host must be able to do with a vat that it pruned itself: say what its whole past is, scrub, fork.
#[test]
fn a_host_that_pruned_still_knows_what_it_pruned() {
    let (lean, full) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = hosted(full.path(), config(Retention::Archival), 7);
    let warehouse = hosted(lean.path(), config(Retention::Operational), 7);
    let pruned = spans(&warehouse).iter().filter(|span| span.content == SpanContent::Pruned).count();
    assert_eq!(warehouse.claim(&vat()).unwrap(), archive.claim(&vat()).unwrap(), "equal transcript hashes");
    let scrubbed = warehouse.scrub(|_, _| {}).unwrap();
    assert!(scrubbed.is_clean(), "{scrubbed:?}");
    assert_eq!(scrubbed.pruned_spans, pruned as u64);
    assert_eq!(archive.scrub(|_, _| {}).unwrap().pruned_spans, 0);
    let fork = "fork".parse().unwrap();
    for host in [&warehouse, &archive] {
        host.fork(&vat(), &fork).unwrap();
        deliver(host, DELIVERIES);
        host.evict(&vat()).unwrap();
        host.checkpoint().unwrap();
    }
    for name in [vat(), fork] {
        assert_eq!(warehouse.claim(&name).unwrap(), archive.claim(&name).unwrap(), "{name}");
    }
}

/// A store whose anchor is lost is as one that got the vat without its past.
#[test]
fn a_past_that_nobody_vouches_for_is_not_claimed() {
    let dir = tempfile::tempdir().unwrap();
    drop(hosted(dir.path(), config(Retention::Operational), 7));
    let store = rusqlite::Connection::open(dir.path().join("store.sqlite")).unwrap();
    assert_eq!(store.execute("DELETE FROM host WHERE key LIKE 'transcript-anchor/%'", []).unwrap(), 1);
    drop(store);
    let warehouse = Warehouse::open(dir.path(), config(Retention::Operational)).unwrap();
    let error = warehouse.claim(&vat()).unwrap_err();
    assert!(matches!(error, Error::PastUnknown { start: 0, .. }), "{error}");
    assert!(error.to_string().contains("`vats restore`"), "{error}");
}

#[test]
fn an_upgraded_vat_is_replayed_as_far_as_the_level_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = hosted(dir.path(), config(Retention::Replay), 7);
    warehouse.upgrade(&vat(), "state", CapData::undefined(), 500, Listener::default()).0.unwrap();
    for n in 0..9 {
        deliver(&warehouse, n);
    }
    warehouse.evict(&vat()).unwrap();
    warehouse.checkpoint().unwrap();
    let verified = warehouse.verify(&vat()).unwrap();
    assert!(verified.verdict.is_identical(), "{}", verified.verdict);
    assert_eq!((verified.deliveries, verified.passed_over), (10, DELIVERIES as u64 + 1));
}

#[test]
fn nothing_is_pruned_behind_a_snapshot_that_does_not_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let archival = WarehouseConfig { snapshot_interval: u64::MAX, ..config(Retention::Archival) };
    let before = root(&hosted(dir.path(), archival, 7));
    for entry in fs::read_dir(dir.path().join("pages")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let mut bytes = fs::read(&path).unwrap();
            bytes.iter_mut().for_each(|byte| *byte ^= 1);
            fs::write(path, bytes).unwrap();
        }
    }
    let operational = || Warehouse::open(dir.path(), config(Retention::Operational)).unwrap();
    let warehouse = operational();
    let error = warehouse.prune(&vat()).unwrap_err();
    assert!(matches!(&error, Error::Uncovered { before, .. } if *before > 0), "{error}");
    warehouse.commit().unwrap();
    drop(warehouse);
    // What the error says to do.
    let warehouse = operational();
    assert!(spans(&warehouse).iter().all(|span| span.content != SpanContent::Pruned));
    assert_eq!(root(&warehouse), before, "by a replay from birth");
    deliver(&warehouse, DELIVERIES);
    warehouse.evict(&vat()).unwrap();
    warehouse.checkpoint().unwrap();
    warehouse.prune(&vat()).unwrap();
    assert_eq!(spans(&warehouse)[0].content, SpanContent::Pruned);
    warehouse.commit().unwrap();
    let now = root(&warehouse);
    drop(warehouse);
    assert_eq!(root(&operational()), now, "from the new snapshot");
}
