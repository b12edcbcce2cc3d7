//! The ledger, compiled and hosted: its rules, its audit trail, and its determinism with a few thousand
//! accounts.

use vat_testkit::{Result, Scenario, TestVat, Value, json, this_vat};

#[test]
fn money_moves_and_none_is_made() -> Result {
    let mut vat = TestVat::start(this_vat!(), ())?;
    vat.call::<()>("open", ("alice",))?;
    vat.call::<()>("open", ("bob",))?;
    assert_eq!(vat.call::<u64>("deposit", ("alice", 100))?, 100);
    assert_eq!(vat.call::<(u64, u64)>("transfer", ("alice", "bob", 30))?, (70, 30));
    let refused = [
        ("transfer", json!(["alice", "bob", 71]), "\"alice\" has 70, which is less than 71"),
        ("transfer", json!(["alice", "alice", 1]), "an account cannot pay itself"),
        ("transfer", json!(["alice", "carol", 1]), "no account \"carol\""),
        ("deposit", json!(["alice", u64::MAX]), "18446744073709551615 is more than can be counted"),
        ("open", json!(["bob"]), "there is an account \"bob\" already"),
    ];
    for (method, arguments, why) in refused {
        assert_eq!(vat.rejects(method, arguments)?.message(), why);
    }
    assert_eq!(vat.call::<u64>("balance", ("alice",))?, 70);
    assert_eq!(vat.call::<u64>("balance", ("bob",))?, 30);
    assert_eq!(vat.call::<u64>("total", ())?, 100);
    Ok(())
}

#[test]
fn what_happened_is_in_vat_storage_and_only_that() -> Result {
    let mut vat = TestVat::start(this_vat!(), ())?;
    vat.call::<()>("open", ("alice",))?;
    vat.call::<u64>("deposit", ("alice", 100))?;
    vat.rejects("deposit", ("nobody", 1))?;
    let trail: Vec<(String, String)> = vat.storage()?.into_iter().collect();
    let expected = [
        ("audit.0000000000", r#"{"kind":"open","account":"alice"}"#),
        ("audit.0000000001", r#"{"kind":"deposit","account":"alice","amount":100}"#),
    ];
    assert_eq!(trail, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    vat.restart()?;
    let history: Vec<Value> = vat.call("history", (1,))?;
    assert_eq!(history, [json!({"kind": "deposit", "account": "alice", "amount": 100})]);
    Ok(())
}

#[test]
fn nobody_can_tell_where_it_was() {
    Scenario::of(this_vat!())
        .start(json!({"accounts": 5_000, "balance": 10}))
        .call("open", ("alice",))
        .calls("transfer", (0..4).map(|n| (format!("account-{n:07}"), "alice", n + 7)))
        .call("balance", ("alice",))
        .call("history", (0, 3))
        .call("total", ())
        .assert_deterministic();
}
