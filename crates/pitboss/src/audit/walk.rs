//! Walk through one account's decisions, from the newest to the oldest.
//!
//! It starts with the stored balances and undoes one decision after the other. So it checks the balance at every version of
//! the account, and it may stop at any decision.

use std::collections::BTreeMap;

use money::Currency;

use super::documents::{AccountDoc, Entry};
use super::report::CheckId;
use super::violation::{Amount, Violation};

/// Walk through the decisions of one account, which may be in its tail, in the ledger, or in both.
#[derive(Debug)]
pub struct Walk<'a> {
    account: &'a AccountDoc,
    /// Balances before the decisions that were undone.
    balances: BTreeMap<Currency, i128>,
    /// `seq` of the next decision to undo.
    seq: i64,
    is_stopped: bool,
    /// A balance was compared with what a decision states.
    is_compared: bool,
}

/// Violation that a walk found, and the check that it violates.
pub type Problem = (CheckId, Violation);

impl<'a> Walk<'a> {
    /// Starts at the newest decision.
    #[must_use]
    pub fn new(account: &'a AccountDoc) -> Self {
        let balances = account.balances.iter().map(|(currency, minor)| (*currency, i128::from(*minor)));
        Self {
            account,
            balances: balances.collect(),
            seq: account.next_seq.saturating_sub(1),
            is_stopped: false,
            is_compared: false,
        }
    }

    /// Returns the account.
    #[must_use]
    pub fn account(&self) -> &'a AccountDoc {
        self.account
    }

    /// Returns true after the oldest decision, or when the walk was stopped.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_stopped || self.seq < 1
    }

    /// Returns the ids of the ledger rows of the next `count` decisions.
    #[must_use]
    pub fn next_rows(&self, count: usize) -> Vec<String> {
        if self.is_done() {
            return Vec::new();
        }
        let oldest = (self.seq + 1).saturating_sub(i64::try_from(count).unwrap_or(i64::MAX)).max(1);
        (oldest..=self.seq).rev().map(|seq| self.row_id(seq)).collect()
    }

    /// Returns the id of the ledger row of the next decision.
    #[must_use]
    pub fn next_row(&self) -> String {
        self.row_id(self.seq)
    }

    fn row_id(&self, seq: i64) -> String {
        format!("{}/{seq}", self.account.player_id)
    }

    /// Returns the next decision if it is in the tail.
    #[must_use]
    pub fn next_in_tail(&self) -> Option<&'a Entry> {
        self.account.tail.iter().find(|entry| entry.seq == self.seq)
    }

    /// Returns the currency that is negative in the stored balances.
    #[must_use]
    pub fn negative_balance(&self) -> Option<Problem> {
        let (currency, minor) = self.balances.iter().find(|(_, minor)| **minor < 0)?;
        let balance = Amount::new("balance", *minor, currency.code());
        let what = format!("the balance before seq {} is {balance}", self.seq + 1);
        Some((CheckId::NonNegative, Violation::of(what, [balance])))
    }

    /// Returns true if the walk compared a balance: with what a decision states, or with the sum of all postings.
    #[must_use]
    pub fn compared_a_balance(&self) -> bool {
        self.is_compared || self.has_all()
    }

    /// Returns true if every decision was undone.
    fn has_all(&self) -> bool {
        !self.is_stopped && self.seq < 1
    }

    /// Undoes the next decision, of which `row` is the ledger row. A decision before `since_ms` stops the walk, after its
    /// stated balance was compared. Returns whether a decision was undone.
    ///
    /// # Errors
    /// The violation. The walk is stopped then, because older balances cannot be known.
    pub fn take_back(&mut self, row: Option<&Entry>, since_ms: Option<i64>) -> Result<bool, Problem> {
        let taken_back = self.try_take_back(row, since_ms);
        self.is_stopped = !matches!(taken_back, Ok(true));
        taken_back
    }

    fn try_take_back(&mut self, row: Option<&Entry>, since_ms: Option<i64>) -> Result<bool, Problem> {
        let seq = self.seq;
        let wrong = |what: String| -> Result<bool, Problem> { Err((CheckId::Sequence, what.into())) };
        let entry = match (row, self.next_in_tail()) {
            (Some(row), Some(tail)) if row != tail => {
                return wrong(format!("seq {seq} is one decision in the tail and another one in the ledger"));
            }
            (Some(entry), _) | (None, Some(entry)) => entry,
            (None, None) => return wrong(format!("seq {seq} is neither in the tail nor in the ledger")),
        };
        if entry.seq != seq {
            return wrong(format!("the row of seq {seq} says that it is seq {}", entry.seq));
        }
        let own = entry.own_sums(&self.account.player_id);
        // A decision without own postings, or with two currencies, does not say which balance it states.
        if let (Some((currency, _)), 1, Some(stated)) =
            (own.first_key_value(), own.len(), entry.balance_after_minor)
        {
            self.is_compared = true;
            let balance = self.balances.get(currency).copied().unwrap_or(0);
            if balance != i128::from(stated) {
                let stated = Amount::new("stated", stated, currency.code());
                let balance = Amount::new("balance", balance, currency.code());
                let what = format!(
                    "seq {seq} states a balance of {stated}. The stored balance without the later postings is {balance}"
                );
                return Err((CheckId::Balances, Violation::of(what, [stated, balance])));
            }
        }
        if since_ms.is_some_and(|since_ms| entry.at.timestamp_millis() < since_ms) {
            return Ok(false);
        }
        for (currency, minor) in own {
            *self.balances.entry(currency).or_insert(0) -= minor;
        }
        self.seq -= 1;
        self.negative_balance().map_or(Ok(true), Err)
    }

    /// Returns what is left of the balances when every decision was undone. Nothing may be left.
    #[must_use]
    pub fn remainder(&self) -> Option<Problem> {
        let (currency, left) = self.balances.iter().find(|(_, minor)| **minor != 0)?;
        let stored = self.account.balances.get(currency).copied().unwrap_or(0);
        let posted = Amount::new("posted", i128::from(stored) - left, currency.code());
        let stored = Amount::new("balance", stored, currency.code());
        let what = format!("the stored balance is {stored}, and the postings add up to {posted}");
        self.has_all().then(|| (CheckId::Balances, Violation::of(what, [stored, posted])))
    }
}
