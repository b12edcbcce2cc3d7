//! As much JSON as this vat needs: walk through a text, skip what does not matter, point at what does.
//!
//! A [`Scanner`] never copies and never looks back. It is lenient, since the host sends valid JSON: it must
//! find its way through every valid text, and may accept some that are not.

/// The largest integer that a JavaScript number holds exactly, with all below it.
pub(crate) const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// A place in a text. Every method returns `None` where the text goes on differently.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Scanner { rest: text }
    }

    /// Steps over `byte`, and white space before it.
    pub(crate) fn expect(&mut self, byte: u8) -> Option<()> {
        while let Some((b' ' | b'\n' | b'\r' | b'\t', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
        match self.rest.split_first() {
            Some((found, rest)) if *found == byte => {
                self.rest = rest;
                Some(())
            }
            _ => None,
        }
    }

    /// Steps over a string; returns what is between its quotes, escapes and all.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let mut end = 0;
        loop {
            match self.rest.get(end)? {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Some(text)
    }

    /// Steps over a number that is an integer from 0 to [`SAFE_INTEGER_MAX`].
    pub(crate) fn integer(&mut self) -> Option<u64> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at(digits);
        if number.is_empty() || matches!(rest.first(), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        let mut value: u64 = 0;
        for digit in number {
            value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        }
        self.rest = rest;
        (value <= SAFE_INTEGER_MAX).then_some(value)
    }

    /// Steps over any value. Nesting is counted, not recursed into: depth costs nothing.
    pub(crate) fn skip(&mut self) -> Option<()> {
        let mut depth = 0u32;
        loop {
            match self.rest.first()? {
                b'"' => {
                    self.string()?;
                }
                b'[' | b'{' => {
                    depth += 1;
                    self.rest = &self.rest[1..];
                }
                b']' | b'}' if depth == 0 => return Some(()),
                b']' | b'}' => {
                    depth -= 1;
                    self.rest = &self.rest[1..];
                }
                b',' if depth == 0 => return Some(()),
                _ => self.rest = &self.rest[1..],
            }
        }
    }

    /// Steps into an object and through its fields, calling `field` with each name, at its value. `field`
    /// steps over the value.
    pub(crate) fn object(&mut self, mut field: impl FnMut(&'a [u8], &mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.expect(b'}').is_some() {
            return Some(());
        }
        loop {
            let name = self.string()?;
            self.expect(b':')?;
            field(name, self)?;
            if self.expect(b',').is_none() {
                return self.expect(b'}');
            }
        }
    }
}

/// Undoes the escapes of a string, into `buffer`. `None` where it is too long, or has escapes beyond `\"` and
/// `\\`: no name of ours is written so.
pub(crate) fn unescape<'b>(text: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let mut length = 0;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        let plain = match byte {
            b'\\' => match bytes.next()? {
                escaped @ (b'"' | b'\\') => escaped,
                _ => return None,
            },
            plain => plain,
        };
        *buffer.get_mut(length)? = *plain;
        length += 1;
    }
    Some(&buffer[..length])
}
