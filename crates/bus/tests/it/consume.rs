//! The path from a publish to a handler and a committed offset.

use bus::Producer;
use contracts::{EventType, Group, Message, Topic, headers};
use testkit::metrics::counted;

use crate::support::{
    CONSOLE_BET, Running, TestHandler, bets, broker_for, committed_reaches, place_bet, publish_raw, stored_in,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_arrives_as_published_and_is_committed() {
    let config = broker_for(Group::Game).await;
    let handler = TestHandler::all();
    let consumer = Running::start(&config, Group::Game, bets(handler.clone())).ready().await;
    let producer = Producer::new(&config).expect("a producer");

    let events: Vec<_> = (0..50).map(|number| place_bet(&format!("player-{}", number % 7), number)).collect();
    for event in &events {
        producer.publish(event).await.expect("published");
    }

    let seen = handler.wait_for(50).await;
    for event in &events {
        let found: Vec<_> = seen.iter().filter(|seen| seen.event.id == event.id).collect();
        assert_eq!(found.len(), 1, "{} was handled {} times", event.id, found.len());
        assert_eq!(found[0].event.message, event.message);
        assert_eq!(found[0].event.request_hash, event.request_hash);
        assert_eq!(found[0].attempt, 1);
    }
    committed_reaches(&config, Group::Game, 50).await;
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_one_key_are_handled_in_order() {
    let config = broker_for(Group::Game).await;
    let handler = TestHandler::all();
    let producer = Producer::new(&config).expect("a producer");
    for number in 0..200 {
        producer.publish(&place_bet(&format!("player-{}", number % 5), number)).await.expect("published");
    }
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    let seen = handler.wait_for(200).await;
    for player in 0..5 {
        let player = format!("player-{player}");
        let offsets: Vec<i64> =
            seen.iter().filter(|seen| seen.event.player_id() == player).map(|seen| seen.offset).collect();
        assert_eq!(offsets.len(), 40);
        assert!(offsets.is_sorted(), "{player} was reordered: {offsets:?}");
    }
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bare_console_line_is_an_event() {
    let config = broker_for(Group::Game).await;
    let handler = TestHandler::all();
    let consumer = Running::start(&config, Group::Game, bets(handler.clone())).ready().await;
    publish_raw(&config, Topic::BetsCommands.name(), None, CONSOLE_BET).await;
    let seen = handler.wait_for(1).await;
    assert_eq!(seen[0].event.player_id(), "console");
    let Message::PlaceBet(bet) = &seen[0].event.message else { panic!("{:?}", seen[0].event) };
    assert_eq!(bet.stake.as_ref().map(|stake| stake.minor), Some(100));
    // The identity uses the catalogue name, so it does not depend on the test's namespace
    let (partition, offset) = (seen[0].partition, seen[0].offset);
    let expected = contracts::ids::record_id(Topic::BetsCommands.name(), partition, offset);
    assert_eq!(seen[0].event.id, expected);
    committed_reaches(&config, Group::Game, 1).await;
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_type_without_a_handler_is_skipped() {
    let config = broker_for(Group::Payment).await;
    let producer = Producer::new(&config).expect("a producer");
    let registered = contracts::proto::players::v1::PlayerRegistered {
        player_id: "p".to_owned(),
        email: "p@example.org".to_owned(),
        display_name: "P".to_owned(),
        currency: "EUR".to_owned(),
    };
    let cause = "cause".parse().expect("a valid id");
    producer.publish(&contracts::Event::follower(&cause, "/test", registered)).await.expect("published");
    let handler = TestHandler::all();
    let router = bus::Router::new().on_each([EventType::LimitsChanged], handler.clone());
    let skipped = || {
        let labels = [("topic", Topic::PlayersEvents.name()), ("group", "payment")];
        counted("pitboss_bus_records_skipped_total", &labels)
    };
    let before = skipped();
    let consumer = Running::start(&config, Group::Payment, router).ready().await;
    committed_reaches(&config, Group::Payment, 1).await;
    assert!(handler.seen().is_empty());
    assert_eq!(skipped() - before, 1.0, "skipped is counted once");
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_record_is_a_binary_mode_cloud_event() {
    let config = broker_for(Group::Game).await;
    let producer = Producer::new(&config).expect("a producer");
    let event = place_bet("player-1", 1);
    let published = producer.publish(&event).await.expect("published");
    assert_eq!(published.offset, 0);
    let raw = stored_in(&config, Topic::BetsCommands.name(), published.partition, 1).await;
    assert_eq!(raw[0].key.as_deref(), Some(b"player-1".as_slice()));
    assert_eq!(raw[0].header(headers::CE_ID).as_deref(), Some("player-1-1"));
    assert_eq!(raw[0].header(headers::CE_TYPE).as_deref(), Some("casino.bets.v1.PlaceBet"));
    assert_eq!(raw[0].header(headers::CE_SUBJECT).as_deref(), Some("player-1"));
    assert_eq!(raw[0].header(headers::CONTENT_TYPE).as_deref(), Some(headers::APPLICATION_PROTOBUF));
    assert_eq!(raw[0].value.as_deref(), Some(event.message.encode_protobuf().as_ref()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handler_for_unread_topic_is_rejected() {
    let config = crate::support::namespace();
    let producer = Producer::new(&config).expect("a producer");
    let router = bus::Router::new().on_each([EventType::ApplyWager], TestHandler::all());
    let refused = bus::Consumer::new(&config, Group::Game, router, producer);
    let message = refused.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(message.contains("ApplyWager"), "{message}");
}
