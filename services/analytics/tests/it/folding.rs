//! Tests that the figures are a fold of the events, and that a replay changes nothing.

use contracts::Event;
use store::bson::{DateTime, Document, doc};

use crate::harness::{Platform, TIMEOUT, config, deposit_failed, deposited, rejected, settled};

/// Builds thirty bets of a few players, some of them won, and some payments.
fn history() -> Vec<Event> {
    let mut events = Vec::new();
    for n in 0..30 {
        let player = format!("player-{}", n % 4);
        events.push(settled(&player, 100, if n % 3 == 0 { 250 } else { 0 }));
    }
    events.extend([rejected("player-0"), rejected("player-1")]);
    events.extend((0..3).map(|_| deposited("player-2", 1_000)));
    events.push(deposit_failed("player-3"));
    events
}

/// Asserts that a replay changes neither the stored facts nor the sums of the rollups.
async fn assert_replay_changes_nothing(replayed: impl Fn(&[Event]) -> Vec<Event>) {
    let platform = Platform::start(config()).await;
    let events = history();
    platform.publish(&events).await;
    // Payments are on another topic and may arrive one fetch later than the bets.
    platform.facts(events.len()).await;
    platform.summary(30).await;
    platform.until_clean().await;
    let before = platform.stored().await;
    assert!(before.len() > 36, "nothing was stored");

    platform.publish(&replayed(&events)).await;
    // One more bet per player. When it is counted, all earlier records of the player have been handled.
    let markers: Vec<Event> = (0..4).map(|n| settled(&format!("player-{n}"), 1, 0)).collect();
    platform.publish(&markers).await;
    testkit::eventually("the markers", TIMEOUT, || async {
        let facts = platform.mongo.collection::<Document>("facts");
        (facts.count(doc! { "in_minor": 1_i64 }).await.unwrap() == 4).then_some(())
    })
    .await;
    platform.until_clean().await;
    let facts_before = before.iter().filter(|document| document.contains_key("kind"));
    let after = platform.stored().await;
    let facts_after =
        after.iter().filter(|d| d.contains_key("kind") && d.get_i64("in_minor").ok() != Some(1));
    assert_eq!(
        facts_before.collect::<Vec<_>>(),
        facts_after.collect::<Vec<_>>(),
        "a replay changed the facts"
    );
    let summary = platform.summary(34).await;
    assert_eq!(summary["games"][0]["stake_minor"], 3_004, "a replay changed the rollups");
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_changes_nothing() {
    assert_replay_changes_nothing(<[Event]>::to_vec).await;
}

/// Negative test: when the same events are counted under other ids, the check has to fail.
#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "a replay changed")]
async fn event_counted_twice_is_detected() {
    let renumbered = |events: &[Event]| {
        let fresh = |event: &Event| Event { id: testkit::unique("replay").parse().unwrap(), ..event.clone() };
        events.iter().map(fresh).collect()
    };
    assert_replay_changes_nothing(renumbered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn summary_has_rtp_volume_and_payments() {
    let platform = Platform::start(config()).await;
    platform.publish(&history()).await;
    let summary = platform.summary(30).await;
    let game = &summary["games"][0];
    assert_eq!((game["game"].as_str(), game["currency"].as_str()), (Some("slots"), Some("EUR")));
    assert_eq!((game["stake_minor"].as_i64(), game["payout_minor"].as_i64()), (Some(3_000), Some(2_500)));
    assert_eq!(game["rtp_ppm"], 833_333);
    let summary = testkit::eventually("payments and rejections", TIMEOUT, || async {
        let (_, summary) = platform.get("/api/v1/summary?hours=2").await;
        (summary["payments"][0]["failed"] == 1
            && summary["games"][0]["rejected"] == 2
            && summary["payments"][0]["completed"] == 3)
            .then_some(summary)
    })
    .await;
    assert_eq!(summary["payments"][0]["deposited_minor"], 3_000);
    assert_eq!(summary["payments"][0]["success_ppm"], 750_000);
    assert_eq!(summary["active_players"], 4);
    let (status, problem) = platform.get("/api/v1/summary?hours=0").await;
    assert_eq!((status, &problem["type"]), (400, &"/problems/bad-request".into()));
}

/// A process stored a fact, marked its bucket, and died before the recompute.
#[tokio::test(flavor = "multi_thread")]
async fn marks_of_dead_process_are_taken_over() {
    let config = config();
    let mongo = store::mongo::Mongo::connect(&config.mongo).await.unwrap();
    let now = DateTime::now();
    let slot_s = now.timestamp_millis() / 10_000 * 10;
    let fact = doc! {
        "_id": "left-behind", "kind": "bet_settled", "at": now, "slot_s": slot_s, "game": "slots", "currency": "EUR",
        "player_id": "p", "in_minor": 100_i64, "out_minor": 50_i64,
    };
    mongo.collection::<Document>("facts").insert_one(&fact).await.unwrap();
    let long_ago = DateTime::from_millis(now.timestamp_millis() - 3_600_000);
    let mark = doc! {
        "_id": "dead/1/slot", "marked_at": long_ago, "start_s": slot_s, "game": "slots", "currency": "EUR",
    };
    mongo.collection::<Document>("dirty").insert_one(&mark).await.unwrap();

    let platform = Platform::start(config).await;
    let summary = platform.summary(1).await;
    assert_eq!(summary["games"][0]["payout_minor"], 50);
    platform.until_clean().await;
}
