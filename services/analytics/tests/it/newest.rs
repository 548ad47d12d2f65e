//! Tests that a rollup ends as the sum of all facts of its bucket, even if the store or another process interferes.

use analytics::domain::bucket::Level;
use contracts::Event;
use store::bson::{Document, doc};
use time::Duration;

use crate::harness::{Platform, config, settled};

/// Number of bets that another process summed from facts that this process has not seen.
const NEWER: i64 = 100;

impl Platform {
    /// Returns the bets in the only rollup of that level in the event's hour.
    async fn bets(&self, level: Level, event: &Event) -> i64 {
        let rollups = self.mongo.collection::<Document>("rollups");
        let found = rollups.find(of_hour(level, event), doc! {}, 10).await.unwrap();
        assert_eq!(found.len(), 1, "{level:?}: {found:?}");
        found[0].get_i64("bets").unwrap()
    }

    async fn change_rollup(&self, level: Level, event: &Event, change: Document) {
        let rollups = self.mongo.collection::<Document>("rollups");
        assert_eq!(rollups.update_many(of_hour(level, event), change).await.unwrap(), 1, "{level:?}");
    }
}

fn of_hour(level: Level, event: &Event) -> Document {
    let hour_s = Level::Hour.start_s(event.time.unix_timestamp() * 1_000);
    let within = doc! { "$gte": hour_s, "$lt": hour_s + Level::Hour.length_s() };
    doc! { "level": level.as_str(), "start_s": within }
}

/// Builds one bet in the same slot of each of the last hours.
fn one_bet_an_hour(slot_of: &Event, hours: i64) -> Vec<Event> {
    let at = |n| slot_of.time - Duration::hours(n);
    (0..hours).map(|n| Event { time: at(n), ..settled("player", 100, 50) }).collect()
}

/// The store applied an insert without an answer, after the recompute. So no rollup includes the fact, and no mark exists. When
/// the record is redelivered, its fact is already stored.
#[tokio::test(flavor = "multi_thread")]
async fn fact_stored_without_response_is_rolled_up() {
    let platform = Platform::start(config()).await;
    let bet = settled("player", 100, 50);
    platform.publish(std::slice::from_ref(&bet)).await;
    platform.summary(1).await;
    platform.until_clean().await;
    platform.mongo.collection::<Document>("rollups").delete_many(doc! {}).await.unwrap();

    platform.publish(std::slice::from_ref(&bet)).await;
    let summary = platform.summary(1).await;
    assert_eq!(summary["games"][0]["payout_minor"], 50);
    for level in Level::ALL {
        assert_eq!(platform.bets(level, &bet).await, 1, "{level:?}");
    }
}

/// Another process stored a newer sum while this process was paused between its own sum and its put.
#[tokio::test(flavor = "multi_thread")]
async fn older_sum_never_replaces_newer_sum() {
    let platform = Platform::start(config()).await;
    let first = one_bet_an_hour(&settled("player", 1, 0), 3);
    platform.publish(&first).await;
    platform.facts(3).await;
    platform.until_clean().await;
    for (level, bet) in Level::ALL.into_iter().zip(&first) {
        platform.change_rollup(level, bet, doc! { "$set": { "bets": NEWER, "facts": NEWER } }).await;
    }

    platform.publish(&one_bet_an_hour(&first[0], 3)).await;
    // A mark is made before its fact and deleted after the recompute, so without marks every sum was stored.
    platform.facts(6).await;
    platform.until_clean().await;
    for (newer, bet) in Level::ALL.into_iter().zip(&first) {
        for level in Level::ALL {
            let bets = platform.bets(level, bet).await;
            let expected = if level < newer { 2 } else { NEWER };
            assert_eq!(bets, expected, "{level:?}, where another process had stored the {newer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rollup_without_fact_count_is_replaced() {
    let platform = Platform::start(config()).await;
    let bet = settled("player", 100, 50);
    platform.publish(std::slice::from_ref(&bet)).await;
    platform.summary(1).await;
    platform.until_clean().await;
    for level in Level::ALL {
        platform.change_rollup(level, &bet, doc! { "$unset": { "facts": "" } }).await;
    }
    platform.summary(1).await;

    let second = Event { time: bet.time, ..settled("player", 100, 50) };
    platform.publish(&[second]).await;
    platform.facts(2).await;
    platform.until_clean().await;
    for level in Level::ALL {
        assert_eq!(platform.bets(level, &bet).await, 2, "{level:?}");
    }
}
