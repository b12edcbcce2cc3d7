//! Tells the host why the vat panics.
//!
//! `panicked at src/lib.rs:12: the message`: the file as the compiler was given it (build with remapped
//! paths, as `vat-sdk-build` does, and it is the same everywhere), no column, no backtrace, nothing that
//! depends on the host. After the hook Rust aborts, which is a wasm trap, and the host records the message
//! instead of the bare trap.

#[cfg(target_family = "wasm")]
pub(crate) fn report_to_host() {
    use std::sync::Once;
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| std::panic::set_hook(Box::new(|info| crate::host::fail(&describe(info)))));
}

/// A native panic has a reporter already.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn report_to_host() {}

#[cfg(any(test, target_family = "wasm"))]
fn describe(info: &std::panic::PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("a value that is no text");
    match info.location() {
        Some(place) => format!("panicked at {}:{}: {message}", place.file().replace('\\', "/"), place.line()),
        None => format!("panicked: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    #[test]
    fn a_panic_is_described_by_file_line_and_message() {
        let heard = Arc::new(Mutex::new(String::new()));
        let ear = Arc::clone(&heard);
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| *ear.lock().unwrap() = super::describe(info)));
        let line = line!() + 1;
        let result = std::panic::catch_unwind(|| panic!("the answer is {}", 42));
        std::panic::set_hook(usual);
        assert!(result.is_err());
        assert_eq!(*heard.lock().unwrap(), format!("panicked at {}:{line}: the answer is 42", file!()));
    }
}
