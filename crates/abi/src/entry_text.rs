//! A transcript entry as text: written while its delivery runs, and read back as its parts without decoding them.
//!
//! ```text
//!   {"d":["message",…],"t":0,"sc":[{"s":["resolve",…],"r":["ok",null]}],"r":{"status":["ok"],"computrons":4}}
//!        └ the vat reads ─┘                               └ its reply ┘
//!   └── begin ────────────────────┘└── push, for each syscall ────────┘└── end ───────────────────────────┘
//! ```
//!
//! One buffer is all that a delivery needs of JSON: what the vat is told is read from where it is recorded. The text is the
//! canonical JSON of the [`TranscriptEntry`](crate::TranscriptEntry) with the same parts, byte for byte.
//!
//! Reading takes the parts as they stand. It does not say that each is what it should be: that is for
//! [`TranscriptEntry::from_json`](crate::TranscriptEntry::from_json), and for bytes of a stranger.

use alloc::vec::Vec;
use core::ops::Range;

use serde::Serialize;

use crate::decode::DecodeError;
use crate::delivery::Delivery;
use crate::limits::{DELIVERY_BYTES_MAX, ENTRY_BYTES_MAX, RESULT_BYTES_MAX};
use crate::outcome::{Computrons, Outcome};
use crate::syscall::Syscall;
use crate::syscall_result::SyscallResult;
use crate::transcript::{Ending, WHAT};
use crate::violation::Violation;

/// Room for most entries: a message, an answer or two.
const USUAL_BYTES: usize = 512;

const DELIVERY: &[u8] = br#"{"d":"#;
const TIME: &[u8] = br#","t":"#;
const SYSCALLS: &[u8] = br#","sc":["#;
const SYSCALL: &[u8] = br#"{"s":"#;
const RESULT: &[u8] = br#","r":"#;
const ENDING: &[u8] = br#"],"r":"#;

/// An entry that is being written.
#[derive(Clone, Debug)]
pub struct EntryText {
    text: Vec<u8>,
    delivery: Range<usize>,
    reply: Range<usize>,
    /// Where the newest syscall's part begins.
    newest: usize,
}

impl EntryText {
    /// The entry of a delivery that begins.
    ///
    /// # Errors
    ///
    /// What [`Delivery::check`] refuses, or a delivery of more than [`DELIVERY_BYTES_MAX`] bytes.
    pub fn begin(delivery: &Delivery, time_ns: u64) -> Result<EntryText, Violation> {
        delivery.check()?;
        let mut text = Vec::with_capacity(USUAL_BYTES);
        text.extend_from_slice(DELIVERY);
        let delivery = write(&mut text, delivery);
        Violation::check_bytes("delivery", delivery.len(), DELIVERY_BYTES_MAX)?;
        text.extend_from_slice(TIME);
        write(&mut text, &time_ns);
        text.extend_from_slice(SYSCALLS);
        let newest = text.len();
        Ok(EntryText { text, delivery, reply: 0..0, newest })
    }

    /// JSON of the delivery.
    pub fn delivery(&self) -> &[u8] {
        &self.text[self.delivery.clone()]
    }

    /// JSON of the newest syscall's result; empty before the first.
    pub fn reply(&self) -> &[u8] {
        &self.text[self.reply.clone()]
    }

    /// Adds a syscall that was checked, with its result.
    ///
    /// # Errors
    ///
    /// A result of more than [`RESULT_BYTES_MAX`] bytes; nothing was added then.
    pub fn push(&mut self, syscall: &Syscall, result: &SyscallResult) -> Result<(), Violation> {
        self.newest = self.text.len();
        if self.text.last() == Some(&b'}') {
            self.text.push(b',');
        }
        self.text.extend_from_slice(SYSCALL);
        write(&mut self.text, syscall);
        self.text.extend_from_slice(RESULT);
        self.reply = write(&mut self.text, result);
        self.text.push(b'}');
        let checked = Violation::check_bytes("syscall result", self.reply.len(), RESULT_BYTES_MAX);
        checked.inspect_err(|_| self.pop())
    }

    /// Takes the newest syscall back.
    pub fn pop(&mut self) {
        self.text.truncate(self.newest);
        self.reply = 0..0;
    }

    /// The whole entry.
    ///
    /// # Errors
    ///
    /// What [`Outcome::check`] refuses, or more than [`ENTRY_BYTES_MAX`] bytes.
    pub fn end(mut self, outcome: &Outcome, computrons: Computrons) -> Result<Vec<u8>, Violation> {
        outcome.check()?;
        self.text.extend_from_slice(ENDING);
        write(&mut self.text, &Ending { status: outcome, computrons });
        self.text.push(b'}');
        Violation::check_bytes(WHAT, self.text.len(), ENTRY_BYTES_MAX)?;
        Ok(self.text)
    }
}

/// Where the value's canonical JSON now stands.
fn write(text: &mut Vec<u8>, value: &impl Serialize) -> Range<usize> {
    let start = text.len();
    serde_json::to_writer(&mut *text, value)
        .expect("the ABI's values have no fallible parts, and memory takes all");
    start..text.len()
}

/// An entry that was written by [`EntryText`], and where its parts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEntry {
    text: Vec<u8>,
    delivery: Range<usize>,
    /// What the vat was answered begins where its question ends, after [`RESULT`].
    syscalls: Vec<(Range<usize>, Range<usize>)>,
    time_ns: u64,
    outcome: Outcome,
    computrons: Computrons,
}

impl RecordedEntry {
    /// Finds the parts of an entry.
    ///
    /// # Errors
    ///
    /// Any other arrangement than that of canonical JSON, and more bytes than [`ENTRY_BYTES_MAX`] or [`DELIVERY_BYTES_MAX`].
    pub fn read(text: Vec<u8>) -> Result<RecordedEntry, DecodeError> {
        let check = |what, bytes: usize, bytes_max| {
            Violation::check_bytes(what, bytes, bytes_max).map_err(|why| DecodeError::new(WHAT, &why))
        };
        check(WHAT, text.len(), ENTRY_BYTES_MAX)?;
        let mut reader = Reader { text: &text, at: 0 };
        let mut syscalls = Vec::new();
        let parts = (|| {
            reader.skip(DELIVERY)?;
            let delivery = reader.array()?;
            reader.skip(TIME)?;
            let time_ns = reader.number()?;
            reader.skip(SYSCALLS)?;
            while !reader.text[reader.at..].starts_with(ENDING) {
                if !syscalls.is_empty() {
                    reader.skip(b",")?;
                }
                reader.skip(SYSCALL)?;
                let syscall = reader.array()?;
                reader.skip(RESULT)?;
                syscalls.push((syscall, reader.array()?));
                reader.skip(b"}")?;
            }
            reader.skip(ENDING)?;
            let ending = text[reader.at..].strip_suffix(b"}")?;
            Some((delivery, time_ns, ending))
        })();
        let (delivery, time_ns, ending) = parts.ok_or_else(|| {
            DecodeError::new(WHAT, &alloc::format!("it is not arranged as one, from byte {}", reader.at))
        })?;
        check("delivery", delivery.len(), DELIVERY_BYTES_MAX)?;
        let Ending { status, computrons } =
            serde_json::from_slice::<Ending<Outcome>>(ending).map_err(|why| DecodeError::new(WHAT, &why))?;
        Ok(RecordedEntry { delivery, syscalls, time_ns, outcome: status, computrons, text })
    }

    /// JSON of the delivery.
    pub fn delivery(&self) -> &[u8] {
        &self.text[self.delivery.clone()]
    }

    /// The crank's time in nanoseconds since the Unix epoch.
    pub fn time_ns(&self) -> u64 {
        self.time_ns
    }

    /// JSON of the syscall at this index.
    pub fn syscall(&self, index: usize) -> Option<&[u8]> {
        self.syscalls.get(index).map(|(syscall, _)| &self.text[syscall.clone()])
    }

    /// JSON of the result of the syscall at this index.
    pub fn result(&self, index: usize) -> Option<&[u8]> {
        self.syscalls.get(index).map(|(_, result)| &self.text[result.clone()])
    }

    /// How the delivery ended.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// What the delivery cost.
    pub fn computrons(&self) -> Computrons {
        self.computrons
    }

    /// All of it.
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}

/// Goes through a text of known arrangement.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn skip(&mut self, expected: &[u8]) -> Option<()> {
        let there = self.text[self.at..].starts_with(expected);
        there.then(|| self.at += expected.len())
    }

    /// Digits, of a number that fits.
    fn number(&mut self) -> Option<u64> {
        let rest = &self.text[self.at..];
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        self.at += digits;
        core::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
    }

    /// One array, to its closing bracket. Every value here is one: a tag and its arguments.
    fn array(&mut self) -> Option<Range<usize>> {
        let (start, mut depth, mut in_text) = (self.at, 0usize, false);
        let rest = &self.text[start..];
        if rest.first() != Some(&b'[') {
            return None;
        }
        let mut bytes = rest.iter().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => in_text = !in_text,
                b'\\' if in_text => drop(bytes.next()),
                b'[' | b'{' if !in_text => depth += 1,
                b']' | b'}' if !in_text => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        self.at = start + at + 1;
                        return Some(start..self.at);
                    }
                }
                _ => {}
            }
        }
        None
    }
}
