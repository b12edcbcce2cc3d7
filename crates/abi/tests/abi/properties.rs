//! What holds for all values and all bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use vat_abi::{Delivery, EntryText, Outcome, RecordedEntry, Syscall, SyscallResult, TranscriptEntry, Vref};

use crate::generated::{delivery, entry, mutation, outcome, syscall, syscall_result};

/// Decodes the bytes as everything. Whatever can be read obeys the rules, is written canonically in no more
/// bytes, and is read back from that as the same.
fn decode_as_everything(bytes: &[u8]) {
    macro_rules! decode {
        ($type:ty, $check:expr) => {
            if let Ok(value) = <$type>::from_json(bytes) {
                let json = value.to_json();
                assert_eq!($check(&value), Ok(()));
                assert!(json.len() <= bytes.len(), "{json}");
                assert_eq!(<$type>::from_json(json.as_bytes()), Ok(value));
            }
        };
    }
    decode!(Delivery, Delivery::check);
    decode!(Syscall, Syscall::check);
    decode!(SyscallResult, |_| Ok::<(), ()>(()));
    decode!(Outcome, Outcome::check);
    decode!(TranscriptEntry, TranscriptEntry::check);
    // Of an entry of ours, the parts are found where they are; of other bytes, there may be none.
    if let (Ok(value), Ok(read)) = (TranscriptEntry::from_json(bytes), RecordedEntry::read(bytes.to_vec()))
        && value.to_json().as_bytes() == bytes
    {
        assert_eq!((read.time_ns(), read.computrons()), (value.time_ns, value.computrons));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..512)) {
        decode_as_everything(&bytes);
    }

    #[test]
    fn arbitrary_text_that_begins_well_never_panics(tag in "\\[\"(message|send|notify|resolve|ok|fault)\",", rest in ".{0,200}") {
        decode_as_everything(format!("{tag}{rest}").as_bytes());
    }

    #[test]
    fn mutated_json_never_panics(entry in entry(), mutations in vec(mutation(), 1..4)) {
        let jsons = [
            entry.to_json(),
            entry.delivery.to_json(),
            entry.outcome.to_json(),
            entry.syscalls.first().map(|record| record.syscall.to_json()).unwrap_or_default(),
        ];
        for json in jsons {
            let mut bytes = json.into_bytes();
            mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
            decode_as_everything(&bytes);
            let _ = RecordedEntry::read(bytes);
        }
    }

    #[test]
    fn deliveries_come_back(value in delivery()) {
        prop_assert_eq!(Delivery::from_json(value.try_to_json().unwrap().as_bytes()), Ok(value));
    }

    #[test]
    fn syscalls_come_back(value in syscall()) {
        prop_assert_eq!(Syscall::from_json(value.try_to_json().unwrap().as_bytes()), Ok(value));
    }

    #[test]
    fn syscall_results_come_back(value in syscall_result()) {
        prop_assert_eq!(SyscallResult::from_json(value.try_to_json().unwrap().as_bytes()), Ok(value));
    }

    #[test]
    fn outcomes_come_back(value in outcome()) {
        prop_assert_eq!(Outcome::from_json(value.to_json().as_bytes()), Ok(value));
    }

    #[test]
    fn entries_come_back(value in entry()) {
        let json = value.try_to_json().unwrap();
        prop_assert_eq!(TranscriptEntry::from_canonical_json(json.as_bytes()), Ok(value));
        prop_assert!(TranscriptEntry::from_canonical_json(json.replacen(':', ": ", 1).as_bytes()).is_err());
    }

    /// Written piece by piece, an entry is what it is as a whole; and its pieces are found in it.
    #[test]
    fn an_entry_is_the_text_of_its_parts(value in entry(), retracted in syscall()) {
        let mut text = EntryText::begin(&value.delivery, value.time_ns).unwrap();
        prop_assert_eq!(text.delivery().to_vec(), value.delivery.to_json().into_bytes());
        prop_assert_eq!(text.reply(), b"");
        for record in &value.syscalls {
            text.push(&retracted, &SyscallResult::Ok(None)).unwrap();
            text.pop();
            text.push(&record.syscall, &record.result).unwrap();
            prop_assert_eq!(text.reply().to_vec(), record.result.to_json().into_bytes());
        }
        let text = text.end(&value.outcome, value.computrons).unwrap();
        prop_assert_eq!(core::str::from_utf8(&text).unwrap(), value.to_json());

        let read = RecordedEntry::read(text).unwrap();
        prop_assert_eq!(read.delivery().to_vec(), value.delivery.to_json().into_bytes());
        for (index, record) in value.syscalls.iter().enumerate() {
            prop_assert_eq!(read.syscall(index).map(<[u8]>::to_vec), Some(record.syscall.to_json().into_bytes()));
            prop_assert_eq!(read.result(index).map(<[u8]>::to_vec), Some(record.result.to_json().into_bytes()));
        }
        let beyond = value.syscalls.len();
        prop_assert_eq!((read.syscall(beyond), read.result(beyond)), (None, None));
        prop_assert_eq!((read.time_ns(), read.computrons()), (value.time_ns, value.computrons));
        prop_assert_eq!(read.outcome(), &value.outcome);
    }

    /// One line for each syscall and two around them, whatever is in their texts.
    #[test]
    fn an_entry_is_shown_in_its_lines(value in entry()) {
        prop_assert_eq!(value.to_string().lines().count(), value.syscalls.len() + 2);
    }

    #[test]
    fn a_text_is_a_reference_or_refused(text in "[opdk]?[+\\-]?[vd]?[0-9]{0,3}(/[0-9]{0,2})?(:[0-9]{0,2})?") {
        if let Ok(vref) = text.parse::<Vref>() {
            prop_assert_eq!(vref.as_str(), text);
            let _ = (vref.kind(), vref.allocator(), vref.is_virtual(), vref.is_durable());
        }
    }
}
