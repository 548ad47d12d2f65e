//! The contracts between the parts of Pitboss: event types and their messages (generated from `proto/`), topics and
//! consumer groups, header names, identities, the envelope codec, ports and versions.
//!
//! The promise: two parts that never share code still mean the same thing. Every name exists once, as a variant of
//! a closed enum; what comes off a topic is either exactly one of our messages or refused with a reason, and never
//! guessed; the same cause gives the same identity in every process.
//!
//! One bet through this crate: the gateway makes a `PlaceBet` [`Event`] whose id is [`ids::command_id`], encodes it
//! for [`Topic::BetsCommands`]; game decodes it, and its `ApplyWager` is a [`Event::follower`] of it.

pub mod class;
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
pub mod proto;
pub mod topics;
mod validate;
pub mod versions;

pub use class::{Classify, ErrorClass};
pub use decode_error::DecodeError;
pub use event::{Encoded, Event, Format, Place, RecordView, TraceExtension};
pub use event_type::{EventType, UnknownEventType};
pub use field::{FieldError, TRANSFER_MINOR_MAX};
pub use game::{Game, UnknownGame};
pub use ids::{EventId, RequestHash};
pub use message::Message;
pub use parts::{Part, Ports};
pub use topics::{Group, Topic, TopicSpec};

pub use proto::common::v1::RejectReason;
pub use proto::payments::v1::ProviderOutcome;
pub use proto::players::v1::KycStatus;
