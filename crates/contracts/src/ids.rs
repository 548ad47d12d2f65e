//! Identities: the same cause gives the same id in every process, so a repeated event is known for what it is.
//!
//! Every derived id is a UUIDv5 of one fixed namespace over length-prefixed fields, of which the first says what
//! kind of id it is: no two kinds and no two splittings of the same text can meet. `schemas/identity-vectors.json`
//! holds vectors for whoever computes them elsewhere.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{EventType, Message};

/// The namespace of every derived id. Never change it: ids of stored bets would change with it.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x5b1d_6a4e_0c8f_4f0b_9a53_7069_7462_6f73);

/// The longest id we take from outside.
pub const ID_BYTES_MAX: usize = 128;

/// The text is no event id. It is not repeated: it may come from a stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No text at all.
    #[error("is empty")]
    Empty,
    /// More than [`ID_BYTES_MAX`] bytes.
    #[error("is longer than {ID_BYTES_MAX} bytes")]
    TooLong,
    /// Something other than visible ASCII.
    #[error("may only have visible ASCII characters")]
    NotVisibleAscii,
}

/// The rule for ids from outside.
pub(crate) fn check_id(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > ID_BYTES_MAX {
        return Err(IdError::TooLong);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(IdError::NotVisibleAscii);
    }
    Ok(())
}

/// The identity of an event (`ce_id`): bounded, visible ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventId(String);

impl EventId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of UUIDv5 over the fields.
    fn derived(kind: &str, fields: &[&str]) -> Self {
        let mut name = Vec::with_capacity(128);
        for field in std::iter::once(&kind).chain(fields) {
            // Wider than any field can be long, so that the prefix never depends on a bound chosen elsewhere.
            name.extend_from_slice(&(field.len() as u64).to_be_bytes());
            name.extend_from_slice(field.as_bytes());
        }
        Self(Uuid::new_v5(&NAMESPACE, &name).to_string())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for EventId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> Self {
        id.0
    }
}

impl FromStr for EventId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_id(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for EventId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        check_id(&text)?;
        Ok(Self(text))
    }
}

/// The id of a command that a client asked for: the same key again is the same command.
pub fn command_id(player_id: &str, route: &str, idempotency_key: &str) -> EventId {
    EventId::derived("command", &[player_id, route, idempotency_key])
}

/// The id of the event of this type that follows from `cause`.
pub fn follower_id(cause: &EventId, event_type: EventType) -> EventId {
    EventId::derived("follower", &[cause.as_str(), event_type.as_str()])
}

/// The id of a record that came without one: where it appeared first.
pub fn record_id(topic: &str, partition: i32, offset: i64) -> EventId {
    EventId::derived("record", &[topic, &partition.to_string(), &offset.to_string()])
}

/// The id of what the provider reported about a payment: the answer and the webhook are one event.
pub fn provider_reported_id(payment_id: &EventId) -> EventId {
    EventId::derived("provider-reported", &[payment_id.as_str(), "capture"])
}

/// The hash of what a client asked for: the same id with another hash is a conflict. Lower-case hex SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestHash(String);

impl RequestHash {
    /// The hash as 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<RequestHash> for String {
    fn from(hash: RequestHash) -> Self {
        hash.0
    }
}

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not 64 lower-case hexadecimal digits")]
pub struct RequestHashError;

impl FromStr for RequestHash {
    type Err = RequestHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hexadecimal = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 64 || !hexadecimal {
            return Err(RequestHashError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for RequestHash {
    type Error = RequestHashError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The hash of a command's content: its type and its protobuf form, which is deterministic.
pub fn request_hash(message: &Message) -> RequestHash {
    let mut hasher = Sha256::new();
    hasher.update(message.event_type().as_str().as_bytes());
    // No event type has a zero byte in its name: type and content cannot be split another way.
    hasher.update([0]);
    hasher.update(message.encode_protobuf());
    RequestHash(hex::encode(hasher.finalize()))
}
