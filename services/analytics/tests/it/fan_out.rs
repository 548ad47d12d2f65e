//! Fault `analytics.fan-out`: items are published once for each new fact, are handled, and change no figure.

use contracts::Topic;
use faults::{FaultId, Scope};
use testkit::faults::Flags;

use crate::harness::{Platform, TIMEOUT, config, deposited, settled};

/// Value of a counter of this process for the topic of the items.
fn items_counted(name: &str) -> f64 {
    testkit::metrics::counted(name, &[("topic", Topic::AnalyticsItems.name())])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_fact_of_a_bet_becomes_items_once() {
    let affected = Scope::Player("affected".to_owned());
    let flags = Flags::scoped("analytics", &[(FaultId::AnalyticsFanOut, affected, &[("items", 3)])]);
    let platform = Platform::start_with_faults(config(), flags.faults()).await;
    let bet = settled("affected", 100, 50);
    let events = [bet.clone(), bet, settled("other", 100, 50), deposited("affected", 500)];
    platform.publish(&events).await;
    platform.facts(3).await;
    testkit::eventually("the items to be handled", TIMEOUT, || async {
        (items_counted("pitboss_bus_records_completed_total") >= 3.0).then_some(())
    })
    .await;
    // The second delivery of the bet was handled before the deposit, whose fact is stored.
    let last = settled("affected", 1, 0);
    platform.publish(&[last]).await;
    testkit::eventually("the items of the last bet", TIMEOUT, || async {
        (items_counted("pitboss_bus_records_completed_total") >= 6.0).then_some(())
    })
    .await;
    // A publish is counted when it is acknowledged, which can be after its record was handled.
    testkit::eventually("the publishes to be counted", TIMEOUT, || async {
        (items_counted("pitboss_bus_publish_count_total") >= 6.0).then_some(())
    })
    .await;
    assert_eq!(items_counted("pitboss_bus_publish_count_total"), 6.0, "two bets of the affected player");
    assert_eq!(flags.applied(FaultId::AnalyticsFanOut), 2, "a repeated record is not fanned out");
    let summary = platform.summary(3).await;
    assert_eq!(summary["games"][0]["stake_minor"], 201, "items are no bets");
}
