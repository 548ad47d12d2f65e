//! Properties of the codec: encoded events decode to the same event, and damaged input is refused without a panic.

use bytes::Bytes;
use contracts::proto::bets::v1::PlaceBet;
use contracts::proto::common::v1::Money;
use contracts::{Event, EventType, Format, Message, RecordView, Topic, headers, ids};
use proptest::prelude::*;

use crate::messages;

fn view<'a>(topic: &'a str, headers: &'a [(String, Bytes)], value: &'a [u8]) -> RecordView<'a> {
    RecordView { topic, partition: 3, offset: 41, timestamp_ms: Some(1_793_534_400_000), headers, value }
}

/// The line that a person types for this event's message.
pub(crate) fn structured(event: &Event) -> String {
    let data = String::from_utf8(event.message.encode_json().to_vec()).expect("JSON is text");
    format!(r#"{{"type":"{}","data":{data}}}"#, event.event_type())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn events_round_trip_in_both_formats(event in messages::any_event()) {
        for format in [Format::Protobuf, Format::Json] {
            let encoded = event.encode(format);
            prop_assert_eq!(&encoded.key[..], event.player_id().as_bytes());
            let decoded = Event::decode(&view(encoded.topic.name(), &encoded.headers, &encoded.value));
            prop_assert_eq!(decoded.as_ref(), Ok(&event), "{:?}", format);
        }
    }

    #[test]
    fn structured_event_needs_only_type_and_data(event in messages::any_event()) {
        let line = structured(&event);
        let topic = event.event_type().topic().name();
        let decoded = Event::decode(&view(topic, &[], line.as_bytes())).unwrap();
        prop_assert_eq!(&decoded.message, &event.message);
        prop_assert_eq!(decoded.id, ids::record_id(topic, 3, 41));
    }

    #[test]
    fn any_bytes_never_panic(
        value in proptest::collection::vec(any::<u8>(), 0..200),
        kind in proptest::sample::select(EventType::ALL.to_vec()),
        typed in any::<bool>(),
    ) {
        let header = [(headers::CE_TYPE.to_owned(), Bytes::from(kind.as_str()))];
        let present: &[(String, Bytes)] = if typed { &header } else { &[] };
        if let Ok(event) = Event::decode(&view(kind.topic().name(), present, &value)) {
            prop_assert_eq!(event.message.validate(), Ok(()));
        }
    }

    /// A line with one character changed is another valid line or is refused, without a panic.
    #[test]
    fn changed_character_never_panics(
        event in messages::any_event(), place in any::<proptest::sample::Index>(), typo in any::<char>(),
    ) {
        let mut line: Vec<char> = structured(&event).chars().collect();
        let index = place.index(line.len());
        line[index] = typo;
        let line: String = line.into_iter().collect();
        if let Ok(read) = Event::decode(&view(event.event_type().topic().name(), &[], line.as_bytes())) {
            prop_assert_eq!(read.message.validate(), Ok(()));
        }
    }

    #[test]
    fn request_hash_distinguishes_messages(left in messages::any_message(), right in messages::any_message()) {
        prop_assert_eq!(ids::request_hash(&left) == ids::request_hash(&right), left == right);
    }
}

#[test]
fn console_line_decodes_to_bet() {
    let line = r#"{"type":"casino.bets.v1.PlaceBet","data":{"playerId":"p-1","game":"slots","stake":{"minor":"100","currency":"EUR"}}}"#;
    let event = Event::decode(&view("casino.bets.commands.v1", &[], line.as_bytes())).unwrap();
    let stake = Some(Money { minor: 100, currency: "EUR".into() });
    let bet = PlaceBet { player_id: "p-1".into(), game: "slots".into(), stake };
    assert_eq!(event.message, Message::PlaceBet(bet));
    assert_eq!(event.source, "/kafka/casino.bets.commands.v1");
    assert_eq!(event.time.unix_timestamp(), 1_793_534_400);
    assert_eq!(event.request_hash, None);
    assert_eq!(event.request_hash_or_computed(), ids::request_hash(&event.message));
}

#[test]
fn snake_case_json_fields_are_accepted() {
    // proto3 JSON readers accept both spellings. Pitboss writes only camelCase.
    let line = r#"{"type":"casino.bets.v1.PlaceBet","data":{"player_id":"p-1","game":"slots","stake":{"minor":100,"currency":"EUR"}}}"#;
    assert!(Event::decode(&view("casino.bets.commands.v1", &[], line.as_bytes())).is_ok());
}

#[test]
fn retried_record_keeps_its_id() {
    let first = ids::record_id("casino.bets.commands.v1", 0, 7);
    let carried = [(headers::CE_ID.to_owned(), Bytes::from(first.to_string()))];
    let line = structured(&messages::sample_event(EventType::PlaceBet));
    let retry = Topic::BetsCommands.retry(contracts::Group::Game);
    assert_eq!(Event::decode(&view(&retry, &carried, line.as_bytes())).unwrap().id, first);
}

#[test]
fn unknown_protobuf_fields_are_skipped() {
    let event = messages::sample_event(EventType::PlaceBet);
    let encoded = event.encode(Format::Protobuf);
    let mut value = encoded.value.to_vec();
    // Field 999, wire type 0, value 1: a field of a newer producer.
    value.extend_from_slice(&[0xb8, 0x3e, 0x01]);
    let decoded = Event::decode(&view(encoded.topic.name(), &encoded.headers, &value));
    assert_eq!(decoded.as_ref(), Ok(&event));
}

#[test]
fn registry_frame_is_removed() {
    let event = messages::sample_event(EventType::PlaceBet);
    let encoded = event.encode(Format::Protobuf);
    for indexes in [&[0_u8][..], &[2, 0][..], &[4, 2, 8][..]] {
        let mut value = vec![0, 0, 0, 0, 7];
        value.extend_from_slice(indexes);
        value.extend_from_slice(&encoded.value);
        let decoded = Event::decode(&view(encoded.topic.name(), &encoded.headers, &value));
        assert_eq!(decoded.as_ref(), Ok(&event), "indexes {indexes:?}");
    }
}

#[test]
fn first_byte_replaces_content_type() {
    let event = messages::sample_event(EventType::PlaceBet);
    for format in [Format::Protobuf, Format::Json] {
        let mut encoded = event.encode(format);
        encoded.headers.retain(|(name, _)| name != headers::CONTENT_TYPE);
        let decoded = Event::decode(&view(encoded.topic.name(), &encoded.headers, &encoded.value));
        assert_eq!(decoded.as_ref(), Ok(&event), "{format:?}");
    }
}

#[test]
fn same_cause_gives_same_follower_id() {
    let cause = ids::command_id("p-1", "POST /api/v1/bets", "key");
    let message = messages::sample(EventType::ApplyWager);
    let (once, again) =
        (Event::follower(&cause, "/game", message.clone()), Event::follower(&cause, "/game", message));
    assert_eq!(once.id, again.id);
    assert_eq!(once.causation_id, Some(cause));
}

#[test]
fn unknown_enum_number_encodes_and_is_refused() {
    let Message::BetRejected(mut rejected) = messages::sample(EventType::BetRejected) else { unreachable!() };
    rejected.reason = 4_711;
    let event = Event { message: rejected.into(), ..messages::sample_event(EventType::BetRejected) };
    for format in [Format::Protobuf, Format::Json] {
        let encoded = event.encode(format);
        let refused = Event::decode(&view(encoded.topic.name(), &encoded.headers, &encoded.value));
        assert!(refused.unwrap_err().to_string().contains("field `reason`"), "{format:?}");
    }
    assert!(event.message.to_json().is_object());
}
