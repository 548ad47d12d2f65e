//! Readiness follows the broker: it ends when no broker answers and returns with one, without a new record.

use std::time::Duration;

use bus::{Config, Producer};
use contracts::{Group, Topic};
use rdkafka::mocking::MockCluster;

use crate::support::{Running, TestHandler, bets};
use crate::tailing;

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
async fn member_is_not_ready_without_a_broker() {
    let (cluster, config) = mock();
    let consumer = Running::start(&config, Group::Game, bets(TestHandler::all())).ready().await;
    cluster.broker_down(1).expect("down");
    consumer.wait_ready(false).await;
    cluster.broker_up(1).expect("up");
    consumer.wait_ready(true).await;
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_catches_up_after_disconnection() {
    let (cluster, config) = mock();
    let handler = TestHandler::all();
    let producer = Producer::new(&config).expect("a producer");
    let tail = tailing::start(&config, handler.clone()).ready().await;

    cluster.broker_down(1).expect("down");
    tail.wait_ready(false).await;
    let event = tailing::conflict(1);
    let publishing = producer.publish(&event);
    let back_up = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.broker_up(1).expect("up");
    };
    let (published, ()) = tokio::join!(publishing, back_up);
    published.expect("published once the broker is back");
    tail.wait_ready(true).await;
    handler.wait_for(1).await;
    tail.stop().await.expect("stops in order");
}
