//! A counter in the bare ABI: no SDK, no standard library, no allocator, no JSON library.
//!
//! It shows what a vat is to the host, and what porting a vat to another language takes: five imports, two
//! exports, and reading and writing a little JSON. What it needs of JSON is in `scan`; the calls are in
//! `abi`.
//!
//! ```text
//!   ["message","o+0",{"methargs":{"body":"#[\"add\",[5]]","slots":[]},"result":"p-60"}]
//!        │                                     │     │                          │
//!        │ other tags: nothing to do           └ add / peek                     └ absent: nobody waits
//!        ▼
//!   ["resolve",[["p-60",false,{"body":"#5","slots":[]}]]]
//! ```
//!
//! Its state is one number. What a caller gets wrong rejects the caller's promise; a delivery that it cannot
//! read, or that is longer than its buffer, fails.

#![cfg_attr(target_family = "wasm", no_std)]

#[cfg(target_family = "wasm")]
mod abi;
mod message;
mod scan;

use core::sync::atomic::{AtomicU64, Ordering};
use message::{Answer, Delivery, Message};

/// The state. An atomic because a static that changes must be one; a vat has one thread.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// The longest delivery that is understood. Everything this vat is for fits ten times.
pub const DELIVERY_BYTES_MAX: usize = 4_096;

/// Handles one delivery. The answer, where there is one, is a syscall to make.
///
/// # Errors
/// Why the delivery fails.
pub fn deliver(delivery: &[u8]) -> Result<Option<Answer>, &'static str> {
    match Delivery::read(delivery).ok_or("the delivery cannot be read")? {
        Delivery::Message(message) => Ok(react(&message)),
        Delivery::Other => Ok(None),
    }
}

fn react(message: &Message<'_>) -> Option<Answer> {
    let outcome = match (message.method(), message.argument()) {
        (Some(b"peek"), None) => Ok(COUNT.load(Ordering::Relaxed)),
        (Some(b"add"), Some(by)) => add(by),
        (Some(b"add" | b"peek"), _) => Err("add takes one number below 2^53, peek takes none"),
        _ => Err("there are two methods: add and peek"),
    };
    message.result.map(|promise| Answer::write(promise, outcome))
}

fn add(by: u64) -> Result<u64, &'static str> {
    let count =
        COUNT.load(Ordering::Relaxed).checked_add(by).filter(|count| *count <= scan::SAFE_INTEGER_MAX);
    let count = count.ok_or("the count would leave what a JavaScript number can hold")?;
    COUNT.store(count, Ordering::Relaxed);
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::deliver;

    fn send(body: &str) -> String {
        let body = body.replace('"', "\\\"");
        let delivery = format!(
            "[\"message\",\"o+0\",{{\"methargs\":{{\"body\":\"{body}\",\"slots\":[]}},\"result\":\"p-60\"}}]"
        );
        let answer = deliver(delivery.as_bytes()).unwrap().expect("a message with a result is answered");
        String::from_utf8(answer.as_bytes().to_vec()).unwrap()
    }

    fn fulfilled(body: &str) -> String {
        format!("[\"resolve\",[[\"p-60\",false,{{\"body\":\"{body}\",\"slots\":[]}}]]]")
    }

    #[test]
    fn it_counts_and_rejects_what_it_does_not_understand() {
        assert_eq!(send("#[\"add\",[5]]"), fulfilled("#5"));
        assert_eq!(send("#[\"add\",[2]]"), fulfilled("#7"));
        let wrong = [
            "#[\"add\",[]]",
            "#[\"add\",[-1]]",
            "#[\"add\",[1,2]]",
            "#[\"add\",[\"1\"]]",
            "#[\"add\",[1.5]]",
            "#[\"add\",[9007199254740991]]",
            "#[\"peek\",[1]]",
            "#[\"other\",[]]",
            "nonsense",
            "",
        ];
        for body in wrong {
            let answer = send(body);
            assert!(
                answer.starts_with("[\"resolve\",[[\"p-60\",true,{\"body\":\"#{\\\"#error\\\":"),
                "{body}: {answer}"
            );
        }
        assert_eq!(send("#[\"peek\",[]]"), fulfilled("#7"));
    }

    #[test]
    fn fields_may_come_in_any_order_and_nobody_may_wait() {
        // It must not write: the count is another test's, too.
        let other_order =
            br##"["message","o+0",{"result":null,"methargs":{"slots":["o-1"],"body":"#[\"peek\",[]]"}}]"##;
        assert!(deliver(other_order).unwrap().is_none());
    }

    #[test]
    fn other_deliveries_need_nothing_and_nonsense_fails() {
        for delivery in ["[\"startVat\",{\"body\":\"#{}\",\"slots\":[]}]", "[\"bringOutYourDead\"]"] {
            assert!(deliver(delivery.as_bytes()).unwrap().is_none(), "{delivery}");
        }
        for delivery in [
            "",
            "[",
            "[]",
            "{}",
            "[\"message\"",
            "[\"message\",\"o+0\",{\"methargs\":{}}]",
            "[\"mess\\u0061ge\"]",
        ] {
            assert!(deliver(delivery.as_bytes()).is_err(), "{delivery}");
        }
    }
}
