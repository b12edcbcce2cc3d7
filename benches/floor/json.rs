//! The JSON of a delivery and of a syscall, by serde_json alone.

use anyhow::Result;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct CapData {
    body: String,
    slots: Vec<String>,
}

#[derive(Serialize)]
struct Message<'a> {
    methargs: &'a CapData,
    result: &'a str,
}

/// The delivery of a message with this body.
pub(crate) fn encode_message(body: String) -> Result<Vec<u8>> {
    let methargs = CapData { body, slots: Vec::new() };
    Ok(serde_json::to_vec(&("message", "o+0", Message { methargs: &methargs, result: "p-60" }))?)
}

/// Decodes a `resolve` or a `vatstoreSet`.
pub(crate) fn decode_syscall(json: &[u8]) -> serde_json::Result<()> {
    if json.starts_with(br#"["resolve""#) {
        let resolve: (String, Vec<(String, bool, CapData)>) = serde_json::from_slice(json)?;
        std::hint::black_box(resolve);
    } else {
        let set: (String, String, String) = serde_json::from_slice(json)?;
        std::hint::black_box(set);
    }
    Ok(())
}
