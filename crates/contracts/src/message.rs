//! [`Message`]: any one of the messages on Pitboss topics, with its protobuf and JSON forms.

use bytes::Bytes;
use prost::Message as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::EventType;
use crate::decode_error::DecodeError;
use crate::event_type::for_each_event_type;
use crate::field::FieldError;
use crate::json;
use crate::proto::{analytics, bets, payments, players};

/// A message type in `proto/` that is an event. All implementations are generated.
pub trait Contract:
    Validate + prost::Message + Default + Clone + Serialize + DeserializeOwned + Into<Message> + 'static
{
    /// The type's name on the wire.
    const EVENT_TYPE: EventType;

    /// The player that the event belongs to, which is the key of its record.
    fn player_id(&self) -> &str;

    /// Returns the content of `message` if it is of this type.
    fn from_message(message: &Message) -> Option<&Self>;
}

/// Rules for the fields of a message. The generated code does not compile for a message without them.
pub trait Validate {
    /// Checks that every field holds what its documentation says. It runs on everything that is decoded.
    fn validate(&self) -> Result<(), FieldError>;

    /// Replaces unknown enum numbers by zero. So even a message that was never validated has valid JSON, which every
    /// reader refuses.
    fn drop_unknown_enums(&mut self) {}
}

/// Declares the variants, the conversions and the dispatch by type.
macro_rules! messages {
    ($($area:ident $name:ident $topic:ident,)*) => {
        /// The content of one event. Every type has a variant, and there is none for other types.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Message {
            $(
                #[doc = concat!("`casino.", stringify!($area), ".v1.", stringify!($name), "`")]
                $name($area::v1::$name),
            )*
        }

        $(
            impl From<$area::v1::$name> for Message {
                fn from(message: $area::v1::$name) -> Self {
                    Self::$name(message)
                }
            }

            impl TryFrom<Message> for $area::v1::$name {
                type Error = Message;

                /// Returns the content if it is of this type, otherwise the message itself as the error.
                fn try_from(message: Message) -> Result<Self, Message> {
                    match message {
                        Message::$name(content) => Ok(content),
                        other => Err(other),
                    }
                }
            }

            impl Contract for $area::v1::$name {
                const EVENT_TYPE: EventType = EventType::$name;

                fn player_id(&self) -> &str {
                    &self.player_id
                }

                fn from_message(message: &Message) -> Option<&Self> {
                    match message {
                        Message::$name(content) => Some(content),
                        _ => None,
                    }
                }
            }
        )*

        impl Message {
            /// The type of this message.
            pub const fn event_type(&self) -> EventType {
                match self {
                    $(Self::$name(_) => EventType::$name,)*
                }
            }

            /// The player that the event belongs to. It is the key of its record, so that a player's events stay in order.
            pub fn player_id(&self) -> &str {
                match self {
                    $(Self::$name(content) => Contract::player_id(content),)*
                }
            }

            /// Checks that every field holds what its documentation says.
            pub fn validate(&self) -> Result<(), FieldError> {
                match self {
                    $(Self::$name(content) => content.validate(),)*
                }
            }

            /// The protobuf form. It is deterministic: fields in order of their numbers, no maps.
            pub fn encode_protobuf(&self) -> Bytes {
                let encoded = match self {
                    $(Self::$name(content) => content.encode_to_vec(),)*
                };
                Bytes::from(encoded)
            }

            /// The proto3 JSON form: camelCase names, 64-bit integers as strings, default values left out.
            pub fn to_json(&self) -> serde_json::Value {
                match self {
                    $(Self::$name(content) => {
                        let mut content = content.clone();
                        content.drop_unknown_enums();
                        json::to_value(&content)
                    })*
                }
            }

            /// The JSON form on the wire: [`Self::to_json`] with the fields in the order of their numbers.
            pub fn encode_json(&self) -> Bytes {
                match self {
                    $(Self::$name(content) => {
                        let mut content = content.clone();
                        content.drop_unknown_enums();
                        json::to_bytes(&content)
                    })*
                }
            }

            /// Decodes and validates the protobuf form of a type. Unknown fields are skipped, as their producer is newer.
            pub fn from_protobuf(event_type: EventType, value: &[u8]) -> Result<Self, DecodeError> {
                match event_type {
                    $(EventType::$name => read_protobuf::<$area::v1::$name>(value),)*
                }
            }

            /// Decodes and validates the JSON form of a type. Unknown fields are refused, as they are typing errors.
            pub fn from_json(event_type: EventType, text: &str) -> Result<Self, DecodeError> {
                match event_type {
                    $(EventType::$name => read_json::<$area::v1::$name>(text),)*
                }
            }
        }
    };
}

for_each_event_type!(messages);

fn read_protobuf<M: Contract>(value: &[u8]) -> Result<Message, DecodeError> {
    let message = M::decode(value)
        .map_err(|error| DecodeError::Protobuf { event_type: M::EVENT_TYPE, problem: error.to_string() })?;
    validated(message)
}

fn read_json<M: Contract>(text: &str) -> Result<Message, DecodeError> {
    let message = json::read_message::<M>(text, "the data")
        .map_err(|problem| DecodeError::Json { what: M::EVENT_TYPE.as_str(), problem })?;
    validated(message)
}

fn validated<M: Contract>(message: M) -> Result<Message, DecodeError> {
    message.validate().map_err(|problem| DecodeError::Field { event_type: M::EVENT_TYPE, problem })?;
    Ok(message.into())
}
