//! Lag, read from outside: of a group that never existed, of a running one, and of a stopped one.

use std::sync::Arc;

use bus::lag::{PartitionLag, Reader};
use bus::{HandlerError, Outcome, Producer};
use contracts::{Group, Topic};

use crate::support::{DEADLINE, Running, TestHandler, bets, broker_for, committed_reaches, place_bet};

/// Reads until every age is known. The reader omits an age rather than delay its caller.
async fn with_ages<E>(read: impl AsyncFn() -> Result<Vec<PartitionLag>, E>) -> Vec<PartitionLag> {
    testkit::eventually("every age to be read", DEADLINE, || async {
        let lags = read().await.ok()?;
        lags.iter().all(|lag| lag.lag_seconds.is_some()).then_some(lags)
    })
    .await
}

fn total(lags: &[PartitionLag]) -> i64 {
    lags.iter().map(|lag| lag.lag_messages).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_is_read_for_absent_running_and_stopped_groups() {
    let config = broker_for(Group::Game).await;
    let producer = Producer::new(&config).expect("a producer");
    let reader = Arc::new(Reader::new(&config, &[Group::Game, Group::Gateway]).expect("a reader"));

    // no group has read a record, and there is none to read
    let lags = reader.read().await.expect("lag");
    assert_eq!(lags.len(), 12, "six partitions of two topics; the gateway has no group");
    assert_eq!(total(&lags), 0);
    assert!(
        lags.iter().all(|lag| lag.members == 0 && lag.committed.is_none() && lag.lag_seconds == Some(0.0))
    );

    // a group that never existed: all records are unread and grow older
    for number in 0..30 {
        producer.publish(&place_bet(&format!("player-{number}"), number)).await.expect("published");
    }
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let lags = with_ages(async || reader.read().await).await;
    assert_eq!(total(&lags), 30);
    for lag in &lags {
        let seconds = lag.lag_seconds.expect("an age");
        let is_aged = (1.0..600.0).contains(&seconds);
        assert_eq!(is_aged, lag.lag_messages > 0, "{lag:?}");
        assert_eq!(lag.topic == Topic::BetsCommands.name(), lag.end > 0, "{lag:?}");
    }

    // a group that handles all records but one player's
    let handler = TestHandler::new(|delivery| match delivery.event.player_id() {
        "player-7" => Err(HandlerError::transient("held")),
        _ => Ok(Outcome::Applied),
    });
    let consumer = Running::start(&config, Group::Game, bets(handler)).ready().await;
    testkit::eventually("the lag to shrink", DEADLINE, || async {
        let lags = reader.read().await.ok()?;
        // later records in the partition of the held one stay uncommitted too
        let is_reading = (1..15).contains(&total(&lags));
        (is_reading && lags.iter().all(|lag| lag.members == 1)).then_some(())
    })
    .await;
    consumer.stop().await.expect("stops in order");

    // the same group, stopped
    let lags = with_ages(async || bus::lag::read(&config, &[Group::Game]).await).await;
    let held: Vec<_> = lags.iter().filter(|lag| lag.lag_messages > 0).collect();
    assert!((1..15).contains(&total(&lags)), "{held:?}");
    assert!(held.iter().all(|lag| lag.members == 0 && lag.lag_seconds.expect("an age") >= 1.0), "{held:?}");

    let consumer = Running::start(&config, Group::Game, bets(TestHandler::all()));
    committed_reaches(&config, Group::Game, 30).await;
    assert_eq!(total(&reader.read().await.expect("lag")), 0);
    consumer.stop().await.expect("stops in order");
}
