//! One delivery as it is remembered: what was said, what the vat asked and heard, how it ended, what it
//! cost.
//!
//! ```text
//!   {"d":delivery,"t":time,"sc":[{"s":syscall,"r":result},…],"r":{"status":outcome,"computrons":n}}
//! ```
//!
//! SwingSet's shape, with the crank's time beside it. The entry holds all that can influence a vat in a
//! delivery, so a replay needs nothing else. Where an entry stands (vat, incarnation, position) is the
//! storage's knowledge, not the entry's.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeStruct as _, Serializer};
use serde::{Deserialize, Serialize};

use crate::codec::{Bounded, Fields, decode, encode, encode_within, required};
use crate::decode::DecodeError;
use crate::delivery::Delivery;
use crate::limits::{ENTRY_BYTES_MAX, SYSCALLS_PER_DELIVERY_MAX};
use crate::outcome::{Computrons, Outcome};
use crate::syscall::Syscall;
use crate::syscall_result::SyscallResult;
use crate::violation::Violation;

/// One delivery, as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptEntry {
    /// What the vat was told.
    pub delivery: Delivery,
    /// The crank's time in nanoseconds since the Unix epoch: what a WASI clock shows during the delivery.
    pub time_ns: u64,
    /// What the vat asked, in order; also what a delivery asked that failed in the end.
    pub syscalls: Vec<SyscallRecord>,
    /// How the delivery ended.
    pub outcome: Outcome,
    /// What the delivery cost.
    pub computrons: Computrons,
}

/// One syscall and its result, as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyscallRecord {
    /// What the vat asked.
    pub syscall: Syscall,
    /// What it heard back.
    pub result: SyscallResult,
}

pub(crate) const WHAT: &str = "transcript entry";

impl TranscriptEntry {
    /// Whether it can be recorded; its length in bytes aside.
    ///
    /// # Errors
    ///
    /// A rule broken by any of its parts.
    pub fn check(&self) -> Result<(), Violation> {
        Violation::check_count("syscalls", self.syscalls.len(), SYSCALLS_PER_DELIVERY_MAX)?;
        self.delivery.check()?;
        self.syscalls.iter().try_for_each(|record| record.syscall.check())?;
        self.outcome.check()
    }

    /// Its canonical JSON, whether or not it can be read back.
    pub fn to_json(&self) -> String {
        encode(self)
    }

    /// Its canonical JSON, if it can be recorded: then [`TranscriptEntry::from_json`] reads it back.
    ///
    /// # Errors
    ///
    /// What [`TranscriptEntry::check`] refuses, or more than [`ENTRY_BYTES_MAX`] bytes.
    pub fn try_to_json(&self) -> Result<String, Violation> {
        self.check()?;
        encode_within(WHAT, ENTRY_BYTES_MAX, self)
    }

    /// Reads a transcript entry.
    ///
    /// # Errors
    ///
    /// Anything but one transcript entry within the limits.
    pub fn from_json(bytes: &[u8]) -> Result<TranscriptEntry, DecodeError> {
        decode(WHAT, ENTRY_BYTES_MAX, bytes)
    }

    /// Reads a transcript entry that must be written as this crate writes it: a vat hears the bytes of a recorded result, and
    /// is charged for them.
    ///
    /// # Errors
    ///
    /// As [`TranscriptEntry::from_json`], and the same value written otherwise.
    pub fn from_canonical_json(bytes: &[u8]) -> Result<TranscriptEntry, DecodeError> {
        let entry = TranscriptEntry::from_json(bytes)?;
        if entry.to_json().as_bytes() != bytes {
            return Err(DecodeError::new(WHAT, &"it is not canonical JSON"));
        }
        Ok(entry)
    }
}

/// The delivery, each syscall below it, the end:
///
/// ```text
/// message o+0 #["increment",[2]] result p-60
///   vatstoreGet 'count' -> ok '1'
///   resolve p-60 fulfilled #3 -> ok
///   = ok, 1234 computrons, at 1700000000.000000000
/// ```
impl fmt::Display for TranscriptEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.delivery)?;
        self.syscalls.iter().try_for_each(|record| writeln!(f, "  {record}"))?;
        let (seconds, nanoseconds) = (self.time_ns / 1_000_000_000, self.time_ns % 1_000_000_000);
        write!(f, "  = {}, {}, at {seconds}.{nanoseconds:09}", self.outcome, self.computrons)
    }
}

impl fmt::Display for SyscallRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.syscall, self.result)
    }
}

impl Serialize for TranscriptEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_struct("TranscriptEntry", 4)?;
        entry.serialize_field("d", &self.delivery)?;
        entry.serialize_field("t", &self.time_ns)?;
        entry.serialize_field("sc", &self.syscalls)?;
        entry.serialize_field("r", &Ending { status: &self.outcome, computrons: self.computrons })?;
        entry.end()
    }
}

/// The field `r`, on its way out and on its way in.
#[derive(Serialize)]
pub(crate) struct Ending<O> {
    pub(crate) status: O,
    pub(crate) computrons: Computrons,
}

impl Serialize for SyscallRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_struct("SyscallRecord", 2)?;
        record.serialize_field("s", &self.syscall)?;
        record.serialize_field("r", &self.result)?;
        record.end()
    }
}

const ENTRY_FIELDS: &[&str] = &["d", "t", "sc", "r"];
const ENDING_FIELDS: &[&str] = &["status", "computrons"];
const RECORD_FIELDS: &[&str] = &["s", "r"];

impl<'de> Deserialize<'de> for TranscriptEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TranscriptEntry, D::Error> {
        deserializer.deserialize_map(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = TranscriptEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a transcript entry: an object with d, t, sc and r")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TranscriptEntry, A::Error> {
        let (mut delivery, mut time_ns, mut syscalls, mut ending) = (None, None, None, None);
        let mut fields = Fields(map);
        while let Some(name) = fields.name(ENTRY_FIELDS)? {
            match name {
                "d" => fields.fill(&mut delivery, name)?,
                "t" => fields.fill(&mut time_ns, name)?,
                "sc" => fields.fill(&mut syscalls, name)?,
                _ => fields.fill(&mut ending, name)?,
            }
        }
        let syscalls: Bounded<SyscallRecord, SYSCALLS_PER_DELIVERY_MAX> = required(syscalls, "sc")?;
        let ending: Ending<Outcome> = required(ending, "r")?;
        Ok(TranscriptEntry {
            delivery: required(delivery, "d")?,
            time_ns: required(time_ns, "t")?,
            syscalls: syscalls.0,
            outcome: ending.status,
            computrons: ending.computrons,
        })
    }
}

impl<'de> Deserialize<'de> for Ending<Outcome> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ending<Outcome>, D::Error> {
        deserializer.deserialize_map(EndingVisitor)
    }
}

struct EndingVisitor;

impl<'de> Visitor<'de> for EndingVisitor {
    type Value = Ending<Outcome>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("how a delivery ended: an object with status and computrons")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Ending<Outcome>, A::Error> {
        let (mut status, mut computrons) = (None, None);
        let mut fields = Fields(map);
        while let Some(name) = fields.name(ENDING_FIELDS)? {
            match name {
                "status" => fields.fill(&mut status, name)?,
                _ => fields.fill(&mut computrons, name)?,
            }
        }
        Ok(Ending { status: required(status, "status")?, computrons: required(computrons, "computrons")? })
    }
}

impl<'de> Deserialize<'de> for SyscallRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SyscallRecord, D::Error> {
        deserializer.deserialize_map(RecordVisitor)
    }
}

struct RecordVisitor;

impl<'de> Visitor<'de> for RecordVisitor {
    type Value = SyscallRecord;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a recorded syscall: an object with s and r")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SyscallRecord, A::Error> {
        let (mut syscall, mut result) = (None, None);
        let mut fields = Fields(map);
        while let Some(name) = fields.name(RECORD_FIELDS)? {
            match name {
                "s" => fields.fill(&mut syscall, name)?,
                _ => fields.fill(&mut result, name)?,
            }
        }
        Ok(SyscallRecord { syscall: required(syscall, "s")?, result: required(result, "r")? })
    }
}
