//! Scope of an audit: which documents it reads, what each check examines, and whether a check must have seen any.

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
        let check = match check {
            // After the lines of the mark, no line has to follow.
            CheckId::Orders if self.from.line.is_some() => return Ok(false),
            // A walk that ends at a mark compares a balance only where a decision states one, as that of a wager does.
            CheckId::Balances if self.since_ms.is_some() => CheckId::Wagers,
            _ => check,
        };
        let (source, condition) = match check.examined() {
            Examined::Documents(source, condition) | Examined::Published(source, condition) => {
                (source, condition)
            }
            Examined::Facts => return self.has_facts().await,
            Examined::Mails => return self.has_mails().await,
            // Whether a topic has the events of the documents is another check, which the broker's retention does not end.
            Examined::Records => return Ok(false),
        };
        let mut filter = self.scope(source, Some(self.started_ms));
        filter.extend(condition);
        has_any(self.books.collection(source), filter).await
    }
}

/// Records that a check examines.
enum Examined {
    /// Documents that match.
    Documents(Source, Document),
    /// Documents that match, and for each of them its event on a topic.
    Published(Source, Document),
    /// Facts of analytics.
    Facts,
    /// E-mails.
    Mails,
    /// Records of topics.
    Records,
}

impl CheckId {
    /// Returns true if the check reads records of topics.
    #[must_use]
    pub fn reads_topics(self) -> bool {
        matches!(self.examined(), Examined::Published(..) | Examined::Records)
    }

    /// Returns what the check examines. A new check needs an arm here.
    fn examined(self) -> Examined {
        use Examined::{Documents, Published};

        let ended = doc! { "state": { "$in": ["settled", "rejected", "voided"] } };
        match self {
            Self::NonNegative | Self::Balances => Documents(Source::Accounts, doc! {}),
            Self::Postings | Self::Rows | Self::Sequence => Documents(Source::Ledger, doc! {}),
            Self::Wagers => Documents(Source::Ledger, doc! { "type": APPLY_WAGER, "outcome": "applied" }),
            Self::Voids => {
                let is_void = doc! { "type": EventType::VoidWager.as_str(), "voids": { "$exists": true } };
                Documents(Source::Ledger, is_void)
            }
            Self::Payments | Self::Orders | Self::HistoryPayments | Self::PaymentFacts => {
                Documents(Source::Ledger, doc! { "event.type": { "$in": COMPLETED.to_vec() } })
            }
            Self::LedgerEvents => Published(Source::Ledger, doc! { "event.id": { "$exists": true } }),
            Self::SettledBets | Self::Payouts | Self::Facts => Documents(
                Source::Bets,
                doc! { "state": { "$in": ["settled", "voided"] }, "balance_minor": { "$exists": true } },
            ),
            Self::BetsEnded => Documents(Source::Bets, doc! {}),
            Self::PaymentsEnded => Documents(Source::Intents, doc! {}),
            Self::History => Documents(Source::Bets, ended),
            Self::BetEvents => Published(Source::Bets, ended),
            Self::HistoryBets => Documents(Source::History, doc! {}),
            Self::Rollups => Examined::Facts,
            Self::Mails => Examined::Mails,
            Self::SettlementEvents
            | Self::DecisionEvents
            | Self::VoidEvents
            | Self::EventContents
            | Self::EventOrder
            | Self::CommandEnds
            | Self::EventFacts => Examined::Records,
        }
    }
}
