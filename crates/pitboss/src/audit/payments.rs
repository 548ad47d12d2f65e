//! Pass over completed payments: the provider, the players' histories and the facts of analytics.

use anyhow::Result;
use contracts::EventType;
use store::bson::Document;

use super::bets::found;
use super::books::{Source, by_id};
use super::documents::{Fact, HistoryEntry, Intent, Payment, Row};
use super::facts::Judged;
use super::ledger::subject;
use super::report::CheckId;
use super::tally::{Subject, Tally, Verdict};
use super::{Auditor, decode_all, rules};

/// Types of the events that complete a payment.
pub(super) const COMPLETED: [&str; 2] =
    [EventType::DepositCompleted.as_str(), EventType::WithdrawalCompleted.as_str()];

impl Auditor {
    /// Examines whether deposits and withdrawals have ended. One that is parked has not, and is read again until it has.
    pub(super) fn examine_intents(&self, documents: &[Document], tally: &mut Tally) {
        let now_ms = self.books.now_ms();
        for intent in decode_all::<Intent>(Source::Intents, CheckId::PaymentsEnded, documents, tally) {
            let verdict = rules::payment_ended(&intent, now_ms);
            let subject = Subject::Document(Source::Intents, intent.id);
            tally.record(CheckId::PaymentsEnded, &subject, verdict, &[]);
            if intent.state == "parked" {
                tally.keep_open(subject);
            }
        }
    }

    /// Examines the payments that these ledger rows completed. Histories and facts are read after them.
    pub(super) async fn examine_payments(&self, rows: &[Row], tally: &mut Tally) -> Result<()> {
        let mut payments: Vec<(&Row, Payment)> = Vec::new();
        for row in rows {
            match row.entry.completed() {
                Ok(None) => {}
                Ok(Some(payment)) => payments.push((row, payment)),
                Err(what) => tally.expect_none(CheckId::Payments, &subject(row), Some(what)),
            }
        }
        for (row, payment) in &payments {
            // A payment that was captured after the statement was read, or before the mark, is looked up by its key.
            let line = match self.statement.find(&payment.id) {
                Some(line) => Some(line),
                None => self.provider.find(payment.kind, &payment.id).await?,
            };
            let others: Vec<Subject> = line.iter().map(|line| Subject::Order(line.sequence)).collect();
            let problem = rules::payment(payment, line.as_ref());
            let verdict = problem.map_or(Verdict::Agrees, Verdict::Differs);
            tally.record(CheckId::Payments, &subject(row), verdict, &others);
        }
        self.examine_payment_histories(&payments, tally).await?;
        self.examine_payment_facts(&payments, tally).await
    }

    async fn examine_payment_histories(&self, payments: &[(&Row, Payment)], tally: &mut Tally) -> Result<()> {
        let ids: Vec<String> = payments.iter().map(|(_, payment)| payment.id.clone()).collect();
        let entries = self.books.by_id(Source::History, &ids).await?;
        for (row, payment) in payments {
            let is_young = self.is_pending(&row.player_id, row.entry.at.timestamp_millis());
            let verdict = match found::<HistoryEntry>(&entries, &payment.id) {
                Ok(entry) => rules::history_payment(&row.player_id, payment, entry.as_ref(), is_young),
                Err(what) => Verdict::Differs(what),
            };
            let entry = Subject::Document(Source::History, payment.id.clone());
            tally.record(CheckId::HistoryPayments, &subject(row), verdict, &[entry]);
        }
        Ok(())
    }

    async fn examine_payment_facts(&self, payments: &[(&Row, Payment)], tally: &mut Tally) -> Result<()> {
        let event_id = |row: &Row| row.entry.event.as_ref().map(|event| event.id.clone());
        let ids: Vec<String> = payments.iter().filter_map(|(row, _)| event_id(row)).collect();
        let facts = by_id(&self.books.facts, &ids).await?;
        let judge = |(row, payment): &(&Row, Payment)| {
            let is_young = self.is_pending(&row.player_id, row.entry.at.timestamp_millis());
            let rule = |fact: Option<&Fact>| rules::payment_fact(payment, fact, is_young);
            Judged::new(subject(row), event_id(row).as_deref(), &facts, rule)
        };
        let judged: Vec<Judged> = payments.iter().map(judge).collect();
        self.record_facts(CheckId::PaymentFacts, judged, tally).await
    }
}
