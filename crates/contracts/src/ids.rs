//! Derived identities: the same cause gives the same id in every process, so consumers recognise a repeated event.
//!
//! Every derived id is a UUIDv5 in one fixed namespace over length-prefixed fields. The first field is the kind of id.
//! So two kinds, or two ways to split the same text, can never give the same id. `schemas/identity-vectors.json` holds
//! test vectors for implementations outside Pitboss.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{EventType, Message};

/// The namespace of every derived id. Never change it, because the ids of stored bets would change.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x5b1d_6a4e_0c8f_4f0b_9a53_7069_7462_6f73);

/// The longest id that is accepted from outside.
pub const ID_BYTES_MAX: usize = 128;

/// The text is not a valid event id. The error omits the text, because it may come from an untrusted client.
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

/// Validates an id from outside.
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

/// The identity of an event (`ce_id`): at most [`ID_BYTES_MAX`] bytes of visible ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventId(String);

impl EventId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Derives a UUIDv5 from the kind and the fields.
    fn derived(kind: &str, fields: &[&str]) -> Self {
        let mut name = Vec::with_capacity(128);
        for field in std::iter::once(&kind).chain(fields) {
            // A 64-bit length fits any field, so the prefix never depends on a limit that is defined elsewhere.
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

/// The id of a command that a client requested. The same idempotency key gives the same command.
pub fn command_id(player_id: &str, route: &str, idempotency_key: &str) -> EventId {
    EventId::derived("command", &[player_id, route, idempotency_key])
}

/// The id of the event of this type that follows from `cause`.
pub fn follower_id(cause: &EventId, event_type: EventType) -> EventId {
    EventId::derived("follower", &[cause.as_str(), event_type.as_str()])
}

/// The id of one of the items into which the fault `analytics.fan-out` splits an event.
pub fn item_id(cause: &EventId, number: i32) -> EventId {
    EventId::derived("item", &[cause.as_str(), &number.to_string()])
}

/// The id of a record without one, derived from its first place.
pub fn record_id(topic: &str, partition: i32, offset: i64) -> EventId {
    EventId::derived("record", &[topic, &partition.to_string(), &offset.to_string()])
}

/// The id of the provider's report about a payment. The provider's answer and its webhook give the same event.
pub fn provider_reported_id(payment_id: &EventId) -> EventId {
    EventId::derived("provider-reported", &[payment_id.as_str(), "capture"])
}

/// The hash of a client's request, as lower-case hexadecimal SHA-256. The same id with another hash is a conflict.
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

/// The hash of a command's type and its protobuf form, which is deterministic.
pub fn request_hash(message: &Message) -> RequestHash {
    let mut hasher = Sha256::new();
    hasher.update(message.event_type().as_str().as_bytes());
    // No event type has a zero byte in its name, so the border between type and content is unambiguous.
    hasher.update([0]);
    hasher.update(message.encode_protobuf());
    RequestHash(hex::encode(hasher.finalize()))
}
