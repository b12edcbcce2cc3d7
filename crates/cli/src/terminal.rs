//! Text made fit for a terminal: a vat's words can hold line breaks and escape sequences.

use std::fmt::{self, Write as _};

use serde_json::Value;

/// The text on one line, control characters escaped.
pub(crate) fn one_line(text: impl fmt::Display) -> String {
    let text = text.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    printable(&lines.join(" "))
}

/// JSON on one line. What it quotes is escaped as JSON has it, so that it stays JSON.
pub(crate) fn json(value: &Value) -> String {
    printable(&value.to_string())
}

fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_reordering(c) {
            // No control character, and none of these, needs more than four digits.
            let _ = write!(printable, "\\u{:04x}", u32::from(c));
        } else {
            printable.push(c);
        }
    }
    printable
}

/// Characters that make a terminal show text in another order than it has.
fn is_reordering(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_out_on_one_line_and_harmless() {
        for (text, expected) in [
            ("plain ä 東", "plain ä 東"),
            ("one\n  two\r\n\nthree\n", "one two three"),
            ("\u{1b}[31mred\u{7}", "\\u001b[31mred\\u0007"),
            ("\u{9b}c \u{202e}evil", "\\u009bc \\u202eevil"),
        ] {
            assert_eq!(one_line(text), expected);
        }
    }

    #[test]
    fn json_stays_json() {
        let value = Value::from("\u{1b}\u{7f}\u{202e}\n\"");
        let shown = json(&value);
        assert!(shown.is_ascii(), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
    }
}
