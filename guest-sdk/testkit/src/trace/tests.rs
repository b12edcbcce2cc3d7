//! A trace differs from itself in nothing, and from one with any part changed in that part.

use vat_abi::{CapData, LogLevel, Syscall, SyscallResult, VatFault};

use super::*;

fn trace() -> Trace {
    let syscall = Syscall::VatstoreSet("count".to_owned(), "12".to_owned());
    let observed = Observed {
        outcome: Outcome::Delivered,
        computrons: Computrons(100),
        syscalls: vec![SyscallRecord { syscall, result: SyscallResult::Ok(None) }],
        logs: vec![LogLine { level: LogLevel::Info, text: "hello".to_owned() }],
    };
    let start = Delivery::StartVat(CapData::undefined());
    Trace {
        deliveries: vec![(start, observed.clone()), (Delivery::BringOutYourDead, observed)],
        state: State {
            heap: vec![0; 2 * PAGE_BYTES],
            globals: vec!["I32(1)".to_owned(), "I32(2)".to_owned()],
            storage: BTreeMap::from([("count".to_owned(), "12".to_owned())]),
        },
    }
}

/// A change, and what it should be found to be: position, aspect, the two sides.
type Case = (fn(&mut Trace), Option<usize>, Aspect, &'static str, &'static str);

#[test]
fn every_part_is_compared() {
    let same = trace();
    assert_eq!(same.difference(&trace()), None);
    let cases: [Case; 13] = [
        (
            |t| t.deliveries[1].1.outcome = Outcome::Faulted(VatFault::StackOverflow),
            Some(1),
            Aspect::Outcome,
            "ok",
            "fault: stack overflow",
        ),
        (
            |t| t.deliveries[0].0 = Delivery::BringOutYourDead,
            Some(0),
            Aspect::Delivery,
            "startVat #\"#undefined\"",
            "bringOutYourDead",
        ),
        (
            |t| t.deliveries[1].1.computrons = Computrons(101),
            Some(1),
            Aspect::Computrons,
            "100 computrons",
            "101 computrons",
        ),
        (
            |t| t.deliveries[1].1.syscalls[0].result = SyscallResult::Error("full".to_owned()),
            Some(1),
            Aspect::Syscall(0),
            "vatstoreSet 'count' '12' -> ok",
            "vatstoreSet 'count' '12' -> error 'full'",
        ),
        (
            |t| t.deliveries[0].1.syscalls.clear(),
            Some(0),
            Aspect::Syscall(0),
            "vatstoreSet 'count' '12' -> ok",
            "nothing",
        ),
        (|t| t.deliveries[0].1.logs.clear(), Some(0), Aspect::Log(0), "info: hello", "nothing"),
        (|t| drop(t.deliveries.pop()), None, Aspect::Length, "2", "1"),
        (|t| t.state.globals[1] = "I32(3)".to_owned(), None, Aspect::Global(1), "I32(2)", "I32(3)"),
        (|t| t.state.heap.push(0), None, Aspect::HeapSize, "8192", "8193"),
        (|t| t.state.heap[4097] = 255, None, Aspect::Heap { address: 4097, pages: 1 }, "0x00", "0xff"),
        (|t| t.state.heap.fill(1), None, Aspect::Heap { address: 0, pages: 2 }, "0x00", "0x01"),
        (
            |t| drop(t.state.storage.insert("added".to_owned(), "x".to_owned())),
            None,
            Aspect::Storage("added".to_owned()),
            "nothing",
            "x",
        ),
        (|t| t.state.storage.clear(), None, Aspect::Storage("count".to_owned()), "12", "nothing"),
    ];
    for (change, position, aspect, expected, got) in cases {
        let mut other = trace();
        change(&mut other);
        let found = same.difference(&other).unwrap_or_else(|| panic!("{aspect:?} was overlooked"));
        assert_eq!(
            (found.position, &found.aspect, found.expected.as_str(), found.got.as_str()),
            (position, &aspect, expected, got)
        );
    }
}

#[test]
fn a_difference_reads_well() {
    let mut other = trace();
    other.deliveries[1].1.computrons = Computrons(101);
    let difference = trace().difference(&other).unwrap();
    let expected = "in delivery 1, the computrons are not the same
  bringOutYourDead
    expected: 100 computrons
         got: 101 computrons";
    assert_eq!(difference.to_string(), expected);
}
