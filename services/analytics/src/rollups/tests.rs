//! Tests that marks are made and judged by the store's time, even if a process's clock is wrong.

use store::bson::{DateTime, doc};
use store::mongo::Mongo;

use super::*;
use crate::domain::fact::{Fact, Kind};

const HOUR_MS: i64 = 3_600_000;

async fn connected() -> Mongo {
    Mongo::connect(&testkit::long_timeouts::mongo("rollups")).await.unwrap()
}

/// Returns the rollups of a process that uses the store through `mongo` and takes over marks older than half an hour.
async fn rollups(mongo: &Mongo) -> Rollups {
    let config =
        RollupsConfig { interval_ms: 1_000, takeover_interval_ms: 1_000, takeover_after_ms: 1_800_000 };
    Rollups::new(Facts::open(mongo).await.unwrap(), config)
}

fn mark(id: &str, marked_at_ms: i64) -> DirtyMark {
    DirtyMark {
        id: id.to_owned(),
        marked_at: DateTime::from_millis(marked_at_ms),
        start_s: 0,
        game: "slots".to_owned(),
        currency: "EUR".to_owned(),
    }
}

/// The store's time differs from this process's clock by one hour, so the mark shows which clock was used.
#[tokio::test]
async fn mark_has_store_time() {
    let mongo = connected().await;
    let ahead = mongo.clone().with_clock_off_by(HOUR_MS);
    let rollups = rollups(&ahead).await;
    let fact = Fact {
        kind: Kind::BetSettled,
        at_ms: 0,
        player_id: "player".to_owned(),
        game: "slots".to_owned(),
        currency: "EUR".to_owned(),
        in_minor: 100,
        out_minor: 50,
    };
    let before = ahead.now();
    assert!(rollups.add(&FactDocument::new("event", &fact), &fact.bucket()).await.unwrap());
    let after = ahead.now();
    let made = mongo.collection::<DirtyMark>("dirty").find_one(doc! {}).await.unwrap().unwrap();
    assert!((before..=after).contains(&made.marked_at), "{before} to {after}: {}", made.marked_at);
    mongo.drop_database().await.unwrap();
}

/// The clock of the process that takes over is one hour ahead or behind.
#[tokio::test]
async fn wrong_clock_takes_over_only_old_marks() {
    for off_ms in [HOUR_MS, -HOUR_MS] {
        let mongo = connected().await;
        let marks = mongo.collection::<DirtyMark>("dirty");
        let now_ms = mongo.now().timestamp_millis();
        marks.insert_one(&mark("fresh", now_ms)).await.unwrap();
        marks.insert_one(&mark("old", now_ms - HOUR_MS * 3 / 4)).await.unwrap();
        let wrong = mongo.clone().with_clock_off_by(off_ms);
        rollups(&wrong).await.take_over().await.unwrap();
        let left = marks.find(doc! {}, doc! {}, 10).await.unwrap();
        let left: Vec<&str> = left.iter().map(|mark| mark.id.as_str()).collect();
        assert_eq!(left, ["fresh"], "off by {off_ms} ms");
        mongo.drop_database().await.unwrap();
    }
}
