//! Unreadable documents: what their errors reveal, and how many of them a list skips.

use store::bson::{Document, doc};
use store::mongo::Collection;

use crate::documents::{counter, counters};

#[tokio::test]
async fn secret_ids_appear_in_no_error() {
    let (mongo, counters) = counters().await;
    let raw: Collection<Document> = mongo.collection("counters");
    raw.insert_one(&doc! { "_id": "the-secret", "version": "many" }).await.unwrap();
    for (counters, is_shown) in [(counters.clone(), true), (counters.with_secret_ids().clone(), false)] {
        let error = counters.find_one(doc! { "_id": "the-secret" }).await.unwrap_err();
        assert!(error.is_unreadable(), "{error}");
        assert_eq!(format!("{error:?} {error}").contains("the-secret"), is_shown, "{error:?}");
    }
    mongo.drop_database().await.unwrap();
}

/// The bound of one read: a document after that many unreadable ones is not read.
#[tokio::test]
async fn list_skips_at_most_ten_thousand_unreadable() {
    let (mongo, counters) = counters().await;
    let raw: Collection<Document> = mongo.collection("counters");
    let numbers: Vec<i64> = (0..10_000).collect();
    for chunk in numbers.chunks(1_000) {
        let damaged: Vec<Document> =
            chunk.iter().map(|n| doc! { "_id": format!("damaged-{n}"), "version": "many" }).collect();
        raw.insert_many_unordered(&damaged).await.unwrap();
    }
    for id in ["a", "z"] {
        counters.insert_one(&counter(id)).await.unwrap();
    }
    let found = counters.find_readable(doc! {}, doc! { "_id": 1 }, 5_000).await.unwrap();
    assert_eq!(found.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["a"]);
    raw.delete_one(doc! { "_id": "damaged-0" }).await.unwrap();
    let found = counters.find_readable(doc! {}, doc! { "_id": 1 }, 5_000).await.unwrap();
    assert_eq!(found.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["a", "z"]);
    mongo.drop_database().await.unwrap();
}
