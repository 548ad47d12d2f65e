//! Contracts between the parts of Pitboss: event types and their messages (generated from `proto/`), topics, consumer
//! groups, header names, identities, the envelope codec, ports, the form of addresses, and versions.
//!
//! It guarantees that two parts that share no other code agree on every name and meaning. Every name exists once, as a
//! variant of a closed enum. The decoder returns exactly one valid Pitboss message or an error with the reason. It never
//! guesses. The same cause gives the same identity in every process.
//!
//! One bet through this crate: the gateway creates a `PlaceBet` [`Event`] with the id [`ids::command_id`] and encodes it
//! for [`Topic::BetsCommands`]. The game service decodes it and publishes an `ApplyWager` as its [`Event::follower`].

pub mod address;
pub mod class;
mod clock;
pub mod debug;
mod decode_error;
pub mod event;
mod event_type;
mod field;
mod game;
pub mod headers;
pub mod ids;
mod json;
pub mod message;
pub mod parts;
pub mod payments;
pub mod proto;
pub mod scorecard;
pub mod topics;
mod validate;
pub mod versions;

pub use class::{Classify, ErrorClass};
pub use clock::now_ms;
pub use debug::{DebugFault, DebugStore};
pub use decode_error::DecodeError;
pub use event::{Encoded, Event, Format, Place, RecordView, TraceExtension};
pub use event_type::{EventType, UnknownEventType};
pub use field::{FieldError, TRANSFER_MINOR_MAX, required_money};
pub use game::{Game, UnknownGame};
pub use ids::{EventId, RequestHash};
pub use message::{Contract, Message};
pub use parts::{Part, Ports};
pub use topics::{Group, Topic, TopicSpec};

pub use proto::common::v1::RejectReason;
pub use proto::payments::v1::ProviderOutcome;
pub use proto::players::v1::KycStatus;
