//! Identities agree with the vectors in `schemas/`, which another program computed.

use contracts::{EventId, EventType, Message, ids};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    #[serde(rename = "comment")]
    _comment: String,
    namespace: String,
    command: Vec<Vector>,
    follower: Vec<Vector>,
    record: Vec<Vector>,
    provider_reported: Vec<Vector>,
    request_hash: Vec<HashVector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    fields: Vec<String>,
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HashVector {
    event_type: String,
    protobuf_hex: String,
    hash: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../../../schemas/identity-vectors.json")).expect("vectors")
}

fn check(vectors: &[Vector], derive: impl Fn(&[String]) -> EventId) {
    assert!(vectors.len() >= 2, "too few test vectors");
    for vector in vectors {
        assert_eq!(derive(&vector.fields).as_str(), vector.id, "{:?}", vector.fields);
    }
}

#[test]
fn ids_match_test_vectors() {
    let vectors = vectors();
    assert_eq!(ids::NAMESPACE.to_string(), vectors.namespace);
    check(&vectors.command, |fields| ids::command_id(&fields[0], &fields[1], &fields[2]));
    check(&vectors.follower, |fields| {
        ids::follower_id(&fields[0].parse().unwrap(), fields[1].parse::<EventType>().unwrap())
    });
    check(&vectors.record, |fields| {
        ids::record_id(&fields[0], fields[1].parse().unwrap(), fields[2].parse().unwrap())
    });
    check(&vectors.provider_reported, |fields| ids::provider_reported_id(&fields[0].parse().unwrap()));
}

#[test]
fn request_hashes_match_test_vectors() {
    let vectors = vectors();
    assert!(!vectors.request_hash.is_empty());
    for vector in vectors.request_hash {
        let event_type: EventType = vector.event_type.parse().unwrap();
        let message = Message::from_protobuf(event_type, &hex::decode(vector.protobuf_hex).unwrap()).unwrap();
        assert_eq!(ids::request_hash(&message).as_str(), vector.hash);
    }
}

/// Joins fields without lengths. This wrong variant shows why the lengths are needed.
fn joined_id(fields: [&str; 3]) -> uuid::Uuid {
    uuid::Uuid::new_v5(&ids::NAMESPACE, fields.concat().as_bytes())
}

#[test]
fn field_boundaries_change_the_id() {
    assert_ne!(ids::command_id("ab", "c", "d"), ids::command_id("a", "bc", "d"));
    assert_ne!(ids::command_id("a", "", "b"), ids::command_id("a", "b", ""));
    assert_eq!(joined_id(["ab", "c", "d"]), joined_id(["a", "bc", "d"]), "without lengths the ids collide");
}

proptest! {
    #[test]
    fn different_fields_give_different_ids(left in ("[a-c]{0,3}", "[a-c]{0,3}", "[a-c]{0,3}"), right in ("[a-c]{0,3}", "[a-c]{0,3}", "[a-c]{0,3}")) {
        let one = ids::command_id(&left.0, &left.1, &left.2);
        let other = ids::command_id(&right.0, &right.1, &right.2);
        prop_assert_eq!(one == other, left == right);
    }

    #[test]
    fn external_ids_are_bounded_visible_ascii(text in ".{0,140}") {
        let accepted = text.parse::<EventId>().is_ok();
        let allowed = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        prop_assert_eq!(accepted, allowed);
    }
}
