//! Tests that damaged documents and documents of another build are left out and stop nothing.

use store::bson::{DateTime, Document, doc};

use crate::harness::{Platform, TIMEOUT, config, settled};

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_documents_are_skipped() {
    let config = config();
    let mongo = store::mongo::Mongo::connect(&config.mongo).await.unwrap();
    let now = DateTime::now();
    let (slot_s, long_ago) = (now.timestamp_millis() / 10_000 * 10, DateTime::from_millis(0));
    let hour_s = slot_s / 3_600 * 3_600;
    let facts = mongo.collection::<Document>("facts");
    let fact = doc! {
        "_id": "readable", "kind": "bet_settled", "at": now, "slot_s": slot_s, "game": "slots", "currency": "EUR",
        "player_id": "p", "in_minor": 100_i64, "out_minor": 50_i64,
    };
    let mut unknown_kind = fact.clone();
    unknown_kind.extend(doc! { "_id": "newer", "kind": "jackpot_won", "in_minor": "many" });
    facts.insert_many_unordered(&[fact, unknown_kind]).await.unwrap();
    let rollups = mongo.collection::<Document>("rollups");
    let damaged = doc! {
        "_id": "damaged", "level": "hour", "start_s": hour_s, "game": 7, "currency": "BTC", "bets": "many",
    };
    rollups.insert_one(&damaged).await.unwrap();
    let marks = mongo.collection::<Document>("dirty");
    let mark = doc! {
        "_id": "dead/1/slot", "marked_at": long_ago, "start_s": slot_s, "game": "slots", "currency": "EUR",
    };
    let unreadable = doc! { "_id": "newer/1/slot", "marked_at": long_ago, "start_s": "now", "shard": 3 };
    marks.insert_many_unordered(&[unreadable, mark]).await.unwrap();

    let platform = Platform::start(config).await;
    let summary = platform.summary(1).await;
    assert_eq!(summary["games"][0]["payout_minor"], 50);
    testkit::eventually("the readable mark to go", TIMEOUT, || async {
        (marks.count(doc! { "_id": "dead/1/slot" }).await.unwrap() == 0).then_some(())
    })
    .await;
    assert_eq!(
        marks.count(doc! { "_id": "newer/1/slot" }).await.unwrap(),
        1,
        "kept for the build that can read it"
    );
    platform.publish(&[settled("player", 100, 50)]).await;
    platform.summary(2).await;
}
