//! Decodes records that real producers in other languages wrote (`tests/fixtures/producers`).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use contracts::proto::bets::v1::PlaceBet;
use contracts::proto::common::v1::Money;
use contracts::{Event, Message, RecordView, TraceExtension};
use serde::Deserialize;

/// The records of one producer.
#[derive(Deserialize)]
struct Fixture {
    written_by: String,
    records: BTreeMap<String, Record>,
}

#[derive(Deserialize)]
struct Record {
    timestamp_ms: i64,
    headers: Vec<(String, Option<String>)>,
    value: String,
}

/// Time of every event's creation: 2026-11-27T10:00:00Z.
const CREATED_AT_S: i64 = 1_795_773_600;

fn fixtures() -> BTreeMap<&'static str, Fixture> {
    let texts = [
        ("go", include_str!("../fixtures/producers/go.json")),
        ("java", include_str!("../fixtures/producers/java.json")),
        ("npm", include_str!("../fixtures/producers/npm.json")),
        ("python1", include_str!("../fixtures/producers/python1.json")),
        ("python2", include_str!("../fixtures/producers/python2.json")),
        ("python2v1", include_str!("../fixtures/producers/python2v1.json")),
        ("registry", include_str!("../fixtures/producers/registry.json")),
    ];
    texts.map(|(name, text)| (name, serde_json::from_str(text).expect("a fixture"))).into()
}

fn read(record: &Record) -> (Event, TraceExtension) {
    let bytes = |text: &String| Bytes::from(STANDARD.decode(text).expect("base64"));
    let headers: Vec<(String, Bytes)> = record
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), bytes(value.as_ref()?))))
        .collect();
    let value = bytes(&record.value);
    let (topic, timestamp_ms) = ("casino.bets.commands.v1", Some(record.timestamp_ms));
    let view = RecordView { topic, partition: 0, offset: 0, timestamp_ms, headers: &headers, value: &value };
    Event::decode_traced(&view)
        .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&value)))
}

/// The id of each record, by producer and name.
const IDS: &[(&str, &str, &str)] = &[
    ("go", "binary", "go-1"),
    ("go", "structured", "go-2"),
    ("go", "structured-bytes", "go-3"),
    ("go", "structured-protobuf", "go-4"),
    ("go", "binary-protobuf", "go-5"),
    ("java", "binary", "java-1"),
    ("java", "structured", "java-2"),
    ("java", "structured-charset", "java-3"),
    ("java", "structured-protobuf", "java-4"),
    ("java", "binary-protobuf", "java-5"),
    ("npm", "binary", "npm-1"),
    ("npm", "structured", "npm-2"),
    ("npm", "structured-traced", "npm-3"),
    ("npm", "structured-protobuf", "npm-4"),
    ("npm", "binary-protobuf", "npm-5"),
    ("python1", "binary", "python1-1"),
    ("python1", "structured", "python1-2"),
    ("python1", "structured-untyped", "python1-3"),
    ("python1", "structured-bytes", "python1-4"),
    ("python1", "structured-protobuf", "python1-5"),
    ("python1", "binary-protobuf", "python1-6"),
    ("python2", "binary", "python2-1"),
    ("python2", "structured", "python2-2"),
    ("python2", "structured-untyped", "python2-3"),
    ("python2", "structured-bytes", "python2-4"),
    ("python2", "structured-protobuf", "python2-5"),
    ("python2", "binary-protobuf", "python2-6"),
    ("python2v1", "binary", "python2v1-1"),
    ("python2v1", "structured", "python2v1-2"),
    ("python2v1", "structured-untyped", "python2v1-3"),
    ("python2v1", "structured-bytes", "python2v1-4"),
    ("python2v1", "structured-protobuf", "python2v1-5"),
    ("python2v1", "binary-protobuf", "python2v1-6"),
    ("registry", "json", "registry-json"),
    ("registry", "json-header", "registry-json-header"),
];

#[test]
fn records_of_all_producers_decode() {
    let bet = Message::PlaceBet(PlaceBet {
        player_id: "player-1".into(),
        game: "slots".into(),
        stake: Some(Money { minor: 100, currency: "EUR".into() }),
    });
    let fixtures = fixtures();
    for (producer, name, id) in IDS {
        let record = &fixtures[producer].records[*name];
        let (event, _) = read(record);
        assert_eq!(
            (event.id.as_str(), &event.message),
            (*id, &bet),
            "{}: {name}",
            fixtures[producer].written_by
        );
        if *producer != "registry" {
            assert_eq!((event.source.as_str(), event.time.unix_timestamp()), ("/shop", CREATED_AT_S), "{id}");
        }
    }
    let records: usize = fixtures.values().map(|fixture| fixture.records.len()).sum();
    assert_eq!(records, IDS.len(), "a record without an expectation");
}

#[test]
fn envelope_trace_is_read() {
    let fixtures = fixtures();
    let (_, trace) = read(&fixtures["npm"].records["structured-traced"]);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(trace.pairs().collect::<Vec<_>>(), [("traceparent", parent)]);
    let (_, none) = read(&fixtures["npm"].records["structured"]);
    assert_eq!(none, TraceExtension::default());
}
