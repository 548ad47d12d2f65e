//! Records that cannot be handled are parked unchanged, and other records are not affected.

use bus::{HandlerError, Outcome, Producer};
use contracts::{Group, Topic, headers};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::support::{
    CONSOLE_BET, DEADLINE, Running, Stored, TestHandler, bets, broker_for, committed_reaches, namespace,
    physical, place_bet, publish_raw, raw_producer, replay, scenario, specs_for, stored,
};

const BETS: Topic = Topic::BetsCommands;

async fn dead_letter(config: &bus::Config) -> Stored {
    stored(config, &BETS.dlq(Group::Game), 1).await.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_record_is_parked_neighbours_handled() {
    let config = broker_for(Group::Game).await;
    let handler = TestHandler::all();
    let consumer = Running::start(&config, Group::Game, bets(handler.clone())).ready().await;
    let malformed: &[u8] = br#"{"type":"casino.bets.v1.PlaceBet","data":{"playerId":"x","stakes":1}}"#;
    for value in [CONSOLE_BET, malformed, CONSOLE_BET] {
        publish_raw(&config, BETS.name(), Some(b"console"), value).await;
    }
    handler.wait_for(2).await;
    committed_reaches(&config, Group::Game, 3).await;

    let letter = dead_letter(&config).await;
    assert_eq!(letter.value.as_deref(), Some(malformed));
    assert_eq!(letter.key.as_deref(), Some(b"console".as_slice()));
    assert_eq!(letter.header(headers::DLQ_TOPIC).as_deref(), Some(BETS.name()));
    assert_eq!(letter.header(headers::DLQ_OFFSET).as_deref(), Some("1"));
    assert_eq!(letter.header(headers::DLQ_GROUP).as_deref(), Some("game"));
    assert_eq!(letter.header(headers::DLQ_SERVICE).as_deref(), Some("bus-test"));
    assert_eq!(letter.header(headers::DLQ_ERROR_CLASS).as_deref(), Some("undecodable"));
    assert_eq!(letter.header(headers::DLQ_ATTEMPTS).as_deref(), Some("1"));
    let message = letter.header(headers::DLQ_ERROR_MESSAGE).unwrap_or_default();
    assert!(message.contains("stakes"), "it names the error: {message}");
    assert!(letter.header(headers::DLQ_PARTITION).is_some());
    assert!(letter.header(headers::DLQ_TIMESTAMP_MS).is_some());
    assert!(letter.header(headers::DLQ_AT).is_some());
    assert_eq!(handler.seen().len(), 2);
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letter_has_the_original_bytes() {
    let config = broker_for(Group::Game).await;
    let producer = raw_producer(&config);
    let topic = physical(&config, BETS.name());
    let key: &[u8] = &[0xff, 0x00, 0x80];
    let value: &[u8] = &[0x00, 0xff, 0xfe, b'{'];
    let original = OwnedHeaders::new()
        .insert(Header { key: "twice", value: Some(&[1_u8, 0xff][..]) })
        .insert(Header { key: "null", value: None::<&[u8]> })
        .insert(Header { key: "twice", value: Some(&[][..]) })
        .insert(Header { key: headers::TRACEPARENT, value: Some(&b"not a trace"[..]) })
        .insert(Header { key: headers::BAGGAGE, value: Some(&b"a=b"[..]) })
        .insert(Header { key: headers::BAGGAGE, value: Some(&b"c=d"[..]) });
    let record = FutureRecord::to(&topic).key(key).payload(value).headers(original);
    producer.send(record, DEADLINE).await.expect("published");

    let consumer = Running::start(&config, Group::Game, bets(TestHandler::all()));
    let letter = dead_letter(&config).await;
    assert_eq!(letter.key.as_deref(), Some(key));
    assert_eq!(letter.value.as_deref(), Some(value));
    let expected = [
        ("twice", Some(vec![1_u8, 0xff])),
        ("null", None),
        ("twice", Some(vec![])),
        (headers::TRACEPARENT, Some(b"not a trace".to_vec())),
        // Joined, the contexts of two traces would look like one
        (headers::BAGGAGE, Some(b"a=b".to_vec())),
        (headers::BAGGAGE, Some(b"c=d".to_vec())),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(letter.headers[..6], expected);
    assert!(letter.headers[6..].iter().all(|(name, _)| name.starts_with("dlq-")), "{:?}", letter.headers);
    committed_reaches(&config, Group::Game, 1).await;
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tombstone_stays_a_tombstone() {
    let config = broker_for(Group::Game).await;
    let topic = physical(&config, BETS.name());
    let record: FutureRecord<'_, str, str> = FutureRecord::to(&topic).key("p");
    raw_producer(&config).send(record, DEADLINE).await.expect("published");
    let consumer = Running::start(&config, Group::Game, bets(TestHandler::all()));
    let letter = dead_letter(&config).await;
    assert_eq!(letter.value, None);
    assert!(letter.header(headers::DLQ_ERROR_MESSAGE).unwrap_or_default().contains("empty"));
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handler_poison_is_parked_with_its_attempts() {
    let config = bus::Config { retry_backoff_min_ms: 1, ..broker_for(Group::Game).await };
    let handler = TestHandler::new(|delivery| match (delivery.event.id.as_str(), delivery.attempt) {
        ("p-1", 1) => Err(HandlerError::transient("not yet")),
        ("p-1", _) => Err(HandlerError::poison("the same id with another body")),
        _ => Ok(Outcome::Applied),
    });
    let producer = Producer::new(&config).expect("a producer");
    for number in 1..=2 {
        producer.publish(&place_bet("p", number)).await.expect("published");
    }
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    handler.wait_for(3).await;
    let letter = dead_letter(&config).await;
    assert_eq!(letter.header(headers::CE_ID).as_deref(), Some("p-1"));
    assert_eq!(letter.header(headers::DLQ_ERROR_CLASS).as_deref(), Some("poison"));
    assert_eq!(letter.header(headers::DLQ_ATTEMPTS).as_deref(), Some("2"));
    committed_reaches(&config, Group::Game, 2).await;
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_is_parked_after_three_panics() {
    let config = bus::Config { retry_backoff_min_ms: 1, ..broker_for(Group::Game).await };
    let handler = TestHandler::new(|delivery| {
        assert_ne!(delivery.event.id.as_str(), "p-1", "a bug in the handler (on purpose)");
        Ok(Outcome::Applied)
    });
    let producer = Producer::new(&config).expect("a producer");
    for number in 1..=2 {
        producer.publish(&place_bet("p", number)).await.expect("published");
    }
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    let letter = dead_letter(&config).await;
    assert_eq!(letter.header(headers::DLQ_ERROR_CLASS).as_deref(), Some("panic"));
    assert_eq!(letter.header(headers::DLQ_ATTEMPTS).as_deref(), Some("3"));
    committed_reaches(&config, Group::Game, 2).await;
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn largest_accepted_record_is_parked_whole() {
    let config = broker_for(Group::Game).await;
    // Incompressible, and just below the topic's limit
    let noise = noise(contracts::topics::RECORD_BYTES_MAX * 2 - 200);
    publish_raw(&config, BETS.name(), None, &noise).await;
    let consumer = Running::start(&config, Group::Game, bets(TestHandler::all()));
    let letter = dead_letter(&config).await;
    assert_eq!(letter.value.as_deref(), Some(noise.as_slice()));
    committed_reaches(&config, Group::Game, 1).await;
    consumer.stop().await.expect("stops in order");
}

/// Three megabytes of one letter take a few kilobytes on the broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_record_is_parked_whole() {
    let config = broker_for(Group::Game).await;
    let large = vec![b'a'; 3 * 1_024 * 1_024];
    publish_zipped(&config, &large).await;
    let consumer = Running::start(&config, Group::Game, bets(TestHandler::all()));
    let letter = dead_letter(&config).await;
    assert!(letter.value.as_deref() == Some(large.as_slice()), "another value");
    assert_eq!(letter.header(headers::DLQ_VALUE_TRUNCATED), None);
    committed_reaches(&config, Group::Game, 1).await;
    consumer.stop().await.expect("stops in order");
}

async fn publish_zipped(config: &bus::Config, value: &[u8]) {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &config.bootstrap_servers)
        .set("compression.type", "gzip")
        .set("message.max.bytes", "67108864")
        .create()
        .expect("a producer");
    let topic = physical(config, BETS.name());
    let record: FutureRecord<'_, str, [u8]> = FutureRecord::to(&topic).payload(value);
    producer.send(record, DEADLINE).await.expect("published");
}

#[test]
fn record_too_large_to_park_is_cut_and_reported() {
    testkit::scenario::run("dead_letters::too_large");
}

/// A record larger than our own client sends, and a dead-letter topic with a lower limit than the topic.
#[test]
#[ignore = "the process of a test above"]
fn too_large() {
    scenario(|receiver| async move {
        let config = namespace();
        let mut specs = specs_for(Group::Game);
        for spec in specs.iter_mut().filter(|spec| spec.name.contains(".dlq.")) {
            for (_, limit) in spec.configs.iter_mut().filter(|(name, _)| name == "max.message.bytes") {
                "65536".clone_into(limit);
            }
        }
        bus::admin::ensure_topics(&config, &specs).await.expect("topics can be created");
        let sizes = [40 * 1_024 * 1_024, 300 * 1_024];
        publish_zipped(&config, &vec![b'a'; sizes[0]]).await;
        publish_raw(&config, BETS.name(), None, &noise(sizes[1])).await;
        let handler = TestHandler::all();
        let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
        let parked = stored(&config, &BETS.dlq(Group::Game), 2).await;
        for size in sizes {
            let truncated = Some(size.to_string());
            let part = parked.iter().find(|parked| parked.header(headers::DLQ_VALUE_TRUNCATED) == truncated);
            let value = part.and_then(|part| part.value.as_deref()).expect("the beginning of the value");
            assert!((1_024..size).contains(&value.len()), "{} of {size} bytes", value.len());
        }
        // The group continues
        let producer = Producer::new(&config).expect("a producer");
        producer.publish(&place_bet("p", 1)).await.expect("published");
        handler.wait_for(1).await;
        committed_reaches(&config, Group::Game, 3).await;
        consumer.stop().await.expect("stops in order");
        let reports = || async {
            let items = receiver.items().into_iter().map(|(_, item)| item.to_string());
            let reports: Vec<_> = items.filter(|item| item.contains("is too large for casino")).collect();
            (reports.len() >= 2).then_some(reports)
        };
        let reports = testkit::eventually("the error events", DEADLINE, reports).await;
        assert!(reports.iter().all(|event| event.contains("casino.bets.commands.v1/")), "{reports:?}");
    });
}

/// Returns incompressible bytes.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// Only panics count towards the limit of panics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_panic_after_failures_does_not_park() {
    let config = bus::Config { retry_backoff_min_ms: 1, ..broker_for(Group::Game).await };
    let handler = TestHandler::new(|delivery| match delivery.attempt {
        1 | 2 => Err(HandlerError::transient("not yet")),
        3 => panic!("a bug in the handler (on purpose)"),
        _ => Ok(Outcome::Applied),
    });
    Producer::new(&config).expect("a producer").publish(&place_bet("p", 1)).await.expect("published");
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    assert_eq!(handler.wait_for(4).await[3].attempt, 4);
    committed_reaches(&config, Group::Game, 1).await;
    assert_eq!(crate::support::end_of(&config, &BETS.dlq(Group::Game)), 0, "parked");
    consumer.stop().await.expect("stops in order");
}

/// A bet that was published to the wrong topic, and twice moved with a tool that copies everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replayed_dead_letter_keeps_its_event_id() {
    let config = broker_for(Group::Payment).await;
    bus::admin::ensure_topics(&config, &crate::support::specs_for(Group::Game)).await.expect("topics");
    let wrong = Topic::PaymentsCommands;
    publish_raw(&config, wrong.name(), Some(b"console"), CONSOLE_BET).await;
    let payment = Running::start(&config, Group::Payment, bus::Router::new());
    let letter = stored(&config, &wrong.dlq(Group::Payment), 1).await.remove(0);
    payment.stop().await.expect("stops in order");

    replay(&config, &letter, BETS.name()).await;
    replay(&config, &letter, BETS.name()).await;
    let handler = TestHandler::all();
    let game = Running::start(&config, Group::Game, bets(handler.clone()));
    let seen = handler.wait_for(2).await;
    let partition: i32 =
        letter.header(headers::DLQ_PARTITION).and_then(|text| text.parse().ok()).expect("a number");
    let first = contracts::ids::record_id(wrong.name(), partition, 0);
    assert!(seen.iter().all(|seen| seen.event.id == first), "{:?}", handler.ids());
    game.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_parking_keeps_place_and_last_error() {
    let config = broker_for(Group::Game).await;
    let handler = TestHandler::new(|delivery| match delivery.record.header(headers::DLQ_AT) {
        None => Err(HandlerError::poison("the first error")),
        Some(_) => Err(HandlerError::poison("the second error")),
    });
    let topic = physical(&config, BETS.name());
    let original = OwnedHeaders::new()
        .insert(Header {
            key: headers::TRACEPARENT,
            value: Some(&b"00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"[..]),
        })
        .insert(Header { key: "x", value: Some(&b"1"[..]) })
        .insert(Header {
            key: headers::TRACEPARENT,
            value: Some(&b"00-fedcba9876543210fedcba9876543210-fedcba9876543210-01"[..]),
        })
        .insert(Header { key: headers::TRACEPARENT, value: Some(&b"damaged"[..]) })
        .insert(Header { key: "null", value: None::<&[u8]> });
    let record = FutureRecord::to(&topic).key("console").payload(CONSOLE_BET).headers(original);
    let (partition, offset) = {
        let sent = raw_producer(&config).send(record, DEADLINE).await.expect("published");
        (sent.partition, sent.offset)
    };
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    let first = dead_letter(&config).await;
    replay(&config, &first, BETS.name()).await;
    let again = stored(&config, &BETS.dlq(Group::Game), 2).await.remove(1);

    // `header` asserts that each occurs only once
    assert_eq!(first.header(headers::DLQ_ERROR_MESSAGE).as_deref(), Some("the first error"));
    assert_eq!(again.header(headers::DLQ_ERROR_MESSAGE).as_deref(), Some("the second error"));
    for (name, value) in [
        (headers::DLQ_TOPIC, BETS.name().to_owned()),
        (headers::DLQ_PARTITION, partition.to_string()),
        (headers::DLQ_OFFSET, offset.to_string()),
        ("x", "1".to_owned()),
        (headers::TRACEPARENT, "00-fedcba9876543210fedcba9876543210-fedcba9876543210-01".to_owned()),
    ] {
        assert_eq!(first.header(name).as_ref(), Some(&value), "{name}");
        assert_eq!(again.header(name).as_ref(), Some(&value), "{name}");
    }
    assert_eq!(first.header(headers::DLQ_TIMESTAMP_MS), again.header(headers::DLQ_TIMESTAMP_MS));
    let names = |stored: &Stored| stored.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&first), names(&again), "headers do not accumulate");
    assert!(again.headers.contains(&("null".to_owned(), None)));
    consumer.stop().await.expect("stops in order");
}
