//! Plain JSON to smallcaps, and back.
//!
//! Smallcaps is how vats write values: `#` and then JSON, in which a string's first character can give it another meaning, and
//! references are indices into the slots. People write and read plain JSON:
//!
//! ```text
//!   ["$5", 9007199254740993]                       ──►  #["!$5","+9007199254740993"]
//!   #["!$5","+7","#undefined","$0.Purse"] [o+12]   ──►  ["$5",7,null,{"slot":"o+12","iface":"Purse"}]
//!   #{"#error":"no","name":"TypeError"}            ──►  {"message":"no","name":"TypeError"}
//! ```
//!
//! Reading is lenient, since it is for people: what is not smallcaps comes through as the text that it is. References cannot be
//! written: nobody at a command line holds one.

use serde_json::{Map, Number, Value, json};
use vat_abi::CapData;

/// 2⁵³ − 1: the largest integer that a JavaScript number holds exactly, with all below it.
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// A value.
pub(crate) fn value(plain: &Value) -> CapData {
    CapData::data(format!("#{}", encode(plain)))
}

/// A method and its arguments.
pub(crate) fn call(method: &str, arguments: &[Value]) -> CapData {
    let arguments = arguments.iter().map(encode).collect();
    let call = Value::Array(vec![Value::String(escape(method)), Value::Array(arguments)]);
    CapData::data(format!("#{call}"))
}

/// What a person reads.
pub(crate) fn plain(data: &CapData) -> Value {
    match smallcaps(data) {
        Some(value) => decode(value, data),
        None => Value::String(data.body.clone()),
    }
}

/// What a person reads who was told that this is an error.
pub(crate) fn error_text(data: &CapData) -> String {
    let plain = plain(data);
    match (&plain["name"], &plain["message"]) {
        (Value::String(name), Value::String(message)) => format!("{name}: {message}"),
        _ => plain.to_string(),
    }
}

fn smallcaps(data: &CapData) -> Option<Value> {
    serde_json::from_str(data.body.strip_prefix('#')?).ok()
}

fn encode(plain: &Value) -> Value {
    match plain {
        Value::Null | Value::Bool(_) => plain.clone(),
        Value::Number(number) => encode_number(number),
        Value::String(text) => Value::String(escape(text)),
        Value::Array(elements) => Value::Array(elements.iter().map(encode).collect()),
        Value::Object(record) => {
            Value::Object(record.iter().map(|(name, value)| (escape(name), encode(value))).collect())
        }
    }
}

/// Integers that a JavaScript number cannot hold become bigints; `5.0` is the integer that it is in JavaScript.
fn encode_number(number: &Number) -> Value {
    let is_safe = |integer: i64| integer.unsigned_abs() <= SAFE_INTEGER_MAX;
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(integer), ..) if is_safe(integer) => Value::from(integer),
        (Some(integer), ..) => Value::from(format!("{integer:+}")),
        (_, Some(integer), _) => Value::from(format!("+{integer}")),
        (.., Some(float)) => {
            as_integer(float).filter(|integer| is_safe(*integer)).map_or(json!(float), Value::from)
        }
        _ => Value::Number(number.clone()),
    }
}

fn as_integer(float: f64) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "casts saturate, and the caller asks for less than that"
    )]
    (float.trunc() == float).then_some(float as i64)
}

fn is_special(text: &str) -> bool {
    text.starts_with(|first: char| ('!'..='-').contains(&first))
}

fn escape(text: &str) -> String {
    if is_special(text) { format!("!{text}") } else { text.to_owned() }
}

fn decode(value: Value, data: &CapData) -> Value {
    match value {
        Value::String(text) => decode_text(text, data),
        Value::Array(elements) => elements.into_iter().map(|element| decode(element, data)).collect(),
        Value::Object(record) => Value::Object(decode_record(record, data)),
        plain => plain,
    }
}

/// `#error` and `#tag` mark a whole record.
fn decode_record(record: Map<String, Value>, data: &CapData) -> Map<String, Value> {
    let name = |name: String| match name.as_str() {
        "#error" => "message".to_owned(),
        "#tag" => "tag".to_owned(),
        _ => name.strip_prefix('!').map(str::to_owned).unwrap_or(name),
    };
    record.into_iter().map(|(key, value)| (name(key), decode(value, data))).collect()
}

fn decode_text(text: String, data: &CapData) -> Value {
    let Some(first) = text.chars().next().filter(|_| is_special(&text)) else { return Value::String(text) };
    let rest = &text[1..];
    let meaning = match first {
        '!' => Some(Value::from(rest)),
        '#' => match rest {
            "undefined" => Some(Value::Null),
            "NaN" | "Infinity" | "-Infinity" => Some(Value::from(rest)),
            _ => None,
        },
        '+' => bigint(rest),
        '-' => bigint(&text),
        '$' | '&' => slot(rest, data),
        _ => None,
    };
    meaning.unwrap_or(Value::String(text))
}

/// A number where JSON can hold it, else its digits.
fn bigint(digits: &str) -> Option<Value> {
    let is_integer = digits.strip_prefix('-').unwrap_or(digits).bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().map(Value::from).or_else(|_| digits.parse::<i64>().map(Value::from));
    is_integer.then(|| number.unwrap_or_else(|_| Value::from(digits)))
}

fn slot(reference: &str, data: &CapData) -> Option<Value> {
    let (index, iface) = match reference.split_once('.') {
        Some((index, iface)) => (index, Some(iface)),
        None => (reference, None),
    };
    let vref = data.slots.get(index.parse::<usize>().ok()?)?;
    Some(match iface {
        Some(iface) => json!({"slot": vref.as_str(), "iface": iface}),
        None => json!({"slot": vref.as_str()}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_becomes_smallcaps() {
        for (plain, body) in [
            ("null", "#null"),
            ("[true,\"text\"]", "#[true,\"text\"]"),
            ("[\"$5\",\"#x\",\"!\",\"+1\",\"\"]", "#[\"!$5\",\"!#x\",\"!!\",\"!+1\",\"\"]"),
            ("{\"#tag\":1,\"a\":{\"-b\":\"&0\"}}", "#{\"!#tag\":1,\"a\":{\"!-b\":\"!&0\"}}"),
            (
                "[9007199254740991,9007199254740992,-9007199254740992]",
                "#[9007199254740991,\"+9007199254740992\",\"-9007199254740992\"]",
            ),
            ("[18446744073709551615,1.5,5.0,-0.0,1e300]", "#[\"+18446744073709551615\",1.5,5,0,1e+300]"),
        ] {
            assert_eq!(value(&serde_json::from_str(plain).unwrap()), CapData::data(body), "{plain}");
        }
        assert_eq!(call("!x", &[]), CapData::data("#[\"!!x\",[]]"));
    }

    #[test]
    fn what_people_write_reads_back() {
        for text in [
            "[1,-1,\"$0\",\"#undefined\",[[]],{\"#error\":\"!\",\"!\":null}]",
            "18446744073709551615",
            "-9223372036854775808",
        ] {
            let written: Value = serde_json::from_str(text).unwrap();
            assert_eq!(plain(&value(&written)), written, "{text}");
        }
    }

    #[test]
    fn smallcaps_becomes_what_people_read() {
        let slots = vec!["o+12".parse().unwrap(), "p-60".parse().unwrap()];
        for (body, expected) in [
            ("#\"#undefined\"", "null"),
            ("#[\"#NaN\",\"#-Infinity\",\"+7\",\"-7\"]", "[\"NaN\",\"-Infinity\",7,-7]"),
            ("#\"+99999999999999999999\"", "\"99999999999999999999\""),
            (
                "#[\"$0.Alleged: Purse\",\"&1\"]",
                "[{\"iface\":\"Alleged: Purse\",\"slot\":\"o+12\"},{\"slot\":\"p-60\"}]",
            ),
            ("#{\"#error\":\"no\",\"name\":\"TypeError\"}", "{\"message\":\"no\",\"name\":\"TypeError\"}"),
            ("#{\"#tag\":\"t\",\"payload\":[]}", "{\"payload\":[],\"tag\":\"t\"}"),
            // What means nothing stays what it is.
            (
                "#[\"$7\",\"$x\",\"%sym\",\"#what\",\"+1x\",\"-\",\"'\"]",
                "[\"$7\",\"$x\",\"%sym\",\"#what\",\"+1x\",\"-\",\"'\"]",
            ),
            ("no smallcaps", "\"no smallcaps\""),
            ("#[", "\"#[\""),
        ] {
            let data = CapData { body: body.to_owned(), slots: slots.clone() };
            assert_eq!(plain(&data).to_string(), expected, "{body}");
        }
    }

    #[test]
    fn errors_are_told_in_words() {
        assert_eq!(
            error_text(&CapData::data("#{\"#error\":\"no\",\"name\":\"TypeError\"}")),
            "TypeError: no"
        );
        assert_eq!(error_text(&CapData::data("#\"why\"")), "\"why\"");
    }
}
