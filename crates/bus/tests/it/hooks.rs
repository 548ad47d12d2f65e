//! Hooks: a record that is delayed, redelivered, stalled, crashed, or made to fail. The traces need a process of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bus::{ConsumerError, HandlerError, HookAction, Outcome, Producer, Record, RecordHook};
use contracts::{Group, Topic, headers};
use serde_json::Value;

use crate::support::{
    DEADLINE, Running, TestHandler, beside, bets, broker_for, committed_reaches, committed_sum, place_bet,
    players_in, preference, preferences, publish_all, stored,
};

const DELAY: Duration = Duration::from_millis(400);

/// Chooses the action by the player, and counts its calls.
#[derive(Default)]
struct ByPlayer {
    calls: AtomicUsize,
}

impl RecordHook for ByPlayer {
    fn before(&self, record: &Record, _: bool) -> HookAction {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match record.key.as_deref() {
            Some(b"slow") => HookAction { delay: Some(DELAY), ..HookAction::default() },
            Some(b"stuck") => HookAction { delay: Some(DEADLINE * 10), ..HookAction::default() },
            _ => HookAction { repeat: true, ..HookAction::default() },
        }
    }
}

#[test]
fn redelivered_record_is_a_second_transaction() {
    testkit::scenario::run("hooks::scenario");
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

/// Stalls one partition, as long as it is told to.
struct StalledPartition {
    partition: i32,
    is_stalled: AtomicBool,
    stalled: AtomicUsize,
}

impl RecordHook for StalledPartition {
    fn before(&self, record: &Record, _: bool) -> HookAction {
        let stall = self.stalls(&record.topic, record.partition);
        self.stalled.fetch_add(usize::from(stall), Ordering::SeqCst);
        HookAction { stall, ..HookAction::default() }
    }

    fn stalls(&self, _: &str, partition: i32) -> bool {
        partition == self.partition && self.is_stalled.load(Ordering::SeqCst)
    }
}

/// More records stall than there are lanes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_partition_holds_no_other() {
    const EACH: usize = 20;
    let config = bus::Config { lanes: 4, ..broker_for(Group::Game).await };
    let producer = Producer::new(&config).expect("a producer");
    let events: Vec<_> = players_in(1).take(EACH).chain(players_in(3).take(EACH)).collect();
    let events: Vec<_> = events.iter().map(|player| place_bet(player, 1)).collect();
    publish_all(&producer, &events).await;
    let hook = Arc::new(StalledPartition {
        partition: 1,
        is_stalled: AtomicBool::new(true),
        stalled: AtomicUsize::new(0),
    });
    let handler = TestHandler::all();
    let consumer = Running::start_with_hook(&config, Group::Game, bets(handler.clone()), hook.clone());
    testkit::eventually("the other partition to be handled and one record to stall", DEADLINE, || async {
        let is_over = handler.seen().len() == EACH && hook.stalled.load(Ordering::SeqCst) > 0;
        is_over.then_some(())
    })
    .await;
    assert!(handler.seen().iter().all(|seen| seen.partition == 3));
    assert_eq!(hook.stalled.load(Ordering::SeqCst), 1, "the others wait behind the first");
    hook.is_stalled.store(false, Ordering::SeqCst);
    committed_reaches(&config, Group::Game, i64::try_from(2 * EACH).expect("small")).await;
    consumer.stop().await.expect("stops in order");
}

/// Ends the process at a player's record, or makes the record fail.
struct AtPlayer(HookAction);

impl RecordHook for AtPlayer {
    fn before(&self, record: &Record, _: bool) -> HookAction {
        if record.key.as_deref() == Some(b"chosen") { self.0 } else { HookAction::default() }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_ends_consumer_and_redelivers() {
    let config = broker_for(Group::Game).await;
    let producer = Producer::new(&config).expect("a producer");
    producer.publish(&place_bet("chosen", 1)).await.expect("published");
    let handler = TestHandler::all();
    let hook = Arc::new(AtPlayer(HookAction { crash: true, ..HookAction::default() }));
    let consumer = Running::start_with_hook(&config, Group::Game, bets(handler.clone()), hook);
    match consumer.ended().await {
        Err(ConsumerError::Crashed { place }) => assert!(place.starts_with("casino.bets.commands.v1/")),
        other => panic!("{other:?}"),
    }
    assert_eq!((handler.seen().len(), committed_sum(&config, Group::Game)), (0, 0));
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    assert_eq!(handler.wait_for(1).await[0].event.id.as_str(), "chosen-1");
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failure_on_purpose_is_retried_once() {
    let config = bus::Config {
        retry_in_place_max: 2,
        retry_backoff_min_ms: 1,
        retry_topic_delay_ms: 100,
        ..broker_for(Group::Notification).await
    };
    let producer = Producer::new(&config).expect("a producer");
    let other = beside("chosen");
    for player in ["chosen", other.as_str()] {
        producer.publish(&preference(player, 1)).await.expect("published");
    }
    let handler = TestHandler::new(|delivery| {
        assert_eq!(delivery.record.is_retry(), delivery.event.player_id() == "chosen");
        Ok(Outcome::Applied)
    });
    let hook = Arc::new(AtPlayer(HookAction { fail: true, ..HookAction::default() }));
    let router = preferences(handler.clone());
    let consumer = Running::start_with_hook(&config, Group::Notification, router, hook);
    handler.wait_for(2).await;
    assert_eq!(handler.ids(), [format!("{other}-1"), "chosen-1".to_owned()]);
    consumer.stop().await.expect("stops in order");
    assert_eq!(handler.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_record_becomes_a_dead_letter() {
    let config = broker_for(Group::Notification).await;
    let producer = Producer::new(&config).expect("a producer");
    producer.publish(&preference("chosen", 1)).await.expect("published");
    let handler = TestHandler::all();
    let hook = Arc::new(AtPlayer(HookAction { reject: true, ..HookAction::default() }));
    let router = preferences(handler.clone());
    let consumer = Running::start_with_hook(&config, Group::Notification, router, hook);
    let letter = stored(&config, &Topic::PlayersEvents.dlq(Group::Notification), 1).await.remove(0);
    consumer.stop().await.expect("stops in order");
    assert_eq!(letter.header(headers::DLQ_ERROR_CLASS).as_deref(), Some("poison"));
    assert_eq!(letter.header(headers::DLQ_ERROR_MESSAGE).as_deref(), Some(bus::REJECTED_ON_PURPOSE));
    assert_eq!((letter.header(headers::DLQ_ATTEMPTS).as_deref(), handler.seen().len()), (Some("1"), 0));
}

/// Makes every record fail, and keeps for each call whether the record is in a retry topic and whether it can move.
#[derive(Default)]
struct Asked(std::sync::Mutex<Vec<(bool, bool)>>);

impl RecordHook for Asked {
    fn before(&self, record: &Record, can_move: bool) -> HookAction {
        self.0.lock().expect("not poisoned").push((record.is_retry(), can_move));
        HookAction { fail: true, ..HookAction::default() }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hook_knows_which_record_can_move() {
    let fast = |config| bus::Config {
        retry_in_place_max: 1,
        retry_backoff_min_ms: 1,
        retry_topic_delay_ms: 100,
        ..config
    };
    let notification = fast(broker_for(Group::Notification).await);
    let game = fast(broker_for(Group::Game).await);
    let handler = TestHandler::all();
    let (moved, stayed) = (Arc::new(Asked::default()), Arc::new(Asked::default()));
    let of_notification = Running::start_with_hook(
        &notification,
        Group::Notification,
        preferences(handler.clone()),
        moved.clone(),
    );
    let of_game = Running::start_with_hook(&game, Group::Game, bets(handler.clone()), stayed.clone());
    publish_all(&Producer::new(&notification).expect("a producer"), &[preference("p", 1)]).await;
    publish_all(&Producer::new(&game).expect("a producer"), &[place_bet("p", 1)]).await;
    handler.wait_for(2).await;
    of_notification.stop().await.expect("stops in order");
    of_game.stop().await.expect("stops in order");
    let asked = |hook: &Asked| hook.0.lock().expect("not poisoned").clone();
    assert_eq!(asked(&moved), [(false, true), (true, false)], "it moves once");
    assert_eq!(asked(&stayed), [(false, false)], "no record leaves a topic that decides about money");
}
