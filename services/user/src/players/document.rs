//! `user.players` and `user.changes` as they are stored.

use contracts::proto::players::v1::PlayerRegistered;
use contracts::{Event, EventId, EventType, FieldError, Message, RequestHash, ids};
use money::{Currency, Money};
use serde::{Deserialize, Serialize};
use store::bson::spec::BinarySubtype;
use store::bson::{Binary, DateTime};
use telemetry::propagation::StoredTrace;

use crate::domain::Standing;
use crate::domain::standing::{kyc_name, kyc_named};
use crate::error::UserError;
use crate::passwords::StoredPassword;

/// `ce_source` of the events.
pub(super) const SOURCE: &str = "/pitboss/user";
/// Length limits of a password.
const PASSWORD_BYTES_MIN: usize = 8;
const PASSWORD_BYTES_MAX: usize = 256;
/// Reason why an outbox entry cannot be used.
const UNREADABLE_ENTRY: &str = "an outbox entry could not be decoded";

/// A validated registration.
#[derive(Clone)]
pub struct Registration {
    /// E-mail address as typed.
    pub email: String,
    /// Name that the player is addressed by.
    pub display_name: String,
    /// Currency of the first balance.
    pub currency: Currency,
    /// The password, until it is hashed.
    pub(crate) password: String,
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[registration]")
    }
}

impl Registration {
    /// Validates all fields.
    ///
    /// # Errors
    /// The first invalid field.
    pub fn new(
        email: String,
        password: String,
        display_name: String,
        currency: &str,
    ) -> Result<Self, FieldError> {
        let invalid = |field: &str, problem| FieldError { field: field.to_owned(), problem };
        if password.len() < PASSWORD_BYTES_MIN {
            return Err(invalid("password", "is too short"));
        }
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(invalid("password", "is too long"));
        }
        let currency =
            currency.parse().map_err(|_| invalid("currency", "is not one of EUR, USD, GBP, SEK"))?;
        let registration = Self { email, display_name, currency, password };
        Message::from(registration.message("new")).validate()?;
        Ok(registration)
    }

    fn message(&self, player_id: &str) -> PlayerRegistered {
        PlayerRegistered {
            player_id: player_id.to_owned(),
            email: self.email.clone(),
            display_name: self.display_name.clone(),
            currency: self.currency.code().to_owned(),
        }
    }

    /// Hash for comparing a repeated request. It leaves out the password, of which only the slow hash is kept.
    pub(crate) fn request_hash(&self, player_id: &str) -> RequestHash {
        ids::request_hash(&self.message(player_id).into())
    }
}

/// The normalised e-mail address, which is unique.
pub(crate) fn email_key(email: &str) -> String {
    email.to_lowercase()
}

/// `user.players`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlayerDocument {
    /// The player's id.
    #[serde(rename = "_id")]
    pub id: String,
    /// Incremented by every write that decides something.
    pub version: i64,
    /// Sequence number of the next change.
    pub(crate) next_seq: i64,
    /// E-mail address as typed.
    pub email: String,
    /// The normalised e-mail address, which is unique.
    pub(crate) email_key: String,
    /// Name that the player is addressed by.
    pub display_name: String,
    /// Currency of the first balance.
    pub currency: Currency,
    /// The hashed password.
    pub(crate) password: StoredPassword,
    /// Hash for comparing a repeated registration.
    pub(crate) request_hash: String,
    /// Time of the registration.
    pub registered_at: DateTime,
    /// Limits, exclusion, preferences and KYC status.
    pub standing: StoredStanding,
    /// Events without a recorded acknowledgement.
    pub(crate) outbox: Vec<OutboxEntry>,
    /// Time of the oldest of these events. Absent when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) oldest_event_at: Option<DateTime>,
    /// Time of the latest change. Documents of older builds have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_at: Option<DateTime>,
}

impl PlayerDocument {
    /// A new player with the event of the registration in the outbox.
    pub(crate) fn new(
        command_id: &EventId,
        registration: &Registration,
        password: StoredPassword,
        now: DateTime,
    ) -> Self {
        let id = command_id.to_string();
        let request_hash = registration.request_hash(&id);
        let event = Event::follower(command_id, SOURCE, registration.message(&id));
        let entry = OutboxEntry::new(1, command_id, &request_hash, &event, now);
        Self {
            version: 1,
            next_seq: 2,
            email: registration.email.clone(),
            email_key: email_key(&registration.email),
            display_name: registration.display_name.clone(),
            currency: registration.currency,
            password,
            request_hash: request_hash.to_string(),
            registered_at: now,
            standing: Standing::NEW.into(),
            outbox: vec![entry],
            oldest_event_at: Some(now),
            last_at: Some(now),
            id,
        }
    }

    /// Time of the next change at `now`. It is later than that of every earlier change, although the store's time may go back.
    ///
    /// Consumers keep the change with the latest time, so two changes must not have the same.
    pub(crate) fn next_at(&self, now: DateTime) -> DateTime {
        let in_outbox = self.outbox.iter().map(|entry| entry.at).max();
        let last_at = self.last_at.max(in_outbox).unwrap_or(self.registered_at);
        now.max(DateTime::from_millis(last_at.timestamp_millis().saturating_add(1)))
    }
}

/// [`Standing`] as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredStanding {
    /// Largest stake of one bet.
    pub max_stake: Option<Money>,
    /// Largest loss in one day.
    pub daily_loss: Option<Money>,
    /// End of the self-exclusion.
    pub self_excluded_until_epoch_ms: Option<i64>,
    /// `pending`, `verified` or `rejected`.
    pub kyc_status: String,
    /// True when e-mail may be sent.
    pub email_enabled: bool,
}

impl From<Standing> for StoredStanding {
    fn from(standing: Standing) -> Self {
        Self {
            max_stake: standing.max_stake,
            daily_loss: standing.daily_loss,
            self_excluded_until_epoch_ms: standing.self_excluded_until_epoch_ms,
            kyc_status: kyc_name(standing.kyc_status).to_owned(),
            email_enabled: standing.email_enabled,
        }
    }
}

impl StoredStanding {
    /// Converts to the form for the rules. An unknown status counts as pending.
    pub(crate) fn to_domain(&self) -> Standing {
        Standing {
            max_stake: self.max_stake,
            daily_loss: self.daily_loss,
            self_excluded_until_epoch_ms: self.self_excluded_until_epoch_ms,
            kyc_status: kyc_named(&self.kyc_status).unwrap_or(Standing::NEW.kyc_status),
            email_enabled: self.email_enabled,
        }
    }
}

/// One change and its event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OutboxEntry {
    /// Sequence number among the player's changes: 1, 2, 3, without a gap.
    pub(crate) seq: i64,
    /// Id of the request, from player, route and idempotency key.
    pub(crate) command_id: String,
    /// Hash of the request.
    pub(crate) request_hash: String,
    /// The event as it is published, always the same bytes.
    pub(crate) event: StoredEvent,
    /// Trace of the decision. A later publish continues it.
    pub(crate) trace: StoredTrace,
    /// Time of the decision, which is the event's. It strictly increases with `seq`.
    pub(crate) at: DateTime,
}

/// An event as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredEvent {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) event_type: EventType,
    pub(crate) bytes: Binary,
}

impl OutboxEntry {
    pub(crate) fn new(
        seq: i64,
        command_id: &EventId,
        request_hash: &RequestHash,
        event: &Event,
        at: DateTime,
    ) -> Self {
        let bytes =
            Binary { subtype: BinarySubtype::Generic, bytes: event.message.encode_protobuf().to_vec() };
        Self {
            seq,
            command_id: command_id.to_string(),
            request_hash: request_hash.to_string(),
            event: StoredEvent { id: event.id.to_string(), event_type: event.event_type(), bytes },
            trace: telemetry::propagation::capture(),
            at,
        }
    }

    /// Builds the event. It is the same for every publisher and every attempt.
    pub(crate) fn event(&self) -> Result<Event, UserError> {
        let corrupt = || UserError::Corrupt(UNREADABLE_ENTRY);
        let message = Message::from_protobuf(self.event.event_type, &self.event.bytes.bytes);
        Ok(Event {
            id: self.event.id.parse().map_err(|_| corrupt())?,
            source: SOURCE.to_owned(),
            time: store::time::from_bson(self.at).map_err(|_| corrupt())?,
            causation_id: Some(self.command_id.parse().map_err(|_| corrupt())?),
            request_hash: None,
            message: message.map_err(|_| corrupt())?,
            sent_at_ms: None,
        })
    }

    /// Answers a repeated request: with this event's id, or with an error for another request.
    pub(crate) fn answer(&self, request_hash: &RequestHash) -> Result<EventId, UserError> {
        if self.request_hash != request_hash.as_str() {
            return Err(UserError::OtherRequest);
        }
        self.event.id.parse().map_err(|_| UserError::Corrupt(UNREADABLE_ENTRY))
    }
}

/// `user.changes`: the same entry permanently, so that an old key finds its decision after the outbox has dropped it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChangeRow {
    /// `player_id/seq`.
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) player_id: String,
    #[serde(flatten)]
    pub(crate) entry: OutboxEntry,
}

impl ChangeRow {
    pub(crate) fn new(player_id: &str, entry: &OutboxEntry) -> Self {
        Self {
            id: format!("{player_id}/{}", entry.seq),
            player_id: player_id.to_owned(),
            entry: entry.clone(),
        }
    }
}
