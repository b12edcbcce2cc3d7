//! What a string means in smallcaps, by its first character.
//!
//! ```text
//!   !…   the rest, as it is                   +7 -7         a bigint
//!   #…   undefined, NaN, Infinity, -Infinity  $0 $0.iface   an object in the slots
//!   %…   a symbol                             &0            a promise in the slots
//!   other characters from ! to -   reserved   anything else is itself
//! ```
//!
//! Names of record fields follow the same rules, but that a leading `#` marks the whole record.

use super::Failure;
use vat_abi::{RefKind, Vref};

pub(super) const UNDEFINED: &str = "#undefined";
pub(super) const NAN: &str = "#NaN";
pub(super) const INFINITY: &str = "#Infinity";
pub(super) const NEGATIVE_INFINITY: &str = "#-Infinity";

/// A string, interpreted.
#[derive(Debug, PartialEq)]
pub(super) enum Text {
    Undefined,
    Number(f64),
    /// Decimal digits, perhaps after a `-`.
    BigInt(String),
    /// An index into the slots, and whether a promise should be there.
    Slot {
        index: usize,
        is_promise: bool,
    },
    Plain(String),
}

impl Text {
    pub(super) fn read(mut text: String) -> Result<Text, Failure> {
        let Some(first) = text.chars().next().filter(|first| is_special(*first)) else {
            return Ok(Text::Plain(text));
        };
        let meaning = match first {
            '!' => Some(Text::Plain(text.split_off(1))),
            '#' => constant(&text),
            '+' => is_decimal(&text[1..]).then(|| Text::BigInt(text.split_off(1))),
            '-' => is_decimal(&text[1..]).then(|| Text::BigInt(text.clone())),
            '$' => {
                let index = text[1..].split('.').next().unwrap_or_default();
                slot(index, false)
            }
            '&' => slot(&text[1..], true),
            '%' => return Err(Failure(format!("symbols such as {text:?} are not supported"))),
            _ => None,
        };
        meaning.ok_or_else(|| Failure(format!("{text:?} means nothing in smallcaps")))
    }
}

fn is_special(first: char) -> bool {
    ('!'..='-').contains(&first)
}

fn constant(text: &str) -> Option<Text> {
    Some(match text {
        UNDEFINED => Text::Undefined,
        NAN => Text::Number(f64::NAN),
        INFINITY => Text::Number(f64::INFINITY),
        NEGATIVE_INFINITY => Text::Number(f64::NEG_INFINITY),
        _ => return None,
    })
}

fn is_decimal(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn slot(index: &str, is_promise: bool) -> Option<Text> {
    is_decimal(index).then(|| index.parse().ok()).flatten().map(|index| Text::Slot { index, is_promise })
}

/// How a string of the author's is written.
pub(crate) fn escape(text: &str) -> String {
    if text.chars().next().is_some_and(is_special) { format!("!{text}") } else { text.to_owned() }
}

/// How a reference at `index` of the slots is written.
pub(super) fn reference(vref: &Vref, index: usize) -> String {
    match vref.kind() {
        RefKind::Promise => format!("&{index}"),
        RefKind::Object | RefKind::Device => format!("${index}"),
    }
}
