//! Test with more games and currencies than one response may hold.

use analytics::domain::bucket::Level;
use store::bson::{DateTime, Document, doc};

use crate::harness::{Platform, config};

/// Maximum number of groups in one response.
const GROUPS_MAX: i64 = 1_000;

/// Builds the rollup of that hour for the n-th currency.
fn rollup(hour_s: i64, n: i64) -> Document {
    let currency = format!("C{n}");
    doc! {
        "_id": format!("hour/{hour_s}/slots/{currency}"), "level": "hour", "start_s": hour_s, "game": "slots",
        "currency": currency, "facts": 1_i64, "bets": 1_i64, "stake_minor": 100_i64, "payout_minor": 50_i64,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_groups_are_an_error() {
    let config = config();
    let mongo = store::mongo::Mongo::connect(&config.mongo).await.unwrap();
    let rollups = mongo.collection::<Document>("rollups");
    let hour_s = Level::Hour.start_s(DateTime::now().timestamp_millis());
    let all: Vec<Document> = (0..GROUPS_MAX).map(|n| rollup(hour_s, n)).collect();
    rollups.insert_many_unordered(&all).await.unwrap();
    let platform = Platform::start(config).await;
    let (status, summary) = platform.get("/api/v1/summary").await;
    assert_eq!((status, summary["games"].as_array().map(Vec::len)), (200, Some(all.len())));

    rollups.insert_one(&rollup(hour_s, GROUPS_MAX)).await.unwrap();
    let (status, problem) = platform.get("/api/v1/summary").await;
    assert_eq!((status, &problem["type"]), (500, &"/problems/internal".into()));
    assert!(problem.get("games").is_none(), "{problem}");
}
