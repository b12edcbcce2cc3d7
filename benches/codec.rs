//! What JSON costs: a transcript entry written and read by our codec, beside binary codecs.
//!
//! ```text
//!   codec/…/beside=cbor       the same types and checks through serde, in CBOR: the price of the text alone
//!   codec/…/beside=postcard   plain types without checks or tags, in postcard: about the least that a codec can do
//! ```
//!
//! Two entries: a message answered by one `resolve`, and one that writes three values of a hundred bytes to vat storage. Ours includes the
//! limits' checks, as when an entry is recorded. `codec/bytes` is the length of an entry.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use vat_abi::{
    CapData, Computrons, Outcome, Resolution, Syscall, SyscallRecord, SyscallResult, TranscriptEntry,
};

use crate::harness::{Figure, Session};
use crate::timed;
use crate::vat::{stored, write};

/// Entries that make one sample: one alone is too short to time.
const BATCH: u32 = 50;

pub(crate) fn bench(session: &mut Session) -> Result<()> {
    if !session.wants("codec") {
        return Ok(());
    }
    for (name, entry) in [("resolve", resolving()), ("store", storing())] {
        bench_cbor(session, name, &entry)?;
        bench_postcard(session, name, &entry)?;
    }
    Ok(())
}

fn bench_cbor(session: &mut Session, name: &str, entry: &TranscriptEntry) -> Result<()> {
    let json = entry.to_json();
    let mut cbor = Vec::new();
    ciborium::into_writer(entry, &mut cbor)?;
    let read: TranscriptEntry = ciborium::from_reader(cbor.as_slice())?;
    ensure!(read == *entry, "the entry does not survive CBOR");
    session.pair(
        Figure::time(format!("codec/encode/{name}/beside=cbor")),
        || batch(|| Ok(entry.try_to_json()?)),
        || {
            batch(|| {
                let mut bytes = Vec::with_capacity(cbor.len());
                ciborium::into_writer(entry, &mut bytes)?;
                Ok(bytes)
            })
        },
    )?;
    session.pair(
        Figure::time(format!("codec/decode/{name}/beside=cbor")),
        || batch(|| Ok(TranscriptEntry::from_json(json.as_bytes())?)),
        || batch(|| Ok(ciborium::from_reader::<TranscriptEntry, _>(cbor.as_slice())?)),
    )?;
    session.once(Figure::bytes(format!("codec/bytes/{name}/beside=cbor")), len(&json), Some(len(&cbor)));
    Ok(())
}

fn bench_postcard(session: &mut Session, name: &str, entry: &TranscriptEntry) -> Result<()> {
    let json = entry.to_json();
    let plain = Plain::of(entry)?;
    let binary = postcard::to_allocvec(&plain)?;
    ensure!(postcard::from_bytes::<Plain>(&binary)? == plain, "the entry does not survive postcard");
    session.pair(
        Figure::time(format!("codec/encode/{name}/beside=postcard")),
        || batch(|| Ok(entry.try_to_json()?)),
        || batch(|| Ok(postcard::to_allocvec(&plain)?)),
    )?;
    session.pair(
        Figure::time(format!("codec/decode/{name}/beside=postcard")),
        || batch(|| Ok(TranscriptEntry::from_json(json.as_bytes())?)),
        || batch(|| Ok(postcard::from_bytes::<Plain>(&binary)?)),
    )?;
    session.once(
        Figure::bytes(format!("codec/bytes/{name}/beside=postcard")),
        len(&json),
        Some(len(&binary)),
    );
    Ok(())
}

/// Time of one of a batch.
fn batch<T>(mut act: impl FnMut() -> Result<T>) -> Result<std::time::Duration> {
    let (taken, ()) =
        timed(|| (0..BATCH).try_for_each(|_| act().map(|made| drop(std::hint::black_box(made)))))?;
    Ok(taken / BATCH)
}

#[expect(clippy::cast_precision_loss, reason = "an entry of some hundred bytes")]
fn len(bytes: &(impl AsRef<[u8]> + ?Sized)) -> f64 {
    bytes.as_ref().len() as f64
}

fn resolving() -> TranscriptEntry {
    let promise = "p-60".parse().expect("a promise");
    let resolution = Resolution { promise, rejected: false, data: CapData::data("#1") };
    entry(vec![(Syscall::Resolve(vec![resolution]), SyscallResult::Ok(None))])
}

fn storing() -> TranscriptEntry {
    let sets =
        stored(7).into_iter().map(|(key, value)| (Syscall::VatstoreSet(key, value), SyscallResult::Ok(None)));
    entry(sets.collect())
}

fn entry(syscalls: Vec<(Syscall, SyscallResult)>) -> TranscriptEntry {
    TranscriptEntry {
        delivery: write(2, 12_345),
        time_ns: 1_700_000_000_000_000_000,
        syscalls: syscalls.into_iter().map(|(syscall, result)| SyscallRecord { syscall, result }).collect(),
        outcome: Outcome::Delivered,
        computrons: Computrons(123_456),
    }
}

/// An entry as a schema alone would have it: numbers for variants, no names, no rules.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Plain {
    target: String,
    body: String,
    slots: Vec<String>,
    result: Option<String>,
    time_ns: u64,
    syscalls: Vec<PlainSyscall>,
    computrons: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum PlainSyscall {
    Resolve(Vec<(String, bool, String, Vec<String>)>),
    Set(String, String),
}

impl Plain {
    fn of(entry: &TranscriptEntry) -> Result<Plain> {
        let vat_abi::Delivery::Message { target, message } = &entry.delivery else {
            anyhow::bail!("the benches' entries are messages")
        };
        let texts = |data: &CapData| data.slots.iter().map(ToString::to_string).collect::<Vec<_>>();
        let syscall = |record: &SyscallRecord| match &record.syscall {
            Syscall::Resolve(resolutions) => {
                let plain = resolutions.iter().map(|resolution| {
                    let data = &resolution.data;
                    (resolution.promise.to_string(), resolution.rejected, data.body.clone(), texts(data))
                });
                Ok(PlainSyscall::Resolve(plain.collect()))
            }
            Syscall::VatstoreSet(key, value) => Ok(PlainSyscall::Set(key.clone(), value.clone())),
            other => Err(anyhow::anyhow!("the benches' entries have no {other}")),
        };
        Ok(Plain {
            target: target.to_string(),
            body: message.methargs.body.clone(),
            slots: texts(&message.methargs),
            result: message.result.as_ref().map(ToString::to_string),
            time_ns: entry.time_ns,
            syscalls: entry.syscalls.iter().map(syscall).collect::<Result<_>>()?,
            computrons: entry.computrons.0,
        })
    }
}
