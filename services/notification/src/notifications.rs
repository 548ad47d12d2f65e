//! Collection `notification.sent`: one document per event and channel. It is stored before the first attempt, claimed for each
//! attempt, and records each result.
//!
//! It guarantees at most one more e-mail per kill. A claim is renewed while its holder lives, so it expires only if the holder is
//! dead or frozen. If the e-mail may have been handed over by then, the process that takes over counts an attempt with an unknown
//! outcome ([`crate::domain::delivery`]). No process writes to a notification that another one has claimed since. All times are
//! the store's, so a wrong clock of a process does no harm. Every change of the state is a [`Step`] of [`delivery`].

use money::Money;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use store::StoreError;
use store::bson::{DateTime, Document, doc};
use store::mongo::{Collection, Index, Mongo};
use store::time::later;
use telemetry::propagation::StoredTrace;

use crate::domain::delivery::{self, Attempt, Event, State, Step, Tally};
use crate::domain::mail::CHANNEL;
use crate::domain::win;

const COLLECTION: &str = "sent";

/// Text of the e-mail about an event. The player's name is added when it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Notice {
    /// Id of the event. It identifies the notification and the e-mail.
    pub(crate) event_id: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    /// Time of the event, which is the date of the e-mail even if that is sent later.
    pub(crate) at: DateTime,
}

/// Data of a big win, which older builds stored instead of a [`Notice`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Win {
    game: String,
    stake: Money,
    payout: Money,
    at: DateTime,
}

/// One notification. Older builds stored fewer fields, which have defaults. Their claims have no time and often neither notice nor
/// win, which the redelivered record supplies ([`Notifications::add`]). Any other document without both is of a newer build and
/// does not decode, so this build neither sends nor parks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")] // so that `deserialize` below can check all fields together
pub(crate) struct Notification {
    /// `<ce_id>/<channel>`.
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) player_id: String,
    pub(crate) state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notice: Option<Notice>,
    #[serde(default, skip_serializing)]
    win: Option<Win>,
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
    /// Trace of the event, which the e-mail continues.
    #[serde(default)]
    pub(crate) trace: StoredTrace,
}

impl<'de> Deserialize<'de> for Notification {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let notification = Self::deserialize(deserializer)?;
        if notification.notice.is_none() && notification.win.is_none() {
            return Err(D::Error::custom("neither `notice` nor `win` says what the e-mail says"));
        }
        Ok(notification)
    }
}

impl Serialize for Notification {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl Notification {
    /// Id of the event.
    pub(crate) fn event_id(&self) -> &str {
        self.id.rsplit_once('/').map_or(self.id.as_str(), |(event_id, _)| event_id)
    }

    /// Returns what the e-mail says. `None` only for a document that would not decode.
    pub(crate) fn notice(&self) -> Option<Notice> {
        let of_win = |win: &Win| Notice {
            event_id: self.event_id().to_owned(),
            subject: win::subject(win.payout),
            text: win::text(&win.game, win.stake, win.payout),
            at: win.at,
        };
        self.notice.clone().or_else(|| self.win.as_ref().map(of_win))
    }

    pub(crate) fn tally(&self) -> Tally {
        Tally { unknown: self.unknown, put_off: self.put_off }
    }

    /// Returns the result of the last attempt if its holder died, because this was claimed when it was found.
    pub(crate) fn abandoned_attempt(&self) -> Option<Attempt> {
        let handed_over = self.held_back_by.as_ref() != Some(&self.owner);
        (self.state == State::Claimed).then_some(Attempt::HolderDied { handed_over })
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
    pub(crate) async fn add(
        &self,
        notice: Notice,
        player_id: &str,
        state: State,
    ) -> Result<bool, StoreError> {
        let fresh = Notification {
            id: id(&notice.event_id),
            player_id: player_id.to_owned(),
            state,
            notice: Some(notice),
            win: None,
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
            Err(error) if error.is_duplicate_key() => self.adopt(fresh).await,
            Err(error) => Err(error),
        }
    }

    /// Makes due what an older build had claimed when it ended. Its attempt counts as one with an unknown outcome.
    async fn adopt(&self, fresh: Notification) -> Result<bool, StoreError> {
        let Some(Notice { event_id, subject, text, at }) = fresh.notice else { return Ok(false) };
        let notice = doc! { "event_id": event_id, "subject": subject, "text": text, "at": at };
        let of_older = doc! { "_id": fresh.id, "due_at": { "$exists": false } };
        Ok(self.apply(&Event::Adopted, of_older, doc! { "notice": notice }).await? > 0)
    }

    /// Makes due the notifications that wait for this player, including those that an older build had claimed while waiting.
    pub(crate) async fn release(&self, player_id: &str) -> Result<(), StoreError> {
        self.apply(&Event::Registered, doc! { "player_id": player_id }, doc! {}).await?;
        let of_older =
            doc! { "player_id": player_id, "due_at": { "$exists": false }, "win": { "$exists": true } };
        self.apply(&Event::Adopted, of_older, doc! {}).await.map(drop)
    }

    /// Applies an event, and sets more fields, where the filter matches and the event has an effect. Returns how often.
    async fn apply(&self, event: &Event<'_>, filter: Document, more: Document) -> Result<u64, StoreError> {
        let mut applied = 0_u64;
        for (from, step) in delivery::steps(event) {
            let mut filter = filter.clone();
            filter.insert("state", from.as_str());
            let change = self.change(&step, more.clone());
            applied = applied.saturating_add(self.collection.update_many(filter, change).await?);
        }
        Ok(applied)
    }

    /// Builds the update that stores a step and sets more fields.
    fn change(&self, step: &Step, more: Document) -> Document {
        let (mut set, mut unset) = (doc! { "state": step.state.as_str() }, doc! {});
        if let Some(tally) = step.tally {
            set.extend(doc! { "unknown": tally.unknown, "put_off": tally.put_off });
        }
        match (&step.why, step.state) {
            (Some(why), _) => drop(set.insert("why", why.as_str())),
            // The reason of the last attempt is kept until another attempt succeeds.
            (None, State::Due | State::Claimed) => {}
            (None, _) => drop(unset.insert("why", "")),
        }
        match step.state {
            State::Due if step.pause_ms == 0 => drop(set.insert("due_at", AT_ONCE)),
            State::Due => drop(set.insert("due_at", later(self.mongo.now(), step.pause_ms))),
            State::Claimed => drop(set.insert("due_at", self.expires_at())),
            _ => drop(unset.insert("due_at", "")),
        }
        if step.state.is_terminal() {
            set.insert("ended_at", self.mongo.now());
        } else if step.state == State::Due {
            unset.insert("ended_at", "");
        }
        set.extend(more);
        let mut change = doc! { "$set": set };
        if !unset.is_empty() {
            change.insert("$unset", unset);
        }
        if step.attempts != 0 {
            change.insert("$inc", doc! { "attempts": step.attempts });
        }
        change
    }

    /// Asks the store for its time, so that claims are compared correctly even if this process's clock is wrong.
    pub(crate) async fn sync_time(&self) -> Result<(), StoreError> {
        self.mongo.ping().await
    }

    /// Returns at most `limit` due notifications of other players than these, the longest due first. Includes those with earlier
    /// attempts only if `with_retries`.
    pub(crate) async fn due(
        &self,
        except_players: Vec<String>,
        with_retries: bool,
        limit: u32,
    ) -> Result<Vec<Notification>, StoreError> {
        let mut filter = doc! { "due_at": { "$lte": self.mongo.now() } };
        if !except_players.is_empty() {
            filter.insert("player_id", doc! { "$nin": except_players });
        }
        if !with_retries {
            filter.insert("attempts", 0);
        }
        self.collection.find_readable(filter, doc! { "due_at": 1 }, limit).await
    }

    /// Claims a due notification as it was found. Returns `None` if another process claimed it first.
    pub(crate) async fn claim(&self, found: &Notification) -> Result<Option<Claim>, StoreError> {
        let Some(step) = delivery::next(found.state, Event::Claimed) else { return Ok(None) };
        let owner = uuid::Uuid::now_v7().simple().to_string();
        let as_found = doc! {
            "_id": &found.id, "state": found.state.as_str(), "owner": &found.owner, "due_at": found.due_at,
        };
        let change = self.change(&step, doc! { "owner": &owner, "held_back_by": &owner });
        let claimed = self.collection.update_one(as_found, change).await?;
        Ok((claimed == 1).then(|| Claim { id: found.id.clone(), owner }))
    }

    /// Stores that the e-mail may have been handed over from now on. Returns false if the claim was lost.
    pub(crate) async fn hand_over(&self, claim: &Claim) -> Result<bool, StoreError> {
        let change = doc! { "$unset": { "held_back_by": "" }, "$set": { "due_at": self.expires_at() } };
        Ok(self.collection.update_one(claim.filter(), change).await? == 1)
    }

    /// Renews a claim. Returns false if it expired and another process took it over.
    pub(crate) async fn renew(&self, claim: &Claim) -> Result<bool, StoreError> {
        let change = doc! { "$set": { "due_at": self.expires_at() } };
        Ok(self.collection.update_one(claim.filter(), change).await? == 1)
    }

    /// Stores the step after an attempt and thereby ends the claim. Returns false if the claim was lost.
    pub(crate) async fn end(&self, claim: &Claim, step: &Step) -> Result<bool, StoreError> {
        Ok(self.collection.update_one(claim.filter(), self.change(step, doc! {})).await? == 1)
    }

    /// Returns notifications that were given up after this time, the oldest first.
    pub(crate) async fn parked(&self, after: DateTime, limit: u32) -> Result<Vec<Notification>, StoreError> {
        let filter = doc! { "state": State::Parked.as_str(), "ended_at": { "$gt": after } };
        self.collection.find_readable(filter, doc! { "ended_at": 1 }, limit).await
    }

    /// Retries a notification that was given up, with counters reset. Returns false if no notification with this id was given up.
    pub(crate) async fn retry(&self, event_id: &str) -> Result<bool, StoreError> {
        Ok(self.apply(&Event::Retried, doc! { "_id": id(event_id) }, doc! {}).await? > 0)
    }

    fn expires_at(&self) -> DateTime {
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

    fn filter(&self) -> Document {
        doc! { "_id": &self.id, "state": State::Claimed.as_str(), "owner": &self.owner }
    }
}

/// Due time that is earlier than any clock.
const AT_ONCE: DateTime = DateTime::from_millis(0);

fn id(event_id: &str) -> String {
    format!("{event_id}/{CHANNEL}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(more: Document) -> Document {
        let mut stored = doc! { "_id": "event-1/email", "player_id": "player-1", "state": "due" };
        stored.extend(more);
        stored
    }

    fn read(stored: &Document) -> Result<Notification, String> {
        let bytes = store::bson::serialize_to_vec(stored).unwrap();
        store::bson::deserialize_from_slice(&bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn both_forms_are_read_and_the_new_one_is_stored() {
        let at = DateTime::from_millis(1_790_000_000_000);
        let text = doc! { "event_id": "event-1", "subject": "You won", "text": "a lot", "at": at };
        let new = read(&stored(doc! { "notice": text.clone() })).unwrap();
        assert_eq!(new.notice().unwrap().subject, "You won");
        let again = store::bson::serialize_to_document(&new).unwrap();
        assert_eq!(again.get_document("notice").unwrap(), &text);
        assert_eq!(read(&again).unwrap(), new);

        let money = |minor: i64| doc! { "minor": minor, "currency": "EUR" };
        let win = doc! { "game": "slots", "stake": money(100), "payout": money(2_500), "at": at };
        let old = read(&stored(doc! { "win": win })).unwrap().notice().unwrap();
        assert_eq!((old.event_id.as_str(), old.at), ("event-1", at));
        assert!(old.text.contains("slots"), "{}", old.text);
    }

    /// This build must neither send such a notification without its text nor park it.
    #[test]
    fn form_of_a_newer_build_is_unreadable() {
        let newer = stored(doc! { "message": { "template": "welcome" } });
        let refused = read(&newer).unwrap_err();
        assert!(refused.contains("neither `notice` nor `win`"), "{refused}");
    }
}
