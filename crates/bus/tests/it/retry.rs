//! Transient failures are retried in place. Other failures are not. The alert of a held record needs a process of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bus::{ConsumerError, HandlerError, Outcome, Producer};
use contracts::{Group, Topic};
use serde_json::Value;
use testkit::receiver::Receiver;

use crate::support::{
    DEADLINE, Running, TestHandler, bets, broker_for, committed, committed_reaches, committed_sum, namespace,
    place_bet, specs_for,
};

fn quick(mut config: bus::Config) -> bus::Config {
    config.retry_backoff_min_ms = 5;
    config.retry_backoff_max_ms = 20;
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transient_failure_blocks_only_its_key() {
    let config = quick(broker_for(Group::Game).await);
    let handler = TestHandler::new(|delivery| {
        if delivery.event.id.as_str() == "held-1" && delivery.attempt < 4 {
            return Err(HandlerError::transient("the store is unavailable"));
        }
        Ok(Outcome::Applied)
    });
    let producer = Producer::new(&config).expect("a producer");
    for number in 1..=3 {
        producer.publish(&place_bet("held", number)).await.expect("published");
    }
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    let seen = handler.wait_for(6).await;
    let held: Vec<_> = seen.iter().map(|seen| (seen.event.id.to_string(), seen.attempt)).collect();
    let expected = [("held-1", 1), ("held-1", 2), ("held-1", 3), ("held-1", 4), ("held-2", 1), ("held-3", 1)];
    assert_eq!(held, expected.map(|(id, attempt)| (id.to_owned(), attempt)));
    committed_reaches(&config, Group::Game, 3).await;
    consumer.stop().await.expect("stops in order");
}

#[test]
fn held_record_alerts_and_is_given_back_at_a_stop() {
    testkit::scenario::run("retry::held_record");
}

#[test]
#[ignore = "the process of the test above"]
fn held_record() {
    crate::support::scenario(hold_and_give_back);
}

async fn hold_and_give_back(receiver: Arc<Receiver>) {
    let config = quick(bus::Config { retry_alert_after_ms: 30, ..broker_for(Group::Game).await });
    let is_healed = Arc::new(AtomicBool::new(false));
    let healed = Arc::clone(&is_healed);
    let handler = TestHandler::new(move |delivery| {
        if delivery.event.player_id() == "held" && !healed.load(Ordering::SeqCst) {
            return Err(HandlerError::transient("the store is unavailable"));
        }
        Ok(Outcome::Applied)
    });
    let producer = Producer::new(&config).expect("a producer");
    let held = producer.publish(&place_bet("held", 1)).await.expect("published");
    let consumer = Running::start(&config, Group::Game, bets(handler.clone())).ready().await;
    let alert = testkit::eventually("the alert", DEADLINE, || async {
        let is_it = |kind: &str, item: &Value| kind == "event" && item["tags"]["error.class"] == "transient";
        receiver.items().into_iter().find(|(kind, item)| is_it(kind, item))
    });
    let (_, alert) = alert.await;
    assert_eq!(alert["tags"]["messaging.destination.name"], Topic::BetsCommands.name());
    assert!(alert["exception"].to_string().contains("the store is unavailable"), "{alert:#}");
    for number in 0..20 {
        producer.publish(&place_bet(&format!("other-{number}"), 1)).await.expect("published");
    }
    testkit::eventually("the other keys to be handled", DEADLINE, || async {
        let others = handler.ids().iter().filter(|id| id.starts_with("other")).count();
        (others == 20).then_some(())
    })
    .await;
    consumer.stop().await.expect("a held record does not keep the process from stopping");
    let partition = (Topic::BetsCommands.name().to_owned(), held.partition);
    let committed = committed(&config, Group::Game).expect("committed offsets");
    assert_eq!(held.offset, 0);
    assert_eq!(committed.get(&partition).copied().unwrap_or(0), 0, "the held record's offset was passed");
    assert!(committed.values().sum::<i64>() > 0, "others were committed: {committed:?}");

    is_healed.store(true, Ordering::SeqCst);
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    committed_reaches(&config, Group::Game, 21).await;
    assert!(handler.seen().iter().any(|seen| seen.event.id.as_str() == "held-1" && seen.attempt == 1));
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fatal_error_stops_and_record_is_redelivered() {
    let config = broker_for(Group::Game).await;
    let handler = TestHandler::new(|_| Err(HandlerError::fatal("the ledger contradicts itself")));
    let producer = Producer::new(&config).expect("a producer");
    producer.publish(&place_bet("p", 1)).await.expect("published");
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    match consumer.ended().await {
        Err(ConsumerError::Handler { source, offset: 0, .. }) => {
            assert_eq!(source.to_string(), "the ledger contradicts itself");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(committed_sum(&config, Group::Game), 0);
    let handler = TestHandler::all();
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    assert_eq!(handler.wait_for(1).await[0].event.id.as_str(), "p-1");
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_waits_for_its_dead_letter() {
    let config = quick(bus::Config { message_timeout_ms: 700, ..namespace() });
    let mut specs = specs_for(Group::Game);
    let dead_letters: Vec<_> = specs.extract_if(.., |spec| spec.name.contains(".dlq.")).collect();
    bus::admin::ensure_topics(&config, &specs).await.expect("topics can be created");

    let handler = TestHandler::new(|_| Err(HandlerError::poison("never")));
    // Only the publish of the dead letter must be given up early
    let long_timeout = bus::Config { message_timeout_ms: 30_000, ..config.clone() };
    let producer = Producer::new(&long_timeout).expect("a producer");
    producer.publish(&place_bet("p", 1)).await.expect("published");
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    handler.wait_for(1).await;
    tokio::time::sleep(std::time::Duration::from_millis(2_000)).await; // long enough for publishes to be given up
    assert_eq!(committed_sum(&config, Group::Game), 0, "passed without a dead letter");

    bus::admin::ensure_topics(&config, &dead_letters).await.expect("topics can be created");
    committed_reaches(&config, Group::Game, 1).await;
    assert_eq!(handler.seen().len(), 1, "poison is not handled twice");
    let kept = crate::support::stored(&config, &dead_letters[0].name, 1).await;
    assert_eq!(kept[0].header("ce_id").as_deref(), Some("p-1"));
    consumer.stop().await.expect("stops in order");
}
