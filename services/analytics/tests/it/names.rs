//! Tests that all game names typed by clients share one bucket and one label.

use contracts::{Event, RejectReason};
use store::bson::{Document, doc};
use testkit::metrics::series;

use crate::harness::{Platform, TIMEOUT, config, rejected_in, settled};

const NAMES: i64 = 300;

#[tokio::test(flavor = "multi_thread")]
async fn unknown_games_share_bucket_and_label() {
    let platform = Platform::start(config()).await;
    let bet = settled("player", 100, 0);
    let at = bet.time;
    let typed = |n| {
        let name = format!("{}-{n}", testkit::unique("game").split_at(20).0);
        Event { time: at, ..rejected_in(&name, "player", RejectReason::UnknownGame) }
    };
    platform.publish(&(0..NAMES).map(typed).collect::<Vec<_>>()).await;
    platform.publish(&[bet]).await;
    let summary = testkit::eventually("all rejections in the summary", TIMEOUT, || async {
        let (_, summary) = platform.get("/api/v1/summary").await;
        (summary["games"][1]["rejected"] == NAMES).then_some(summary)
    })
    .await;
    let names: Vec<_> = summary["games"].as_array().unwrap().iter().map(|game| &game["game"]).collect();
    assert_eq!(names, ["slots", "unknown"]);
    platform.until_clean().await;
    let rollups = platform.mongo.collection::<Document>("rollups").count(doc! {}).await.unwrap();
    assert_eq!(rollups, 6, "three levels of two games");
    let metrics = platform.metrics().await;
    let reason = [("reason", RejectReason::UnknownGame.as_str_name())];
    let rejected = series(&metrics, "pitboss_bets_rejected_total", &reason);
    assert!(rejected.len() == 1 && rejected[0].0.contains("game=\"unknown\""), "{rejected:?}");
}

/// An older build made one rollup for each name that clients had typed. These are more than one response used to hold.
#[tokio::test(flavor = "multi_thread")]
async fn old_buckets_of_unknown_games_are_summed() {
    const OLD: i64 = 25_000;
    let platform = Platform::start(config()).await;
    platform.publish(&[settled("player", 100, 50)]).await;
    platform.summary(1).await;
    platform.until_clean().await;
    let rollups = platform.mongo.collection::<Document>("rollups");
    let hour = rollups.find_one(doc! { "level": "hour" }).await.unwrap().unwrap();
    let old = |n: i64| {
        let mut rollup = hour.clone();
        let game = format!("a-{n}");
        rollup.extend(doc! { "_id": format!("old/{game}"), "game": game, "bets": 0_i64, "rejected": 1_i64 });
        rollup.extend(doc! { "stake_minor": 0_i64, "payout_minor": 0_i64 });
        rollup
    };
    let all: Vec<Document> = (0..OLD).map(old).collect();
    rollups.insert_many_unordered(&all).await.unwrap();
    let summary = platform.summary(1).await;
    let games = summary["games"].as_array().unwrap();
    assert_eq!(games.len(), 2);
    assert_eq!((&games[0]["game"], &games[0]["payout_minor"]), (&"slots".into(), &50.into()));
    assert_eq!((&games[1]["game"], &games[1]["rejected"]), (&"unknown".into(), &OLD.into()));
}
