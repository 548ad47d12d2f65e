//! The tail: no group, every record from the moment it is ready, none from before.

use std::sync::Arc;

use bus::{CancellationToken, Config, Producer, Router, Tail};
use contracts::proto::bets::v1::BetConflict;
use contracts::{Event, EventType, Group, Topic, headers};

use crate::support::{DEADLINE, Remember, broker_for, namespace, publish_bare, specs_for, stored};

const TOPICS: &[Topic] = &[Topic::BetsEvents, Topic::PaymentsEvents];

fn conflict(number: usize) -> Event {
    let message = BetConflict { bet_id: format!("bet-{number}"), player_id: format!("player-{number}") };
    Event::follower(&format!("cause-{number}").parse().expect("a valid id"), "/test", message)
}

struct RunningTail {
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), bus::ConsumerError>>,
    ready: tokio::sync::watch::Receiver<bool>,
}

fn start(config: &Config, handler: Arc<Remember>) -> RunningTail {
    let producer = Producer::new(config).expect("a producer");
    let router = Router::new().on(EventType::BetConflict, handler);
    let tail = Tail::new(config, TOPICS, router, producer).expect("a tail");
    let (told, ready) = tokio::sync::watch::channel(false);
    let shutdown = CancellationToken::new();
    let task = telemetry::spawn(tail.run(shutdown.clone(), move |is_ready| {
        told.send_replace(is_ready);
    }));
    RunningTail { shutdown, task, ready }
}

impl RunningTail {
    async fn ready(mut self) -> Self {
        let became = tokio::time::timeout(DEADLINE, self.ready.wait_for(|ready| *ready)).await;
        became.expect("ready in time").expect("still running");
        self
    }

    async fn stop(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await.expect("ends in time");
        ended.expect("does not panic").expect("stops in order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_instance_hears_everything_from_when_it_is_ready_and_nothing_from_before() {
    let config = broker_for(Group::Gateway).await;
    let producer = Producer::new(&config).expect("a producer");
    for number in 0..20 {
        producer.publish(&conflict(number)).await.expect("published");
    }
    let (first, second) = (Remember::all(), Remember::all());
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
        tail.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_waits_for_its_topics_before_it_is_ready() {
    let config = namespace();
    let handler = Remember::all();
    let tail = start(&config, handler.clone());
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!*tail.ready.borrow(), "ready without knowing its positions");
    bus::admin::ensure_topics(&config, &specs_for(Group::Gateway)).await.expect("topics can be created");
    let tail = tail.ready().await;
    Producer::new(&config).expect("a producer").publish(&conflict(1)).await.expect("published");
    handler.wait_for(1).await;
    tail.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_tail_cannot_read_is_kept_for_the_gateway() {
    let config = broker_for(Group::Gateway).await;
    let handler = Remember::all();
    let tail = start(&config, handler.clone()).ready().await;
    publish_bare(&config, Topic::BetsEvents.name(), Some(b"k"), b"{nonsense").await;
    Producer::new(&config).expect("a producer").publish(&conflict(1)).await.expect("published");
    handler.wait_for(1).await;
    let kept = stored(&config, &Topic::BetsEvents.dlq(Group::Gateway), 1).await;
    assert_eq!(kept[0].value.as_deref(), Some(b"{nonsense".as_slice()));
    assert_eq!(kept[0].header(headers::DLQ_GROUP).as_deref(), Some("gateway"));
    tail.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_waits_for_a_broker_stops_when_told() {
    let config =
        Config { bootstrap_servers: "127.0.0.1:1".to_owned(), close_deadline_ms: 2_000, ..Config::default() };
    let tail = start(&config, Remember::all());
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    tail.stop().await;
}
