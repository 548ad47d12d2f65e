//! Examples of every message: one with every field set, for snapshots and schemas, and any valid one, for properties.
//!
//! There is a file for each package below `proto/`, with both examples of a message side by side.

mod analytics;
mod bets;
mod payments;
mod players;

use contracts::proto::common::v1::Money;
use contracts::{Event, EventType, Message, RejectReason, TRANSFER_MINOR_MAX, ids, proto};
use proptest::prelude::*;
use time::OffsetDateTime;
use time::macros::datetime;

const PLAYER: &str = "player-1";
const BET: &str = "0c9f1c52-6f2a-5e0e-9d5b-3f3d1c6a7b10";
const PAYMENT: &str = "7a7f7a3e-52f4-5f57-8f0e-6b1f0b7f9e21";

/// The examples of one message type. The tests do not compile for a type without them.
trait Example: Sized {
    /// The message with every field set.
    fn sample() -> Self;

    /// Any valid message.
    fn any() -> BoxedStrategy<Self>;
}

include!(concat!(env!("OUT_DIR"), "/event_types.rs"));

/// Declares the dispatch by type, from area, name and topic of each.
macro_rules! examples {
    ($($area:ident $name:ident $topic:ident,)*) => {
        /// The message of this type with every field set.
        pub(crate) fn sample(event_type: EventType) -> Message {
            match event_type {
                $(EventType::$name => <proto::$area::v1::$name as Example>::sample().into(),)*
            }
        }

        /// Any valid message of this type.
        fn any_of(event_type: EventType) -> BoxedStrategy<Message> {
            match event_type {
                $(EventType::$name => {
                    <proto::$area::v1::$name as Example>::any().prop_map(Message::from).boxed()
                })*
            }
        }
    };
}

for_each_event_type!(examples);

/// The event around [`sample`], with fixed id, time and cause.
pub(crate) fn sample_event(event_type: EventType) -> Event {
    let message = sample(event_type);
    let cause = ids::command_id(PLAYER, "POST /api/v1/bets", "key-1");
    Event {
        id: ids::follower_id(&cause, event_type),
        source: "/pitboss/sample".to_owned(),
        time: datetime!(2026-11-01 12:00:00.123456 UTC),
        causation_id: Some(cause),
        request_hash: event_type.is_command().then(|| ids::request_hash(&message)),
        message,
        sent_at_ms: None,
    }
}

/// Any valid message.
pub(crate) fn any_message() -> BoxedStrategy<Message> {
    any_event_type().prop_flat_map(any_of).boxed()
}

/// Any valid event.
pub(crate) fn any_event() -> BoxedStrategy<Event> {
    // Years 1970 to 2262, the range of nanoseconds in 64 bits. RFC 3339 can express them.
    let time = any::<i64>().prop_map(|nanos| {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos).abs()).expect("within the years above")
    });
    (any_message(), id(), "[!-~]{1,64}", time, proptest::option::of(id()), any::<bool>())
        .prop_map(|(message, id, source, time, cause, hashed)| Event {
            id: id.parse().expect("an id"),
            source,
            time,
            causation_id: cause.map(|cause| cause.parse().expect("an id")),
            request_hash: hashed.then(|| ids::request_hash(&message)),
            message,
            sent_at_ms: None,
        })
        .boxed()
}

fn any_event_type() -> impl Strategy<Value = EventType> {
    proptest::sample::select(EventType::ALL.to_vec())
}

fn eur(minor: i64) -> Option<Money> {
    Some(Money { minor, currency: "EUR".into() })
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._-]{1,32}"
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof!["[!-~]{1,128}", Just(uuid::Uuid::nil().to_string())]
}

fn text() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{1,40}"
}

fn money(minor: std::ops::RangeInclusive<i64>) -> impl Strategy<Value = Option<Money>> {
    minor.prop_map(|minor| Some(Money { minor, currency: "SEK".into() }))
}

fn positive() -> impl Strategy<Value = Option<Money>> {
    money(1..=TRANSFER_MINOR_MAX)
}

fn not_negative() -> impl Strategy<Value = Option<Money>> {
    money(0..=TRANSFER_MINOR_MAX)
}

fn any_amount() -> impl Strategy<Value = Option<Money>> {
    money(i64::MIN..=i64::MAX)
}

/// The amounts that a void reversed, or none.
fn reversed() -> impl Strategy<Value = (Option<Money>, Option<Money>)> {
    proptest::option::of((not_negative(), not_negative())).prop_map(|amounts| amounts.unwrap_or_default())
}

fn reason() -> impl Strategy<Value = i32> {
    (1_i32..=8).prop_filter("has a name", |number| RejectReason::try_from(*number).is_ok())
}
