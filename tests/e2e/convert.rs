//! Conversion: a host that has only transcripts gets snapshots of them, at rest or while it serves, and nobody can tell.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use vat_abi::CapData;
use vat_warehouse::{
    Behind, Budget, Converted, HeapRoot, Pace, Spent, VatName, VatOptions, Warehouse, WarehouseConfig,
};

use crate::scenario::{Listener, message};

const STATE: &str = include_str!("../vats/state.wat");
const VATS: usize = 6;

fn name(n: usize) -> VatName {
    format!("v{n}").parse().unwrap()
}

fn open(dir: &Path) -> Warehouse {
    Warehouse::open(dir, WarehouseConfig::default()).unwrap()
}

fn step(warehouse: &Warehouse, n: usize) -> String {
    let mut lease = warehouse.provide_blocking(&name(n)).unwrap();
    let (report, _) = lease.deliver(message("step", "[1]"), 5, Listener::default());
    report.unwrap().syscalls.last().unwrap().syscall.to_string()
}

/// Vats of which `v{n}` has `2 + n` deliveries, and whose pages are gone: what a new host is given.
fn transcripts_only(dir: &Path) -> Warehouse {
    let warehouse = open(dir);
    warehouse.install("state", &wat::parse_str(STATE).unwrap()).unwrap();
    for n in 0..VATS {
        let undefined = CapData::undefined();
        warehouse
            .create(&name(n), "state", VatOptions::default(), undefined, 0, Listener::default())
            .0
            .unwrap();
        (0..=n).for_each(|_| drop(step(&warehouse, n)));
    }
    warehouse.commit().unwrap();
    warehouse.abandon().unwrap();
    std::fs::remove_dir_all(dir.join("pages")).unwrap();
    open(dir)
}

/// The same vats on a host that never stopped.
fn steady(dir: &Path) -> Vec<HeapRoot> {
    let warehouse = transcripts_only(dir);
    (0..VATS).map(|n| warehouse.root(&name(n)).unwrap().1).collect()
}

fn names(plan: &[Behind]) -> Vec<String> {
    plan.iter().map(|behind| behind.vat.to_string()).collect()
}

fn budget(pace: impl Fn(Spent) -> Pace + Send + Sync + 'static) -> Budget {
    Budget { threads: NonZeroUsize::new(2).unwrap(), computrons_per_step: 1, pace: Box::new(pace) }
}

/// After a restart, every vat is what it was, and comes back without a replay.
fn is_converted(warehouse: Warehouse, dir: &Path, expected: &[HeapRoot]) {
    drop(warehouse);
    let warehouse = open(dir);
    for (n, root) in expected.iter().enumerate() {
        assert_eq!(warehouse.root(&name(n)).unwrap().1, *root, "v{n}");
    }
    assert_eq!(warehouse.stats().replayed, 0);
    for n in 0..VATS {
        assert!(warehouse.verify(&name(n)).unwrap().verdict.is_identical(), "v{n}");
    }
}

#[test]
fn important_vats_come_first_then_those_with_the_most_to_replay() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = transcripts_only(dir.path());
    let plan = warehouse.conversion_plan(&[name(1), name(0)]).unwrap();
    assert_eq!(names(&plan), ["v1", "v0", "v5", "v4", "v3", "v2"]);
    assert!(plan.iter().all(|behind| behind.computrons > 0));
    assert_eq!(plan.iter().map(|behind| behind.deliveries).collect::<Vec<_>>(), [3, 2, 7, 6, 5, 4]);
    assert!(warehouse.conversion_plan(&["nobody".parse().unwrap()]).is_err());
}

#[test]
fn converting_at_rest_leaves_nothing_to_replay_and_nothing_in_memory() {
    let expected = steady(tempfile::tempdir().unwrap().path());
    let dir = tempfile::tempdir().unwrap();
    let warehouse = transcripts_only(dir.path());
    for behind in warehouse.conversion_plan(&[]).unwrap() {
        assert_eq!(warehouse.convert(&behind.vat).unwrap(), Converted::Current);
    }
    assert!(warehouse.resident().is_empty());
    assert_eq!(warehouse.conversion_plan(&[]).unwrap().len(), VATS, "not durable before a checkpoint");
    warehouse.checkpoint().unwrap();
    assert!(warehouse.conversion_plan(&[]).unwrap().is_empty());
    is_converted(warehouse, dir.path(), &expected);
}

#[test]
fn a_conversion_that_was_not_committed_is_done_again() {
    let expected = steady(tempfile::tempdir().unwrap().path());
    let dir = tempfile::tempdir().unwrap();
    let warehouse = transcripts_only(dir.path());
    warehouse.convert(&name(3)).unwrap();
    warehouse.checkpoint().unwrap();
    warehouse.convert(&name(4)).unwrap();
    warehouse.abandon().unwrap();
    let warehouse = open(dir.path());
    let plan = warehouse.conversion_plan(&[]).unwrap();
    assert_eq!(names(&plan), ["v5", "v4", "v2", "v1", "v0"]);
    for behind in plan {
        warehouse.convert(&behind.vat).unwrap();
    }
    warehouse.checkpoint().unwrap();
    is_converted(warehouse, dir.path(), &expected);
}

#[test]
fn a_host_converts_while_it_serves_and_commits_only_what_its_caller_commits() {
    let expected = steady(tempfile::tempdir().unwrap().path());
    let dir = tempfile::tempdir().unwrap();
    let warehouse = transcripts_only(dir.path());
    // Online after the important vat.
    warehouse.convert(&name(5)).unwrap();
    warehouse.checkpoint().unwrap();
    let plan = warehouse.conversion_plan(&[]).unwrap();
    let conversion = warehouse.convert_in_background(&plan, budget(|_| Pace::Go)).unwrap();
    // A block that is open while the conversion runs, and is never committed.
    (0..10).for_each(|_| drop(step(&warehouse, 5)));
    let progress = conversion.wait();
    assert_eq!((progress.vats, progress.converted, progress.left), (5, 5, 0), "{progress:?}");
    assert!(progress.replayed_computrons >= progress.computrons && progress.computrons > 0, "{progress:?}");
    assert_eq!(warehouse.stats().converted, 5);
    warehouse.abandon().unwrap();
    let warehouse = open(dir.path());
    assert_eq!(warehouse.vat(&name(5)).unwrap().next_position.0, 7, "the open block is gone");
    assert_eq!(
        warehouse.conversion_plan(&[]).unwrap().len(),
        5,
        "and so are the snapshots, which cost time only"
    );
    let plan = warehouse.conversion_plan(&[]).unwrap();
    warehouse.convert_in_background(&plan, budget(|_| Pace::Go)).unwrap().wait();
    warehouse.commit().unwrap();
    assert!(warehouse.conversion_plan(&[]).unwrap().is_empty(), "the caller's commit made them durable");
    is_converted(warehouse, dir.path(), &expected);
}

/// A pace that tells of each step, and waits to be told to go on.
fn gated() -> (impl Fn(Spent) -> Pace + Send + Sync + 'static, Receiver<Spent>, Sender<Pace>) {
    let (tell, told) = channel();
    let (go, wait) = channel();
    let ends = Arc::new(Mutex::new((tell, wait)));
    let pace = move |spent| {
        let ends = ends.lock().unwrap();
        // Once the test has let go of its ends, everything goes on.
        let _ = ends.0.send(spent);
        ends.1.recv().unwrap_or(Pace::Go)
    };
    (pace, told, go)
}

fn one_thread(pace: impl Fn(Spent) -> Pace + Send + Sync + 'static) -> Budget {
    Budget { threads: NonZeroUsize::MIN, ..budget(pace) }
}

#[test]
fn a_stopped_conversion_keeps_what_it_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = transcripts_only(dir.path());
    let plan = warehouse.conversion_plan(&[name(5)]).unwrap();
    let (pace, told, go) = gated();
    let conversion = warehouse.convert_in_background(&plan, one_thread(pace)).unwrap();
    let (told, go) = (told, go); // Gone before the conversion, should something fail: it would wait for them.
    for _ in 0..3 {
        assert!(told.recv().unwrap().computrons > 0);
        go.send(Pace::Go).unwrap();
    }
    told.recv().unwrap();
    go.send(Pace::Stop).unwrap();
    drop((told, go));
    let progress = conversion.wait();
    assert_eq!((progress.converted, progress.left), (0, 0), "{progress:?}");
    warehouse.checkpoint().unwrap();
    let plan = warehouse.conversion_plan(&[name(5)]).unwrap();
    assert_eq!(plan[0].deliveries, 3, "four of seven were replayed, and are captured");
    warehouse.convert(&name(5)).unwrap();
    assert!(warehouse.verify(&name(5)).unwrap().verdict.is_identical());
}

/// After this long a thread is taken to wait for ever. Nothing waits as long unless it is broken.
const HANGING: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn a_vat_that_goes_on_while_its_conversion_waits_is_not_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let twin_dir = tempfile::tempdir().unwrap();
    let (warehouse, twin) = (transcripts_only(dir.path()), transcripts_only(twin_dir.path()));
    let plan = warehouse.conversion_plan(&[name(5)]).unwrap();
    let (pace, told, go) = gated();
    let conversion = warehouse.convert_in_background(&plan, one_thread(pace)).unwrap();
    let (told, go) = (told, go); // Gone before the conversion, should something fail: it would wait for them.
    told.recv().unwrap();
    assert_eq!(step(&warehouse, 5), step(&twin, 5));
    warehouse.evict(&name(5)).unwrap(); // Captured, at a later position than the conversion has reached.
    drop((told, go));
    conversion.wait();
    warehouse.checkpoint().unwrap();
    assert!(warehouse.conversion_plan(&[]).unwrap().is_empty());
    drop(warehouse);
    let warehouse = open(dir.path());
    assert_eq!(step(&warehouse, 5), step(&twin, 5));
    assert_eq!(warehouse.stats().replayed, 0);
    assert!(warehouse.verify(&name(5)).unwrap().verdict.is_identical());
}

#[test]
fn a_vat_that_is_converted_has_a_place_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    drop(transcripts_only(dir.path()));
    let config =
        WarehouseConfig { resident_max: NonZeroUsize::new(2).unwrap(), ..WarehouseConfig::default() };
    let warehouse = Warehouse::open(dir.path(), config).unwrap();
    (0..2).for_each(|n| drop(step(&warehouse, n)));
    assert_eq!(warehouse.resident().len(), 2);
    let plan = warehouse.conversion_plan(&[name(5)]).unwrap();
    let (pace, told, go) = gated();
    let conversion = warehouse.convert_in_background(&plan, one_thread(pace)).unwrap();
    let (told, go) = (told, go); // Gone before the conversion, should something fail: it would wait for them.
    told.recv().unwrap();
    assert_eq!(warehouse.resident().len(), 1, "there is room for one beside the one that is converted");
    step(&warehouse, 2);
    assert_eq!(warehouse.resident().len(), 1);
    drop((told, go));
    conversion.wait();
    (0..3).for_each(|n| drop(step(&warehouse, n)));
    assert_eq!(warehouse.resident().len(), 2, "the place is given back");
    assert_eq!(warehouse.convert(&name(5)).unwrap(), Converted::Current);
    step(&warehouse, 0);
    assert_eq!(warehouse.resident().len(), 2);
}

#[test]
fn whoever_wants_a_vat_gets_it_before_its_conversion_ends() {
    let dir = tempfile::tempdir().unwrap();
    let twin_dir = tempfile::tempdir().unwrap();
    let (warehouse, twin) = (transcripts_only(dir.path()), transcripts_only(twin_dir.path()));
    let plan = warehouse.conversion_plan(&[name(5)]).unwrap();
    let (pace, told, go) = gated();
    let conversion = warehouse.convert_in_background(&plan, one_thread(pace)).unwrap();
    let (told, go) = (told, go); // Gone before the conversion, should something fail: it would wait for them.
    told.recv().unwrap(); // Position 0 is replayed, and the worker waits for its pace.
    let (got, is_got) = channel();
    let (done, is_done) = channel::<()>();
    let user = std::thread::spawn({
        let warehouse = warehouse.clone();
        move || {
            let mut lease = warehouse.provide_blocking(&name(5)).unwrap();
            got.send(lease.next_position().unwrap()).unwrap();
            is_done.recv().unwrap();
        }
    });
    let position = is_got.recv_timeout(HANGING).expect("whoever waits for its pace holds no vat");
    assert_eq!(position, 7);
    go.send(Pace::Go).unwrap();
    told.recv().unwrap(); // The next vat.
    assert_eq!(conversion.progress().yielded, 1, "it did not go on, since somebody has the vat");
    done.send(()).unwrap();
    user.join().unwrap();
    drop((told, go));
    assert_eq!(step(&warehouse, 5), step(&twin, 5));
    let progress = conversion.wait();
    assert_eq!(progress.converted + progress.left, 6, "{progress:?}");
    for n in 0..VATS {
        assert!(warehouse.verify(&name(n)).unwrap().verdict.is_identical(), "v{n}");
    }
}

#[test]
fn a_vat_that_diverges_is_left_and_the_rest_are_converted() {
    let dir = tempfile::tempdir().unwrap();
    drop(transcripts_only(dir.path()));
    let script = "UPDATE transcript SET entry = CAST(replace(CAST(entry AS TEXT), '\"computrons\":', '\"computrons\":1') AS BLOB) \
                  WHERE position = 4 AND vat = (SELECT id FROM vats WHERE name = 'v4')";
    assert_eq!(crate::forged::forge(dir.path(), script, []), 1);
    let warehouse = open(dir.path());
    let plan = warehouse.conversion_plan(&[]).unwrap();
    let progress = warehouse.convert_in_background(&plan, budget(|_| Pace::Go)).unwrap().wait();
    assert_eq!((progress.converted, progress.left), (5, 1), "{progress:?}");
    warehouse.commit().unwrap();
    assert!(warehouse.conversion_plan(&[]).unwrap().is_empty(), "a quarantined vat is not planned");
}

#[test]
fn dropping_a_conversion_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = transcripts_only(dir.path());
    let plan = warehouse.conversion_plan(&[]).unwrap();
    drop(warehouse.convert_in_background(&plan, budget(|_| Pace::Go)).unwrap());
    warehouse.abandon().expect("no worker has a hand on it any more");
}
