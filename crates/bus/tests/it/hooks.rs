//! Hooks: a record that is delayed, and one that is redelivered. The traces need a process of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bus::{HandlerError, HookAction, Outcome, Producer, Record, RecordHook};
use contracts::Group;
use serde_json::Value;

use crate::support::{
    DEADLINE, Running, TestHandler, bets, broker_for, committed_reaches, committed_sum, place_bet,
    run_scenario,
};

const DELAY: Duration = Duration::from_millis(400);

/// Chooses the action by the player, and counts its calls.
#[derive(Default)]
struct ByPlayer {
    calls: AtomicUsize,
}

impl RecordHook for ByPlayer {
    fn before(&self, record: &Record) -> HookAction {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match record.key.as_deref() {
            Some(b"slow") => HookAction { delay: Some(DELAY), repeat: false },
            Some(b"stuck") => HookAction { delay: Some(DEADLINE * 10), repeat: false },
            _ => HookAction { delay: None, repeat: true },
        }
    }
}

#[test]
fn redelivered_record_is_a_second_transaction() {
    run_scenario("hooks::scenario");
}

#[test]
#[ignore = "the process of the test above"]
fn scenario() {
    let Some(receiver) = crate::support::scenario(|_| handle_with_hook()) else { return };
    let items = receiver.items();
    let processed = |id: &str| -> Vec<&Value> {
        let traces = items.iter().filter(|(kind, _)| kind == "transaction");
        let traces = traces.map(|(_, payload)| &payload["contexts"]["trace"]);
        traces.filter(|t| t["op"] == "queue.process" && t["data"]["messaging.message.id"] == id).collect()
    };
    let twice = processed("twice-1");
    assert_eq!(twice.len(), 2, "{twice:#?}");
    assert_eq!(twice[0]["parent_span_id"], twice[1]["parent_span_id"], "both below the same publish");
    let mut outcomes: Vec<&str> =
        twice.iter().filter_map(|trace| trace["data"]["pitboss.outcome"].as_str()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["applied", "duplicate"]);
    assert_eq!(processed("poison-1").len(), 1);
}

async fn handle_with_hook() {
    let config = broker_for(Group::Game).await;
    let applied = std::sync::Mutex::new(std::collections::BTreeSet::new());
    let handler = TestHandler::new(move |delivery| {
        if delivery.event.player_id() == "poison" {
            return Err(HandlerError::poison("never"));
        }
        let is_new = applied.lock().expect("not poisoned").insert(delivery.event.id.to_string());
        Ok(if is_new { Outcome::Applied } else { Outcome::Duplicate })
    });
    let producer = Producer::new(&config).expect("a producer");
    let began = Instant::now();
    for event in [place_bet("twice", 1), place_bet("twice", 2), place_bet("slow", 1), place_bet("poison", 1)]
    {
        producer.publish(&event).await.expect("published");
    }
    let hook = Arc::new(ByPlayer::default());
    let consumer = Running::start_with_hook(&config, Group::Game, bets(handler.clone()), hook.clone());
    committed_reaches(&config, Group::Game, 4).await;
    consumer.stop().await.expect("stops in order");
    let of = |player: &str| {
        let seen = handler.seen().into_iter().filter(|seen| seen.event.player_id() == player);
        seen.map(|seen| (seen.event.id.to_string(), seen.attempt)).collect::<Vec<_>>()
    };
    let expected = [("twice-1", 1), ("twice-1", 1), ("twice-2", 1), ("twice-2", 1)];
    assert_eq!(of("twice"), expected.map(|(id, attempt)| (id.to_owned(), attempt)));
    assert_eq!((of("slow").len(), of("poison").len()), (1, 1), "only a handled record is redelivered");
    assert!(began.elapsed() >= DELAY);
    assert_eq!(hook.calls.load(Ordering::SeqCst), 4, "once for each record");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_record_is_given_back_at_a_stop() {
    let config = broker_for(Group::Game).await;
    let handler = TestHandler::all();
    let producer = Producer::new(&config).expect("a producer");
    producer.publish(&place_bet("stuck", 1)).await.expect("published");
    let hook = Arc::new(ByPlayer::default());
    let consumer = Running::start_with_hook(&config, Group::Game, bets(handler.clone()), hook.clone());
    testkit::eventually("the delay to begin", DEADLINE, || async {
        (hook.calls.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;
    consumer.stop().await.expect("a delay does not keep the process from stopping");
    assert_eq!((handler.seen().len(), committed_sum(&config, Group::Game)), (0, 0));
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    assert_eq!(handler.wait_for(1).await[0].event.id.as_str(), "stuck-1");
    consumer.stop().await.expect("stops in order");
}
