//! What a vat can do wrong: each is that delivery's fault, recorded, the same everywhere; other vats do not notice.

use vat_abi::{CapData, Outcome, Syscall, TrapKind, VatFault};
use vat_warehouse::{SyscallHandler, SyscallVerdict, VatName, VatOptions, Warehouse, WarehouseConfig};

use crate::scenario::{Host, Listener, Scenario, message, vat};

/// A vat whose start succeeds and whose every later delivery does `body`.
fn misbehaving(body: &str) -> String {
    format!(
        r#"(module
          (import "vat" "delivery_read" (func $delivery_read (param i32)))
          (import "vat" "syscall" (func $syscall (param i32 i32) (result i32)))
          (import "vat" "result_read" (func $result_read (param i32)))
          (import "vat" "log" (func $log (param i32 i32 i32)))
          (import "vat" "fail" (func $fail (param i32 i32)))
          (memory (export "memory") 1)
          (table 3 funcref) (elem (i32.const 0) $recurse)
          (type $nothing (func)) (type $number (func (param i32) (result i32)))
          (global $started (mut i32) (i32.const 0))
          (data (i32.const 0) "the message")
          (data (i32.const 100) "[\"subscribe\",\"p-60\"]")
          (data (i32.const 200) "[\"subscribe\",")
          (data (i32.const 300) "[\"vatstoreGet\",\"k\"]")
          (func $recurse (call $recurse))
          (func (export "vat_deliver") (param $len i32) (result i32) (local $n i32)
            (if (i32.eqz (global.get $started)) (then (global.set $started (i32.const 1)) (return (i32.const 0))))
            (i32.store (i32.const 40000) (i32.const 1234567)) ;; must be undone
            {body}))"#
    )
}

/// Runs a delivery, and shows what it took: the fault is recorded, undone, and met again by a replay.
#[track_caller]
fn faults_with(body: &str, expected: &VatFault) {
    let mut scenario = Scenario::wat(&misbehaving(body), 2);
    scenario.options = VatOptions { computrons_per_delivery: 400_000_000, memory_pages_max: 16 };
    for host in Host::ALL {
        let trace = scenario.run(host, |_| crate::scenario::Event::Evict);
        for delivery in &trace.deliveries[1..] {
            assert_eq!(delivery.outcome, Outcome::Faulted(expected.clone()));
            assert_eq!(
                delivery.computrons.0, 400_000_000,
                "a faulted delivery is charged its whole allowance"
            );
        }
        assert_eq!(trace.heap[40_000..40_004], [0; 4], "the heap is as before the delivery");
    }
}

#[test]
fn traps_are_told_apart() {
    let cases: &[(&str, TrapKind)] = &[
        ("unreachable", TrapKind::Unreachable),
        ("(i32.div_s (i32.const 1) (i32.const 0))", TrapKind::DivisionByZero),
        ("(i32.div_s (i32.const 0x80000000) (i32.const -1))", TrapKind::IntegerOverflow),
        ("(i32.trunc_f64_s (f64.const 1e300))", TrapKind::IntegerOverflow),
        ("(i32.trunc_f64_s (f64.div (f64.const 0) (f64.const 0)))", TrapKind::BadConversion),
        ("(i32.load (i32.const 65536))", TrapKind::OutOfBoundsMemory),
        ("(i32.load offset=4294967295 (i32.const 4294967295))", TrapKind::OutOfBoundsMemory),
        (
            "(memory.fill (i32.const 65535) (i32.const 0) (i32.const 2)) (i32.const 0)",
            TrapKind::OutOfBoundsMemory,
        ),
        ("(call_indirect (type $nothing) (i32.const 3)) (i32.const 0)", TrapKind::OutOfBoundsTable),
        ("(call_indirect (type $nothing) (i32.const 2)) (i32.const 0)", TrapKind::IndirectCallToNull),
        ("(call_indirect (type $number) (i32.const 0) (i32.const 0))", TrapKind::BadSignature),
    ];
    for (body, kind) in cases {
        faults_with(body, &VatFault::Trap(*kind));
    }
}

#[test]
fn limits_of_work_and_depth_are_faults() {
    faults_with("(loop $for_ever (br $for_ever)) (i32.const 0)", &VatFault::OutOfComputrons);
    faults_with("(call $recurse) (i32.const 0)", &VatFault::StackOverflow);
    let copies =
        "(loop $l (memory.copy (i32.const 0) (i32.const 0) (i32.const 65536)) (br $l)) (i32.const 0)";
    faults_with(copies, &VatFault::OutOfComputrons);
}

#[test]
fn a_vat_says_why_it_failed() {
    let message = |text: &str| VatFault::failed(text.as_bytes());
    faults_with("(i32.const 7)", &message(""));
    faults_with("(call $fail (i32.const 0) (i32.const 11)) (i32.const 1)", &message("the message"));
    faults_with("(call $fail (i32.const 0) (i32.const 11)) (unreachable)", &message("the message"));
    let first =
        "(call $fail (i32.const 0) (i32.const 11)) (call $fail (i32.const 4) (i32.const 7)) (i32.const 1)";
    faults_with(first, &message("message"));
}

#[test]
fn pointers_outside_of_the_memory_are_faults() {
    for body in [
        "(call $delivery_read (i32.const 65530)) (i32.const 0)",
        "(call $delivery_read (i32.const -1)) (i32.const 0)",
        "(call $syscall (i32.const 65530) (i32.const 100))",
        "(call $syscall (i32.const -8) (i32.const 16))",
        "(call $log (i32.const 0) (i32.const 65536) (i32.const 1)) (i32.const 0)",
        "(call $fail (i32.const 1) (i32.const 0x7fffffff)) (i32.const 0)",
        "(drop (call $syscall (i32.const 300) (i32.const 19))) (call $result_read (i32.const 65535)) (i32.const 0)",
    ] {
        let expected = match body.contains("0x7fffffff") {
            true => VatFault::OutOfComputrons, // The bytes are charged before they are looked for.
            false => VatFault::BadPointer,
        };
        faults_with(body, &expected);
    }
}

#[test]
fn bytes_that_are_no_syscall_are_a_fault() {
    faults_with("(call $syscall (i32.const 200) (i32.const 13))", &VatFault::BadSyscallBytes);
    faults_with("(call $syscall (i32.const 1000) (i32.const 0))", &VatFault::BadSyscallBytes);
    faults_with("(call $syscall (i32.const 0) (i32.const 11))", &VatFault::BadSyscallBytes);
}

#[test]
fn floods_are_faults() {
    let syscalls = "(loop $l (drop (call $syscall (i32.const 300) (i32.const 19))) (br $l)) (i32.const 0)";
    faults_with(syscalls, &VatFault::SyscallLimit);
    let lines = "(loop $l (call $log (i32.const 2) (i32.const 0) (i32.const 65536)) (br $l)) (i32.const 0)";
    faults_with(lines, &VatFault::OutputLimit);
}

/// A vat that stores 7 MB, and then reads them ten times in one delivery: the requests are short, the answers too long together.
const READS_TOO_MUCH: &str = r#"(module
    (import "vat" "syscall" (func $syscall (param i32 i32) (result i32)))
    (memory (export "memory") 120)
    (global $nth (mut i32) (i32.const 0))
    (data (i32.const 0) "[\"vatstoreGet\",\"k\"]")
    (data (i32.const 100) "[\"vatstoreSet\",\"k\",\"")
    (data (i32.const 7000120) "\"]")
    (func (export "vat_deliver") (param $len i32) (result i32) (local $n i32)
      (global.set $nth (i32.add (global.get $nth) (i32.const 1)))
      (if (i32.eq (global.get $nth) (i32.const 2)) (then
        (memory.fill (i32.const 120) (i32.const 97) (i32.const 7000000))
        (drop (call $syscall (i32.const 100) (i32.const 7000022)))))
      (if (i32.gt_u (global.get $nth) (i32.const 2)) (then
        (loop $l
          (drop (call $syscall (i32.const 0) (i32.const 19)))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $n) (i32.const 10))))))
      (i32.const 0)))"#;

/// The answer that is too much is not recorded, and a replay, which has nothing to answer with, ends there as well.
#[test]
fn a_flood_of_answers_is_a_fault_and_replays_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(dir.path(), WarehouseConfig::default()).unwrap();
    warehouse.install("module", &wat::parse_str(READS_TOO_MUCH).unwrap()).unwrap();
    let options = VatOptions::default();
    let start = warehouse.create(&vat(), "module", options, CapData::undefined(), 0, Listener::default());
    start.0.unwrap();
    let deliver = || {
        let mut lease = warehouse.provide_blocking(&vat()).unwrap();
        lease.deliver(message("m", "[]"), 1, Listener::default()).0.unwrap()
    };
    assert_eq!(deliver().outcome, Outcome::Delivered);
    let flooded = deliver();
    assert_eq!(flooded.outcome, Outcome::Faulted(VatFault::SyscallLimit));
    assert_eq!(flooded.syscalls.len(), 9, "the tenth answer was too much");
    let recorded = warehouse.transcript(&vat(), flooded.position).unwrap().next().unwrap().unwrap().1;
    assert_eq!(recorded.syscalls, flooded.syscalls, "what is recorded is what is reported");
    let verified = warehouse.verify(&vat()).unwrap();
    assert!(verified.verdict.is_identical(), "{:?}", verified.verdict);
}

#[test]
fn growth_beyond_the_limit_is_refused_as_wasm_has_it() {
    // 65,536 pages are 4 GiB; the vat may have 16 pages.
    let body = r#"(local.set $n (memory.grow (i32.const 65535)))
                  (if (i32.ne (local.get $n) (i32.const -1)) (then (unreachable)))
                  (local.set $n (memory.grow (i32.const 16)))
                  (if (i32.ne (local.get $n) (i32.const -1)) (then (unreachable)))
                  (drop (memory.grow (i32.const 1)))
                  (i32.store (i32.const 40000) (i32.const 0)) (i32.const 0)"#;
    let mut scenario = Scenario::wat(&misbehaving(body), 30);
    scenario.options.memory_pages_max = 16;
    let trace = scenario.run(Host::ALL[0], |_| crate::scenario::Event::Evict);
    assert!(trace.deliveries.iter().all(|delivery| delivery.outcome == Outcome::Delivered));
    assert_eq!(trace.heap.len(), 16 << 16);
}

/// Refuses to subscribe.
struct Refusing;

impl SyscallHandler for Refusing {
    fn syscall(&mut self, syscall: &Syscall) -> SyscallVerdict {
        SyscallVerdict::Illegal(format!("{syscall} is not for this vat"))
    }
}

/// Gives up.
struct GivingUp;

impl SyscallHandler for GivingUp {
    fn syscall(&mut self, _syscall: &Syscall) -> SyscallVerdict {
        SyscallVerdict::Abandon("the host's disk is on fire".into())
    }
}

fn subscribing(dir: &std::path::Path) -> Warehouse {
    let warehouse = Warehouse::open(dir, WarehouseConfig::default()).unwrap();
    let body = "(drop (call $syscall (i32.const 100) (i32.const 20))) (i32.const 0)";
    warehouse.install("module", &wat::parse_str(misbehaving(body)).unwrap()).unwrap();
    let started = warehouse.create(
        &vat(),
        "module",
        VatOptions::default(),
        CapData::undefined(),
        0,
        Listener::default(),
    );
    started.0.unwrap();
    warehouse
}

#[test]
fn an_illegal_syscall_is_a_fault_and_replays_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = subscribing(dir.path());
    let (report, _) = warehouse.provide_blocking(&vat()).unwrap().deliver(message("m", "[]"), 1, Refusing);
    assert_eq!(report.unwrap().outcome, Outcome::Faulted(VatFault::IllegalSyscall));
    assert!(warehouse.verify(&vat()).unwrap().verdict.is_identical());
}

#[test]
fn a_host_error_leaves_no_trace_and_the_crank_can_be_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = subscribing(dir.path());
    let mut lease = warehouse.provide_blocking(&vat()).unwrap();
    let (abandoned, _) = lease.deliver(message("m", "[]"), 1, GivingUp);
    let error = abandoned.unwrap_err().to_string();
    assert!(error.contains("the host's disk is on fire"), "{error}");
    assert_eq!(lease.next_position().unwrap(), 1, "nothing was recorded");
    let (again, _) = lease.deliver(message("m", "[]"), 1, Listener::default());
    assert_eq!(again.unwrap().outcome, Outcome::Delivered);
    drop(lease);
    assert!(warehouse.verify(&vat()).unwrap().verdict.is_identical());
}

#[test]
fn a_vat_whose_start_faults_does_not_come_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(dir.path(), WarehouseConfig::default()).unwrap();
    let wat = r#"(module (memory (export "memory") 1)
                   (func (export "vat_deliver") (param i32) (result i32) (unreachable)))"#;
    warehouse.install("module", &wat::parse_str(wat).unwrap()).unwrap();
    let name: VatName = "stillborn".parse().unwrap();
    let (started, _) = warehouse.create(
        &name,
        "module",
        VatOptions::default(),
        CapData::undefined(),
        0,
        Listener::default(),
    );
    let error = started.unwrap_err().to_string();
    assert!(error.contains("stillborn") && error.contains("start faulted"), "{error}");
    assert!(warehouse.vat(&name).is_err());
    assert_eq!(warehouse.stats().resident_vats, 0);
}

#[test]
fn the_native_stack_never_ends_before_the_logical_one() {
    // Frames as lopsided as they get: many locals and live values, huge bodies, wide signatures, vectors.
    let wide = "(param i64) ".repeat(64);
    let many_locals = "v128 ".repeat(2_000);
    let body = "(local.set 0 (i64.add (i64.mul (local.get 0) (i64.const 31)) (i64.extend_i32_u (i32.load (i32.wrap_i64 (i64.and (local.get 0) (i64.const 4095)))))))".repeat(500);
    let pass = (0..64).map(|i| format!("(local.get {i})")).collect::<String>();
    for functions in [
        "(func $deep (call $deep))".to_owned(),
        format!("(func $deep {wide} (call $deep {pass})) "),
        format!("(func $deep (local {many_locals}) (call $deep))"),
        format!("(func $deep (param i64) {body} (call $deep (local.get 0)))"),
        "(func $deep (param f64) (result f64) (f64.add (call $deep (local.get 0)) (f64.mul (local.get 0) (call $deep (f64.const 1)))))".to_owned(),
    ] {
        let call = match functions.matches("(param").count() {
            0 => "(call $deep)".to_owned(),
            1 if functions.contains("f64") => "(drop (call $deep (f64.const 1)))".to_owned(),
            n => format!("(call $deep {})", "(i64.const 5)".repeat(n)),
        };
        let module = misbehaving(&format!("{call} (i32.const 0)"))
            .replace("(func $recurse", &format!("{functions} (func $recurse"));
        let scenario = Scenario::wat(&module, 1);
        let trace = scenario.run(Host::ALL[0], |_| crate::scenario::Event::Stay);
        assert_eq!(trace.deliveries[1].outcome, Outcome::Faulted(VatFault::StackOverflow), "{call}");
    }
}
