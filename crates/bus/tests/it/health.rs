//! Readiness follows the broker: it ends when no broker answers and returns with one, without a new record.

use std::time::Duration;

use bus::{CancellationToken, Config, Producer, Tail};
use contracts::{Group, Topic};
use rdkafka::mocking::MockCluster;

use crate::support::{DEADLINE, Remember, Running, bets};

/// Starts a cluster inside this process, so that stopping its broker affects no other test.
fn mock() -> (MockCluster<'static, rdkafka::producer::DefaultProducerContext>, Config) {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    for topic in Topic::ALL {
        cluster.create_topic(topic.name(), 2, 1).expect("a topic");
    }
    let config = Config {
        bootstrap_servers: cluster.bootstrap_servers(),
        commit_interval_ms: 100,
        close_deadline_ms: 3_000,
        ..Config::default()
    };
    (cluster, config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_not_ready_while_no_broker_answers() {
    let (cluster, config) = mock();
    let consumer = Running::start(&config, Group::Game, bets(Remember::all())).ready().await;
    cluster.broker_down(1).expect("down");
    testkit::eventually("readiness to go", DEADLINE, || async { (!consumer.is_ready()).then_some(()) }).await;
    cluster.broker_up(1).expect("up");
    testkit::eventually("readiness to come back", DEADLINE, || async { consumer.is_ready().then_some(()) })
        .await;
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_hears_what_came_while_it_was_cut_off() {
    use contracts::Event;
    use contracts::proto::bets::v1::BetConflict;
    let (cluster, config) = mock();
    let handler = Remember::all();
    let producer = Producer::new(&config).expect("a producer");
    let router = bus::Router::new().on(contracts::EventType::BetConflict, handler.clone());
    let tail = Tail::new(&config, &[Topic::BetsEvents], router, producer.clone()).expect("a tail");
    let (told, mut ready) = tokio::sync::watch::channel(false);
    let shutdown = CancellationToken::new();
    let task = telemetry::spawn(tail.run(shutdown.clone(), move |is_ready| {
        told.send_replace(is_ready);
    }));
    tokio::time::timeout(DEADLINE, ready.wait_for(|is| *is)).await.expect("in time").expect("runs");

    cluster.broker_down(1).expect("down");
    tokio::time::timeout(DEADLINE, ready.wait_for(|is| !*is)).await.expect("in time").expect("runs");
    let message = BetConflict { bet_id: "b".to_owned(), player_id: "p".to_owned() };
    let event = Event::follower(&"cause".parse().expect("a valid id"), "/test", message);
    let publishing = producer.publish(&event);
    let back_up = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.broker_up(1).expect("up");
    };
    let (published, ()) = tokio::join!(publishing, back_up);
    published.expect("published once the broker is back");
    tokio::time::timeout(DEADLINE, ready.wait_for(|is| *is)).await.expect("in time").expect("runs");
    handler.wait_for(1).await;
    shutdown.cancel();
    tokio::time::timeout(DEADLINE, task).await.expect("ends").expect("no panic").expect("in order");
}
