//! `notification.sent`: one document per event and channel, claimed before sending and marked after.
//!
//! Keeps "at most one more per kill": whoever finds a claim that somebody else holds waits until it has run out, and only
//! then takes it over. A claim runs out after longer than one mail may take.

use serde::{Deserialize, Serialize};
use store::StoreError;
use store::bson::{DateTime, doc};
use store::mongo::{Collection, Mongo};

use crate::domain::win::CHANNEL;

const CLAIMED: &str = "claimed";
const SENT: &str = "sent";
const SKIPPED: &str = "skipped";

/// One notification.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Notification {
    /// `<ce_id>/<channel>`.
    #[serde(rename = "_id")]
    id: String,
    player_id: String,
    state: String,
    /// Which process holds the claim.
    owner: String,
    claimed_at: DateTime,
    /// How often somebody set out to send it.
    attempts: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_at: Option<DateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why_skipped: Option<String>,
}

/// What a claim found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Send it.
    Mine,
    /// It was sent, or decided against.
    Done,
    /// Somebody else may be sending it right now.
    Busy,
}

/// The collection.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    collection: Collection<Notification>,
    process: String,
    claim_ms: u64,
}

impl Claims {
    pub(crate) fn new(mongo: &Mongo, claim_ms: u64) -> Self {
        let process = uuid::Uuid::now_v7().simple().to_string();
        Self { collection: mongo.collection("sent"), process, claim_ms }
    }

    /// Claims the notification of an event.
    pub(crate) async fn claim(&self, event_id: &str, player_id: &str) -> Result<Claim, StoreError> {
        let now = DateTime::now();
        let fresh = Notification {
            id: id(event_id),
            player_id: player_id.to_owned(),
            state: CLAIMED.to_owned(),
            owner: self.process.clone(),
            claimed_at: now,
            attempts: 1,
            ended_at: None,
            why_skipped: None,
        };
        match self.collection.insert_one(&fresh).await {
            Ok(()) => return Ok(Claim::Mine),
            Err(error) if !error.is_duplicate_key() => return Err(error),
            Err(_) => {}
        }
        let Some(known) = self.collection.find_one(doc! { "_id": &fresh.id }).await? else {
            return Ok(Claim::Busy);
        };
        if known.state != CLAIMED {
            return Ok(Claim::Done);
        }
        let claim_ms = i64::try_from(self.claim_ms).unwrap_or(i64::MAX);
        let runs_out_ms = known.claimed_at.timestamp_millis().saturating_add(claim_ms);
        if known.owner != self.process && now.timestamp_millis() < runs_out_ms {
            return Ok(Claim::Busy);
        }
        let as_found =
            doc! { "_id": &fresh.id, "state": CLAIMED, "owner": known.owner, "attempts": known.attempts };
        let mine = doc! { "$set": { "owner": &self.process, "claimed_at": now }, "$inc": { "attempts": 1 } };
        let taken = self.collection.update_one(as_found, mine).await?;
        Ok(if taken == 1 { Claim::Mine } else { Claim::Busy })
    }

    /// It was sent.
    pub(crate) async fn sent(&self, event_id: &str) -> Result<(), StoreError> {
        let change = doc! { "$set": { "state": SENT, "ended_at": DateTime::now() } };
        self.collection.update_one(doc! { "_id": id(event_id) }, change).await.map(drop)
    }

    /// It will not be sent, and why: also a replay does not send it.
    pub(crate) async fn skipped(&self, event_id: &str, why: &str) -> Result<(), StoreError> {
        let change = doc! { "$set": { "state": SKIPPED, "why_skipped": why, "ended_at": DateTime::now() } };
        self.collection.update_one(doc! { "_id": id(event_id) }, change).await.map(drop)
    }
}

fn id(event_id: &str) -> String {
    format!("{event_id}/{CHANNEL}")
}
