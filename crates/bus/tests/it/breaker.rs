//! Breaker: a consumer whose records mostly become dead letters pauses, tries single records, and continues when one succeeds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bus::{HandlerError, Outcome, Producer};
use contracts::{Group, Topic};

use crate::support::{
    DEADLINE, Running, TestHandler, broker_for, committed_reaches, end_of, players_in, preference,
    preferences,
};

const GROUP: Group = Group::Analytics;
const WINDOW: usize = 4;
const RECORDS: u64 = 30;

#[test]
fn many_dead_letters_pause_consumer_for_a_time() {
    testkit::scenario::run("breaker::scenario");
}

#[test]
#[ignore = "the process of the test above"]
fn scenario() {
    let Some(receiver) = crate::support::scenario(|_| break_and_heal()) else { return };
    let items = receiver.items();
    let reports = items
        .iter()
        .filter(|(kind, item)| kind == "event" && item["tags"]["error.kind"] == "dead_letter_breaker");
    assert_eq!(reports.count(), 1, "one issue, however often it pauses again");
}

async fn break_and_heal() {
    let config =
        bus::Config { breaker_window_records: WINDOW, breaker_pause_ms: 300, ..broker_for(GROUP).await };
    let is_healed = Arc::new(AtomicBool::new(false));
    let healed = Arc::clone(&is_healed);
    let handler = TestHandler::new(move |_| match healed.load(Ordering::SeqCst) {
        true => Ok(Outcome::Applied),
        false => Err(HandlerError::poison("a bug in the handler (on purpose)")),
    });
    let producer = Producer::new(&config).expect("a producer");
    for number in 0..RECORDS {
        // One key, so one record after the other
        producer.publish(&preference("p", number)).await.expect("published");
    }
    let consumer = Running::start(&config, GROUP, preferences(handler.clone())).ready().await;
    // The window, and at least two tries of a single record after pauses
    let seen = handler.wait_for(WINDOW + 2).await.len();
    assert!(seen < WINDOW + 10, "{seen} records were moved to the dead letters");
    assert!(consumer.is_ready(), "a pause is no reason to restart the process");
    is_healed.store(true, Ordering::SeqCst);
    committed_reaches(&config, GROUP, i64::try_from(RECORDS).expect("small")).await;
    assert_eq!(handler.seen().len(), usize::try_from(RECORDS).expect("small"), "each is handled once");
    let dead = end_of(&config, &Topic::PlayersEvents.dlq(GROUP));
    assert!((6..20).contains(&dead), "{dead} dead letters");
    consumer.stop().await.expect("stops in order");
}

/// The records that fail wait in this process, and the other one has to be fetched first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_partition_does_not_hold_up_another_one() {
    let config =
        bus::Config { breaker_window_records: WINDOW, breaker_pause_ms: 300, ..broker_for(GROUP).await };
    let name_in = |partition| players_in(partition).next().expect("a key");
    let (failing, other) = (name_in(3), name_in(0));
    let failing_player = failing.clone();
    let handler = TestHandler::new(move |delivery| match delivery.event.player_id() == failing_player {
        true => Err(HandlerError::poison("a record that no repair makes valid (on purpose)")),
        false => Ok(Outcome::Applied),
    });
    let producer = Producer::new(&config).expect("a producer");
    for number in 0..RECORDS {
        producer.publish(&preference(&failing, number)).await.expect("published");
    }
    let consumer = Running::start(&config, GROUP, preferences(handler.clone())).ready().await;
    handler.wait_for(WINDOW).await;
    consumer.wait_paused().await;
    producer.publish(&preference(&other, 0)).await.expect("published");
    let position = testkit::eventually("the record of the other partition", DEADLINE, || async {
        handler.seen().iter().position(|seen| seen.event.player_id() == other)
    })
    .await;
    assert!(position < WINDOW + 5, "{position} records were handled before it, one in each round");
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_consumer_stops_at_once() {
    let config = bus::Config {
        breaker_window_records: WINDOW,
        breaker_pause_ms: 3_600_000,
        ..broker_for(GROUP).await
    };
    let handler = TestHandler::new(|_| Err(HandlerError::poison("a bug in the handler (on purpose)")));
    let producer = Producer::new(&config).expect("a producer");
    for number in 0..RECORDS {
        producer.publish(&preference("p", number)).await.expect("published");
    }
    let consumer = Running::start(&config, GROUP, preferences(handler.clone()));
    committed_reaches(&config, GROUP, i64::try_from(WINDOW).expect("small")).await;
    consumer.wait_paused().await;
    let began = std::time::Instant::now();
    consumer.stop().await.expect("stops in order");
    assert!(began.elapsed() < DEADLINE / 2, "it waited for its pause");
    let handled = TestHandler::all();
    let consumer = Running::start(&config, GROUP, preferences(handled.clone()));
    committed_reaches(&config, GROUP, i64::try_from(RECORDS).expect("small")).await;
    assert_eq!(handler.seen().len() + handled.seen().len(), usize::try_from(RECORDS).expect("small"));
    consumer.stop().await.expect("stops in order");
}
