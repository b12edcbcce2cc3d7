//! Text that a vat wrote, made fit for a person's terminal: bounded, and without control characters.
//!
//! What is elided is never recorded or compared; [`prefix`] alone also cuts what is (a `fail` message), and
//! depends on nothing but the text.

use core::fmt::{self, Write as _};

use crate::limits::{DISPLAY_BYTES_MAX, DISPLAY_LIST_MAX};

/// The longest prefix of `text` of at most `bytes_max` bytes that ends between two characters.
pub(crate) fn prefix(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The text, escaped where it is not printable and cut after [`DISPLAY_BYTES_MAX`].
pub(crate) struct Elided<'a>(pub(crate) &'a str);

impl fmt::Display for Elided<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = prefix(self.0, DISPLAY_BYTES_MAX);
        shown.chars().try_for_each(|c| write_printable(f, c))?;
        match self.0.len() - shown.len() {
            0 => Ok(()),
            hidden => write!(f, "… (+{hidden} bytes)"),
        }
    }
}

/// Quotes and backslashes stay as they are: bodies are full of them, and they harm no terminal.
fn write_printable(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '"' | '\'' | '\\' => f.write_char(c),
        _ => write!(f, "{}", c.escape_debug()),
    }
}

/// The list, each element after the separator but the first, cut after [`DISPLAY_LIST_MAX`].
pub(crate) struct ElidedList<'a, T>(pub(crate) &'a [T], pub(crate) &'static str);

impl<T: fmt::Display> fmt::Display for ElidedList<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(none)");
        }
        for (index, element) in self.0.iter().take(DISPLAY_LIST_MAX).enumerate() {
            let separator = if index == 0 { "" } else { self.1 };
            write!(f, "{separator}{element}")?;
        }
        match self.0.len().saturating_sub(DISPLAY_LIST_MAX) {
            0 => Ok(()),
            hidden => write!(f, "{}… (+{hidden})", self.1),
        }
    }
}
