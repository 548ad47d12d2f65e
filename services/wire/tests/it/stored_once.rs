//! The real broker and the producer of our services: a record whose acknowledgement is lost is stored once.

use bus::{Config, Producer};
use contracts::proto::bets::v1::PlaceBet;
use contracts::proto::common::v1::Money;
use contracts::{Event, Message, ids};
use faults::FaultId;
use tokio::net::TcpListener;

use crate::world::World;

fn bet(player: &str) -> Event {
    let stake = Some(Money { minor: 100, currency: "EUR".to_owned() });
    let message: Message = PlaceBet { player_id: player.to_owned(), game: "slots".to_owned(), stake }.into();
    Event::command(testkit::unique("bet").parse().unwrap(), "test", ids::request_hash(&message), message)
}

/// Publishes that were acknowledged after a repetition, in this process.
fn retried() -> f64 {
    testkit::metrics::counted("pitboss_bus_publish_retried_total", &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_acknowledgement_stores_record_once() {
    let namespace = testkit::unique("wire");
    let direct =
        Config { bootstrap_servers: testkit::kafka(), namespace: namespace.clone(), ..Config::default() };
    bus::admin::ensure_topics(&direct, &contracts::topics::catalogue()).await.unwrap();
    let listener = TcpListener::bind(testkit::wire()).await.unwrap();
    let world = World::start_on(listener, &testkit::wire_upstream(), |_| {}).await;
    let through_proxy = Config {
        bootstrap_servers: testkit::wire(),
        namespace,
        publish_retries_shown: true,
        ..Config::default()
    };
    let producer = Producer::new(&through_proxy).unwrap();
    let first = producer.publish(&bet("player")).await.unwrap();
    let retried_before = retried();

    world.arm(FaultId::KafkaReplyLost, &[("count", 1)]).await;
    let lost = producer.publish(&bet("player")).await.unwrap();
    assert_eq!(world.applied(FaultId::KafkaReplyLost), 1, "the answer was not lost");
    let next = producer.publish(&bet("player")).await.unwrap();
    assert_eq!((first.offset, lost.offset, next.offset), (0, 1, 2), "the record is stored twice");
    assert_eq!((lost.partition, next.partition), (first.partition, first.partition));
    assert_eq!(retried(), retried_before + 1.0, "the producer does not show the repetition");
    world.stop();
    world.ended().await;
}
