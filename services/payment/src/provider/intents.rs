//! `payment.intents`: what the provider has to be asked, and what it said.

use async_trait::async_trait;
use bson::{DateTime, doc};
use money::{Currency, Money};
use serde::{Deserialize, Serialize};
use store::StoreError;
use store::mongo::{Collection, Index, Mongo};
use telemetry::propagation::StoredTrace;
use tokio::sync::mpsc;

use super::client::Answer;
use crate::ledger::{Entry, Payments, StoredKind};

/// One payment at the provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The id of the command that asked for it.
    #[serde(rename = "_id")]
    pub payment_id: String,
    /// Whose.
    pub player_id: String,
    /// In or out.
    pub kind: StoredKind,
    /// How much.
    pub amount_minor: i64,
    /// Of what.
    pub currency: Currency,
    /// `requested` until the provider has answered, then `reported`.
    pub state: State,
    /// Whether the money moved, once that is known.
    #[serde(default)]
    pub captured: Option<bool>,
    /// The provider's own name for it.
    #[serde(default)]
    pub provider_reference: Option<String>,
    /// How often somebody took it in hand.
    pub attempts: i64,
    /// Nobody takes it in hand before this moment.
    pub next_attempt_at: DateTime,
    /// When it was asked for.
    pub created_at: DateTime,
    /// The trace in which it was asked for.
    pub trace: StoredTrace,
}

/// How far a payment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The provider has not answered.
    Requested,
    /// It has, and the answer is on the command topic.
    Reported,
}

impl Intent {
    /// How much.
    #[must_use]
    pub fn amount(&self) -> Money {
        Money::new(self.amount_minor, self.currency)
    }
}

/// The list, and the door to the pool.
#[derive(Debug, Clone)]
pub struct Intents {
    documents: Collection<Intent>,
    door: mpsc::Sender<String>,
    lease_ms: i64,
}

impl Intents {
    /// A list in this database. New payments go through `door` at once; what does not fit, or is left hanging, is found
    /// by the sweeper when its lease of `lease_ms` is over.
    #[must_use]
    pub fn new(mongo: &Mongo, door: mpsc::Sender<String>, lease_ms: u64) -> Self {
        let lease_ms = i64::try_from(lease_ms).unwrap_or(i64::MAX);
        Self { documents: mongo.collection("intents"), door, lease_ms }
    }

    /// Creates the indexes; once at start.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn ensure_indexes(&self) -> Result<(), StoreError> {
        self.documents.ensure_index(Index::on(doc! { "state": 1, "next_attempt_at": 1 })).await
    }

    /// One payment.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn find(&self, payment_id: &str) -> Result<Option<Intent>, StoreError> {
        self.documents.find_one(doc! { "_id": payment_id }).await
    }

    /// Payments whose turn it is, the longest waiting first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn due(&self, limit: u32) -> Result<Vec<String>, StoreError> {
        let filter = doc! { "state": "requested", "next_attempt_at": { "$lt": DateTime::now() } };
        let intents = self.documents.find(filter, doc! { "next_attempt_at": 1 }, limit).await?;
        Ok(intents.into_iter().map(|intent| intent.payment_id).collect())
    }

    /// Takes a payment in hand: for the time of the lease nobody else does. `None`: it is settled, or in other hands.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn claim(&self, payment_id: &str, fresh: bool) -> Result<Option<Intent>, StoreError> {
        let mut filter = doc! { "_id": payment_id, "state": "requested" };
        if fresh {
            filter.insert("attempts", 0_i64);
        } else {
            filter.insert("next_attempt_at", doc! { "$lt": DateTime::now() });
        }
        let change =
            doc! { "$set": { "next_attempt_at": in_ms(self.lease_ms) }, "$inc": { "attempts": 1_i64 } };
        self.documents.find_one_and_update(filter, change).await
    }

    /// Puts it back for a while; the more often it failed, the longer.
    ///
    /// # Errors
    /// When the store does not answer; the lease then does the same.
    pub async fn postpone(&self, intent: &Intent) -> Result<(), StoreError> {
        let doublings = u32::try_from(intent.attempts.clamp(0, 5)).unwrap_or(5);
        let pause_ms = 1_000_i64.saturating_mul(2_i64.saturating_pow(doublings)).min(30_000);
        let change = doc! { "$set": { "next_attempt_at": in_ms(pause_ms) } };
        self.documents
            .update_one(doc! { "_id": &intent.payment_id, "state": "requested" }, change)
            .await
            .map(drop)
    }

    /// The answer is on the command topic, acknowledged.
    ///
    /// # Errors
    /// When the store does not answer; it is then asked and reported again, which changes nothing.
    pub async fn reported(&self, payment_id: &str, answer: &Answer) -> Result<(), StoreError> {
        let change = doc! { "$set": {
            "state": "reported", "captured": answer.captured, "provider_reference": &answer.reference,
        } };
        self.documents.update_one(doc! { "_id": payment_id }, change).await.map(drop)
    }
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
            next_attempt_at: in_ms(self.lease_ms),
            created_at: entry.at,
            trace: entry.trace.clone(),
        };
        match self.documents.insert_one(&intent).await {
            // A full door is no trouble: the sweeper finds what did not go through it.
            Ok(()) => drop(self.door.try_send(intent.payment_id)),
            Err(error) if error.is_duplicate_key() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn in_ms(ms: i64) -> DateTime {
    DateTime::from_millis(DateTime::now().timestamp_millis().saturating_add(ms))
}
