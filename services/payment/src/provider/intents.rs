//! Collection `payment.intents`: payments to request from the provider, and its answers.
//!
//! Every step is one write to one document. Of two steps that exclude each other, such as a claim by a pool and a settlement by
//! an operator, exactly one happens. `models/settlement_model.py` shows what follows without each condition. Change the model
//! first.

use async_trait::async_trait;
use bson::{DateTime, Document, doc};
use store::StoreError;
use store::mongo::{Collection, Index, Mongo};
use tokio::sync::mpsc;

use super::client::Answer;
use super::intent::{Contradiction, Intent, State};
use super::rounds;
use crate::ledger::{Admission, Entry, Payments, Refusal};

/// List of payments, with the channel of new ones to the pool.
#[derive(Debug, Clone)]
pub struct Intents {
    documents: Collection<Intent>,
    mongo: Mongo,
    new_payments: mpsc::Sender<String>,
    lease_ms: i64,
}

/// Result of recording the provider's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Recorded {
    /// The answer is recorded, now or earlier, and must be published.
    Answer(Box<Intent>),
    /// The ledger has settled the payment already.
    Settled,
    /// Another outcome is recorded, and an operator must act.
    Contradicted(Contradiction),
    /// Another pool has claimed the payment since, so this answer does not count.
    Overtaken,
}

impl Intents {
    /// Creates a list in this database. New payments go to `new_payments` at once. The sweeper finds those that do not fit or are
    /// left behind, after their lease of `lease_ms`.
    #[must_use]
    pub fn new(mongo: &Mongo, new_payments: mpsc::Sender<String>, lease_ms: u64) -> Self {
        let lease_ms = i64::try_from(lease_ms).unwrap_or(i64::MAX);
        Self { documents: mongo.collection("intents"), mongo: mongo.clone(), new_payments, lease_ms }
    }

    /// Creates the indexes. Called once at start.
    pub async fn ensure_indexes(&self) -> Result<(), StoreError> {
        self.documents.ensure_index(Index::on(doc! { "state": 1, "next_attempt_at": 1 })).await?;
        self.documents.ensure_index(Index::on(doc! { "state": 1, "escalated": 1, "created_at": 1 })).await?;
        // The money audit reads payments of any state by their time, in each of its rounds.
        self.documents.ensure_index(Index::on(doc! { "created_at": 1 })).await
    }

    /// Returns one payment. An unreadable document is an error.
    pub async fn find(&self, payment_id: &str) -> Result<Option<Intent>, StoreError> {
        self.documents.find_one(doc! { "_id": payment_id }).await
    }

    /// Returns due payments in `state`, the longest waiting first.
    pub async fn due(&self, state: State, limit: u32) -> Result<Vec<Intent>, StoreError> {
        let filter = doc! { "state": state.as_str(), "next_attempt_at": { "$lt": self.mongo.now() } };
        self.documents.find_readable(filter, doc! { "next_attempt_at": 1 }, limit).await
    }

    /// Claims a payment, so that no other pool does during the lease. A `fresh` claim is for a payment that was never claimed,
    /// any other claim for a due one. `None` when the payment has ended or is claimed already.
    pub async fn claim(&self, payment_id: &str, fresh: bool) -> Result<Option<Intent>, StoreError> {
        let mut filter = doc! { "_id": payment_id, "state": State::Requested.as_str() };
        if fresh {
            filter.insert("attempts", 0_i64);
        } else {
            filter.insert("next_attempt_at", doc! { "$lt": self.mongo.now() });
        }
        let change =
            doc! { "$set": { "next_attempt_at": self.in_ms(self.lease_ms) }, "$inc": { "attempts": 1_i64 } };
        self.documents.find_one_and_update(filter, change).await
    }

    /// Puts the payment back for a while, longer after each failure.
    ///
    /// # Errors
    /// When the store does not answer. The lease then has the same effect.
    pub async fn postpone(&self, intent: &Intent) -> Result<(), StoreError> {
        let pause_ms = rounds::attempt_pause_ms(intent.attempts);
        let change = doc! { "$set": { "next_attempt_at": self.in_ms(pause_ms) } };
        self.documents.update_one(unanswered(&intent.payment_id), change).await.map(drop)
    }

    /// Gives up on the payment until an operator acts, if it is still in the `state` that the caller gives up. A pool that has no
    /// outcome must not park an answer that another process has recorded since. Returns true when this call did it.
    pub async fn park(&self, payment_id: &str, state: State) -> Result<bool, StoreError> {
        let filter = doc! { "_id": payment_id, "state": state.as_str() };
        let change = doc! { "$set": { "state": State::Parked.as_str(), "escalated": true } };
        Ok(self.documents.update_one(filter, change).await? == 1)
    }

    /// Records the provider's answer before it is published. The first answer stands. With `only_attempt` it counts only while no
    /// other pool has claimed the payment.
    pub async fn record(
        &self,
        payment_id: &str,
        answer: &Answer,
        only_attempt: Option<i64>,
    ) -> Result<Recorded, StoreError> {
        let mut filter = unanswered(payment_id);
        if let Some(attempt) = only_attempt {
            filter.insert("attempts", attempt);
        }
        let change = doc! { "$set": {
            "state": State::Reported.as_str(),
            "captured": answer.captured,
            "provider_reference": &answer.reference,
            "next_attempt_at": self.in_ms(self.lease_ms),
        } };
        if let Some(intent) = self.documents.find_one_and_update(filter, change).await? {
            return Ok(Recorded::Answer(Box::new(intent)));
        }
        let known = self.find(payment_id).await?;
        Ok(match known.map(|intent| (intent.captured, intent)) {
            None | Some((None, _)) => Recorded::Overtaken,
            Some((Some(recorded), _)) if recorded != answer.captured => {
                Recorded::Contradicted(Contradiction::of(answer.captured))
            }
            Some((_, intent)) if intent.state == State::Settled => Recorded::Settled,
            Some((_, intent)) => Recorded::Answer(Box::new(intent)),
        })
    }

    /// Notes that the report was acknowledged. Unless the ledger settles the payment, the next report follows, later each time.
    ///
    /// # Errors
    /// When the store does not answer. The report is then published again, which changes nothing.
    pub async fn mark_reported(&self, intent: &Intent) -> Result<(), StoreError> {
        let pause_ms = self.report_pause_ms(intent.reports);
        let filter = doc! { "_id": &intent.payment_id, "state": State::Reported.as_str() };
        let change =
            doc! { "$set": { "next_attempt_at": self.in_ms(pause_ms) }, "$inc": { "reports": 1_i64 } };
        self.documents.update_one(filter, change).await.map(drop)
    }

    /// Postpones a report for the longest pause. Its settlement cannot be read, and a repetition would not change that.
    pub async fn postpone_report(&self, payment_id: &str) -> Result<(), StoreError> {
        let filter = doc! { "_id": payment_id, "state": State::Reported.as_str() };
        let change = doc! { "$set": { "next_attempt_at": self.in_ms(self.report_pause_ms(i64::MAX)) } };
        self.documents.update_one(filter, change).await.map(drop)
    }

    /// Returns payments that have been open for longer than `age_ms` and were not reported as stuck.
    pub async fn open_for(&self, age_ms: u64, limit: u32) -> Result<Vec<Intent>, StoreError> {
        let age_ms = i64::try_from(age_ms).unwrap_or(i64::MAX);
        let filter = doc! {
            "state": { "$in": ["requested", "reported", "closed"] },
            "escalated": { "$ne": true },
            "created_at": { "$lt": self.in_ms(age_ms.saturating_neg()) },
        };
        self.documents.find_readable(filter, doc! { "created_at": 1 }, limit).await
    }

    /// Marks a payment as escalated. Returns true for exactly one caller, and only while the payment is not settled.
    pub async fn mark_escalated(&self, payment_id: &str) -> Result<bool, StoreError> {
        let filter = doc! {
            "_id": payment_id, "state": { "$ne": State::Settled.as_str() }, "escalated": { "$ne": true },
        };
        Ok(self.documents.update_one(filter, doc! { "$set": { "escalated": true } }).await? == 1)
    }

    /// Resumes an open payment after an operator's report. With `void` the provider is asked to void its key.
    async fn resume(&self, payment_id: &str, void: bool) -> Result<(), StoreError> {
        if void {
            let change = doc! { "$set": { "void_wanted": true } };
            self.documents.update_one(unanswered(payment_id), change).await?;
        }
        let parked = doc! { "_id": payment_id, "state": State::Parked.as_str(), "captured": null };
        let change =
            doc! { "$set": { "state": State::Requested.as_str(), "next_attempt_at": self.mongo.now() } };
        self.documents.update_one(parked, change).await.map(drop)
    }

    /// Returns the pause after a report that was published `reports` times before.
    fn report_pause_ms(&self, reports: i64) -> i64 {
        rounds::report_pause_ms(self.lease_ms, reports)
    }

    fn in_ms(&self, ms: i64) -> DateTime {
        DateTime::from_millis(self.mongo.now().timestamp_millis().saturating_add(ms))
    }
}

/// Matches a payment whose outcome is open and not recorded.
fn unanswered(payment_id: &str) -> Document {
    doc! { "_id": payment_id, "state": { "$in": ["requested", "parked"] }, "captured": null }
}

#[async_trait]
impl Payments for Intents {
    async fn ensure(&self, player_id: &str, entry: &Entry) -> Result<(), StoreError> {
        let Some(payment) = &entry.payment else { return Ok(()) };
        let intent = Intent {
            payment_id: entry.command_id.clone(),
            player_id: player_id.to_owned(),
            kind: payment.kind,
            amount_minor: payment.amount_minor,
            currency: payment.currency,
            state: State::Requested,
            captured: None,
            provider_reference: None,
            attempts: 0,
            void_wanted: false,
            reports: 0,
            escalated: false,
            next_attempt_at: self.in_ms(self.lease_ms),
            created_at: entry.at,
            trace: entry.trace.clone(),
        };
        match self.documents.insert_one(&intent).await {
            // A full channel is harmless, because the sweeper finds the payment.
            Ok(()) => drop(self.new_payments.try_send(intent.payment_id)),
            Err(error) if error.is_duplicate_key() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn admit(&self, payment_id: &str, captured: bool) -> Result<Admission, StoreError> {
        let Some(intent) = self.find(payment_id).await? else { return Ok(Admission::Unknown) };
        if let Some(admission) = intent.admission(captured) {
            if let Admission::Refused(refusal @ (Refusal::SentToProvider | Refusal::VoidRequested)) =
                admission
            {
                self.resume(payment_id, refusal == Refusal::VoidRequested).await?;
            }
            return Ok(admission);
        }
        let mut filter = unanswered(payment_id);
        filter.insert("attempts", 0_i64);
        let change = doc! { "$set": { "state": State::Closed.as_str(), "captured": captured } };
        let closed = self.documents.update_one(filter, change).await? == 1;
        Ok(if closed { Admission::Admitted } else { Admission::Unknown })
    }

    async fn mark_settled(&self, payment_id: &str, captured: Option<bool>) -> Result<(), StoreError> {
        let mut agreeing = vec![bson::Bson::Null];
        agreeing.extend(captured.map(bson::Bson::Boolean));
        let state = doc! { "$ne": State::Settled.as_str() };
        let filter = doc! { "_id": payment_id, "state": state.clone(), "captured": { "$in": agreeing } };
        let change = doc! { "$set": { "state": State::Settled.as_str(), "captured": captured } };
        if self.documents.update_one(filter, change).await? == 1 {
            return Ok(());
        }
        let change = doc! { "$set": { "state": State::Settled.as_str() } };
        let filter = doc! { "_id": payment_id, "state": state };
        if let Some(intent) = self.documents.find_one_and_update(filter, change).await?
            && let Some(recorded) = intent.captured
        {
            Contradiction::of(recorded).report(payment_id);
        }
        Ok(())
    }
}
