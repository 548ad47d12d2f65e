//! Result of an audit.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::violation::Amount;

/// Number of findings that a person or a program is shown of one check. The others are counted.
pub const FINDINGS_SHOWN: usize = 5;

/// A check of the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CheckId {
    /// The postings of every decision sum to zero in each currency.
    Postings,
    /// Every ledger row is a decision of its account.
    Rows,
    /// The decisions of an account are numbered without a gap, in tail and ledger together.
    Sequence,
    /// The stored balance is the sum of the postings, at every decision.
    Balances,
    /// No balance was ever negative.
    NonNegative,
    /// Every applied wager has its bet, with the same amounts.
    Wagers,
    /// Every settled bet has its applied wager.
    SettledBets,
    /// Every settled bet pays what the published pay table says.
    Payouts,
    /// Every decided bet ends, or a record that it waits for is an open or discarded dead letter.
    BetsEnded,
    /// Every applied void reverses what its wager moved, and its bet is voided.
    Voids,
    /// Every completed payment was captured by the provider, with the same amount.
    Payments,
    /// Every captured order of the provider's statement is a completed payment, once.
    Orders,
    /// Every deposit and withdrawal ends, or is parked.
    PaymentsEnded,
    /// Every ended bet is in its player's history, with the same outcome.
    History,
    /// Every bet in a history exists.
    HistoryBets,
    /// Every completed payment is in its player's history, with the same amount.
    HistoryPayments,
    /// Every settled bet has its fact in analytics, with the same amounts.
    Facts,
    /// Every completed payment has its fact in analytics, with the same amount.
    PaymentFacts,
    /// The rollups of analytics are the sums of the facts.
    Rollups,
    /// Every e-mail is about a notification, and arrived no more often than it was attempted.
    Mails,
    /// Every ended bet has its event on the topic.
    BetEvents,
    /// Every event about a bet is that of its bet, with the same amounts.
    SettlementEvents,
    /// Every decision of the ledger has its event on the topic, byte for byte.
    LedgerEvents,
    /// Every event of the ledger was caused by a decision, and is its event byte for byte.
    DecisionEvents,
    /// Every void on a topic carries the amounts that its wager had applied.
    VoidEvents,
    /// No two records have one event id and different contents.
    EventContents,
    /// The wagers of a player were published in the order of their numbers.
    EventOrder,
    /// Every command that its group completed has its decision, or is an open or discarded dead letter.
    CommandEnds,
    /// Every event that analytics counts has its fact, with the same amounts.
    EventFacts,
}

impl CheckId {
    /// All checks, in the order of the report.
    pub const ALL: [Self; 29] = [
        Self::Postings,
        Self::Rows,
        Self::Sequence,
        Self::Balances,
        Self::NonNegative,
        Self::Wagers,
        Self::SettledBets,
        Self::Payouts,
        Self::BetsEnded,
        Self::Voids,
        Self::Payments,
        Self::Orders,
        Self::PaymentsEnded,
        Self::History,
        Self::HistoryBets,
        Self::HistoryPayments,
        Self::Facts,
        Self::PaymentFacts,
        Self::Rollups,
        Self::Mails,
        Self::BetEvents,
        Self::SettlementEvents,
        Self::LedgerEvents,
        Self::DecisionEvents,
        Self::VoidEvents,
        Self::EventContents,
        Self::EventOrder,
        Self::CommandEnds,
        Self::EventFacts,
    ];

    /// Name in the report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postings => "postings",
            Self::Rows => "ledger-rows",
            Self::Sequence => "account-sequence",
            Self::Balances => "account-balances",
            Self::NonNegative => "non-negative",
            Self::Wagers => "wagers",
            Self::SettledBets => "settled-bets",
            Self::Payouts => "payouts",
            Self::BetsEnded => "bets-ended",
            Self::Voids => "voids",
            Self::Payments => "payments",
            Self::Orders => "provider-orders",
            Self::PaymentsEnded => "payments-ended",
            Self::History => "history",
            Self::HistoryBets => "history-bets",
            Self::HistoryPayments => "history-payments",
            Self::Facts => "facts",
            Self::PaymentFacts => "payment-facts",
            Self::Rollups => "rollups",
            Self::Mails => "mails",
            Self::BetEvents => "bet-events",
            Self::SettlementEvents => "settlement-events",
            Self::LedgerEvents => "ledger-events",
            Self::DecisionEvents => "decision-events",
            Self::VoidEvents => "void-events",
            Self::EventContents => "event-contents",
            Self::EventOrder => "event-order",
            Self::CommandEnds => "command-ends",
            Self::EventFacts => "event-facts",
        }
    }

    /// Promise that the check is about.
    #[must_use]
    pub const fn promise(self) -> &'static str {
        match self {
            Self::Postings | Self::Balances | Self::Payments | Self::Orders => "I1: money is conserved",
            Self::SettledBets
            | Self::BetsEnded
            | Self::PaymentsEnded
            | Self::BetEvents
            | Self::LedgerEvents
            | Self::CommandEnds => "I2: nothing accepted is lost",
            Self::Rows
            | Self::Wagers
            | Self::Payouts
            | Self::Voids
            | Self::SettlementEvents
            | Self::DecisionEvents
            | Self::VoidEvents
            | Self::EventContents => "I3: settled exactly once, with the right amounts",
            Self::NonNegative => "I6: no negative balance",
            Self::Sequence | Self::EventOrder => "I7: order per player",
            Self::Mails => "I10: replay changes nothing",
            Self::History
            | Self::HistoryBets
            | Self::HistoryPayments
            | Self::Facts
            | Self::PaymentFacts
            | Self::Rollups
            | Self::EventFacts => "I12: derived views converge",
        }
    }
}

/// Violation that was still there when it was examined again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Description in words.
    pub what: String,
    /// The amounts in these words.
    pub amounts: Vec<Amount>,
    /// Records that show it, such as `payment.ledger _id=p/7`.
    pub pointers: Vec<String>,
}

/// Result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Name of the check.
    pub name: &'static str,
    /// Promise that it is about.
    pub promise: &'static str,
    /// Number of records that were checked, also those with a finding.
    pub checked: u64,
    /// Number of records whose counterpart may still be on its way. They are not among the checked ones.
    pub in_flight: u64,
    /// Number of records that cannot be checked, because the broker has deleted their counterparts. They are not among the checked
    /// ones.
    pub deleted: u64,
    /// Number of records without their counterpart, because what it follows from is an open dead letter. They are not among the
    /// checked ones.
    pub parked: u64,
    /// True if the platform has no data for this check.
    pub empty: bool,
    /// Violations, those that were examined.
    pub findings: Vec<Finding>,
    /// Number of further suspects, which were too many to be examined again.
    pub unexamined: u64,
}

impl Check {
    /// Returns true without any violation, if the check had something to check or the platform has no data for it. Suspects that were
    /// not examined again prove nothing.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations() == 0 && self.unexamined == 0 && self.has_evidence()
    }

    /// Returns false for a check that had data and checked nothing, which proves nothing. What the broker has deleted is reported
    /// and does not count as data.
    #[must_use]
    pub fn has_evidence(&self) -> bool {
        self.empty || self.checked + self.in_flight + self.deleted + self.parked > 0
    }

    /// Returns the number of violations. Unexamined suspects count only beside confirmed ones.
    #[must_use]
    pub fn violations(&self) -> u64 {
        let confirmed = u64::try_from(self.findings.len()).unwrap_or(u64::MAX);
        if confirmed == 0 { 0 } else { confirmed.saturating_add(self.unexamined) }
    }
}

/// Result of an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Results, one for each check.
    pub checks: Vec<Check>,
    /// Time from which the next audit can continue (`--since`), in RFC 3339.
    pub mark: String,
    /// Number of records that an earlier audit left open, and that were read again.
    pub carried: u64,
    /// Number of records that are open now. `None`: too many, so that the next audit has to begin where this one did.
    pub open: Option<u64>,
    /// Number of records that open transactions of other producers hold back, by topic. What may be among them is in flight.
    pub held: BTreeMap<String, u64>,
}

impl Report {
    /// Returns true if every check is clean.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(Check::is_clean)
    }

    /// Returns all findings.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.checks.iter().flat_map(|check| &check.findings)
    }

    /// Returns the report as `audit --json` prints it (docs/contracts.md).
    #[must_use]
    pub fn to_json(&self) -> Value {
        let checks: Vec<_> = self.checks.iter().map(check_json).collect();
        json!({
            "clean": self.is_clean(),
            "mark": self.mark,
            "carried": self.carried,
            "open": self.open,
            "held": self.held,
            "checks": checks,
        })
    }
}

fn check_json(check: &Check) -> Value {
    let first: Vec<Value> = check.findings.iter().take(FINDINGS_SHOWN).map(finding_json).collect();
    json!({
        "id": check.name,
        "promise": check.promise,
        "checked": check.checked,
        "in_flight": check.in_flight,
        "deleted": check.deleted,
        "parked": check.parked,
        "empty": check.empty,
        "clean": check.is_clean(),
        "violations": check.violations(),
        "unexamined": check.unexamined,
        "first": first,
    })
}

fn finding_json(finding: &Finding) -> Value {
    let amounts: Vec<Value> = finding.amounts.iter().map(Amount::to_json).collect();
    json!({ "what": finding.what, "amounts": amounts, "pointers": finding.pointers })
}
