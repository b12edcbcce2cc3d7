//! The one delivery that this vat reacts to, and the one syscall that it makes.

use crate::scan::{Scanner, unescape};
use core::fmt::{self, Write};

/// The longest method with its argument: `["add",[9007199254740991]]` and some air.
const BODY_BYTES_MAX: usize = 64;

/// The longest answer: an error's text and a promise's.
const ANSWER_BYTES_MAX: usize = 256;

/// A delivery, as far as it matters here.
#[derive(Debug)]
pub(crate) enum Delivery<'a> {
    Message(Message<'a>),
    /// Anything else: nothing to do.
    Other,
}

/// A message to the root object, the only one there is.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    body: [u8; BODY_BYTES_MAX],
    body_len: usize,
    /// The promise for the answer, if anyone waits.
    pub(crate) result: Option<&'a [u8]>,
}

impl<'a> Delivery<'a> {
    pub(crate) fn read(text: &'a [u8]) -> Option<Self> {
        let mut scanner = Scanner::new(text);
        scanner.expect(b'[')?;
        match scanner.string()? {
            b"message" => {}
            tag if tag.contains(&b'\\') => return None,
            _ => return Some(Delivery::Other),
        }
        scanner.expect(b',')?;
        scanner.string()?; // the target
        scanner.expect(b',')?;
        let message = Message::read(&mut scanner)?;
        scanner.expect(b']')?;
        Some(Delivery::Message(message))
    }
}

impl<'a> Message<'a> {
    fn read(scanner: &mut Scanner<'a>) -> Option<Self> {
        let (mut result, mut escaped) = (None, None);
        scanner.object(|name, value| match name {
            b"result" => {
                result = value.clone().string();
                value.skip()
            }
            b"methargs" => value.object(|name, value| {
                if name == b"body" {
                    escaped = value.clone().string();
                }
                value.skip()
            }),
            _ => value.skip(),
        })?;
        // A body that is too long or oddly escaped names no method of ours: it is left empty.
        let mut body = [0; BODY_BYTES_MAX];
        let body_len = unescape(escaped?, &mut body).map_or(0, <[u8]>::len);
        Some(Message { body, body_len, result })
    }

    /// `#["method",[argument]]`: a scanner before the arguments, after the method.
    fn parts(&self) -> Option<(&[u8], Scanner<'_>)> {
        let mut scanner = Scanner::new(&self.body[..self.body_len]);
        scanner.expect(b'#')?;
        scanner.expect(b'[')?;
        let method = scanner.string()?;
        scanner.expect(b',')?;
        scanner.expect(b'[')?;
        Some((method, scanner))
    }

    /// The method's name. `None` where the body is no message.
    pub(crate) fn method(&self) -> Option<&[u8]> {
        let (method, mut arguments) = self.parts()?;
        // No arguments, or one number.
        if arguments.expect(b']').is_none() {
            arguments.integer()?;
            arguments.expect(b']')?;
        }
        Some(method)
    }

    /// The argument, if there is one.
    pub(crate) fn argument(&self) -> Option<u64> {
        self.parts()?.1.integer()
    }
}

/// The syscall that answers a message.
#[derive(Debug)]
pub struct Answer {
    text: [u8; ANSWER_BYTES_MAX],
    len: usize,
}

impl Answer {
    pub(crate) fn write(promise: &[u8], outcome: Result<u64, &str>) -> Answer {
        let mut answer = Answer { text: [0; ANSWER_BYTES_MAX], len: 0 };
        // References are ASCII, and short; the texts are ours.
        let promise = core::str::from_utf8(promise).unwrap_or_default();
        let written = match outcome {
            Ok(count) => {
                write!(answer, "[\"resolve\",[[\"{promise}\",false,{{\"body\":\"#{count}\",\"slots\":[]}}]]]")
            }
            Err(error) => write!(
                answer,
                "[\"resolve\",[[\"{promise}\",true,{{\"body\":\"#{{\\\"#error\\\":\\\"{error}\\\",\\\"name\\\":\\\"Error\\\"}}\",\
                 \"slots\":[]}}]]]"
            ),
        };
        assert!(written.is_ok(), "an answer has at most {ANSWER_BYTES_MAX} bytes");
        answer
    }

    /// The syscall's JSON.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

impl Write for Answer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.text.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}
