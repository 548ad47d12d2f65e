//! Collection `notification.sent`: one document per event and channel. It is stored before the first attempt, claimed for each
//! attempt, and records each result.
//!
//! It guarantees at most one more e-mail per kill. A claim is renewed while its holder lives, so it expires only if the holder is
//! dead or frozen. If the e-mail may have been handed over by then, the process that takes over counts an attempt with an unknown
//! outcome ([`crate::domain::delivery`]). No process writes to a notification that another one has claimed since. All times are
//! the store's, so a wrong clock of a process does no harm.

use money::Money;
use serde::{Deserialize, Serialize};
use store::StoreError;
use store::bson::{DateTime, Document, doc};
use store::mongo::{Collection, Index, Mongo};
use telemetry::propagation::StoredTrace;

use crate::domain::delivery::{State, Step, Tally};
use crate::domain::win::CHANNEL;

const COLLECTION: &str = "sent";

/// Data of a big win for its e-mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Win {
    /// Id of the event. It identifies the notification and the e-mail.
    pub(crate) event_id: String,
    pub(crate) game: String,
    pub(crate) stake: Money,
    pub(crate) payout: Money,
    /// Time of the settlement, which is the date of the e-mail even if that is sent later.
    pub(crate) at: DateTime,
}

/// One notification. Older builds stored fewer fields, which have defaults. Their claims have no time and often no win, which the
/// redelivered record supplies ([`Notifications::add`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Notification {
    /// `<ce_id>/<channel>`.
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) player_id: String,
    pub(crate) state: String,
    pub(crate) win: Win,
    /// Holder of the claim.
    #[serde(default)]
    owner: String,
    /// Equal to `owner` while the e-mail has certainly not been handed over under this claim. Older builds did not store it, so
    /// in their claims it differs or is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_back_by: Option<String>,
    /// Number of attempts.
    #[serde(default)]
    pub(crate) attempts: i32,
    /// Number of attempts with an unknown outcome. `put_off` is the number of those that were put off.
    #[serde(default)]
    unknown: u32,
    #[serde(default)]
    put_off: u32,
    /// Due time: the next attempt of a due notification, or the end of a claim. Absent in all other states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<DateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<DateTime>,
    /// Trace of the win, which the e-mail continues.
    #[serde(default)]
    pub(crate) trace: StoredTrace,
}

impl Notification {
    pub(crate) fn tally(&self) -> Tally {
        Tally { unknown: self.unknown, put_off: self.put_off }
    }

    /// Returns true if this was claimed when it was found, which means that its holder is dead.
    pub(crate) fn was_claimed(&self) -> bool {
        self.state == State::Claimed.as_str()
    }

    /// Returns true if that holder may have handed the e-mail over, so the outcome of its attempt is unknown.
    pub(crate) fn was_handed_over(&self) -> bool {
        self.held_back_by.as_ref() != Some(&self.owner)
    }
}

/// Access to the collection.
#[derive(Clone, Debug)]
pub(crate) struct Notifications {
    collection: Collection<Notification>,
    mongo: Mongo,
    claim_ms: u64,
}

impl Notifications {
    /// Opens the collection. A claim lasts `claim_ms` without renewal.
    pub(crate) fn new(mongo: &Mongo, claim_ms: u64) -> Self {
        Self { collection: mongo.collection(COLLECTION), mongo: mongo.clone(), claim_ms }
    }

    /// Creates the indexes. Called once at start-up.
    pub(crate) async fn ensure_indexes(&self) -> Result<(), StoreError> {
        let open = Index::on(doc! { "due_at": 1 }).partial(doc! { "due_at": { "$exists": true } });
        self.collection.ensure_index(open).await?;
        self.collection.ensure_index(Index::on(doc! { "player_id": 1, "state": 1 })).await?;
        let given_up = Index::on(doc! { "ended_at": 1 }).partial(doc! { "state": State::Parked.as_str() });
        self.collection.ensure_index(given_up).await
    }

    /// Stores a new notification, due at once or waiting for its player. Returns false if it was already stored.
    pub(crate) async fn add(&self, win: Win, player_id: &str, state: State) -> Result<bool, StoreError> {
        let fresh = Notification {
            id: id(&win.event_id),
            player_id: player_id.to_owned(),
            state: state.as_str().to_owned(),
            win,
            owner: String::new(),
            held_back_by: None,
            attempts: 0,
            unknown: 0,
            put_off: 0,
            due_at: (state == State::Due).then_some(AT_ONCE),
            why: None,
            ended_at: None,
            trace: telemetry::propagation::capture(),
        };
        match self.collection.insert_one(&fresh).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_duplicate_key() => self.adopt(&fresh).await,
            Err(error) => Err(error),
        }
    }

    /// Marks as due what an older build had claimed when it ended. Its attempt counts as one with an unknown outcome.
    async fn adopt(&self, fresh: &Notification) -> Result<bool, StoreError> {
        let of_older =
            doc! { "_id": &fresh.id, "state": State::Claimed.as_str(), "due_at": { "$exists": false } };
        let says = doc! {
            "event_id": &fresh.win.event_id, "game": &fresh.win.game, "at": fresh.win.at,
            "stake": stored(fresh.win.stake), "payout": stored(fresh.win.payout),
        };
        let set = doc! { "state": State::Due.as_str(), "due_at": AT_ONCE, "win": says, "unknown": 1 };
        Ok(self.collection.update_one(of_older, doc! { "$set": set }).await? == 1)
    }

    /// Marks as due the notifications that wait for this player, including those that an older build had claimed while waiting.
    pub(crate) async fn release(&self, player_id: &str) -> Result<(), StoreError> {
        let waiting = doc! { "player_id": player_id, "state": State::Waiting.as_str() };
        let due = doc! { "state": State::Due.as_str(), "due_at": AT_ONCE };
        self.collection.update_many(waiting, doc! { "$set": due.clone() }).await?;
        let of_older = doc! {
            "player_id": player_id, "state": State::Claimed.as_str(),
            "due_at": { "$exists": false }, "win": { "$exists": true },
        };
        let mut due_again = due;
        due_again.insert("unknown", 1);
        self.collection.update_many(of_older, doc! { "$set": due_again }).await.map(drop)
    }

    /// Asks the store for its time, so that claims are compared correctly even if this process's clock is wrong.
    pub(crate) async fn learn_time(&self) -> Result<(), StoreError> {
        self.mongo.ping().await
    }

    /// Returns at most `limit` due notifications of players not in `but_of`, the longest due first. Includes those with earlier
    /// attempts only if `also_tried`.
    pub(crate) async fn due(
        &self,
        but_of: &[String],
        also_tried: bool,
        limit: u32,
    ) -> Result<Vec<Notification>, StoreError> {
        let mut filter = doc! { "due_at": { "$lte": self.mongo.now() } };
        if !but_of.is_empty() {
            filter.insert("player_id", doc! { "$nin": but_of.to_vec() });
        }
        if !also_tried {
            filter.insert("attempts", 0);
        }
        self.collection.find_readable(filter, doc! { "due_at": 1 }, limit).await
    }

    /// Claims a due notification as it was found. Returns `None` if another process claimed it first.
    pub(crate) async fn claim(&self, found: &Notification) -> Result<Option<Claim>, StoreError> {
        let owner = uuid::Uuid::now_v7().simple().to_string();
        let as_found =
            doc! { "_id": &found.id, "state": &found.state, "owner": &found.owner, "due_at": found.due_at };
        let mine = doc! {
            "$set": {
                "state": State::Claimed.as_str(), "owner": &owner, "held_back_by": &owner,
                "due_at": self.runs_out_at(),
            },
            "$inc": { "attempts": 1 },
        };
        let taken = self.collection.update_one(as_found, mine).await?;
        Ok((taken == 1).then(|| Claim { id: found.id.clone(), owner }))
    }

    /// Stores that the e-mail may have been handed over from now on. Returns false if the claim was lost.
    pub(crate) async fn hand_over(&self, claim: &Claim) -> Result<bool, StoreError> {
        let change = doc! { "$unset": { "held_back_by": "" }, "$set": { "due_at": self.runs_out_at() } };
        Ok(self.collection.update_one(claim.held(), change).await? == 1)
    }

    /// Renews a claim. Returns false if it expired and another process took it over.
    pub(crate) async fn renew(&self, claim: &Claim) -> Result<bool, StoreError> {
        let change = doc! { "$set": { "due_at": self.runs_out_at() } };
        Ok(self.collection.update_one(claim.held(), change).await? == 1)
    }

    /// Stores the result of an attempt. Returns false if the claim was lost.
    pub(crate) async fn note(&self, claim: &Claim, step: &Step) -> Result<bool, StoreError> {
        let mut set = doc! {
            "state": step.state.as_str(), "unknown": step.tally.unknown, "put_off": step.tally.put_off,
        };
        let mut unset = doc! {};
        match &step.why {
            Some(why) => drop(set.insert("why", why.as_str())),
            None => drop(unset.insert("why", "")),
        }
        match step.state {
            State::Due => drop(set.insert("due_at", later(self.mongo.now(), step.pause_ms))),
            State::Waiting => drop(unset.insert("due_at", "")),
            _ => {
                set.insert("ended_at", self.mongo.now());
                unset.insert("due_at", "");
            }
        }
        let mut change = doc! { "$set": set };
        if !unset.is_empty() {
            change.insert("$unset", unset);
        }
        Ok(self.collection.update_one(claim.held(), change).await? == 1)
    }

    /// Releases a claim as if it had never been made, because nothing was tried.
    pub(crate) async fn give_back(
        &self,
        claim: &Claim,
        tally: Tally,
        pause_ms: u64,
    ) -> Result<(), StoreError> {
        let due = doc! {
            "state": State::Due.as_str(), "due_at": later(self.mongo.now(), pause_ms),
            "unknown": tally.unknown, "put_off": tally.put_off,
        };
        let change = doc! { "$set": due, "$inc": { "attempts": -1 } };
        self.collection.update_one(claim.held(), change).await.map(drop)
    }

    /// Returns notifications that were given up after this time, the oldest first.
    pub(crate) async fn parked(&self, after: DateTime, limit: u32) -> Result<Vec<Notification>, StoreError> {
        let filter = doc! { "state": State::Parked.as_str(), "ended_at": { "$gt": after } };
        self.collection.find_readable(filter, doc! { "ended_at": 1 }, limit).await
    }

    /// Retries a notification that was given up, with counters reset. Returns false if no notification with this id was given up.
    pub(crate) async fn try_again(&self, event_id: &str) -> Result<bool, StoreError> {
        let parked = doc! { "_id": id(event_id), "state": State::Parked.as_str() };
        let set = doc! { "state": State::Due.as_str(), "due_at": AT_ONCE, "unknown": 0, "put_off": 0 };
        let change = doc! { "$set": set, "$unset": { "ended_at": "" } };
        Ok(self.collection.update_one(parked, change).await? == 1)
    }

    fn runs_out_at(&self) -> DateTime {
        later(self.mongo.now(), self.claim_ms)
    }
}

/// Right to send one notification, until it expires.
#[derive(Debug)]
pub(crate) struct Claim {
    id: String,
    owner: String,
}

impl Claim {
    /// Id of the notification.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    fn held(&self) -> Document {
        doc! { "_id": &self.id, "state": State::Claimed.as_str(), "owner": &self.owner }
    }
}

/// Due time that is earlier than any clock.
const AT_ONCE: DateTime = DateTime::from_millis(0);

fn later(now: DateTime, by_ms: u64) -> DateTime {
    let by_ms = i64::try_from(by_ms).unwrap_or(i64::MAX);
    DateTime::from_millis(now.timestamp_millis().saturating_add(by_ms))
}

/// Converts an amount to the form that `serde` reads.
fn stored(amount: Money) -> Document {
    doc! { "minor": amount.minor(), "currency": amount.currency().code() }
}

fn id(event_id: &str) -> String {
    format!("{event_id}/{CHANNEL}")
}
