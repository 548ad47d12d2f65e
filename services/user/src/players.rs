//! Players: the document each has, and the events that are not published yet in that same document.
//!
//! The promises: what a player changes and the event that tells of it are ONE write, so neither is ever without the
//! other; a repeated request finds its first decision; an event that a dead process left is published by the sweeper.
//! The order is that of payment's accounts: read the player, then the changes, then compare-and-set on the version.

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
use document::{ChangeRow, OutboxEntry};

/// Who made our events, in `ce_source`.
pub(crate) const SOURCE: &str = "/pitboss/user";
/// Most events of one player that wait to be published.
const OUTBOX_MAX: usize = 128;

/// The players; cheap to clone.
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
    /// Makes sure of the indexes.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
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

    /// The player, if there is one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, player_id: &str) -> Result<Option<PlayerDocument>, StoreError> {
        self.players.find_one(doc! { "_id": player_id }).await
    }

    /// The player with this e-mail address and password; asked from this network.
    ///
    /// # Errors
    /// [`UserError::WrongCredentials`] for either being wrong, in the same time; [`UserError::TooManyAttempts`] after too many
    /// of those.
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
            // Nothing was checked, or nobody was told.
            Err(_) => {}
        }
        authenticated
    }

    async fn check_credentials(
        &self,
        email_key: &str,
        password: String,
    ) -> Result<PlayerDocument, UserError> {
        let Some(player) = self.with_email(email_key).await? else {
            self.passwords.verify_nobody(password).await?;
            return Err(UserError::WrongCredentials);
        };
        if self.passwords.verify(password, &player.password).await? {
            Ok(player)
        } else {
            Err(UserError::WrongCredentials)
        }
    }

    async fn with_email(&self, email_key: &str) -> Result<Option<PlayerDocument>, StoreError> {
        self.players.find_one(doc! { "email_key": email_key }).await
    }

    /// Registers a player and tells of it; asked from this network. The same key and body again is the same player.
    ///
    /// # Errors
    /// [`UserError::EmailTaken`], [`UserError::OtherRequest`], [`UserError::TooManyAttempts`] after too many of those, or a
    /// failing store.
    pub async fn register(
        &self,
        key: &str,
        asked: &Registration,
        network: Option<&str>,
    ) -> Result<String, UserError> {
        let email_key = document::email_key(&asked.email);
        // Nobody is known yet: the key is that of whoever has this address, so that strangers' keys never meet.
        let command_id = ids::command_id(&email_key, "user/register", key);
        // Before anything is hashed: an address that is taken costs one read.
        if let Some(known) = self.with_email(&email_key).await? {
            return self.registered_before(&known, &command_id, asked, network).await;
        }
        let password = self.passwords.hash(asked.password.clone()).await?;
        let player = PlayerDocument::new(&command_id, asked, password, self.mongo.now());
        match self.players.insert_one(&player).await {
            Ok(()) => {
                self.relay_or_leave(&player).await;
                Ok(player.id)
            }
            // The same request at the same moment, or somebody else's with the same address: the document tells.
            Err(StoreError::DuplicateKey { .. }) => match self.with_email(&email_key).await? {
                Some(known) => self.registered_before(&known, &command_id, asked, network).await,
                None => Err(UserError::Busy),
            },
            Err(error) => Err(error.into()),
        }
    }

    async fn registered_before(
        &self,
        known: &PlayerDocument,
        command_id: &EventId,
        asked: &Registration,
        network: Option<&str>,
    ) -> Result<String, UserError> {
        // Compares no password, so it is no guess: whoever registers with the address of another does not shut that one out.
        if known.id != command_id.as_str() {
            return Err(UserError::EmailTaken);
        }
        // A repetition compares passwords: it is a way to guess, like a log-in.
        let attempt = self.attempts.begin(&document::email_key(&asked.email), network).await?;
        let same = known.request_hash == asked.request_hash(&known.id).as_str();
        if same && self.passwords.verify(asked.password.clone(), &known.password).await? {
            return Ok(known.id.clone());
        }
        attempt.failed().await;
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
        // Somebody else wrote first, or nobody knows whether we did: read again, and the reads will tell.
        retry::CHANGE.until_decided(|| self.try_change(player_id, &command_id, change, &message)).await
    }

    /// One try; [`UserError::Busy`] when somebody else wrote first.
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
        let waiting = player.outbox.iter().find(|entry| entry.command_id == command_id.as_str()).cloned();
        let row = doc! { "command_id": command_id.as_str() };
        let decided = match waiting {
            Some(entry) => Some(entry),
            None => self.changes.find_one_in(&mut session, row).await?.map(|row| row.entry),
        };
        if let Some(entry) = decided {
            self.relay_or_leave(&player).await;
            return entry.answer(&request_hash);
        }
        if player.outbox.len() >= OUTBOX_MAX {
            self.relay_or_leave(&player).await;
            return Err(UserError::Busy);
        }
        let now = self.mongo.now();
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
            return Err(UserError::Busy);
        }
        player.outbox.push(entry);
        self.relay_or_leave(&player).await;
        Ok(event.id)
    }
}

fn bson_of(value: &impl serde::Serialize) -> Result<store::bson::Bson, UserError> {
    serialize_to_bson(value).map_err(|_| UserError::Corrupt("a document cannot be written"))
}

#[cfg(test)]
pub(crate) mod alone;
