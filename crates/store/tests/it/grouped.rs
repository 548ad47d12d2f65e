//! Inserts of many callers in one command.

use std::time::Duration;

use bson::doc;
use futures::future::join_all;
use store::StoreError;
use store::mongo::{Collection, Config, Mongo};

use super::documents::{Counter, counter, counters};

#[tokio::test]
async fn each_caller_learns_about_its_own_document() {
    let (mongo, counters) = counters().await;
    let is_taken = |number: usize| number % 10 == 3;
    let ids: Vec<String> = (0..100).map(|number| format!("counter-{number}")).collect();
    for (_, id) in ids.iter().enumerate().filter(|(number, _)| is_taken(*number)) {
        counters.insert_one(&counter(id)).await.unwrap();
    }
    let clone = counters.clone();
    let inserts = ids.iter().enumerate().map(|(number, id)| {
        let collection = if number % 2 == 0 { &counters } else { &clone };
        async move { collection.insert_grouped(&counter(id)).await }
    });
    for (number, result) in join_all(inserts).await.iter().enumerate() {
        let is_duplicate = result.as_ref().is_err_and(StoreError::is_duplicate_key);
        let expected = (!is_taken(number), is_taken(number));
        assert_eq!((result.is_ok(), is_duplicate), expected, "{number}: {result:?}");
    }
    assert_eq!(counters.count(doc! {}).await.unwrap(), 100);
    mongo.drop_database().await.unwrap();
}

#[tokio::test]
async fn equal_documents_are_inserted_once() {
    let (mongo, counters) = counters().await;
    let same = counter("same");
    let results = join_all((0..20).map(|_| counters.insert_grouped(&same))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let mut others = results.iter().filter_map(|result| result.as_ref().err());
    assert!(others.all(StoreError::is_duplicate_key), "{results:?}");
    mongo.drop_database().await.unwrap();
}

#[tokio::test]
async fn grouped_insert_is_transient_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("mongodb://{}/?directConnection=true", silent.local_addr().unwrap());
    let config = Config {
        server_selection_timeout_ms: 600_000,
        operation_timeout_ms: 300,
        ..Config::new(uri.as_str(), "gone")
    };
    let counters: Collection<Counter> = Mongo::open(&config).await.unwrap().collection("counters");
    let (first, second) = (counter("first"), counter("second"));
    let inserts = join_all([counters.insert_grouped(&first), counters.insert_grouped(&second)]);
    let results = tokio::time::timeout(Duration::from_secs(25), inserts).await.expect("in time");
    for result in results {
        assert!(matches!(&result, Err(StoreError::Transient { .. })), "{result:?}");
    }
}
