//! Whose heap a thread is touching, for the message that a SIGBUS leaves behind.
//!
//! A label per thread, set around a delivery for about ten nanoseconds. It is read by a signal handler on the
//! same thread, so it is plain bytes: nothing that is allocated, locked or made on first use.

use std::{cell::Cell, marker::PhantomData};

/// Longer labels are cut.
const LABEL_BYTES_MAX: usize = 200;

#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "read by the handler for SIGBUS only"))]
struct Label {
    bytes: [u8; LABEL_BYTES_MAX],
    len: usize,
}

thread_local! {
    static LABEL: Cell<Label> = const { Cell::new(Label { bytes: [0; LABEL_BYTES_MAX], len: 0 }) };
}

/// While it lives, a SIGBUS on this thread is reported with its label.
#[derive(Debug)]
#[must_use = "the label is in effect while this value lives"]
pub struct FaultContext {
    previous: Label,
    /// Belongs to its thread.
    _not_send: PhantomData<*const ()>,
}

impl FaultContext {
    /// Labels this thread, for instance with `vat counter-17`. Labels nest; at most 200 bytes are kept.
    pub fn enter(label: &str) -> FaultContext {
        let len = label.floor_char_boundary(LABEL_BYTES_MAX);
        let mut bytes = [0; LABEL_BYTES_MAX];
        bytes[..len].copy_from_slice(&label.as_bytes()[..len]);
        FaultContext { previous: LABEL.replace(Label { bytes, len }), _not_send: PhantomData }
    }

    /// Calls with this thread's label, if it has one. Safe in a signal handler: touches initialised
    /// thread-local bytes only.
    #[cfg(target_os = "linux")]
    pub(crate) fn with_current<R>(read: impl FnOnce(Option<&str>) -> R) -> R {
        let Label { bytes, len } = LABEL.get();
        let label = bytes.get(..len).and_then(|bytes| std::str::from_utf8(bytes).ok());
        read(label.filter(|label| !label.is_empty()))
    }
}

impl Drop for FaultContext {
    fn drop(&mut self) {
        LABEL.set(self.previous);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn current() -> String {
        FaultContext::with_current(|label| label.unwrap_or("none").to_owned())
    }

    #[test]
    fn labels_nest_and_are_cut_at_a_character() {
        assert_eq!(current(), "none");
        let outer = FaultContext::enter("vat outer");
        {
            let _inner = FaultContext::enter(&"ä".repeat(150));
            assert_eq!(current(), "ä".repeat(100));
        }
        assert_eq!(current(), "vat outer");
        drop(outer);
        assert_eq!(current(), "none");
    }
}
