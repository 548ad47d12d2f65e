//! [`EventType`]: the closed list of event types with their topics, generated from `proto/`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Topic;

include!(concat!(env!("OUT_DIR"), "/event_types.rs"));
pub(crate) use for_each_event_type;

/// Declares the event types from area, name and topic of each.
macro_rules! event_types {
    ($($area:ident $name:ident $topic:ident,)*) => {
        /// The type of an event, as its `ce_type` header names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum EventType {
            $(
                #[doc = concat!("`casino.", stringify!($area), ".v1.", stringify!($name), "`")]
                $name,
            )*
        }

        impl EventType {
            /// All event types.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The full name: package and message, such as `casino.bets.v1.PlaceBet`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => concat!("casino.", stringify!($area), ".v1.", stringify!($name)),)*
                }
            }

            /// The name without its package, such as `PlaceBet`.
            pub const fn short_name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The topic of this type.
            pub const fn topic(self) -> Topic {
                match self {
                    $(Self::$name => Topic::$topic,)*
                }
            }
        }
    };
}

for_each_event_type!(event_types);

impl EventType {
    /// Returns true for a command, which carries a request hash, and false for an event that reports a fact.
    pub const fn is_command(self) -> bool {
        matches!(self.topic(), Topic::BetsCommands | Topic::PaymentsCommands)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<EventType> for &'static str {
    fn from(event_type: EventType) -> Self {
        event_type.as_str()
    }
}

/// The text is not the name of an [`EventType`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown event type")]
pub struct UnknownEventType;

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|event_type| event_type.as_str() == text).ok_or(UnknownEventType)
    }
}

impl TryFrom<String> for EventType {
    type Error = UnknownEventType;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
