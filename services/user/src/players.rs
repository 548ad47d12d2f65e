//! Stores players. A player's document also holds the events that are not published yet (the outbox).
//!
//! It guarantees that a change and its event are ONE write, so neither exists without the other. A repeated request gets the
//! first decision. The sweeper publishes an event that a dead process left. A change reads the player, then the changes, and then
//! does a compare-and-set on the version. The payment service's accounts use the same order.

mod document;
mod relay;
mod retry;
mod sweeper;

use bus::Producer;
use contracts::{Event, EventId, Message, ids};
use store::StoreError;
use store::bson::{doc, serialize_to_bson};
use store::mongo::{Collection, Index, Mongo};

pub use document::{PlayerDocument, Registration, StoredStanding};
pub(crate) use sweeper::Sweeper;

use crate::attempts::Attempts;
use crate::domain::Change;
use crate::error::UserError;
use crate::passwords::Passwords;
use document::{ChangeRow, OutboxEntry, SOURCE};

/// Largest number of unpublished events of one player.
const OUTBOX_MAX: usize = 128;

/// The players. Cheap to clone.
#[derive(Clone)]
pub struct Players {
    mongo: Mongo,
    players: Collection<PlayerDocument>,
    changes: Collection<ChangeRow>,
    producer: Producer,
    passwords: Passwords,
    attempts: Attempts,
}

impl std::fmt::Debug for Players {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Players").finish_non_exhaustive()
    }
}

impl Players {
    /// Opens the collections and creates missing indexes.
    pub async fn open(
        mongo: &Mongo,
        producer: Producer,
        passwords: Passwords,
        attempts: Attempts,
    ) -> Result<Self, StoreError> {
        let players: Collection<PlayerDocument> = mongo.collection("players");
        players.ensure_index(Index::on(doc! { "email_key": 1 }).unique()).await?;
        let waiting = doc! { "oldest_event_at": { "$exists": true } };
        players.ensure_index(Index::on(doc! { "oldest_event_at": 1 }).partial(waiting)).await?;
        let changes: Collection<ChangeRow> = mongo.collection("changes");
        changes.ensure_index(Index::on(doc! { "command_id": 1 }).unique()).await?;
        Ok(Self { mongo: mongo.clone(), players, changes, producer, passwords, attempts })
    }

    /// Returns the player, if there is one.
    pub async fn find(&self, player_id: &str) -> Result<Option<PlayerDocument>, StoreError> {
        self.players.find_one(doc! { "_id": player_id }).await
    }

    /// Returns the player with this e-mail address and password. `network` is the client's network.
    ///
    /// # Errors
    /// [`UserError::WrongCredentials`] when either is wrong, after the same time. [`UserError::TooManyAttempts`] after too many
    /// of these.
    pub async fn authenticate(
        &self,
        email: &str,
        password: String,
        network: Option<&str>,
    ) -> Result<PlayerDocument, UserError> {
        let email_key = document::email_key(email);
        let attempt = self.attempts.begin(&email_key, network).await?;
        let authenticated = self.check_credentials(&email_key, password).await;
        match &authenticated {
            Ok(_) => attempt.succeeded().await,
            Err(UserError::WrongCredentials) => attempt.failed().await,
            // Not counted: no password was checked, or the caller does not learn the result.
            Err(_) => {}
        }
        authenticated
    }

    async fn check_credentials(
        &self,
        email_key: &str,
        password: String,
    ) -> Result<PlayerDocument, UserError> {
        let Some(player) = self.find_by_email(email_key).await? else {
            self.passwords.verify_placeholder(password).await?;
            return Err(UserError::WrongCredentials);
        };
        if self.passwords.verify(password, &player.password).await? {
            Ok(player)
        } else {
            Err(UserError::WrongCredentials)
        }
    }

    async fn find_by_email(&self, email_key: &str) -> Result<Option<PlayerDocument>, StoreError> {
        self.players.find_one(doc! { "email_key": email_key }).await
    }

    /// Registers a player and publishes the event. The same key and body again return the same player.
    ///
    /// # Errors
    /// [`UserError::EmailTaken`], [`UserError::OtherRequest`], or [`UserError::TooManyAttempts`] after too many repetitions with
    /// a different body.
    pub async fn register(
        &self,
        key: &str,
        registration: &Registration,
        network: Option<&str>,
    ) -> Result<String, UserError> {
        let email_key = document::email_key(&registration.email);
        // There is no player id yet, so the address stands for it in the command id. Keys of different clients never collide.
        let command_id = ids::command_id(&email_key, "user/register", key);
        // Checked before hashing, so an address that is taken costs one read.
        if let Some(known) = self.find_by_email(&email_key).await? {
            return self.repeat_registration(&known, &command_id, registration, network).await;
        }
        let password = self.passwords.hash(registration.password.clone()).await?;
        let player = PlayerDocument::new(&command_id, registration, password, self.mongo.now());
        match self.players.insert_one(&player).await {
            Ok(()) => {
                self.relay_or_log(&player).await;
                Ok(player.id)
            }
            // The address was registered at the same moment, by the same request or another. The stored document decides.
            Err(StoreError::DuplicateKey { .. }) => match self.find_by_email(&email_key).await? {
                Some(known) => self.repeat_registration(&known, &command_id, registration, network).await,
                None => Err(UserError::Busy),
            },
            Err(error) => Err(error.into()),
        }
    }

    async fn repeat_registration(
        &self,
        known: &PlayerDocument,
        command_id: &EventId,
        registration: &Registration,
        network: Option<&str>,
    ) -> Result<String, UserError> {
        // Compares no password, so it is no guess. Registering with another player's address does not lock that player out.
        if known.id != command_id.as_str() {
            return Err(UserError::EmailTaken);
        }
        // A repetition compares passwords, so it counts as a guess like a log-in.
        let attempt = self.attempts.begin(&document::email_key(&registration.email), network).await?;
        let same = known.request_hash == registration.request_hash(&known.id).as_str();
        if same && self.passwords.verify(registration.password.clone(), &known.password).await? {
            return Ok(known.id.clone());
        }
        attempt.failed().await;
        Err(UserError::OtherRequest)
    }

    /// Changes a player's standing and publishes the event. Returns the event's id. The same key and change again return the same
    /// id.
    ///
    /// # Errors
    /// [`UserError::Refused`] by the rules, [`UserError::OtherRequest`], or [`UserError::Busy`].
    pub async fn change(&self, player_id: &str, key: &str, change: &Change) -> Result<EventId, UserError> {
        let command_id = ids::command_id(player_id, change.route(), key);
        let message = change.message(player_id);
        // After a lost race or an unknown result of the write, the next attempt reads the decision.
        retry::CHANGE.until_decided(|| self.try_change(player_id, &command_id, change, &message)).await
    }

    /// One attempt. Returns [`UserError::Busy`] when another writer was first or the outbox is full.
    async fn try_change(
        &self,
        player_id: &str,
        command_id: &EventId,
        change: &Change,
        message: &Message,
    ) -> Result<EventId, UserError> {
        let request_hash = ids::request_hash(message);
        let mut session = self.mongo.causal_session().await?;
        let found = self.players.find_one_in(&mut session, doc! { "_id": player_id }).await?;
        let mut player = found.ok_or(UserError::NoSuchPlayer)?;
        let pending = player.outbox.iter().find(|entry| entry.command_id == command_id.as_str()).cloned();
        let row = doc! { "command_id": command_id.as_str() };
        let decided = match pending {
            Some(entry) => Some(entry),
            None => self.changes.find_one_in(&mut session, row).await?.map(|row| row.entry),
        };
        if let Some(entry) = decided {
            self.relay_or_log(&player).await;
            return entry.answer(&request_hash);
        }
        if player.outbox.len() >= OUTBOX_MAX {
            self.relay_or_log(&player).await;
            return Err(UserError::Busy);
        }
        let now = self.mongo.now();
        let standing = change
            .decide(&player.standing.to_domain(), now.timestamp_millis())
            .map_err(UserError::Refused)?;
        let event = Event::follower(command_id, SOURCE, message.clone());
        let at = player.next_at(now);
        let entry = OutboxEntry::new(player.next_seq, command_id, &request_hash, &event, at);
        let filter = doc! { "_id": player_id, "version": player.version };
        let update = doc! {
            "$set": { "standing": bson_of(&StoredStanding::from(standing))?, "last_at": at },
            "$inc": { "version": 1_i64, "next_seq": 1_i64 },
            "$push": { "outbox": bson_of(&entry)? },
            // Not `at`, which may lie ahead of the store's time: the sweeper compares it with that.
            "$min": { "oldest_event_at": now },
        };
        if self.players.update_one(filter, update).await? == 0 {
            return Err(UserError::Busy);
        }
        player.outbox.push(entry);
        self.relay_or_log(&player).await;
        Ok(event.id)
    }
}

fn bson_of(value: &impl serde::Serialize) -> Result<store::bson::Bson, UserError> {
    serialize_to_bson(value).map_err(|_| UserError::Corrupt("a document could not be encoded"))
}

#[cfg(test)]
pub(crate) mod offline;
