//! Stored documents as the audit reads them.
//!
//! They are declared here a second time on purpose: what a service wrote must not be judged by that service's own code. Fields
//! that no check needs are left out.

use std::collections::BTreeMap;

use contracts::EventType;
use money::{Account, Currency};
use serde::Deserialize;
use store::bson::{Bson, DateTime};

use super::violation::{Amount, Violation};

/// Account in `payment.accounts`.
#[derive(Clone, Debug, Deserialize)]
pub struct AccountDoc {
    /// Owner of the account.
    #[serde(rename = "_id")]
    pub player_id: String,
    /// `seq` of the next decision.
    pub next_seq: i64,
    /// Minor units by currency.
    pub balances: BTreeMap<Currency, i64>,
    /// Decisions that are not trimmed yet.
    pub tail: Vec<Entry>,
}

/// Decision, as it is in an account's tail and in `payment.ledger`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Entry {
    /// Number in the account: 1, 2, 3.
    pub seq: i64,
    /// Id of the command.
    pub command_id: String,
    /// Unique keys, such as `w:<wager>`.
    pub keys: Vec<String>,
    /// Type of the command.
    #[serde(rename = "type")]
    pub command_type: String,
    /// `applied`, `pending` or `rejected`.
    pub outcome: String,
    /// Wager that this decision voids.
    #[serde(default)]
    pub voids: Option<String>,
    /// Postings, empty for a rejection.
    pub postings: Vec<Leg>,
    /// Balance after the decision.
    #[serde(default)]
    pub balance_after_minor: Option<i64>,
    /// Event of the decision.
    #[serde(default)]
    pub event: Option<StoredEvent>,
    /// Time of the decision.
    pub at: DateTime,
}

/// Ledger row: an entry with its place.
#[derive(Clone, Debug)]
pub struct Row {
    /// `player_id/seq`.
    pub id: String,
    /// Player whose account decided.
    pub player_id: String,
    /// The decision.
    pub entry: Entry,
}

/// One posting.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Leg {
    /// Account that gets the amount.
    pub account: Account,
    /// Currency of the amount.
    pub currency: Currency,
    /// Minor units, negative if the account gives them.
    pub amount_minor: i64,
}

/// Event of a decision.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StoredEvent {
    /// `ce_id`.
    pub id: String,
    /// `ce_type`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Value of its record.
    #[serde(rename = "bytes", default)]
    pub content: Option<Bson>,
}

impl StoredEvent {
    /// Returns the value of its record, if it is stored as bytes.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match &self.content {
            Some(Bson::Binary(binary)) => Some(&binary.bytes),
            _ => None,
        }
    }
}

/// Amounts that a wager moved, as its postings state them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wagered {
    /// Currency of both.
    pub currency: Currency,
    /// Minor units that left the player's account.
    pub stake_minor: i128,
    /// Minor units that reached it.
    pub payout_minor: i128,
}

/// Direction of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaymentKind {
    /// Deposit of a player: the provider charges a card.
    Charge,
    /// Withdrawal of a player: the provider pays out.
    Payout,
}

/// Deposit or withdrawal that the ledger completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Id of the payment.
    pub id: String,
    /// Direction.
    pub kind: PaymentKind,
    /// Minor units that moved at the provider, as the postings state them.
    pub amount_minor: i128,
    /// Currency of the amount.
    pub currency: Currency,
}

impl Entry {
    /// Returns the sum of the player's own postings, by currency.
    #[must_use]
    pub fn own_sums(&self, player_id: &str) -> BTreeMap<Currency, i128> {
        self.sums(|account| matches!(account, Account::Player(id) if id == player_id))
    }

    /// Returns the sum of the postings on the selected accounts, by currency.
    #[must_use]
    pub fn sums(&self, is_selected: impl Fn(&Account) -> bool) -> BTreeMap<Currency, i128> {
        let mut sums = BTreeMap::new();
        for leg in self.postings.iter().filter(|leg| is_selected(&leg.account)) {
            *sums.entry(leg.currency).or_insert(0) += i128::from(leg.amount_minor);
        }
        sums
    }

    /// Returns the id of the wager that this decision voided. `None` for other decisions.
    #[must_use]
    pub fn voided_wager(&self) -> Option<&str> {
        self.voids.as_deref().filter(|_| self.outcome == "applied")
    }

    /// Returns the id of the wager that this decision applied. `None` for other decisions and for a rejection.
    #[must_use]
    pub fn applied_wager(&self) -> Option<&str> {
        let is_applied = self.outcome == "applied" && self.command_type == EventType::ApplyWager.as_str();
        self.keys.iter().find_map(|key| key.strip_prefix("w:")).filter(|_| is_applied)
    }

    /// Returns the amounts that moved on the player's account, or `None` unless there is exactly one currency.
    #[must_use]
    pub fn wagered(&self, player_id: &str) -> Option<Wagered> {
        let own = |leg: &&Leg| matches!(&leg.account, Account::Player(id) if id == player_id);
        let currency = self.postings.iter().find(own)?.currency;
        let mut wagered = Wagered { currency, stake_minor: 0, payout_minor: 0 };
        for leg in self.postings.iter().filter(own) {
            if leg.currency != currency {
                return None;
            }
            let amount_minor = i128::from(leg.amount_minor);
            if amount_minor < 0 {
                wagered.stake_minor -= amount_minor;
            } else {
                wagered.payout_minor += amount_minor;
            }
        }
        Some(wagered)
    }

    /// Returns the direction of the payment that this decision completed, if it did.
    #[must_use]
    pub fn completed_kind(&self) -> Option<PaymentKind> {
        match self.event.as_ref()?.event_type.parse().ok()? {
            EventType::DepositCompleted => Some(PaymentKind::Charge),
            EventType::WithdrawalCompleted => Some(PaymentKind::Payout),
            _ => None,
        }
    }

    /// Returns the payment that this decision completed.
    ///
    /// # Errors
    /// When the decision completed a payment and its keys or postings do not fit one.
    pub fn completed(&self) -> Result<Option<Payment>, Violation> {
        let Some(kind) = self.completed_kind() else { return Ok(None) };
        let Some(id) = self.keys.iter().find_map(|key| key.strip_prefix("r:")) else {
            return Err("it completes a payment, and none of its keys names the payment".into());
        };
        let moved = self.sums(|account| matches!(account, Account::Provider(_)));
        let (Some((currency, sum)), 1) = (moved.first_key_value(), moved.len()) else {
            let what = format!("it completes a payment, and its postings move {} currencies", moved.len());
            return Err(what.into());
        };
        // The provider gives what a player deposits.
        let amount_minor = match kind {
            PaymentKind::Charge => -sum,
            PaymentKind::Payout => *sum,
        };
        Ok(Some(Payment { id: id.to_owned(), kind, amount_minor, currency: *currency }))
    }
}

/// Deposit or withdrawal in `payment.intents`.
#[derive(Clone, Debug, Deserialize)]
pub struct Intent {
    /// Id of the payment.
    #[serde(rename = "_id")]
    pub id: String,
    /// `deposit` or `withdrawal`.
    pub kind: String,
    /// Amount in minor units.
    pub amount_minor: i64,
    /// Currency code.
    pub currency: String,
    /// `requested`, `reported`, `closed`, `settled` or `parked`.
    pub state: String,
    /// Time of the request.
    pub created_at: DateTime,
}

/// Bet in `game.bets`.
#[derive(Clone, Debug, Deserialize)]
pub struct Bet {
    /// Id of the bet, which is also the id of its wager.
    #[serde(rename = "_id")]
    pub id: String,
    /// Player who placed the bet.
    pub player_id: String,
    /// Name of the game.
    pub game: String,
    /// `decided`, `settled`, `rejected` or `voided`.
    pub state: String,
    /// Stake in minor units.
    pub stake_minor: i64,
    /// Payout in minor units.
    pub payout_minor: i64,
    /// Currency code of both.
    pub currency: String,
    /// Symbols on the reels.
    pub reels: Vec<String>,
    /// Pay table that the payout follows.
    pub pay_table_version: String,
    /// Time of the decision.
    pub decided_at: DateTime,
    /// Time of payment's answer.
    #[serde(default)]
    pub ended_at: Option<DateTime>,
    /// Time of the void.
    #[serde(default)]
    pub voided_at: Option<DateTime>,
    /// Balance after the bet.
    #[serde(default)]
    pub balance_minor: Option<i64>,
    /// Reason of a rejection.
    #[serde(default)]
    pub reject_reason: Option<String>,
    /// Time at which game no longer repeated the command to payment.
    #[serde(default)]
    pub unanswered_at: Option<DateTime>,
}

impl Bet {
    /// Returns true if the bet was settled, also if it was voided afterwards.
    #[must_use]
    pub fn was_settled(&self) -> bool {
        matches!(self.state.as_str(), "settled" | "voided")
            && self.balance_minor.is_some()
            && self.reject_reason.is_none()
    }

    /// Returns the time of the latest change of state, in milliseconds since the epoch.
    #[must_use]
    pub fn changed_at_ms(&self) -> i64 {
        self.voided_at.or(self.ended_at).unwrap_or(self.decided_at).timestamp_millis()
    }

    /// Returns stake and payout.
    #[must_use]
    pub fn amounts(&self) -> [Amount; 2] {
        [
            Amount::new("stake", self.stake_minor, &self.currency),
            Amount::new("payout", self.payout_minor, &self.currency),
        ]
    }
}

/// Entry of a bet or a payment in `user.bet_history`.
#[derive(Clone, Debug, Deserialize)]
pub struct HistoryEntry {
    /// Id of the bet or the payment.
    #[serde(rename = "_id")]
    pub id: String,
    /// Player whose bet or payment it is.
    pub player_id: String,
    /// `bet`, `deposit` or `withdrawal`.
    pub kind: String,
    /// `settled`, `rejected` or `voided` for a bet, `completed` or `failed` for a payment.
    pub outcome: String,
    /// Stake of the bet, or amount of the payment, in minor units.
    pub amount_minor: i64,
    /// Payout in minor units, if a bet was settled.
    #[serde(default)]
    pub payout_minor: Option<i64>,
    /// Currency code of both.
    pub currency: String,
    /// Time of the outcome.
    pub at: DateTime,
}

/// Fact of an event in `analytics.facts`.
#[derive(Clone, Debug, Deserialize)]
pub struct Fact {
    /// Id of the event.
    #[serde(rename = "_id")]
    pub id: String,
    /// Currency code.
    pub currency: String,
    /// Stake or deposit in minor units.
    pub in_minor: i64,
    /// Payout or withdrawal in minor units.
    pub out_minor: i64,
}

/// Notification in `notification.sent`.
#[derive(Clone, Debug, Deserialize)]
pub struct Notification {
    /// `<event>/<channel>`.
    #[serde(rename = "_id")]
    pub id: String,
    /// `waiting`, `due`, `claimed`, `sent`, `skipped`, `refused` or `parked`.
    #[serde(default)]
    pub state: String,
    /// Attempts, each stored before its e-mail is handed over. Those with an unknown outcome are among them, also the one that an
    /// older build had begun. `None` in a document without counters.
    #[serde(default)]
    pub attempts: Option<i64>,
    /// Attempts that have certainly not delivered the e-mail.
    #[serde(default)]
    pub put_off: i64,
}

impl Notification {
    /// Returns the largest number of times that its e-mail can have arrived. An attempt that was put off has not delivered it, nor
    /// has the last one if it ended with a refusal, without a contact, or because the player wants no e-mail.
    #[must_use]
    pub fn deliveries_max(&self) -> i64 {
        let Some(attempts) = self.attempts else { return 1 };
        let ended_without_one = matches!(self.state.as_str(), "waiting" | "skipped" | "refused");
        attempts.saturating_sub(self.put_off).saturating_sub(i64::from(ended_without_one)).max(0)
    }
}
