//! What one vat is told, and what it must answer: its messages follow from a seed, the answers from a model kept here.
//!
//! A script that is made again says the same again. Some messages are wrong on purpose: one is rejected, one makes the vat crash;
//! the model then stays as it was, and so must the vat.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::random::Random;

/// What a vat is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A number, by the SDK.
    Counter,
    /// A number, without the SDK.
    Raw,
    /// A number, in C.
    CCounter,
    /// Accounts.
    Ledger,
    /// A full-text index.
    Search,
    /// Words in a hash map, under WASI.
    Wasi,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] =
        [Kind::Counter, Kind::Raw, Kind::CCounter, Kind::Ledger, Kind::Search, Kind::Wasi];

    /// The module's name.
    pub(crate) fn module(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Raw => "raw",
            Kind::CCounter => "c-counter",
            Kind::Ledger => "ledger",
            Kind::Search => "search",
            Kind::Wasi => "wasi-vat",
        }
    }

    /// How many vats in a hundred are of this kind, when all kinds are there.
    pub(crate) fn share(self) -> u64 {
        match self {
            Kind::Counter => 45,
            Kind::Raw => 20,
            Kind::CCounter | Kind::Wasi | Kind::Search => 5,
            Kind::Ledger => 20,
        }
    }

    /// The vat's parameters.
    pub(crate) fn parameters(self) -> Value {
        match self {
            Kind::Ledger => json!({"accounts": ACCOUNTS, "balance": BALANCE}),
            _ => json!({}),
        }
    }
}

/// Accounts of a ledger.
const ACCOUNTS: u64 = 1_000;
/// What each account begins with.
const BALANCE: u64 = 1_000;
/// Words of a document, its marker aside.
const WORDS: u64 = 40;

/// A message.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) arguments: Vec<Value>,
    pub(crate) expected: Expected,
}

/// What must become of a message.
#[derive(Debug, PartialEq)]
pub(crate) enum Expected {
    /// This answer.
    Answer(Value),
    /// A list with these ids.
    Ids(Vec<String>),
    Rejection,
    Fault,
}

/// A vat's messages and model.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    random: Random,
    model: Model,
}

#[derive(Debug, Clone)]
enum Model {
    Counter {
        count: u64,
    },
    /// What the vats without the SDK have in common.
    Adder {
        count: u64,
    },
    Ledger {
        balances: BTreeMap<u64, u64>,
        total: u64,
    },
    Search {
        documents: u64,
    },
    Words {
        counts: BTreeMap<u64, u64>,
    },
}

impl Script {
    /// The script of the vat number `stream`.
    pub(crate) fn new(kind: Kind, seed: u64, stream: u64) -> Script {
        let model = match kind {
            Kind::Counter => Model::Counter { count: 0 },
            Kind::Raw | Kind::CCounter => Model::Adder { count: 0 },
            Kind::Ledger => Model::Ledger { balances: BTreeMap::new(), total: ACCOUNTS * BALANCE },
            Kind::Search => Model::Search { documents: 0 },
            Kind::Wasi => Model::Words { counts: BTreeMap::new() },
        };
        Script { random: Random::new(seed, stream), model }
    }

    /// The next message.
    pub(crate) fn next(&mut self) -> Call {
        let random = &mut self.random;
        match &mut self.model {
            Model::Counter { count } => counter(random, count),
            Model::Adder { count } => adder(random, count),
            Model::Ledger { balances, total } => ledger(random, balances, total),
            Model::Search { documents } => search(random, documents),
            Model::Words { counts } => words(random, counts),
        }
    }
}

fn call(method: &'static str, arguments: Value, expected: Expected) -> Call {
    let Value::Array(arguments) = arguments else { unreachable!("the callers write arrays") };
    Call { method, arguments, expected }
}

fn answer(method: &'static str, arguments: Value, answer: impl Into<Value>) -> Call {
    call(method, arguments, Expected::Answer(answer.into()))
}

fn counter(random: &mut Random, count: &mut u64) -> Call {
    match random.below(100) {
        0..70 => {
            *count += 1;
            answer("increment", json!([]), *count)
        }
        70..85 => {
            let by = random.below(1_000);
            *count += by;
            answer("add", json!([by]), *count)
        }
        85..94 => answer("peek", json!([]), *count),
        94..99 => call("add", json!([-1 - i128::from(*count)]), Expected::Rejection),
        _ => call("crash", json!(["as the demo wants it"]), Expected::Fault),
    }
}

fn adder(random: &mut Random, count: &mut u64) -> Call {
    match random.below(100) {
        0..80 => {
            let by = random.below(1_000);
            *count += by;
            answer("add", json!([by]), *count)
        }
        80..95 => answer("peek", json!([]), *count),
        _ => call("subtract", json!([1]), Expected::Rejection),
    }
}

fn ledger(random: &mut Random, balances: &mut BTreeMap<u64, u64>, total: &mut u64) -> Call {
    let name = |account: u64| format!("account-{account:07}");
    let account = random.below(ACCOUNTS);
    let balance = balances.get(&account).copied().unwrap_or(BALANCE);
    match random.below(100) {
        0..60 => {
            let to = (account + 1 + random.below(ACCOUNTS - 1)) % ACCOUNTS;
            let amount = random.below(BALANCE * 2);
            let arguments = json!([name(account), name(to), amount]);
            let Some(left) = balance.checked_sub(amount) else {
                return call("transfer", arguments, Expected::Rejection);
            };
            let payee = balances.get(&to).copied().unwrap_or(BALANCE) + amount;
            balances.insert(account, left);
            balances.insert(to, payee);
            answer("transfer", arguments, json!([left, payee]))
        }
        60..80 => {
            let amount = random.below(BALANCE);
            balances.insert(account, balance + amount);
            *total += amount;
            answer("deposit", json!([name(account), amount]), balance + amount)
        }
        80..95 => answer("balance", json!([name(account)]), balance),
        _ => answer("total", json!([]), *total),
    }
}

/// Each document has a word of its own, by which it is found again.
fn search(random: &mut Random, documents: &mut u64) -> Call {
    if *documents > 0 && random.below(100) < 50 {
        let document = random.below(*documents);
        let found = Expected::Ids(vec![format!("document-{document}")]);
        return call("query", json!([format!("marker{document}"), 5]), found);
    }
    let document = *documents;
    *documents += 1;
    let mut text = format!("marker{document}");
    for _ in 0..WORDS {
        text.push_str(&format!(" word{}", random.below(500)));
    }
    answer("add", json!([format!("document-{document}"), text]), WORDS + 1)
}

fn words(random: &mut Random, counts: &mut BTreeMap<u64, u64>) -> Call {
    let word = random.below(50);
    let count = counts.entry(word).or_default();
    *count += 1;
    answer("note", json!([format!("word{word}")]), *count)
}

impl Expected {
    /// Whether this is what became of it.
    pub(crate) fn is_met_by(&self, got: &Got) -> bool {
        match (self, got) {
            (Expected::Answer(expected), Got::Answer(got)) => expected == got,
            (Expected::Ids(expected), Got::Answer(Value::Array(hits))) => {
                hits.iter().map(|hit| hit["id"].as_str()).eq(expected.iter().map(|id| Some(id.as_str())))
            }
            (Expected::Rejection, Got::Rejection(_)) | (Expected::Fault, Got::Fault(_)) => true,
            _ => false,
        }
    }
}

/// What became of a message.
#[derive(Debug, PartialEq)]
pub(crate) enum Got {
    /// This answer.
    Answer(Value),
    /// A rejection, in words.
    Rejection(String),
    /// A fault, in words.
    Fault(String),
    /// No answer, though the vats of the demo all answer at once.
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_is_made_again_says_the_same_again() {
        for kind in Kind::ALL {
            let told = |seed, stream| {
                let mut script = Script::new(kind, seed, stream);
                (0..100).map(|_| format!("{:?}", script.next())).collect::<Vec<_>>()
            };
            assert_eq!(told(1, 2), told(1, 2));
            assert_ne!(told(1, 2), told(1, 3));
            assert_ne!(told(1, 2), told(2, 2));
        }
    }

    #[test]
    fn only_what_was_expected_is_right() {
        let ids = Expected::Ids(vec!["a".to_owned()]);
        assert!(ids.is_met_by(&Got::Answer(json!([{"id": "a", "score": 3}]))));
        assert!(!ids.is_met_by(&Got::Answer(json!([]))));
        assert!(!ids.is_met_by(&Got::Answer(json!([{"id": "a"}, {"id": "b"}]))));
        let five = Expected::Answer(json!(5));
        assert!(five.is_met_by(&Got::Answer(json!(5))));
        for wrong in
            [Got::Answer(json!(6)), Got::Rejection(String::new()), Got::Fault(String::new()), Got::Nothing]
        {
            assert!(!five.is_met_by(&wrong));
        }
        assert!(!Expected::Rejection.is_met_by(&Got::Fault(String::new())));
    }

    #[test]
    fn the_models_money_is_conserved() {
        let mut script = Script::new(Kind::Ledger, 3, 4);
        for _ in 0..10_000 {
            script.next();
        }
        let Model::Ledger { balances, total } = &script.model else { panic!("another model") };
        let untouched = ACCOUNTS - balances.len() as u64;
        assert_eq!(balances.values().sum::<u64>() + untouched * BALANCE, *total);
    }
}
