//! Fault `analytics.slow-aggregation`: it scans rows of its own, and the figures are the same.

use faults::{FaultId, Scope};
use store::bson::{Document, doc};
use testkit::faults::Flags;

use crate::harness::{Platform, TIMEOUT, config, settled};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn summary_aggregates_rows_of_the_fault_first() {
    let flags = Flags::armed("analytics", FaultId::ConsumerSlow, &[("delay_ms", 1)]);
    let platform = Platform::start_with_faults(config(), flags.faults()).await;
    platform.publish(&[settled("p-1", 100, 50)]).await;
    let without = platform.summary(1).await;
    let rows = platform.mongo.collection::<Document>("slow_aggregation_facts");
    assert_eq!(rows.count(doc! {}).await.unwrap(), 0, "nothing is written while the fault is off");

    flags.change(&[(FaultId::AnalyticsSlowAggregation, Scope::All, &[])]);
    // The fault writes its rows first, which takes long on a busy machine.
    testkit::eventually("the fault to be applied", TIMEOUT * 3, || async {
        platform.get("/api/v1/summary").await;
        (flags.applied(FaultId::AnalyticsSlowAggregation) > 0).then_some(())
    })
    .await;
    assert!(rows.count(doc! {}).await.unwrap() > 0, "it counts as applied only when it scans rows");
    assert_eq!(platform.summary(1).await["games"], without["games"]);
}
