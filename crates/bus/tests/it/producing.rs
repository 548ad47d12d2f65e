//! Guarantees of a publish, and the meaning of its errors. The trace of one that is not answered needs a process of its own.

use bus::{Config, Producer, PublishError, RawRecord};
use contracts::class::{Classify as _, ErrorClass};
use contracts::{Group, Topic};
use serde_json::json;
use telemetry::spans;
use tracing::Instrument as _;

use crate::support::{broker_for, bytes, place_bet, publish_all, stored_in};

/// Java's murmur2, which decides the partition of a key in the stock tools.
pub(crate) fn murmur2(key: &[u8]) -> i32 {
    const M: i32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32.cast_signed() ^ i32::try_from(key.len()).expect("short");
    let mut chunks = key.chunks_exact(4);
    for chunk in chunks.by_ref() {
        let mut k = i32::from_le_bytes(chunk.try_into().expect("four bytes")).wrapping_mul(M);
        k ^= (k.cast_unsigned() >> 24).cast_signed();
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    for (index, byte) in rest.iter().enumerate().rev() {
        hash ^= i32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= (hash.cast_unsigned() >> 13).cast_signed();
    hash = hash.wrapping_mul(M);
    hash ^ (hash.cast_unsigned() >> 15).cast_signed()
}

#[test]
fn murmur2_matches_java() {
    // Test vectors of Kafka's own UtilsTest
    assert_eq!(murmur2(b"21"), -973_932_308);
    assert_eq!(murmur2(b"foobar"), -790_332_482);
    assert_eq!(murmur2(b"a-little-bit-long-string"), -985_981_536);
    assert_eq!(murmur2(b"abc"), 479_470_107);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_selects_the_same_partition_as_java_tools() {
    let config = broker_for(Group::Game).await;
    let producer = Producer::new(&config).expect("a producer");
    for number in 0..30 {
        let player = format!("player-{number}");
        let published = producer.publish(&place_bet(&player, 1)).await.expect("published");
        let expected = (murmur2(player.as_bytes()) & 0x7fff_ffff) % Topic::BetsCommands.partitions();
        assert_eq!(published.partition, expected, "{player}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_record_keeps_its_headers() {
    let config = broker_for(Group::Game).await;
    let producer = Producer::new(&config).expect("a producer");
    let raw = RawRecord {
        topic: Topic::BetsCommands.name().to_owned(),
        key: Some(bytes("k")),
        headers: vec![("ce_id".to_owned(), bytes("one")), ("x".to_owned(), bytes("y"))],
        value: bytes("{}"),
    };
    let published = producer.publish_raw(&raw).await.expect("published");
    let found = stored_in(&config, Topic::BetsCommands.name(), published.partition, 1).await;
    assert_eq!(found[0].header("ce_id").as_deref(), Some("one"));
    assert_eq!(found[0].header("x").as_deref(), Some("y"));
    assert_eq!(found[0].value.as_deref(), Some(b"{}".as_slice()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwarded_record_has_last_header_of_each_name() {
    let config = broker_for(Group::Game).await;
    let producer = Producer::new(&config).expect("a producer");
    let header = |name: &str, value: &'static str| (name.to_owned(), bytes(value));
    let time = whole_seconds();
    let raw = RawRecord {
        topic: Topic::BetsCommands.name().to_owned(),
        key: Some(bytes("k")),
        headers: vec![
            header("ce_id", "first"),
            header("sentry-task-enqueued-time", "1.5"),
            header("x", "1"),
            header("ce_id", "last"),
            header("X", "2"),
        ],
        value: bytes("{}"),
    };
    let published = producer.publish_raw(&raw).await.expect("published");
    let found = stored_in(&config, Topic::BetsCommands.name(), published.partition, 1).await;
    let value = |name: &str| found[0].header(name);
    assert_eq!(value("ce_id").as_deref(), Some("last"));
    assert_eq!((value("x").as_deref(), value("X").as_deref()), (Some("1"), Some("2")));
    let sent: f64 = value("sentry-task-enqueued-time").and_then(|text| text.parse().ok()).expect("seconds");
    assert!((time..time + 60.0).contains(&sent), "{sent}");
    assert_eq!(found[0].headers.len(), 4, "{:?}", found[0].headers);
}

/// Returns the current time in whole seconds, not later than any clock that writes milliseconds.
fn whole_seconds() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_secs_f64().floor()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_large_record_is_poison() {
    let config = broker_for(Group::Game).await;
    let producer = Producer::new(&config).expect("a producer");
    let raw = RawRecord {
        topic: Topic::BetsCommands.name().to_owned(),
        key: None,
        headers: Vec::new(),
        value: vec![7_u8; 4 * 1024 * 1024].into(),
    };
    let error = producer.publish_raw(&raw).await.expect_err("too large");
    assert!(matches!(error, PublishError::Unwritable { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Poison);
}

const TIMEOUT_MS: u32 = 500;

#[test]
fn missing_acknowledgement_is_an_unknown_outcome() {
    testkit::scenario::run("producing::silent_broker");
}

#[test]
#[ignore = "the process of the test above"]
fn silent_broker() {
    let Some(receiver) = crate::support::scenario(|_| publish_without_answer()) else { return };
    let items = receiver.items();
    let request = items.iter().find(|(kind, item)| kind == "transaction" && item["transaction"] == "request");
    let publish = &request.expect("the request").1["spans"][0];
    assert_eq!((&publish["op"], &publish["status"]), (&json!("queue.publish"), &json!("deadline_exceeded")));
    let seconds = |name: &str| publish[name].as_f64().expect("seconds");
    let took_ms = (seconds("timestamp") - seconds("start_timestamp")) * 1_000.0;
    // The client measures its time-out with another clock
    assert!(took_ms >= f64::from(TIMEOUT_MS) * 0.9, "it ended before the verdict, after {took_ms} ms");
    for unknown in ["messaging.destination.partition.id", "messaging.kafka.offset"] {
        assert_eq!(publish["data"].get(unknown), None, "{publish:#}");
    }
}

async fn publish_without_answer() {
    // A port that accepts connections and never answers
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let config = Config {
        bootstrap_servers: silent.local_addr().expect("an address").to_string(),
        message_timeout_ms: TIMEOUT_MS,
        ..Config::default()
    };
    let producer = Producer::new(&config).expect("a producer");
    let event = place_bet("p", 1);
    let published = producer.publish(&event).instrument(spans::background("request", []));
    let error = published.await.expect_err("no broker answers");
    assert!(matches!(error, PublishError::OutcomeUnknown { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Transient);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_publishes_get_distinct_positions() {
    let config = broker_for(Group::Game).await;
    let producer = Producer::new(&config).expect("a producer");
    let events: Vec<_> =
        (0..500).map(|number| place_bet(&format!("player-{}", number % 20), number)).collect();
    let published = publish_all(&producer, &events).await;
    let positions: std::collections::BTreeSet<(i32, i64)> =
        published.iter().map(|published| (published.partition, published.offset)).collect();
    assert_eq!(positions.len(), 500, "two records have one position");
    producer.flush(std::time::Duration::from_secs(5)).await.expect("flushed");
}
