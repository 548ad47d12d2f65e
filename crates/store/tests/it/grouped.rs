//! Inserts and reads of many callers in one command.

use std::time::Duration;

use bson::doc;
use futures::future::join_all;
use store::StoreError;
use store::mongo::{CausalTime, Collection, Config, Index, Mongo, ReadAt};

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

/// A collection on a server that never answers, and this server.
async fn silent() -> (Collection<Counter>, tokio::net::TcpListener) {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("mongodb://{}/?directConnection=true", silent.local_addr().expect("its address"));
    let config = Config {
        server_selection_timeout_ms: 600_000,
        operation_timeout_ms: 300,
        ..Config::new(uri.as_str(), "gone")
    };
    (Mongo::open(&config).await.expect("a client").collection("counters"), silent)
}

async fn found(counters: &Collection<Counter>, ids: &[&str]) -> Result<Vec<String>, StoreError> {
    let values = ids.iter().map(|id| (*id).to_owned()).collect();
    let ReadAt { documents, .. } = counters.find_grouped(values, CausalTime::default()).await?;
    let mut ids: Vec<String> = documents.into_iter().map(|counter| counter.id).collect();
    ids.sort_unstable();
    Ok(ids)
}

#[tokio::test]
async fn each_read_finds_its_own_documents() {
    let (mongo, counters) = counters().await;
    for number in 0..150 {
        counters.insert_one(&counter(&format!("counter-{number:03}"))).await.unwrap();
    }
    // More reads than one command has, of which every tenth has a second document, and every seventh none.
    let reads: Vec<Vec<String>> = (0..150)
        .map(|number| match number {
            _ if number % 7 == 3 => vec![format!("missing-{number}")],
            _ if number % 10 == 0 => vec![format!("counter-{number:03}"), "counter-149".to_owned()],
            _ => vec![format!("counter-{number:03}")],
        })
        .collect();
    let clone = counters.clone();
    let found = join_all(reads.iter().enumerate().map(|(number, ids)| {
        let collection = if number % 2 == 0 { &counters } else { &clone };
        async move {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            found(collection, &ids).await
        }
    }))
    .await;
    for (ids, found) in reads.iter().zip(found) {
        let expected: Vec<&String> = ids.iter().filter(|id| !id.starts_with("missing")).collect();
        assert_eq!(found.unwrap().iter().collect::<Vec<_>>(), expected);
    }
    mongo.drop_database().await.unwrap();
}

#[tokio::test]
async fn unreadable_document_fails_only_its_reader() {
    let (mongo, counters) = counters().await;
    counters.insert_one(&counter("a")).await.unwrap();
    let raw: Collection<bson::Document> = mongo.collection("counters");
    raw.insert_one(&doc! { "_id": "damaged", "version": "many", "tail": [] }).await.unwrap();
    let reads = [vec!["a"], vec!["damaged"], vec!["a", "damaged"], vec!["none"]];
    let [a, damaged, both, none] =
        <[_; 4]>::try_from(join_all(reads.iter().map(|ids| found(&counters, ids))).await).unwrap();
    assert_eq!((a.unwrap(), none.unwrap()), (vec!["a".to_owned()], vec![]));
    for unreadable in [damaged, both] {
        assert!(unreadable.as_ref().is_err_and(StoreError::is_unreadable), "{unreadable:?}");
    }
    mongo.drop_database().await.unwrap();
}

#[tokio::test]
async fn read_after_a_write_sees_it() {
    let (mongo, counters) = counters().await;
    counters.insert_one(&counter("a")).await.unwrap();
    let mut last = CausalTime::default();
    for version in 1..=20_i64 {
        let mut session = mongo.causal_session().await.unwrap();
        let change = doc! { "$set": { "version": version } };
        assert_eq!(counters.update_one_in(&mut session, doc! { "_id": "a" }, change).await.unwrap(), 1);
        let written = session.time();
        assert_ne!(written, CausalTime::default(), "the store is a replica set");
        let read = counters.find_grouped(vec!["a".to_owned()], written).await.unwrap();
        assert_eq!(read.documents.iter().map(|counter| counter.version).collect::<Vec<_>>(), [version]);
        assert!(read.time >= written && written >= last, "{last:?}, {written:?}, {:?}", read.time);
        last = read.time;
    }
    mongo.drop_database().await.unwrap();
}

#[tokio::test]
async fn reads_find_by_any_text_of_a_list() {
    let (mongo, _) = counters().await;
    let rows: Collection<bson::Document> = mongo.collection("rows").grouped_by("keys");
    rows.ensure_index(Index::on(doc! { "keys": 1 }).unique()).await.unwrap();
    for (id, keys) in [("a", vec!["1", "2"]), ("b", vec!["3"])] {
        rows.insert_one(&doc! { "_id": id, "keys": keys }).await.unwrap();
    }
    let keys = [vec!["2", "1"], vec!["4"], vec!["3", "2"]];
    let reads = keys.iter().map(|keys| {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        rows.find_grouped(keys, CausalTime::default())
    });
    let found: Vec<Vec<String>> = join_all(reads)
        .await
        .into_iter()
        .map(|read| {
            let rows = read.unwrap().documents;
            let mut ids: Vec<String> =
                rows.iter().map(|row| row.get_str("_id").unwrap().to_owned()).collect();
            ids.sort_unstable();
            ids
        })
        .collect();
    assert_eq!(found, [vec!["a"], vec![], vec!["a", "b"]]);
    mongo.drop_database().await.unwrap();
}

#[tokio::test]
async fn grouped_read_is_transient_in_time() {
    let (counters, _silent) = silent().await;
    let reads = join_all([found(&counters, &["first"]), found(&counters, &["second"])]);
    let results = tokio::time::timeout(Duration::from_secs(25), reads).await.expect("in time");
    for result in results {
        assert!(matches!(&result, Err(StoreError::Transient { .. })), "{result:?}");
    }
}

#[tokio::test]
async fn grouped_insert_is_transient_in_time() {
    let (counters, _silent) = silent().await;
    let (first, second) = (counter("first"), counter("second"));
    let inserts = join_all([counters.insert_grouped(&first), counters.insert_grouped(&second)]);
    let results = tokio::time::timeout(Duration::from_secs(25), inserts).await.expect("in time");
    for result in results {
        assert!(matches!(&result, Err(StoreError::Transient { .. })), "{result:?}");
    }
}
