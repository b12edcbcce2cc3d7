//! The grammar of references.

use vat_abi::{Allocator, RefKind, Vref};

#[test]
fn well_formed() {
    use Allocator::{Kernel, Vat};
    use RefKind::{Device, Object, Promise};
    let table = [
        ("o+0", Object, Vat, false, false),
        ("o-50", Object, Kernel, false, false),
        ("o+18446744073709551615", Object, Vat, false, false),
        ("p+5", Promise, Vat, false, false),
        ("p-60", Promise, Kernel, false, false),
        ("d-70", Device, Kernel, false, false),
        ("d+1", Device, Vat, false, false),
        ("o+v10/4", Object, Vat, true, false),
        ("o+v0/0:0", Object, Vat, true, false),
        ("o+d11/3", Object, Vat, false, true),
        ("o+d11/18446744073709551615:12", Object, Vat, false, true),
    ];
    for (text, kind, allocator, is_virtual, is_durable) in table {
        let vref: Vref = text.parse().unwrap();
        assert_eq!((vref.kind(), vref.allocator()), (kind, allocator), "{text}");
        assert_eq!((vref.is_virtual(), vref.is_durable()), (is_virtual, is_durable), "{text}");
        assert_eq!((vref.as_str(), vref.to_string().as_str()), (text, text));
        assert_eq!(Vref::try_from(text.to_owned()), Ok(vref));
    }
}

#[test]
fn constructors() {
    assert_eq!(Vref::root().as_str(), "o+0");
    assert_eq!(Vref::object(Allocator::Kernel, 50).as_str(), "o-50");
    assert_eq!(Vref::promise(Allocator::Vat, u64::MAX).as_str(), "p+18446744073709551615");
    assert_eq!(Vref::device(Allocator::Kernel, 70).as_str(), "d-70");
}

#[test]
fn malformed() {
    let table = [
        "",
        "o",
        "o+",
        "o-",
        "+0",
        "o0",
        "O+0",
        "x+0",
        "ko20",
        "kp40",
        "o+00",
        "o+01",
        "o++1",
        "o+-1",
        "o+ 1",
        "o+1 ",
        " o+1",
        "o+1a",
        "o+0x1",
        "o+1_000",
        "o+18446744073709551616",
        "o+٣",
        "o+1/2",
        "o+1:2",
        "o-v10/4",
        "o-d10/4",
        "p+v10/4",
        "d+d10/4",
        "o+v",
        "o+v10",
        "o+v/4",
        "o+v10/",
        "o+v10/4:",
        "o+v10/4:1:2",
        "o+v10/4/5",
        "o+v01/4",
        "o+v10/04",
        "o+v10/4:01",
        "o+v+1/4",
        "o+x10/4",
        "o+vd/1",
        "é",
        "o+é",
        "o\u{0}0",
        "o+0\u{0}",
    ];
    for text in table {
        let error = text.parse::<Vref>().expect_err(text);
        assert!(error.to_string().contains("is not a reference"), "{error}");
        assert_eq!(Vref::try_from(text.to_owned()), Err(error));
    }
}

/// The error quotes a bounded part of a long text, cut between characters.
#[test]
fn errors_are_short() {
    let error = "é".repeat(1 << 20).parse::<Vref>().unwrap_err();
    assert!(error.to_string().len() < 200, "{error}");
}
