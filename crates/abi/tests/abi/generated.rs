//! Random values of the ABI, within its rules.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use vat_abi::{
    Allocator, CapData, Computrons, Delivery, Message, Outcome, Resolution, Syscall, SyscallRecord,
    SyscallResult, TranscriptEntry, TrapKind, VatFault, Vref,
};

fn allocator() -> impl Strategy<Value = Allocator> {
    select(vec![Allocator::Vat, Allocator::Kernel])
}

fn promise() -> impl Strategy<Value = Vref> {
    (allocator(), any::<u64>()).prop_map(|(allocator, number)| Vref::promise(allocator, number))
}

fn object() -> impl Strategy<Value = Vref> {
    let ordinary =
        (allocator(), any::<u64>()).prop_map(|(allocator, number)| Vref::object(allocator, number));
    let instance = (select(vec!['v', 'd']), any::<[u64; 3]>(), any::<bool>()).prop_map(
        |(life, [kind, instance, facet], has_facet)| {
            let facet = if has_facet { format!(":{facet}") } else { String::new() };
            format!("o+{life}{kind}/{instance}{facet}").parse().unwrap()
        },
    );
    prop_oneof![ordinary, instance]
}

fn device() -> impl Strategy<Value = Vref> {
    (allocator(), any::<u64>()).prop_map(|(allocator, number)| Vref::device(allocator, number))
}

fn target() -> impl Strategy<Value = Vref> {
    prop_oneof![object(), promise()]
}

fn slot() -> impl Strategy<Value = Vref> {
    prop_oneof![object(), promise(), device()]
}

fn capdata() -> impl Strategy<Value = CapData> {
    (any::<String>(), vec(slot(), 0..4)).prop_map(|(body, slots)| CapData { body, slots })
}

fn message() -> impl Strategy<Value = Message> {
    (capdata(), option::of(promise())).prop_map(|(methargs, result)| Message { methargs, result })
}

fn resolutions() -> impl Strategy<Value = Vec<Resolution>> {
    let one = (promise(), any::<bool>(), capdata()).prop_map(|(promise, rejected, data)| Resolution {
        promise,
        rejected,
        data,
    });
    vec(one, 0..4)
}

fn objects() -> impl Strategy<Value = Vec<Vref>> {
    vec(object(), 0..5)
}

fn key() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| if text.is_empty() { "k".into() } else { text })
}

pub(crate) fn delivery() -> impl Strategy<Value = Delivery> {
    prop_oneof![
        capdata().prop_map(Delivery::StartVat),
        (target(), message()).prop_map(|(target, message)| Delivery::Message { target, message }),
        resolutions().prop_map(Delivery::Notify),
        objects().prop_map(Delivery::DropExports),
        objects().prop_map(Delivery::RetireExports),
        objects().prop_map(Delivery::RetireImports),
        Just(Delivery::BringOutYourDead),
        capdata().prop_map(Delivery::StopVat),
    ]
}

pub(crate) fn syscall() -> impl Strategy<Value = Syscall> {
    prop_oneof![
        (target(), message()).prop_map(|(target, message)| Syscall::Send { target, message }),
        promise().prop_map(Syscall::Subscribe),
        resolutions().prop_map(Syscall::Resolve),
        (any::<bool>(), capdata()).prop_map(|(failure, info)| Syscall::Exit { failure, info }),
        key().prop_map(Syscall::VatstoreGet),
        (key(), any::<String>()).prop_map(|(key, value)| Syscall::VatstoreSet(key, value)),
        key().prop_map(Syscall::VatstoreDelete),
        any::<String>().prop_map(Syscall::VatstoreGetNextKey),
        objects().prop_map(Syscall::DropImports),
        objects().prop_map(Syscall::RetireImports),
        objects().prop_map(Syscall::RetireExports),
        objects().prop_map(Syscall::AbandonExports),
    ]
}

pub(crate) fn syscall_result() -> impl Strategy<Value = SyscallResult> {
    prop_oneof![
        any::<Option<String>>().prop_map(SyscallResult::Ok),
        any::<String>().prop_map(SyscallResult::Error),
    ]
}

pub(crate) fn outcome() -> impl Strategy<Value = Outcome> {
    let plain = select(vec![
        VatFault::OutOfComputrons,
        VatFault::StackOverflow,
        VatFault::MemoryLimit,
        VatFault::IllegalSyscall,
        VatFault::BadSyscallBytes,
        VatFault::BadPointer,
        VatFault::SyscallLimit,
        VatFault::OutputLimit,
    ]);
    let fault = prop_oneof![
        plain,
        select(TrapKind::ALL.to_vec()).prop_map(VatFault::Trap),
        vec(any::<u8>(), 0..2000).prop_map(|message| VatFault::failed(&message)),
    ];
    prop_oneof![Just(Outcome::Delivered), fault.prop_map(Outcome::Faulted)]
}

pub(crate) fn entry() -> impl Strategy<Value = TranscriptEntry> {
    let record =
        (syscall(), syscall_result()).prop_map(|(syscall, result)| SyscallRecord { syscall, result });
    (delivery(), any::<u64>(), vec(record, 0..4), outcome(), any::<u64>()).prop_map(
        |(delivery, time_ns, syscalls, outcome, computrons)| TranscriptEntry {
            delivery,
            time_ns,
            syscalls,
            outcome,
            computrons: Computrons(computrons),
        },
    )
}

/// One change to a text of JSON.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    Cut(prop::sample::Index),
    Remove(prop::sample::Index),
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Repeat(prop::sample::Index, prop::sample::Index),
}

impl Mutation {
    pub(crate) fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len() + 1;
        match self {
            Mutation::Cut(at) => bytes.truncate(at.index(length)),
            Mutation::Remove(at) => {
                drop(bytes.drain(at.index(length)..(at.index(length) + 1).min(length - 1)))
            }
            Mutation::Replace(at, byte) => {
                bytes.splice(at.index(length)..(at.index(length) + 1).min(length - 1), [*byte]).for_each(drop)
            }
            Mutation::Insert(at, piece) => {
                let at = at.index(length);
                bytes.splice(at..at, piece.iter().copied()).for_each(drop);
            }
            Mutation::Repeat(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                let piece = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.extend(piece);
            }
        }
    }
}

/// Changes that keep close to JSON, so that they get past its parser often enough.
pub(crate) fn mutation() -> impl Strategy<Value = Mutation> {
    let pieces: Vec<Vec<u8>> = [
        "[", "]", "{", "}", "\"", ",", ":", "null", "true", "0", "-1", "1e9", "\\u", "\\ud800", "\"o+0\"",
        "[\"ok\"]",
    ]
    .iter()
    .map(|piece| piece.as_bytes().to_vec())
    .collect();
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Mutation::Cut),
        any::<prop::sample::Index>().prop_map(Mutation::Remove),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (any::<prop::sample::Index>(), select(pieces)).prop_map(|(at, piece)| Mutation::Insert(at, piece)),
        any::<(prop::sample::Index, prop::sample::Index)>().prop_map(|(from, to)| Mutation::Repeat(from, to)),
    ]
}
