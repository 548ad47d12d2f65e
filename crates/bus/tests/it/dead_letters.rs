//! What cannot be handled is kept as it came, and harms nobody.

use bus::{HandlerError, Outcome, Producer};
use contracts::{Group, Topic, headers};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;

use crate::support::{
    CONSOLE_BET, DEADLINE, Remember, Running, bets, broker_for, bus_free_producer, committed_reaches,
    physical, place_bet, publish_bare, stored,
};

const BETS: Topic = Topic::BetsCommands;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_line_between_two_good_ones_harms_neither_and_is_kept() {
    let config = broker_for(Group::Game).await;
    let handler = Remember::all();
    let consumer = Running::start(&config, Group::Game, bets(handler.clone())).ready().await;
    let malformed: &[u8] = br#"{"type":"casino.bets.v1.PlaceBet","data":{"playerId":"x","stakes":1}}"#;
    for value in [CONSOLE_BET, malformed, CONSOLE_BET] {
        publish_bare(&config, BETS.name(), Some(b"console"), value).await;
    }
    handler.wait_for(2).await;
    committed_reaches(&config, Group::Game, 3).await;

    let kept = stored(&config, &BETS.dlq(Group::Game), 1).await;
    assert_eq!(kept[0].value.as_deref(), Some(malformed));
    assert_eq!(kept[0].key.as_deref(), Some(b"console".as_slice()));
    assert_eq!(kept[0].header(headers::DLQ_TOPIC).as_deref(), Some(BETS.name()));
    assert_eq!(kept[0].header(headers::DLQ_OFFSET).as_deref(), Some("1"));
    assert_eq!(kept[0].header(headers::DLQ_GROUP).as_deref(), Some("game"));
    assert_eq!(kept[0].header(headers::DLQ_SERVICE).as_deref(), Some("bus-test"));
    assert_eq!(kept[0].header(headers::DLQ_ERROR_CLASS).as_deref(), Some("undecodable"));
    assert_eq!(kept[0].header(headers::DLQ_ATTEMPTS).as_deref(), Some("1"));
    let message = kept[0].header(headers::DLQ_ERROR_MESSAGE).unwrap_or_default();
    assert!(message.contains("stakes"), "it says what was wrong: {message}");
    assert!(kept[0].header(headers::DLQ_PARTITION).is_some());
    assert!(kept[0].header(headers::DLQ_TIMESTAMP_MS).is_some());
    assert!(kept[0].header(headers::DLQ_AT).is_some());
    assert_eq!(handler.seen().len(), 2);
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_value_and_headers_of_a_dead_letter_are_the_originals_byte_for_byte() {
    let config = broker_for(Group::Game).await;
    let producer = bus_free_producer(&config);
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

    let consumer = Running::start(&config, Group::Game, bets(Remember::all()));
    let kept = stored(&config, &BETS.dlq(Group::Game), 1).await;
    assert_eq!(kept[0].key.as_deref(), Some(key));
    assert_eq!(kept[0].value.as_deref(), Some(value));
    let expected = [
        ("twice", Some(vec![1_u8, 0xff])),
        ("null", None),
        ("twice", Some(vec![])),
        (headers::TRACEPARENT, Some(b"not a trace".to_vec())),
        (headers::BAGGAGE, Some(b"a=b".to_vec())),
        (headers::BAGGAGE, Some(b"c=d".to_vec())),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(kept[0].headers[..6], expected);
    assert!(kept[0].headers[6..].iter().all(|(name, _)| name.starts_with("dlq-")), "{:?}", kept[0].headers);
    committed_reaches(&config, Group::Game, 1).await;
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tombstone_is_kept_as_one() {
    let config = broker_for(Group::Game).await;
    let topic = physical(&config, BETS.name());
    let record: FutureRecord<'_, str, str> = FutureRecord::to(&topic).key("p");
    bus_free_producer(&config).send(record, DEADLINE).await.expect("published");
    let consumer = Running::start(&config, Group::Game, bets(Remember::all()));
    let kept = stored(&config, &BETS.dlq(Group::Game), 1).await;
    assert_eq!(kept[0].value, None);
    assert!(kept[0].header(headers::DLQ_ERROR_MESSAGE).unwrap_or_default().contains("empty"));
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_of_a_handler_is_kept_with_its_attempts_and_the_next_record_is_handled() {
    let config = bus::Config { retry_backoff_min_ms: 1, ..broker_for(Group::Game).await };
    let handler = Remember::new(|delivery| match (delivery.event.id.as_str(), delivery.attempt) {
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
    let kept = stored(&config, &BETS.dlq(Group::Game), 1).await;
    assert_eq!(kept[0].header(headers::CE_ID).as_deref(), Some("p-1"));
    assert_eq!(kept[0].header(headers::DLQ_ERROR_CLASS).as_deref(), Some("poison"));
    assert_eq!(kept[0].header(headers::DLQ_ATTEMPTS).as_deref(), Some("2"));
    committed_reaches(&config, Group::Game, 2).await;
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_always_panics_on_a_record_does_not_take_the_process_with_it() {
    let config = bus::Config { retry_backoff_min_ms: 1, ..broker_for(Group::Game).await };
    let handler = Remember::new(|delivery| {
        assert_ne!(delivery.event.id.as_str(), "p-1", "a bug in the handler (on purpose)");
        Ok(Outcome::Applied)
    });
    let producer = Producer::new(&config).expect("a producer");
    for number in 1..=2 {
        producer.publish(&place_bet("p", number)).await.expect("published");
    }
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    let kept = stored(&config, &BETS.dlq(Group::Game), 1).await;
    assert_eq!(kept[0].header(headers::DLQ_ERROR_CLASS).as_deref(), Some("panic"));
    assert_eq!(kept[0].header(headers::DLQ_ATTEMPTS).as_deref(), Some("3"));
    committed_reaches(&config, Group::Game, 2).await;
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_record_that_a_topic_takes_can_still_be_kept() {
    let config = broker_for(Group::Game).await;
    // does not compress, and stays just below the topic's limit
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    })
    .take(contracts::topics::RECORD_BYTES_MAX * 2 - 200)
    .collect();
    publish_bare(&config, BETS.name(), None, &noise).await;
    let consumer = Running::start(&config, Group::Game, bets(Remember::all()));
    let kept = stored(&config, &BETS.dlq(Group::Game), 1).await;
    assert_eq!(kept[0].value.as_deref(), Some(noise.as_slice()));
    committed_reaches(&config, Group::Game, 1).await;
    consumer.stop().await.expect("stops in order");
}
