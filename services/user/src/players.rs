//! Players: the document each has, and the events that are not published yet in that same document.
//!
//! The promises: what a player changes and the event that tells of it are ONE write, so neither is ever without the
//! other; a repeated request finds its first decision; an event that a dead process left is published by the sweeper.
//! The order is that of payment's accounts: read the player, then the changes, then compare-and-set on the version.

mod document;
mod relay;
mod sweeper;

use bus::Producer;
use contracts::{Event, EventId, Message, ids};
use store::StoreError;
use store::bson::{DateTime, doc, serialize_to_bson};
use store::mongo::{Collection, Index, Mongo};

pub use document::{PlayerDocument, Registration, StoredStanding};
pub(crate) use sweeper::Sweeper;

use crate::domain::Change;
use crate::error::UserError;
use crate::passwords::Passwords;
use document::{ChangeRow, OutboxEntry};

/// Who made our events, in `ce_source`.
pub(crate) const SOURCE: &str = "/pitboss/user";
/// Most events of one player that wait to be published.
const OUTBOX_MAX: usize = 128;
/// How often a compare-and-set is tried before the caller is told to repeat.
const ATTEMPTS_MAX: usize = 8;

/// The players; cheap to clone.
#[derive(Clone)]
pub struct Players {
    mongo: Mongo,
    players: Collection<PlayerDocument>,
    changes: Collection<ChangeRow>,
    producer: Producer,
    passwords: Passwords,
}

impl std::fmt::Debug for Players {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Players").finish_non_exhaustive()
    }
}

impl Players {
    /// Makes sure of the indexes.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn open(mongo: &Mongo, producer: Producer, passwords: Passwords) -> Result<Self, StoreError> {
        let players: Collection<PlayerDocument> = mongo.collection("players");
        players.ensure_index(Index::on(doc! { "email_key": 1 }).unique()).await?;
        let waiting = doc! { "oldest_event_at": { "$exists": true } };
        players.ensure_index(Index::on(doc! { "oldest_event_at": 1 }).partial(waiting)).await?;
        let changes: Collection<ChangeRow> = mongo.collection("changes");
        changes.ensure_index(Index::on(doc! { "command_id": 1 }).unique()).await?;
        Ok(Self { mongo: mongo.clone(), players, changes, producer, passwords })
    }

    /// The player, if there is one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, player_id: &str) -> Result<Option<PlayerDocument>, StoreError> {
        self.players.find_one(doc! { "_id": player_id }).await
    }

    /// The player with this e-mail address and password.
    ///
    /// # Errors
    /// [`UserError::WrongCredentials`] for either being wrong, in the same time.
    pub async fn authenticate(&self, email: &str, password: String) -> Result<PlayerDocument, UserError> {
        let found = self.players.find_one(doc! { "email_key": document::email_key(email) }).await?;
        let Some(player) = found else {
            self.passwords.verify_nobody(password).await?;
            return Err(UserError::WrongCredentials);
        };
        if self.passwords.verify(password, &player.password).await? {
            Ok(player)
        } else {
            Err(UserError::WrongCredentials)
        }
    }

    /// Registers a player and tells of it. The same key and body again is the same player.
    ///
    /// # Errors
    /// [`UserError::EmailTaken`], [`UserError::OtherRequest`], or a failing store.
    pub async fn register(&self, key: &str, asked: &Registration) -> Result<String, UserError> {
        // Nobody is known yet, so the key alone names the request.
        let command_id = ids::command_id("", "user/register", key);
        if let Some(known) = self.find(command_id.as_str()).await? {
            return self.registered_before(&known, asked).await;
        }
        let password = self.passwords.hash(asked.password.clone()).await?;
        let player = PlayerDocument::new(&command_id, asked, password);
        match self.players.insert_one(&player).await {
            Ok(()) => {
                self.relay_or_leave(&player).await;
                Ok(player.id)
            }
            // The same request at the same moment, or the address of somebody else: the document under our id tells.
            Err(StoreError::DuplicateKey { .. }) => match self.find(command_id.as_str()).await? {
                Some(known) => self.registered_before(&known, asked).await,
                None => Err(UserError::EmailTaken),
            },
            Err(error) => Err(error.into()),
        }
    }

    async fn registered_before(
        &self,
        known: &PlayerDocument,
        asked: &Registration,
    ) -> Result<String, UserError> {
        let same = known.request_hash == asked.request_hash(&known.id).as_str();
        if same && self.passwords.verify(asked.password.clone(), &known.password).await? {
            return Ok(known.id.clone());
        }
        Err(UserError::OtherRequest)
    }

    /// Changes a player's standing and tells of it; the id of the event that does. The same key and change again is
    /// the same event.
    ///
    /// # Errors
    /// [`UserError::Refused`] by the rules, [`UserError::OtherRequest`], [`UserError::Busy`], or a failing store.
    pub async fn change(&self, player_id: &str, key: &str, change: &Change) -> Result<EventId, UserError> {
        let command_id = ids::command_id(player_id, change.route(), key);
        let message = change.message(player_id);
        for _ in 0..ATTEMPTS_MAX {
            match self.try_change(player_id, &command_id, change, &message).await {
                Ok(Some(event_id)) => return Ok(event_id),
                // Somebody else wrote first, or nobody knows whether we did: read again, and the reads will tell.
                Ok(None) | Err(UserError::Store(StoreError::Transient { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Err(UserError::Busy)
    }

    async fn try_change(
        &self,
        player_id: &str,
        command_id: &EventId,
        change: &Change,
        message: &Message,
    ) -> Result<Option<EventId>, UserError> {
        let request_hash = ids::request_hash(message);
        let mut session = self.mongo.causal_session().await?;
        let found = self.players.find_one_in(&mut session, doc! { "_id": player_id }).await?;
        let mut player = found.ok_or(UserError::NoSuchPlayer)?;
        let waiting = player.outbox.iter().find(|entry| entry.command_id == command_id.as_str()).cloned();
        let row = doc! { "command_id": command_id.as_str() };
        let decided = match waiting {
            Some(entry) => Some(entry),
            None => self.changes.find_one_in(&mut session, row).await?.map(|row| row.entry),
        };
        if let Some(entry) = decided {
            self.relay_or_leave(&player).await;
            return entry.answer(&request_hash).map(Some);
        }
        if player.outbox.len() >= OUTBOX_MAX {
            self.relay_or_leave(&player).await;
            return Err(UserError::Busy);
        }
        let now = DateTime::now();
        let standing =
            change.decide(&player.standing.read(), now.timestamp_millis()).map_err(UserError::Refused)?;
        let event = Event::follower(command_id, SOURCE, message.clone());
        let entry = OutboxEntry::new(player.next_seq, command_id, &request_hash, &event, now);
        let filter = doc! { "_id": player_id, "version": player.version };
        let update = doc! {
            "$set": { "standing": bson_of(&StoredStanding::from(standing))? },
            "$inc": { "version": 1_i64, "next_seq": 1_i64 },
            "$push": { "outbox": bson_of(&entry)? },
            "$min": { "oldest_event_at": now },
        };
        if self.players.update_one(filter, update).await? == 0 {
            return Ok(None);
        }
        player.outbox.push(entry);
        self.relay_or_leave(&player).await;
        Ok(Some(event.id))
    }
}

fn bson_of(value: &impl serde::Serialize) -> Result<store::bson::Bson, UserError> {
    serialize_to_bson(value).map_err(|_| UserError::Corrupt("a document cannot be written"))
}
