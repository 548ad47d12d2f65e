//! Memory stays bounded while handlers block, and every record is handled afterwards.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Config, Delivery, Handle, HandlerError, Outcome, Producer};
use contracts::Group;
use tokio::sync::Semaphore;

use crate::support::{DEADLINE, Running, bets, broker_for, committed_reaches, place_bet};

struct Gate(Semaphore);

#[async_trait]
impl Handle for Gate {
    async fn handle(&self, _: &Delivery) -> Result<Outcome, HandlerError> {
        drop(self.0.acquire().await.expect("open"));
        Ok(Outcome::Applied)
    }
}

async fn published(config: &Config, count: u64) {
    let producer = Producer::new(config).expect("a producer");
    let events: Vec<_> =
        (0..count).map(|number| place_bet(&format!("player-{}", number % 40), number)).collect();
    for result in futures::future::join_all(events.iter().map(|event| producer.publish(event))).await {
        result.expect("published");
    }
}

async fn rests_and_goes_on(config: Config, records_max: usize, bytes_max: usize) {
    published(&config, 600).await;
    let gate = Arc::new(Gate(Semaphore::new(0)));
    let consumer = Running::start(&config, Group::Game, bets(gate.clone())).ready().await;
    testkit::eventually("fetching to rest", DEADLINE, || async { (consumer.load.rests() > 0).then_some(()) })
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await; // time to take more, if the bound were not kept
    assert!(consumer.load.records_peak() <= records_max, "{} records in hand", consumer.load.records_peak());
    assert!(consumer.load.bytes_peak() <= bytes_max, "{} bytes in hand", consumer.load.bytes_peak());
    gate.0.add_permits(10);
    committed_reaches(&config, Group::Game, 600).await;
    assert!(consumer.load.records_peak() <= records_max);
    assert!(consumer.load.bytes_peak() <= bytes_max);
    assert_eq!(consumer.load.records(), 0);
    assert_eq!(consumer.load.bytes(), 0);
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_in_hand_are_bounded() {
    let config = Config { in_flight_records_max: 20, ..broker_for(Group::Game).await };
    rests_and_goes_on(config, 20, usize::MAX).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_in_hand_are_bounded() {
    let config = Config { in_flight_bytes_max: 30_000, ..broker_for(Group::Game).await };
    // one record costs between one and two kilobytes, including headers and bookkeeping
    rests_and_goes_on(config, usize::MAX, 32_000).await;
}

/// librdkafka keeps the pause of a revoked partition. Without a resume it would never be fetched again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_left_while_it_rested_is_fetched_when_it_comes_back() {
    let config = Config {
        in_flight_records_max: 20,
        revoke_drain_deadline_ms: 200, // no record in flight can finish
        ..broker_for(Group::Game).await
    };
    published(&config, 600).await;
    let (shut, open) = (Arc::new(Gate(Semaphore::new(0))), Arc::new(Gate(Semaphore::new(1))));
    let resting = Running::start(&config, Group::Game, bets(shut.clone())).ready().await;
    testkit::eventually("fetching to rest", DEADLINE, || async { (resting.load.rests() > 0).then_some(()) })
        .await;
    let guest = Running::start(&config, Group::Game, bets(open)).ready().await;
    testkit::eventually("the guest's work", DEADLINE, || async {
        (guest.load.records_peak() > 0).then_some(())
    })
    .await;
    shut.0.add_permits(10);
    committed_reaches(&config, Group::Game, 600).await;
    guest.stop().await.expect("stops in order");
    published(&config, 12).await; // too few for the remaining member to pause, and so to resume, once more
    committed_reaches(&config, Group::Game, 612).await;
    resting.stop().await.expect("stops in order");
}
