//! Documents: compare-and-set, unique keys, bulk updates, sessions, time-outs.

use std::time::Duration;

use bson::doc;
use contracts::class::{Classify as _, ErrorClass};
use serde::{Deserialize, Serialize};
use store::StoreError;
use store::mongo::{Collection, Config, Index, Inserted, Mongo};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counter {
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) version: i64,
    tail: Vec<i64>,
}

pub(crate) fn counter(id: &str) -> Counter {
    Counter { id: id.into(), version: 0, tail: Vec::new() }
}

pub(crate) async fn counters() -> (Mongo, Collection<Counter>) {
    let mongo = Mongo::connect(&testkit::long_timeouts::mongo("store")).await.expect("a server");
    let collection = mongo.collection("counters");
    (mongo, collection)
}

#[tokio::test]
async fn one_compare_and_set_per_version_wins() {
    let (mongo, counters) = counters().await;
    counters.insert_one(&counter("a")).await.unwrap();
    for version in 0..5_i64 {
        let tries = (0..16).map(|_| {
            counters
                .update_one(doc! { "_id": "a", "version": version }, doc! { "$inc": { "version": 1_i64 } })
        });
        let matched: u64 =
            futures::future::join_all(tries).await.into_iter().map(|count| count.unwrap()).sum();
        assert_eq!(matched, 1, "version {version}");
    }
    assert_eq!(counters.find_one(doc! { "_id": "a" }).await.unwrap().unwrap().version, 5);
    mongo.drop_database().await.unwrap();
}

#[tokio::test]
async fn duplicate_keys_are_reported_and_counted() {
    let (mongo, counters) = counters().await;
    counters
        .ensure_index(Index::on(doc! { "version": 1 }).unique().partial(doc! { "version": { "$gt": 0 } }))
        .await
        .unwrap();
    counters
        .ensure_index(Index::on(doc! { "version": 1 }).unique().partial(doc! { "version": { "$gt": 0 } }))
        .await
        .unwrap();
    counters.insert_one(&counter("a")).await.unwrap();
    let error = counters.insert_one(&counter("a")).await.unwrap_err();
    assert!(error.is_duplicate_key(), "{error}");
    counters.insert_one(&counter("b")).await.expect("outside the partial index");
    let answer = counters.insert_many_unordered(&[counter("a"), counter("c"), counter("d")]).await.unwrap();
    assert_eq!(answer, Inserted { inserted: 2, duplicates: 1 });
    mongo.drop_database().await.unwrap();
}

#[tokio::test]
async fn bulk_pipelines_remove_only_listed_values() {
    let (mongo, counters) = counters().await;
    for id in ["a", "b"] {
        counters.insert_one(&Counter { tail: vec![1, 2, 3, 4], ..counter(id) }).await.unwrap();
    }
    let keep = |removed: [i64; 2]| {
        let filtered = doc! { "$filter": { "input": "$tail", "cond": { "$not": [{ "$in": ["$$this", removed.to_vec()] }] } } };
        vec![doc! { "$set": { "tail": filtered } }]
    };
    let updates =
        vec![(doc! { "_id": "a" }, keep([1, 2]).into()), (doc! { "_id": "b" }, keep([4, 9]).into())];
    assert_eq!(counters.update_bulk(updates).await.unwrap(), 2);
    assert_eq!(counters.find_one(doc! { "_id": "a" }).await.unwrap().unwrap().tail, [3, 4]);
    assert_eq!(counters.find_one(doc! { "_id": "b" }).await.unwrap().unwrap().tail, [1, 2, 3]);
    mongo.drop_database().await.unwrap();
}

#[tokio::test]
async fn session_reads_are_causal_and_sorted() {
    let (mongo, counters) = counters().await;
    let mut session = mongo.causal_session().await.unwrap();
    assert!(counters.find_one_in(&mut session, doc! { "_id": "a" }).await.unwrap().is_none());
    for (id, version) in [("a", 3), ("b", 1), ("c", 2)] {
        counters.insert_one(&Counter { version, ..counter(id) }).await.unwrap();
    }
    assert!(counters.find_one_in(&mut session, doc! { "_id": "a" }).await.unwrap().is_some());
    let two = counters.find(doc! {}, doc! { "version": -1 }, 2).await.unwrap();
    assert_eq!(two.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    let sum = vec![doc! { "$group": { "_id": null, "sum": { "$sum": "$version" } } }];
    let sums = counters.aggregate(sum, 10).await.unwrap();
    assert_eq!(sums[0].get_i64("sum").unwrap(), 6);
    mongo.drop_database().await.unwrap();
}

/// Tests each time-out alone. The other one is longer than this test waits.
#[tokio::test]
async fn unreachable_server_is_transient_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("mongodb://{}/?directConnection=true", silent.local_addr().unwrap());
    for (server_selection_timeout_ms, operation_timeout_ms, expected) in
        [(300, 600_000, "no server available"), (600_000, 300, "no answer within 300 ms")]
    {
        let config =
            Config { server_selection_timeout_ms, operation_timeout_ms, ..Config::new(uri.as_str(), "gone") };
        // Less than the half minute of the driver's default server selection.
        let connecting = tokio::time::timeout(Duration::from_secs(25), Mongo::connect(&config));
        let error = connecting.await.expect("in time").unwrap_err();
        assert_eq!(error.class(), ErrorClass::Transient);
        assert!(matches!(&error, StoreError::Transient { reason, .. } if reason == expected), "{error}");
    }
}

#[tokio::test]
async fn unreadable_documents_do_not_hide_others() {
    let (mongo, counters) = counters().await;
    let raw: Collection<bson::Document> = mongo.collection("counters");
    for n in 0..6_i64 {
        raw.insert_one(&doc! { "_id": format!("damaged-{n}"), "version": "many", "tail": [] }).await.unwrap();
    }
    for (id, version) in [("a", 1), ("b", 2), ("c", 3)] {
        counters.insert_one(&Counter { version, ..counter(id) }).await.unwrap();
    }
    // The unreadable documents sort first, and there are more of them than `limit`.
    let found = counters.find_readable(doc! {}, doc! { "version": -1 }, 2).await.unwrap();
    assert_eq!(found.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["c", "b"]);
    let one = counters.find_one(doc! { "_id": "damaged-1" }).await.unwrap_err();
    assert!(one.is_unreadable() && one.class() == ErrorClass::Poison, "{one}");
    assert!(!one.to_string().contains("many"), "a value of the document: {one}");
    let all = counters.find(doc! {}, doc! {}, 100).await.unwrap_err();
    assert!(all.is_unreadable(), "a decision that needs all documents must fail: {all}");
    mongo.drop_database().await.unwrap();
}

#[tokio::test]
async fn batches_return_each_match_once() {
    let (mongo, counters) = counters().await;
    for (id, version) in [("a", 1), ("b", 2), ("c", 2), ("d", 2), ("e", 2)] {
        counters.insert_one(&Counter { version, ..counter(id) }).await.unwrap();
    }
    let mut batches = counters.batches(doc! { "version": 2_i64 }, 2).await.unwrap();
    let (mut sizes, mut ids) = (Vec::new(), Vec::new());
    while let Some(batch) = batches.next().await.unwrap() {
        sizes.push(batch.len());
        ids.extend(batch.into_iter().map(|counter| counter.id));
    }
    ids.sort_unstable();
    assert_eq!((sizes, ids), (vec![2, 2], ["b", "c", "d", "e"].map(str::to_owned).to_vec()));
    assert!(batches.next().await.unwrap().is_none(), "the end stays the end");
    mongo.drop_database().await.unwrap();
}

#[tokio::test]
async fn ping_corrects_a_wrong_clock() {
    let mongo = Mongo::connect(&testkit::long_timeouts::mongo("store")).await.unwrap();
    let right = mongo.now().timestamp_millis();
    let wrong = mongo.with_clock_off_by(3_600_000);
    assert!(wrong.now().timestamp_millis() - right > 3_000_000);
    wrong.ping().await.unwrap();
    let corrected = wrong.now().timestamp_millis().abs_diff(right);
    assert!(corrected < 60_000, "{corrected} ms");
}
