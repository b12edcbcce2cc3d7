//! The vat's own storage: texts under text keys, kept by the host outside the heap.
//!
//! It survives what the heap does not, an upgrade of the vat's code, and it is where bulk data belongs that
//! is seldom read. Each call is a recorded syscall; the heap is much faster. What a delivery wrote takes
//! effect with the delivery, or not at all.
//!
//! Keys are ordered by their UTF-8 bytes; their length and the values' is limited by [`vat_abi::limits`].
//! Breaking a limit, or using the empty key, fails the delivery, and so does a host that reports an error.

use crate::{Result, syscall};
use serde::Serialize;
use serde::de::DeserializeOwned;
use vat_abi::Syscall;

/// Storage is the host's duty: an error is nothing that a vat could handle.
fn access(syscall: &Syscall) -> Option<String> {
    syscall::make(syscall).unwrap_or_else(|error| panic!("{error}"))
}

/// Reads a value.
pub fn get(key: &str) -> Option<String> {
    access(&Syscall::VatstoreGet(key.to_owned()))
}

/// Writes a value.
pub fn set(key: &str, value: &str) {
    access(&Syscall::VatstoreSet(key.to_owned(), value.to_owned()));
}

/// Removes a key, if it is there.
pub fn delete(key: &str) {
    access(&Syscall::VatstoreDelete(key.to_owned()));
}

/// Finds the first key after `prior`, which need not exist.
pub fn next_key(prior: &str) -> Option<String> {
    access(&Syscall::VatstoreGetNextKey(prior.to_owned()))
}

/// Reads a value that [`set_json`] wrote.
///
/// # Errors
/// The text under this key is not a `T` in JSON.
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<T>> {
    get(key).map(|text| Ok(serde_json::from_str(&text)?)).transpose()
}

/// Writes a value as JSON.
///
/// # Errors
/// JSON cannot express it, for instance a map whose keys are not texts.
pub fn set_json<T: Serialize>(key: &str, value: &T) -> Result<()> {
    set(key, &serde_json::to_string(value)?);
    Ok(())
}

/// The keys that begin with `prefix`, in their order. Each step is a syscall, and sees what was written
/// before it.
pub fn keys(prefix: &str) -> impl Iterator<Item = String> {
    let prefix = prefix.to_owned();
    let is_first = |key: &String| !key.is_empty() && get(key).is_some();
    let first = Some(prefix.clone()).filter(is_first).or_else(|| next_key(&prefix));
    std::iter::successors(first, |key| next_key(key)).take_while(move |key| key.starts_with(&prefix))
}

#[cfg(test)]
mod tests {
    use super::{delete, get, get_json, keys, next_key, set, set_json};

    #[test]
    fn keys_lists_a_prefix_in_byte_order() {
        for key in ["b", "a.2", "a.10", "a", "a.1", "aa"] {
            set(key, "value");
        }
        let cases: [(&str, &[&str]); 5] = [
            ("a.", &["a.1", "a.10", "a.2"]),
            ("a", &["a", "a.1", "a.10", "a.2", "aa"]),
            ("a.1", &["a.1", "a.10"]),
            ("", &["a", "a.1", "a.10", "a.2", "aa", "b"]),
            ("c", &[]),
        ];
        for (prefix, expected) in cases {
            assert_eq!(keys(prefix).collect::<Vec<_>>(), expected, "{prefix:?}");
        }
    }

    #[test]
    fn a_deleted_key_is_gone() {
        set("key", "value");
        assert_eq!(get("key").as_deref(), Some("value"));
        delete("key");
        assert_eq!(get("key"), None);
        assert_eq!(next_key(""), None);
    }

    #[test]
    fn typed_values_come_back_or_say_why_not() {
        set_json("pair", &(1, "two")).unwrap();
        assert_eq!(get_json::<(u8, String)>("pair").unwrap(), Some((1, "two".to_owned())));
        assert_eq!(get_json::<u8>("absent").unwrap(), None);
        assert!(get_json::<u8>("pair").unwrap_err().message().contains("expected u8"));
    }
}
