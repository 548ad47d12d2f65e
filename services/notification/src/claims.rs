//! `notification.sent`: one document per event and channel, claimed before sending and marked after.
//!
//! Keeps "at most one more per kill": whoever finds a claim that somebody else holds waits until it has run out, and only
//! then takes it over. A claim runs out after longer than one mail may take.
//!
//! A win of a player who has not registered yet, as far as is known here, becomes `waiting`, with what its mail will say;
//! it is claimed again by whoever reads the registration. It keeps what it says while it is claimed, so that a process that
//! dies with the claim leaves it to be found.

use money::Money;
use serde::{Deserialize, Serialize};
use store::StoreError;
use store::bson::{DateTime, Document, doc};
use store::mongo::{Collection, Index, Mongo};

use crate::domain::win::CHANNEL;

const CLAIMED: &str = "claimed";
const WAITING: &str = "waiting";
const SENT: &str = "sent";
const SKIPPED: &str = "skipped";

/// How many that wait for one player are read at once.
const WAITING_BATCH_MAX: u32 = 50;

/// A big win as its mail tells it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Win {
    /// The event; it names the notification and the mail.
    pub(crate) event_id: String,
    pub(crate) game: String,
    pub(crate) stake: Money,
    pub(crate) payout: Money,
    /// When the bet was settled: the date of the mail, whenever that goes out.
    pub(crate) at: DateTime,
}

/// One notification.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Notification {
    /// `<ce_id>/<channel>`.
    #[serde(rename = "_id")]
    id: String,
    player_id: String,
    state: String,
    /// Which process holds the claim, and on account of which event.
    owner: String,
    claimed_at: DateTime,
    /// How often somebody set out to send it.
    attempts: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_at: Option<DateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why_skipped: Option<String>,
    /// Only of one that has waited for its player.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    win: Option<Win>,
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

    /// Creates the index; once at start.
    pub(crate) async fn ensure_index(&self) -> Result<(), StoreError> {
        self.collection.ensure_index(Index::on(doc! { "player_id": 1, "state": 1 })).await
    }

    /// Claims the notification of an event while the event `by` is handled: the win itself, or what it has waited for.
    pub(crate) async fn claim(&self, event_id: &str, player_id: &str, by: &str) -> Result<Claim, StoreError> {
        let now = DateTime::now();
        let fresh = Notification {
            id: id(event_id),
            player_id: player_id.to_owned(),
            state: CLAIMED.to_owned(),
            owner: self.owner(by),
            claimed_at: now,
            attempts: 1,
            ended_at: None,
            why_skipped: None,
            win: None,
        };
        match self.collection.insert_one(&fresh).await {
            Ok(()) => return Ok(Claim::Mine),
            Err(error) if !error.is_duplicate_key() => return Err(error),
            Err(_) => {}
        }
        let Some(known) = self.collection.find_one(doc! { "_id": &fresh.id }).await? else {
            return Ok(Claim::Busy);
        };
        match known.state.as_str() {
            WAITING => {}
            CLAIMED if known.owner == fresh.owner || self.has_run_out(known.claimed_at, now) => {}
            CLAIMED => return Ok(Claim::Busy),
            _ => return Ok(Claim::Done),
        }
        let as_found = doc! {
            "_id": &fresh.id, "state": known.state, "owner": known.owner, "attempts": known.attempts,
        };
        let mine = doc! {
            "$set": { "state": CLAIMED, "owner": &fresh.owner, "claimed_at": now }, "$inc": { "attempts": 1 },
        };
        let taken = self.collection.update_one(as_found, mine).await?;
        Ok(if taken == 1 { Claim::Mine } else { Claim::Busy })
    }

    /// A claimed one has to wait until its player is known. False: the claim ran out, and somebody else has it.
    pub(crate) async fn wait(&self, win: &Win, by: &str) -> Result<bool, StoreError> {
        let as_claimed = doc! { "_id": id(&win.event_id), "state": CLAIMED, "owner": self.owner(by) };
        let says = doc! {
            "event_id": &win.event_id, "game": &win.game, "at": win.at,
            "stake": stored(win.stake), "payout": stored(win.payout),
        };
        let change = doc! { "$set": { "state": WAITING, "win": says } };
        Ok(self.collection.update_one(as_claimed, change).await? == 1)
    }

    /// Some of those that wait for this player; none when there are none. Also those that were claimed since: their holder
    /// may be dead.
    pub(crate) async fn waiting(&self, player_id: &str) -> Result<Vec<Win>, StoreError> {
        let filter = doc! {
            "player_id": player_id, "state": { "$in": [WAITING, CLAIMED] }, "win": { "$exists": true },
        };
        let found = self.collection.find(filter, doc! {}, WAITING_BATCH_MAX).await?;
        Ok(found.into_iter().filter_map(|notification| notification.win).collect())
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

    /// Who claims. Two events are never the same holder: nothing keeps them from being handled at the same time.
    fn owner(&self, by: &str) -> String {
        format!("{}/{by}", self.process)
    }

    fn has_run_out(&self, claimed_at: DateTime, now: DateTime) -> bool {
        let claim_ms = i64::try_from(self.claim_ms).unwrap_or(i64::MAX);
        now.timestamp_millis() >= claimed_at.timestamp_millis().saturating_add(claim_ms)
    }
}

/// As `serde` reads it back.
fn stored(amount: Money) -> Document {
    doc! { "minor": amount.minor(), "currency": amount.currency().code() }
}

fn id(event_id: &str) -> String {
    format!("{event_id}/{CHANNEL}")
}
