//! Values and their smallcaps, both ways.

use super::{from_capdata, to_capdata};
use crate::{Error, Promise, Remote};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;
use vat_abi::CapData;

fn data(body: &str, slots: &[&str]) -> CapData {
    CapData { body: body.to_owned(), slots: slots.iter().map(|slot| slot.parse().unwrap()).collect() }
}

/// The value has this body, and the body this value.
fn both_ways<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, body: &str) {
    assert_eq!(to_capdata(&value).unwrap(), data(body, &[]), "{value:?} written");
    assert_eq!(from_capdata::<T>(&data(body, &[])).unwrap(), value, "{body} read");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Shape {
    Empty,
    Circle(u32),
    Line(u32, u32),
    Box { wide: u32 },
}

#[test]
fn plain_values_are_plain_json() {
    both_ways(true, "#true");
    both_ways("text".to_owned(), "#\"text\"");
    both_ways("quote \" and \u{1f600}".to_owned(), "#\"quote \\\" and \u{1f600}\"");
    both_ways(vec![1, 2, 3], "#[1,2,3]");
    both_ways((1, "two".to_owned(), 2.5), "#[1,\"two\",2.5]");
    both_ways(Point { x: 1, y: -2 }, "#{\"x\":1,\"y\":-2}");
    both_ways('x', "#\"x\"");
    both_ways(BTreeMap::from([("b".to_owned(), 1), ("a".to_owned(), 2)]), "#{\"a\":2,\"b\":1}");
}

#[test]
fn strings_that_smallcaps_would_misread_are_escaped() {
    for first in '!'..='-' {
        both_ways(format!("{first}x"), &format!("#{}", serde_json::json!(format!("!{first}x"))));
    }
    for text in ["", ".", "/", "0", " ", "x!", "é"] {
        both_ways(text.to_owned(), &format!("#{}", serde_json::json!(text)));
    }
    both_ways(BTreeMap::from([("#error".to_owned(), 1)]), "#{\"!#error\":1}");
}

#[test]
fn integers_beyond_a_double_are_bigints() {
    both_ways(9_007_199_254_740_991u64, "#9007199254740991");
    both_ways(9_007_199_254_740_992u64, "#\"+9007199254740992\"");
    both_ways(u64::MAX, "#\"+18446744073709551615\"");
    both_ways(-9_007_199_254_740_991i64, "#-9007199254740991");
    both_ways(i64::MIN, "#\"-9223372036854775808\"");
    both_ways(u128::MAX, "#\"+340282366920938463463374607431768211455\"");
    both_ways(i128::MIN, "#\"-170141183460469231731687303715884105728\"");
    assert_eq!(from_capdata::<u64>(&data("#\"+7\"", &[])).unwrap(), 7);
    assert_eq!(from_capdata::<i8>(&data("#\"-7\"", &[])).unwrap(), -7);
}

#[test]
fn numbers_that_json_lacks_have_names() {
    both_ways(f64::INFINITY, "#\"#Infinity\"");
    both_ways(f64::NEG_INFINITY, "#\"#-Infinity\"");
    assert_eq!(to_capdata(&f64::NAN).unwrap().body, "#\"#NaN\"");
    assert!(from_capdata::<f64>(&data("#\"#NaN\"", &[])).unwrap().is_nan());
    // JavaScript prints integers without a fraction, and knows no negative zero in JSON.
    both_ways(5.0f64, "#5");
    assert_eq!(to_capdata(&-0.0f64).unwrap().body, "#0");
    both_ways(0.1f64, "#0.1");
}

#[test]
fn nothing_is_undefined_and_null_is_read_as_nothing() {
    both_ways((), "#\"#undefined\"");
    both_ways(None::<u8>, "#\"#undefined\"");
    both_ways(Some(3u8), "#3");
    from_capdata::<()>(&data("#null", &[])).unwrap();
    assert_eq!(from_capdata::<Option<u8>>(&data("#null", &[])).unwrap(), None);
}

#[test]
fn a_struct_of_defaults_may_be_left_out() {
    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Config {
        size: u32,
    }
    assert_eq!(from_capdata::<Config>(&CapData::undefined()).unwrap(), Config { size: 0 });
    assert_eq!(from_capdata::<Config>(&data("#{\"size\":3}", &[])).unwrap(), Config { size: 3 });
}

#[test]
fn enums_are_names_or_records_of_one() {
    both_ways(Shape::Empty, "#\"Empty\"");
    both_ways(Shape::Circle(2), "#{\"Circle\":2}");
    both_ways(Shape::Line(1, 2), "#{\"Line\":[1,2]}");
    both_ways(Shape::Box { wide: 3 }, "#{\"Box\":{\"wide\":3}}");
    both_ways(BTreeMap::from([(Shape::Empty, 1)]), "#{\"Empty\":1}");
}

#[test]
fn numbers_as_keys_are_names() {
    both_ways(BTreeMap::from([(7u64, "x".to_owned())]), "#{\"7\":\"x\"}");
    both_ways(BTreeMap::from([(-7i32, ())]), "#{\"!-7\":\"#undefined\"}");
}

#[test]
fn references_go_through_the_slots() {
    let remote = |vref: &str| serde_json::from_str::<Remote>(&format!("\"{vref}\"")).unwrap();
    let promise: Promise = serde_json::from_str("\"p-60\"").unwrap();
    let value = (remote("o-52"), vec![remote("o+0"), remote("o-52")], Some(promise));
    let expected = data("#[\"$0\",[\"$1\",\"$0\"],\"&2\"]", &["o-52", "o+0", "p-60"]);
    assert_eq!(to_capdata(&value).unwrap(), expected);
    let read: (Remote, Vec<Remote>, Option<Promise>) = from_capdata(&expected).unwrap();
    assert_eq!(read, value);
    let with_interface = data("#\"$0.Alleged: Purse\"", &["o-52"]);
    assert_eq!(from_capdata::<Remote>(&with_interface).unwrap(), remote("o-52"));
}

#[test]
fn an_error_is_read_whatever_else_it_carries() {
    let thrown = data("#{\"#error\":\"no\",\"name\":\"RangeError\",\"errorId\":\"error:1\"}", &[]);
    assert_eq!(from_capdata::<Error>(&thrown).unwrap(), Error::named("RangeError", "no"));
    let error = Error::type_error("quote \" here");
    assert_eq!(error.to_capdata().body, "#{\"#error\":\"quote \\\" here\",\"name\":\"TypeError\"}");
    assert_eq!(from_capdata::<Error>(&error.to_capdata()).unwrap(), error);
}

#[test]
fn what_cannot_be_read_is_a_type_error_that_says_why() {
    fn refused<T: DeserializeOwned + Debug>(body: &str, slots: &[&str], why: &str) {
        let error = from_capdata::<T>(&data(body, slots)).unwrap_err();
        assert_eq!(error.name(), "TypeError");
        assert!(error.message().contains(why), "{body}: {error}");
    }
    refused::<String>("\"x\"", &[], "not smallcaps");
    refused::<String>("", &[], "not smallcaps");
    refused::<String>("#[", &[], "not smallcaps");
    refused::<String>("#\"%iterator\"", &[], "symbols");
    refused::<String>("#\"#nan\"", &[], "means nothing");
    refused::<String>("#\"*x\"", &[], "means nothing");
    refused::<String>("#\"+\"", &[], "means nothing");
    refused::<String>("#\"+1.5\"", &[], "means nothing");
    refused::<String>("#\"$0\"", &["o-1"], "plain data is expected");
    refused::<u8>("#300", &[], "expected u8");
    refused::<u64>("#-1", &[], "expected u64");
    refused::<u64>("#\"+340282366920938463463374607431768211456\"", &[], "128 bits");
    refused::<Vec<u8>>("#\"x\"", &[], "expected a sequence");
    refused::<(u8, u8)>("#[1,2,3]", &[], "too many");
    refused::<BTreeMap<String, u8>>("#{\"#tag\":\"copySet\",\"payload\":[]}", &[], "not supported");
    refused::<Shape>("#\"Round\"", &[], "unknown variant");
    refused::<Shape>("#\"Circle\"", &[], "content is missing");
    refused::<Remote>("#\"o-1\"", &["o-1"], "expected a reference");
    refused::<Remote>("#\"$1\"", &["o-1"], "no slot 1");
    refused::<Remote>("#\"$0\"", &["p-1"], "another kind");
    refused::<Remote>("#\"&0\"", &["p-1"], "expected an object");
    refused::<Promise>("#\"$0\"", &["o-1"], "expected a promise");
}

#[test]
fn deep_nesting_is_refused_and_not_a_crash() {
    let deep = format!("#{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(from_capdata::<serde_json::Value>(&data(&deep, &[])).is_err());
}
