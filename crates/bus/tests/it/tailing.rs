//! The tail: no group, every record from the moment it is ready, none from before.

use std::sync::Arc;

use bus::{Config, Producer, Router};
use contracts::proto::bets::v1::BetConflict;
use contracts::{Event, EventType, Group, Topic, headers};

use crate::support::{Running, TestHandler, broker_for, namespace, publish_raw, specs_for, stored};

const TOPICS: &[Topic] = &[Topic::BetsEvents, Topic::PaymentsEvents];

pub(crate) fn conflict(number: usize) -> Event {
    let message = BetConflict { bet_id: format!("bet-{number}"), player_id: format!("player-{number}") };
    Event::follower(&format!("cause-{number}").parse().expect("a valid id"), "/test", message)
}

pub(crate) fn start(config: &Config, handler: Arc<TestHandler>) -> Running {
    Running::start_tail(config, TOPICS, Router::new().on_each([EventType::BetConflict], handler))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_tail_receives_all_records() {
    let config = broker_for(Group::Gateway).await;
    let producer = Producer::new(&config).expect("a producer");
    for number in 0..20 {
        producer.publish(&conflict(number)).await.expect("published");
    }
    let (first, second) = (TestHandler::all(), TestHandler::all());
    let tails = [start(&config, first.clone()).ready().await, start(&config, second.clone()).ready().await];
    for number in 20..60 {
        producer.publish(&conflict(number)).await.expect("published");
    }
    let expected: Vec<String> = {
        let mut ids: Vec<_> = (20..60).map(|number| conflict(number).id.to_string()).collect();
        ids.sort();
        ids
    };
    for handler in [first, second] {
        handler.wait_for(40).await;
        let mut ids = handler.ids();
        ids.sort();
        assert_eq!(ids, expected);
    }
    for tail in tails {
        tail.stop().await.expect("stops in order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_is_ready_only_after_its_topics_exist() {
    let config = namespace();
    let handler = TestHandler::all();
    let tail = start(&config, handler.clone());
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!tail.is_ready(), "ready without knowing its positions");
    bus::admin::ensure_topics(&config, &specs_for(Group::Gateway)).await.expect("topics can be created");
    let tail = tail.ready().await;
    Producer::new(&config).expect("a producer").publish(&conflict(1)).await.expect("published");
    handler.wait_for(1).await;
    tail.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undecodable_record_of_tail_is_parked() {
    let config = broker_for(Group::Gateway).await;
    let handler = TestHandler::all();
    let tail = start(&config, handler.clone()).ready().await;
    publish_raw(&config, Topic::BetsEvents.name(), Some(b"k"), b"{nonsense").await;
    Producer::new(&config).expect("a producer").publish(&conflict(1)).await.expect("published");
    handler.wait_for(1).await;
    let kept = stored(&config, &Topic::BetsEvents.dlq(Group::Gateway), 1).await;
    assert_eq!(kept[0].value.as_deref(), Some(b"{nonsense".as_slice()));
    assert_eq!(kept[0].header(headers::DLQ_GROUP).as_deref(), Some("gateway"));
    tail.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_without_a_broker_stops_on_request() {
    let config =
        Config { bootstrap_servers: "127.0.0.1:1".to_owned(), close_deadline_ms: 2_000, ..Config::default() };
    let tail = start(&config, TestHandler::all());
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    tail.stop().await.expect("stops in order");
}
