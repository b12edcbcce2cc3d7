//! Canaries: vats that are made to differ, which the comparison has to find and to name.

use super::*;
use crate::trace::Aspect;

/// Counts deliveries in a global, and marks a byte of its heap in delivery `marked`; nothing else tells.
fn counting(marked: u32) -> Scenario {
    let module = format!(
        "(module
           (memory (export \"memory\") 1)
           (global $count (mut i32) (i32.const 0))
           (func (export \"vat_deliver\") (param i32) (result i32)
             (i32.store8 (i32.const 8192)
               (i32.or (i32.load8_u (i32.const 8192)) (i32.eq (global.get $count) (i32.const {marked}))))
             (global.set $count (i32.add (global.get $count) (i32.const 1)))
             (i32.const 0)))"
    );
    Scenario::of(Subject::wasm(module)).calls("m", (0..5).map(|n| (n,)))
}

#[test]
fn the_same_vat_is_found_to_be_the_same() {
    counting(3).assert_deterministic();
}

#[test]
fn one_byte_of_heap_that_nothing_else_tells_of_is_found_and_so_is_the_delivery() {
    let (one, other) = (counting(1_000), counting(3));
    let steady = one.run().unwrap();
    for schedule in DISTURBED {
        let error = one.compare(&steady, &other, schedule).expect_err(schedule.name);
        let difference = error.difference().unwrap_or_else(|| panic!("{error}"));
        assert_eq!(difference.aspect, Aspect::Heap { address: 8192, pages: 1 });
        assert_eq!(difference.position, Some(3), "{}", schedule.name);
        assert!(difference.delivery.as_ref().unwrap().contains("#[\"m\",[2]]"), "{difference}");
        assert!(error.to_string().starts_with(schedule.name), "{error}");
    }
}

#[test]
fn a_schedule_that_makes_a_delivery_too_many_is_found() {
    let (one, other) = (counting(1_000), counting(1_000).call("m", (5,)));
    let error = one.compare(&one.run().unwrap(), &other, &STEADY).unwrap_err();
    assert_eq!(error.difference().unwrap().aspect, Aspect::Length);
}
