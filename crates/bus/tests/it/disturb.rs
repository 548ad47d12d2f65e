//! Disturbances of a real broker, and that each can be taken back.

use std::time::Duration;

use bus::disturb::{Deleted, Disturbance};
use bus::{Config, Producer, PublishError, RawRecord};
use contracts::{Group, Topic};
use testkit::eventually;

use crate::support::{
    DEADLINE, Running, TestHandler, bets, broker_for, place_bet, publish_all, specs_for, stored_in,
};

const BETS: Topic = Topic::BetsCommands;

fn disturbance(config: &Config) -> Disturbance {
    Disturbance::new(config.clone())
}

/// Publishes until the outcome is the expected one. The broker applies a change some moments after it acknowledged it.
async fn publishes_until(producer: &Producer, wanted: impl Fn(&Result<(), PublishError>) -> bool) {
    eventually("another outcome", DEADLINE, || async {
        let outcome = producer.publish(&place_bet("player-1", 1)).await.map(drop);
        wanted(&outcome).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn denied_topic_refuses_writers_and_admits_readers() {
    let config = broker_for(Group::Game).await;
    let (producer, disturbance) = (Producer::new(&config).expect("a producer"), disturbance(&config));
    let first = producer.publish(&place_bet("player-1", 1)).await.expect("published");
    disturbance.deny_writing(BETS).await.expect("denied");
    disturbance.deny_writing(BETS).await.expect("denied twice");
    publishes_until(&producer, |outcome| matches!(outcome, Err(PublishError::Refused { .. }))).await;
    assert!(!stored_in(&config, BETS.name(), first.partition, 1).await.is_empty(), "reading is permitted");
    disturbance.permit_everything(BETS).await.expect("permitted");
    disturbance.permit_everything(BETS).await.expect("permitted twice");
    publishes_until(&producer, Result::is_ok).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lowered_limit_refuses_until_restored() {
    let config = broker_for(Group::Game).await;
    let (producer, disturbance) = (Producer::new(&config).expect("a producer"), disturbance(&config));
    let spec = specs_for(Group::Game).into_iter().find(|spec| spec.name == BETS.name()).expect("a spec");
    disturbance.set_topic(&spec, &[("max.message.bytes", "100")]).await.expect("lowered");
    publishes_until(&producer, |outcome| matches!(outcome, Err(PublishError::Unwritable { .. }))).await;
    disturbance.set_topic(&spec, &[]).await.expect("restored");
    publishes_until(&producer, Result::is_ok).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quota_is_set_and_removed() {
    let config = broker_for(Group::Game).await;
    // Of this test alone, because a quota holds for every client of that id.
    let client_id = testkit::unique("throttled");
    let disturbance = disturbance(&config);
    for limit in [Some(1_000), Some(2_000), None, None] {
        disturbance.limit_producing(&client_id, limit).await.expect("changed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_is_published_with_its_headers_as_given() {
    let config = broker_for(Group::Game).await;
    let producer = Producer::new(&config).expect("a producer");
    let first = producer.publish(&place_bet("player-1", 1)).await.expect("published");
    let header = |value: &'static [u8]| ("traceparent".to_owned(), value.into());
    let record = RawRecord {
        topic: BETS.name().to_owned(),
        key: Some("player-1".into()),
        headers: vec![header(b"one"), header(b"two")],
        value: "{}".into(),
    };
    assert_eq!(disturbance(&config).publish(&[record]).await.expect("published"), 1);
    let stored = stored_in(&config, BETS.name(), first.partition, 2).await;
    assert_eq!(stored[1].headers.len(), 2, "{:?}", stored[1].headers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_records_are_published_in_their_order() {
    let config = broker_for(Group::Game).await;
    let producer = Producer::new(&config).expect("a producer");
    let first = producer.publish(&place_bet("player-1", 1)).await.expect("published");
    let record = |number: usize| RawRecord {
        topic: BETS.name().to_owned(),
        key: Some("player-1".into()),
        headers: Vec::new(),
        value: number.to_string().into(),
    };
    let records: Vec<RawRecord> = (0..600).map(record).collect();
    assert_eq!(disturbance(&config).publish(&records).await.expect("published"), 600);
    let stored = stored_in(&config, BETS.name(), first.partition, 601).await;
    for (record, stored) in records.iter().zip(&stored[1..]) {
        assert_eq!(stored.value.as_deref(), Some(record.value.as_ref()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn further_member_joins_and_handles_nothing() {
    let config = broker_for(Group::Game).await;
    let handler = TestHandler::all();
    let running = Running::start(&config, Group::Game, bets(handler.clone())).ready().await;
    let visit = disturbance(&config);
    assert!(visit.join_and_leave(Group::Game, DEADLINE, Duration::ZERO).await.expect("a visit"));
    // What arrives during and after the visit is handled by the member that stayed.
    let producer = Producer::new(&config).expect("a producer");
    let events: Vec<_> = (0..12).map(|number| place_bet(&format!("player-{number}"), 1)).collect();
    publish_all(&producer, &events).await;
    handler.wait_for(events.len()).await;
    running.stop().await.expect("stopped in good order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_unread_records_are_deleted() {
    let config = broker_for(Group::Game).await;
    let (producer, handler) = (Producer::new(&config).expect("a producer"), TestHandler::all());
    let first = producer.publish(&place_bet("player-1", 1)).await.expect("published");
    let running = Running::start(&config, Group::Game, bets(handler.clone())).ready().await;
    handler.wait_for(1).await;
    running.stop().await.expect("stopped in good order");
    let disturbance = disturbance(&config);
    let none = disturbance.delete_unread(Group::Game, BETS).await.expect("read");
    assert!(none.is_empty(), "all is read: {none:?}");
    let more: Vec<_> = (2..5).map(|number| place_bet("player-1", number)).collect();
    publish_all(&producer, &more).await;
    let deleted = disturbance.delete_unread(Group::Game, BETS).await.expect("deleted");
    let from = first.offset + 1;
    assert_eq!(deleted, [Deleted { partition: first.partition, from, to: from + 3 }]);
}
