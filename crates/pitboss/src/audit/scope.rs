//! Scope of an audit: which documents it reads, and whether a check must have seen any.

use anyhow::Result;
use contracts::EventType;
use store::bson::{Document, doc};

use super::Auditor;
use super::bets::APPLY_WAGER;
use super::books::{Source, between, has_any};
use super::payments::COMPLETED;
use super::report::CheckId;
use super::tally::Subject;

impl Auditor {
    /// Returns the filter of the documents that the audit reads of a collection, and of those only the ones before `until_ms`.
    pub(super) fn scope(&self, source: Source, until_ms: Option<i64>) -> Document {
        // Accounts have no time. A walk through one ends at the mark.
        let mut scope =
            source.time().map_or_else(Document::new, |time| between(time, self.since_ms, until_ms));
        if source == Source::History {
            scope.insert("kind", "bet");
        }
        scope
    }

    /// Returns true for a document that the scan does not read.
    pub(super) fn is_before_mark(&self, source: Source, document: &Document) -> bool {
        let at = source.time().and_then(|time| document.get_datetime(time).ok());
        match (at, self.since_ms) {
            (Some(at), Some(since_ms)) => at.timestamp_millis() < since_ms,
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }

    /// Returns the time before which a walk through an account ends. An account that was open at the mark is walked through as a
    /// whole, because its violation may be older.
    pub(super) fn walk_since_ms(&self, account: &Subject) -> Option<i64> {
        self.since_ms.filter(|_| !self.from.open.contains(account))
    }

    /// Returns true if the platform held data before this audit that a check must see.
    pub(super) async fn has_data(&self, check: CheckId) -> Result<bool> {
        let (source, condition) = match check {
            CheckId::Rollups => return self.has_facts().await,
            // Whether a topic has the events of the documents is another check, which the broker's retention does not end.
            CheckId::SettlementEvents
            | CheckId::DecisionEvents
            | CheckId::VoidEvents
            | CheckId::EventContents
            | CheckId::EventOrder
            | CheckId::CommandEnds
            | CheckId::EventFacts => return Ok(false),
            // After the lines of the mark, no line has to follow.
            CheckId::Orders if self.from.line.is_some() => return Ok(false),
            CheckId::NonNegative => (Source::Accounts, doc! {}),
            // A walk that ends at a mark compares a balance only where a decision states one.
            CheckId::Balances if self.since_ms.is_none() => (Source::Accounts, doc! {}),
            CheckId::Balances | CheckId::Wagers => {
                (Source::Ledger, doc! { "type": APPLY_WAGER, "outcome": "applied" })
            }
            CheckId::Postings | CheckId::Rows | CheckId::Sequence => (Source::Ledger, doc! {}),
            CheckId::Voids => {
                let is_void = doc! { "type": EventType::VoidWager.as_str(), "voids": { "$exists": true } };
                (Source::Ledger, is_void)
            }
            CheckId::Payments | CheckId::Orders | CheckId::HistoryPayments | CheckId::PaymentFacts => {
                (Source::Ledger, doc! { "event.type": { "$in": COMPLETED.to_vec() } })
            }
            CheckId::SettledBets | CheckId::Payouts | CheckId::Facts => (
                Source::Bets,
                doc! { "state": { "$in": ["settled", "voided"] }, "balance_minor": { "$exists": true } },
            ),
            CheckId::BetsEnded => (Source::Bets, doc! {}),
            CheckId::LedgerEvents => (Source::Ledger, doc! { "event.id": { "$exists": true } }),
            CheckId::History | CheckId::BetEvents => {
                (Source::Bets, doc! { "state": { "$in": ["settled", "rejected", "voided"] } })
            }
            CheckId::HistoryBets => (Source::History, doc! {}),
        };
        let mut filter = self.scope(source, Some(self.started_ms));
        filter.extend(condition);
        has_any(self.books.collection(source), filter).await
    }
}
