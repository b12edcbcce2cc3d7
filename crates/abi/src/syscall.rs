//! What a vat asks of its host in the middle of a delivery.
//!
//! In JSON an array whose first element is the tag, as SwingSet writes it. Every syscall is synchronous
//! for the vat, and is recorded with its result: a replay answers from the record.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::capdata::CapData;
use crate::codec::{Elements, decode, encode, encode_within, unknown};
use crate::decode::DecodeError;
use crate::elide::{Elided, ElidedList};
use crate::limits::{
    RESOLUTIONS_MAX, SYSCALL_BYTES_MAX, VATSTORE_KEY_BYTES_MAX, VATSTORE_VALUE_BYTES_MAX, VREFS_MAX,
};
use crate::message::{Message, Resolution};
use crate::violation::Violation;
use crate::vref::Vref;

/// One syscall.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Syscall {
    /// Sends a message to an object or a promise.
    Send {
        /// Who the message is for.
        target: Vref,
        /// The message.
        message: Message,
    },
    /// Asks to be notified when a promise ends.
    Subscribe(Vref),
    /// Ends promises that the vat decides.
    Resolve(Vec<Resolution>),
    /// Ends the vat after this delivery.
    Exit {
        /// Whether the vat failed: then this delivery's effects are undone.
        failure: bool,
        /// What others will hear.
        info: CapData,
    },
    /// Reads a value from the vat's storage.
    VatstoreGet(String),
    /// Writes a value to the vat's storage: the key, the value.
    VatstoreSet(String, String),
    /// Removes a key from the vat's storage.
    VatstoreDelete(String),
    /// Asks for the first key after this one, in the order of UTF-8 bytes. The empty text comes before all.
    VatstoreGetNextKey(String),
    /// The vat no longer reaches these imports.
    DropImports(Vec<Vref>),
    /// The vat no longer recognises these imports, which it has dropped.
    RetireImports(Vec<Vref>),
    /// These exports, which the kernel has dropped, are gone.
    RetireExports(Vec<Vref>),
    /// These exports are gone, although others may still reach them.
    AbandonExports(Vec<Vref>),
}

const WHAT: &str = "syscall";

impl Syscall {
    /// The tag that its JSON begins with.
    pub fn tag(&self) -> &'static str {
        match self {
            Syscall::Send { .. } => "send",
            Syscall::Subscribe(_) => "subscribe",
            Syscall::Resolve(_) => "resolve",
            Syscall::Exit { .. } => "exit",
            Syscall::VatstoreGet(_) => "vatstoreGet",
            Syscall::VatstoreSet(..) => "vatstoreSet",
            Syscall::VatstoreDelete(_) => "vatstoreDelete",
            Syscall::VatstoreGetNextKey(_) => "vatstoreGetNextKey",
            Syscall::DropImports(_) => "dropImports",
            Syscall::RetireImports(_) => "retireImports",
            Syscall::RetireExports(_) => "retireExports",
            Syscall::AbandonExports(_) => "abandonExports",
        }
    }

    /// Whether a vat may make it; its length in bytes aside.
    ///
    /// # Errors
    ///
    /// A list or text over its limit, an empty key, or a reference of a kind that cannot stand where it
    /// does.
    pub fn check(&self) -> Result<(), Violation> {
        match self {
            Syscall::Send { target, message } => {
                Violation::check_target(target)?;
                message.check()
            }
            Syscall::Subscribe(promise) => Violation::check_promise("what is subscribed to", promise),
            Syscall::Resolve(resolutions) => Resolution::check_all(resolutions),
            Syscall::Exit { info, .. } => info.check(),
            Syscall::VatstoreGet(key) | Syscall::VatstoreDelete(key) => check_key(key),
            Syscall::VatstoreSet(key, value) => {
                check_key(key)?;
                Violation::check_bytes("a value", value.len(), VATSTORE_VALUE_BYTES_MAX)
            }
            Syscall::VatstoreGetNextKey(prior) => {
                Violation::check_bytes("a key", prior.len(), VATSTORE_KEY_BYTES_MAX)
            }
            Syscall::DropImports(vrefs)
            | Syscall::RetireImports(vrefs)
            | Syscall::RetireExports(vrefs)
            | Syscall::AbandonExports(vrefs) => Violation::check_objects(vrefs),
        }
    }

    /// Its canonical JSON, whether or not a vat may make it.
    pub fn to_json(&self) -> String {
        encode(self)
    }

    /// Its canonical JSON, if a vat may make it: then [`Syscall::from_json`] reads it back.
    ///
    /// # Errors
    ///
    /// What [`Syscall::check`] refuses, or more than [`SYSCALL_BYTES_MAX`] bytes.
    pub fn try_to_json(&self) -> Result<String, Violation> {
        self.check()?;
        encode_within(WHAT, SYSCALL_BYTES_MAX, self)
    }

    /// Reads a syscall. Bytes that fail here are the fault `bad-syscall-bytes`.
    ///
    /// # Errors
    ///
    /// Anything but one syscall within the limits.
    pub fn from_json(bytes: &[u8]) -> Result<Syscall, DecodeError> {
        decode(WHAT, SYSCALL_BYTES_MAX, bytes)
    }
}

/// A stored key is not empty: the iteration by [`Syscall::VatstoreGetNextKey`] would never come by it.
fn check_key(key: &str) -> Result<(), Violation> {
    if key.is_empty() {
        return Err(Violation::Empty { what: "a key" });
    }
    Violation::check_bytes("a key", key.len(), VATSTORE_KEY_BYTES_MAX)
}

impl fmt::Display for Syscall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())?;
        match self {
            Syscall::Send { target, message } => write!(f, " {target} {message}"),
            Syscall::Subscribe(promise) => write!(f, " {promise}"),
            Syscall::Resolve(resolutions) => write!(f, " {}", ElidedList(resolutions, ", ")),
            Syscall::Exit { failure: true, info } => write!(f, " failure {info}"),
            Syscall::Exit { failure: false, info } => write!(f, " success {info}"),
            Syscall::VatstoreGet(key) | Syscall::VatstoreDelete(key) | Syscall::VatstoreGetNextKey(key) => {
                write!(f, " '{}'", Elided(key))
            }
            Syscall::VatstoreSet(key, value) => write!(f, " '{}' '{}'", Elided(key), Elided(value)),
            Syscall::DropImports(vrefs)
            | Syscall::RetireImports(vrefs)
            | Syscall::RetireExports(vrefs)
            | Syscall::AbandonExports(vrefs) => write!(f, " {}", ElidedList(vrefs, " ")),
        }
    }
}

impl Serialize for Syscall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tag = self.tag();
        match self {
            Syscall::Send { target, message } => (tag, target, message).serialize(serializer),
            Syscall::Subscribe(promise) => (tag, promise).serialize(serializer),
            Syscall::Resolve(resolutions) => (tag, resolutions).serialize(serializer),
            Syscall::Exit { failure, info } => (tag, failure, info).serialize(serializer),
            Syscall::VatstoreGet(key) | Syscall::VatstoreDelete(key) | Syscall::VatstoreGetNextKey(key) => {
                (tag, key).serialize(serializer)
            }
            Syscall::VatstoreSet(key, value) => (tag, key, value).serialize(serializer),
            Syscall::DropImports(vrefs)
            | Syscall::RetireImports(vrefs)
            | Syscall::RetireExports(vrefs)
            | Syscall::AbandonExports(vrefs) => (tag, vrefs).serialize(serializer),
        }
    }
}

const TAGS: &[&str] = &[
    "send",
    "subscribe",
    "resolve",
    "exit",
    "vatstoreGet",
    "vatstoreSet",
    "vatstoreDelete",
    "vatstoreGetNextKey",
    "dropImports",
    "retireImports",
    "retireExports",
    "abandonExports",
];

impl<'de> Deserialize<'de> for Syscall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Syscall, D::Error> {
        deserializer.deserialize_seq(SyscallVisitor)
    }
}

struct SyscallVisitor;

impl<'de> Visitor<'de> for SyscallVisitor {
    type Value = Syscall;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a syscall: an array that begins with its tag")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Syscall, A::Error> {
        let mut elements = Elements(seq);
        let tag = elements.tag(TAGS)?;
        let syscall = read_arguments(tag, &mut elements)?;
        elements.end()?;
        syscall.check().map_err(A::Error::custom)?;
        Ok(syscall)
    }
}

fn read_arguments<'de, A: SeqAccess<'de>>(
    tag: &str,
    elements: &mut Elements<A>,
) -> Result<Syscall, A::Error> {
    match tag {
        "send" => {
            Ok(Syscall::Send { target: elements.next("the target")?, message: elements.next("the message")? })
        }
        "subscribe" => elements.next("the promise").map(Syscall::Subscribe),
        "resolve" => elements.list::<_, RESOLUTIONS_MAX>("the list of resolutions").map(Syscall::Resolve),
        "exit" => Ok(Syscall::Exit {
            failure: elements.next("whether the exit is a failure")?,
            info: elements.next("the exit's data")?,
        }),
        "vatstoreGet" => elements.next("the key").map(Syscall::VatstoreGet),
        "vatstoreSet" => Ok(Syscall::VatstoreSet(elements.next("the key")?, elements.next("the value")?)),
        "vatstoreDelete" => elements.next("the key").map(Syscall::VatstoreDelete),
        "vatstoreGetNextKey" => elements.next("the prior key").map(Syscall::VatstoreGetNextKey),
        "dropImports" => vrefs(elements).map(Syscall::DropImports),
        "retireImports" => vrefs(elements).map(Syscall::RetireImports),
        "retireExports" => vrefs(elements).map(Syscall::RetireExports),
        "abandonExports" => vrefs(elements).map(Syscall::AbandonExports),
        _ => Err(unknown(tag, TAGS)),
    }
}

fn vrefs<'de, A: SeqAccess<'de>>(elements: &mut Elements<A>) -> Result<Vec<Vref>, A::Error> {
    elements.list::<_, VREFS_MAX>("the list of references")
}
