//! A vat's name: what people call it.
//!
//! The rule is SwingSet's for vats made through its vat admin: 1 to 199 characters out of `A-Z a-z 0-9 . _ -`.

use std::fmt;
use std::str::FromStr;

/// Longest name, in characters.
const NAME_CHARS_MAX: usize = 199;

/// The name of a vat. Unique among the vats that live; free again when its vat is terminated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VatName(String);

/// Why a text is not a vat's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name for a vat: use 1 to 199 letters, digits, dots, underscores and hyphens")]
pub struct InvalidName(String);

impl VatName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The seed from which the randomness of every crank of this vat is derived. It is fixed at creation and moves with
    /// the vat's options.
    pub(crate) fn seed(&self) -> [u8; 32] {
        blake3::derive_key("vat warehouse 2026 vat seed", self.0.as_bytes())
    }
}

impl FromStr for VatName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<VatName, InvalidName> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.len() > NAME_CHARS_MAX || !text.chars().all(allowed) {
            return Err(InvalidName(text.chars().take(NAME_CHARS_MAX + 1).collect()));
        }
        Ok(VatName(text.to_owned()))
    }
}

impl fmt::Display for VatName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        let longest = "x".repeat(NAME_CHARS_MAX);
        for good in ["a", "alice", "A-1_b.c", longest.as_str()] {
            assert!(good.parse::<VatName>().is_ok(), "{good}");
        }
        let too_long = "x".repeat(NAME_CHARS_MAX + 1);
        for bad in ["", " ", "a b", "ä", "a/b", too_long.as_str()] {
            assert!(bad.parse::<VatName>().is_err(), "{bad:?}");
        }
    }
}
