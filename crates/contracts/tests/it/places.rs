//! The identity of a record without `ce_id` is its first place, however often and wherever it is copied.

use bytes::Bytes;
use contracts::{Classify, ErrorClass, Event, EventId, Group, Place, RecordView, Topic, headers, ids};

const LINE: &str = r#"{"type":"casino.bets.v1.PlaceBet","data":{"playerId":"p-1","game":"slots","stake":{"minor":"100","currency":"EUR"}}}"#;

fn header(name: &str, value: &str) -> (String, Bytes) {
    (name.to_owned(), Bytes::from(value.to_owned()))
}

/// The headers by which a dead letter carries the first place of its record.
fn first_place(topic: &str, partition: &str, offset: &str) -> Vec<(String, Bytes)> {
    vec![
        header(headers::DLQ_TOPIC, topic),
        header(headers::DLQ_PARTITION, partition),
        header(headers::DLQ_OFFSET, offset),
    ]
}

fn read(topic: &str, offset: i64, pairs: &[(String, Bytes)]) -> Result<Event, contracts::DecodeError> {
    let value = LINE.as_bytes();
    let timestamp_ms = Some(1_793_534_400_000);
    Event::decode(&RecordView { topic, partition: 2, offset, timestamp_ms, headers: pairs, value })
}

fn id(topic: &str, offset: i64, pairs: &[(String, Bytes)]) -> EventId {
    read(topic, offset, pairs).expect("a bet").id
}

/// A valid record on the wrong topic is parked. Its dead letter is copied to the right topic, twice.
#[test]
fn replay_keeps_id_on_another_topic() {
    let (wrong, right) = (Topic::PaymentsCommands.name(), Topic::BetsCommands.name());
    assert!(read(wrong, 7, &[]).is_err(), "a bet does not belong on the payments topic");
    let pairs = first_place(wrong, "2", "7");
    let first = ids::record_id(wrong, 2, 7);
    for place in [40, 41] {
        assert_eq!(id(right, place, &pairs), first);
    }
    // Parked and copied back once more: the new dead letter still names the first place.
    assert_eq!(id(&Topic::BetsCommands.retry(Group::Game), 3, &pairs), first);
    assert_ne!(id(right, 40, &[]), first);
}

#[test]
fn replayed_event_equals_the_original() {
    let mut pairs = first_place("casino.bets.commands.v1", "2", "7");
    pairs.push(header(headers::DLQ_TIMESTAMP_MS, "1793534400000"));
    let original = read("casino.bets.commands.v1", 7, &[]);
    assert_eq!(read("casino.bets.commands.v1", 99, &pairs), original);
}

#[test]
fn ce_id_takes_precedence_over_place() {
    for pairs in [first_place("casino.bets.commands.v1", "2", "7"), first_place("nonsense", "x", "")] {
        let mut pairs = pairs;
        pairs.push(header(headers::CE_ID, "own"));
        assert_eq!(id("casino.bets.commands.v1", 40, &pairs).as_str(), "own");
    }
}

#[test]
fn incomplete_first_place_is_refused() {
    let topic = "casino.bets.commands.v1";
    let whole = first_place(topic, "2", "7");
    for missing in 0..3 {
        let mut half = whole.clone();
        let (name, _) = half.remove(missing);
        let error = read(topic, 40, &half).expect_err("half a place");
        assert_eq!(error.class(), ErrorClass::Poison);
        let reason = format!("header `{name}` is missing, so the record's first place is unknown");
        assert_eq!(error.to_string(), reason);
    }
}

#[test]
fn invalid_first_place_is_refused() {
    let topic = "casino.bets.commands.v1";
    let cases = [
        (first_place("", "2", "7"), headers::DLQ_TOPIC),
        (first_place("casino.bets.commands.v2", "2", "7"), headers::DLQ_TOPIC),
        (first_place(topic, "-1", "7"), headers::DLQ_PARTITION),
        (first_place(topic, "2147483648", "7"), headers::DLQ_PARTITION),
        (first_place(topic, "2", "+7"), headers::DLQ_OFFSET),
        (first_place(topic, "2", "007"), headers::DLQ_OFFSET),
        (first_place(topic, "2", "7 "), headers::DLQ_OFFSET),
    ];
    for (pairs, name) in cases {
        let reason = format!("header `{name}` is not a place on a Pitboss topic");
        assert_eq!(read(topic, 40, &pairs).expect_err("no place").to_string(), reason);
    }
}

#[test]
fn last_valid_first_place_counts() {
    let topic = "casino.bets.commands.v1";
    let mut pairs = first_place(topic, "2", "7");
    pairs.extend(first_place(topic, "2", "8"));
    pairs.extend(first_place(topic, "x", ""));
    assert_eq!(id(topic, 40, &pairs), ids::record_id(topic, 2, 8));
}

#[test]
fn every_record_has_an_identity() {
    let view = |pairs| RecordView {
        topic: "casino.bets.commands.v1",
        partition: 2,
        offset: 40,
        timestamp_ms: None,
        headers: pairs,
        value: b"?",
    };
    let own = ids::record_id("casino.bets.commands.v1", 2, 40);
    assert_eq!(view(&[]).identity(), own);
    let half = [header(headers::DLQ_OFFSET, "7")];
    assert_eq!(view(&half).identity(), own);
    let whole = first_place("casino.bets.events.v1", "0", "7");
    assert_eq!(view(&whole).identity(), ids::record_id("casino.bets.events.v1", 0, 7));
    let place = Place { topic: "casino.bets.events.v1", partition: 0, offset: 7, timestamp_ms: None };
    assert_eq!(view(&whole).first_appearance(), Ok(place));
    let ids = [header(headers::CE_ID, "a"), header(headers::CE_ID, "b"), header(headers::CE_ID, "not an id")];
    assert_eq!(view(&ids).identity().as_str(), "b");
}

/// The beginning of a value may decode to another event than the whole value.
#[test]
fn truncated_dead_letter_is_refused() {
    let topic = Topic::BetsCommands.name();
    for name in headers::DLQ_CUTS {
        let mut pairs = first_place(topic, "2", "7");
        pairs.push(header(name, "3145728"));
        let refused = read(topic, 40, &pairs).expect_err("only a part");
        assert!(refused.to_string().contains(name), "{refused}");
    }
}
