//! Accounts and transfers: state that grows, rules that must hold, and a trail that outlives the code.
//!
//! The balances live in an ordinary `BTreeMap` in the heap, where reading and writing them costs nothing.
//! What happened is also written to vat storage, a line for each entry, which survives an upgrade of this
//! code and does not take up heap:
//!
//! ```text
//!   heap     accounts   { "alice": 70, "bob": 30 }
//!   storage  audit.0000000000 = {"kind":"open","account":"alice"}
//!            audit.0000000001 = {"kind":"deposit","account":"alice","amount":100}
//!            audit.0000000002 = {"kind":"transfer","from":"alice","to":"bob","amount":30}
//! ```
//!
//! Invariant: the sum of all balances is the sum of all deposits; the field `total` is kept beside the map
//! and both are changed together, after every check has passed.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use vat_sdk::{Result, bail, ensure, vat, vatstore};

/// The most entries that one `history` answers with.
const HISTORY_ENTRIES_MAX: usize = 1_000;

/// The most accounts that `start` opens.
const ACCOUNTS_MAX: u32 = 1_000_000;

/// What a creator may choose.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// How many accounts to begin with, called `account-0000000` and so on. A hundred thousand fill about 7
    /// MiB.
    accounts: u32,
    /// What each of them holds.
    balance: u64,
}

/// Who has how much.
#[derive(Debug)]
struct Ledger {
    accounts: BTreeMap<String, u64>,
    /// The sum of all balances.
    total: u64,
    /// The number of the next line of the audit trail.
    next_entry: u64,
}

/// One line of the audit trail.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Entry {
    Open { account: String },
    Deposit { account: String, amount: u64 },
    Transfer { from: String, to: String, amount: u64 },
}

#[vat]
impl Ledger {
    fn start(config: Config) -> Result<Self> {
        ensure!(config.accounts <= ACCOUNTS_MAX, "at most {ACCOUNTS_MAX} accounts to begin with");
        let Some(total) = config.balance.checked_mul(u64::from(config.accounts)) else {
            bail!("{} accounts of {} are more than can be counted", config.accounts, config.balance);
        };
        let accounts =
            (0..config.accounts).map(|number| (format!("account-{number:07}"), config.balance)).collect();
        Ok(Ledger { accounts, total, next_entry: 0 })
    }

    /// Opens an empty account.
    fn open(&mut self, account: String) -> Result<()> {
        ensure!(!account.is_empty(), "an account needs a name");
        ensure!(!self.accounts.contains_key(&account), "there is an account {account:?} already");
        self.accounts.insert(account.clone(), 0);
        self.record(&Entry::Open { account })
    }

    /// Puts money into an account; answers its new balance.
    fn deposit(&mut self, account: String, amount: u64) -> Result<u64> {
        // No balance exceeds the total, so this one check is enough.
        let Some(total) = self.total.checked_add(amount) else {
            bail!("{amount} is more than can be counted")
        };
        let Some(balance) = self.accounts.get_mut(&account) else { bail!("no account {account:?}") };
        *balance += amount;
        let balance = *balance;
        self.total = total;
        self.record(&Entry::Deposit { account, amount })?;
        Ok(balance)
    }

    /// Moves money; answers both new balances.
    fn transfer(&mut self, from: String, to: String, amount: u64) -> Result<(u64, u64)> {
        ensure!(from != to, "an account cannot pay itself");
        ensure!(self.accounts.contains_key(&to), "no account {to:?}");
        let Some(payer) = self.accounts.get_mut(&from) else { bail!("no account {from:?}") };
        let Some(left) = payer.checked_sub(amount) else {
            bail!("{from:?} has {payer}, which is less than {amount}")
        };
        *payer = left;
        let payee = self.accounts.entry(to.clone()).or_default();
        *payee += amount;
        let balances = (left, *payee);
        self.record(&Entry::Transfer { from, to, amount })?;
        Ok(balances)
    }

    /// Answers what an account holds.
    fn balance(&self, account: &str) -> Result<u64> {
        let Some(balance) = self.accounts.get(account) else { bail!("no account {account:?}") };
        Ok(*balance)
    }

    /// Answers what all accounts hold together.
    fn total(&self) -> u64 {
        self.total
    }

    /// Answers how many accounts there are.
    fn count(&self) -> usize {
        self.accounts.len()
    }

    /// Answers the entries from number `from` on, `limit` at most.
    fn history(&self, from: u64, limit: Option<usize>) -> Result<Vec<Entry>> {
        let limit = limit.unwrap_or(HISTORY_ENTRIES_MAX).min(HISTORY_ENTRIES_MAX);
        let numbers = (from..self.next_entry).take(limit);
        numbers.filter_map(|number| vatstore::get_json(&key(number)).transpose()).collect()
    }
}

impl Ledger {
    fn record(&mut self, entry: &Entry) -> Result<()> {
        vatstore::set_json(&key(self.next_entry), entry)?;
        self.next_entry += 1;
        Ok(())
    }
}

/// Padded, so that the order of the keys is the order of the entries.
fn key(number: u64) -> String {
    format!("audit.{number:010}")
}
