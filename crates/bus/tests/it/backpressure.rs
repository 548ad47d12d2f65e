//! Memory stays bounded while handlers block, and every record is handled afterwards.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Config, Delivery, HandleAny, HandlerError, Outcome, Producer};
use contracts::Group;
use tokio::sync::Semaphore;

use crate::support::{DEADLINE, Running, bets, broker_for, committed_reaches, place_bet, publish_all};

struct Gate(Semaphore);

#[async_trait]
impl HandleAny for Gate {
    async fn handle(&self, _: &Delivery) -> Result<Outcome, HandlerError> {
        drop(self.0.acquire().await.expect("open"));
        Ok(Outcome::Applied)
    }
}

async fn published(config: &Config, count: u64) {
    let producer = Producer::new(config).expect("a producer");
    let events: Vec<_> =
        (0..count).map(|number| place_bet(&format!("player-{}", number % 40), number)).collect();
    publish_all(&producer, &events).await;
}

async fn pauses_and_resumes(config: Config, records_max: usize, bytes_max: usize) {
    published(&config, 600).await;
    let gate = Arc::new(Gate(Semaphore::new(0)));
    let consumer = Running::start(&config, Group::Game, bets(gate.clone())).ready().await;
    consumer.wait_paused().await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await; // time to exceed the bound, if it did not hold
    let stats = consumer.stats.clone();
    let peaks = || (stats.in_flight_records_peak(), stats.in_flight_bytes_peak());
    assert!(peaks().0 <= records_max && peaks().1 <= bytes_max, "{:?} records and bytes in flight", peaks());
    gate.0.add_permits(10);
    committed_reaches(&config, Group::Game, 600).await;
    assert!(peaks().0 <= records_max && peaks().1 <= bytes_max, "{:?} records and bytes in flight", peaks());
    assert_eq!((stats.in_flight_records(), stats.in_flight_bytes()), (0, 0));
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_in_flight_are_bounded() {
    let config = Config { in_flight_records_max: 20, ..broker_for(Group::Game).await };
    pauses_and_resumes(config, 20, usize::MAX).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_in_flight_are_bounded() {
    let config = Config { in_flight_bytes_max: 30_000, ..broker_for(Group::Game).await };
    // One record costs between one and two kilobytes, including headers and bookkeeping
    pauses_and_resumes(config, usize::MAX, 32_000).await;
}

/// librdkafka keeps the pause of a revoked partition. Without a resume it would never be fetched again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_partition_is_fetched_when_reassigned() {
    let config = Config {
        in_flight_records_max: 20,
        revoke_drain_deadline_ms: 200, // no record in flight can finish
        ..broker_for(Group::Game).await
    };
    published(&config, 600).await;
    let (shut, open) = (Arc::new(Gate(Semaphore::new(0))), Arc::new(Gate(Semaphore::new(1))));
    let paused = Running::start(&config, Group::Game, bets(shut.clone())).ready().await;
    paused.wait_paused().await;
    let second = Running::start(&config, Group::Game, bets(open)).ready().await;
    testkit::eventually("the second member to take records", DEADLINE, || async {
        (second.stats.in_flight_records_peak() > 0).then_some(())
    })
    .await;
    shut.0.add_permits(10);
    committed_reaches(&config, Group::Game, 600).await;
    second.stop().await.expect("stops in order");
    published(&config, 12).await; // too few for the remaining member to pause and resume again
    committed_reaches(&config, Group::Game, 612).await;
    paused.stop().await.expect("stops in order");
}
