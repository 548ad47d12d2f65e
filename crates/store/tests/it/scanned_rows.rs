//! Rows for a slow query: written while they are wanted, and dropped afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bson::{Document, doc};
use contracts::DebugStore as _;
use store::StoreError;
use store::mongo::{DebugQueries, Mongo, SLOW_MS, ScannedRows, SlowQuery};

const NAME: &str = "rows_of_this_test";
const DEADLINE: Duration = Duration::from_secs(120);

/// The rows, with a switch that says whether they are wanted.
async fn rows() -> (Mongo, ScannedRows, Arc<AtomicBool>) {
    let mongo = Mongo::connect(&testkit::long_timeouts::mongo("store")).await.expect("a server");
    let (rows, wanted) = (ScannedRows::new(&mongo, NAME, SlowQuery::Find), Arc::new(AtomicBool::new(true)));
    let is_wanted = Arc::clone(&wanted);
    let (kept, switch) = (rows.clone(), move || is_wanted.load(Ordering::Relaxed));
    telemetry::spawn(async move { kept.keep(switch).await });
    (mongo, rows, wanted)
}

#[tokio::test]
async fn rows_are_dropped_once_unwanted() {
    let (mongo, _rows, wanted) = rows().await;
    let collection = mongo.collection::<Document>(NAME);
    let count = || async { collection.count(doc! {}).await.ok() };
    testkit::eventually("rows", DEADLINE, || async { count().await.filter(|rows| *rows > 0) }).await;
    wanted.store(false, Ordering::Relaxed);
    testkit::eventually("no rows", DEADLINE, || async { count().await.filter(|rows| *rows == 0) }).await;
    mongo.drop_database().await.unwrap();
}

#[tokio::test]
async fn scanned_rows_are_written_until_query_is_slow() {
    let (mongo, rows, wanted) = rows().await;
    // From now on only the question asks for rows.
    wanted.store(false, Ordering::Relaxed);
    assert!(!rows.is_ready().await, "the first request comes before the rows");
    let slow = || async {
        if !rows.is_ready().await {
            return None;
        }
        let took_ms = rows.query().await.ok()?;
        // Counted at once, because rows that no question wants for a while are dropped
        let found = mongo.collection::<Document>(NAME).count(doc! {}).await.ok()?;
        (took_ms >= SLOW_MS && found > 0).then_some(())
    };
    testkit::eventually("a slow query over rows", DEADLINE, slow).await;
    mongo.drop_database().await.unwrap();
}

#[tokio::test]
async fn query_of_debug_fault_is_refused_and_a_slow_one_is_slow() {
    let (mongo, rows, wanted) = rows().await;
    let without_rows = DebugQueries::new(&mongo);
    let error = without_rows.fail().await.unwrap_err();
    assert!(error.downcast_ref::<StoreError>().is_some(), "{error}");
    assert_eq!(without_rows.query_slowly().await.unwrap(), None, "nobody keeps rows for it");
    let with_rows = without_rows.with_rows(rows);
    let slow = || async { with_rows.query_slowly().await.ok().flatten() };
    testkit::eventually("a query over rows", DEADLINE, slow).await;
    wanted.store(false, Ordering::Relaxed);
    mongo.drop_database().await.unwrap();
}
