//! Fault `analytics.n-plus-one`, by the spans that leave for Sentry. They are checked in a process of its own, because telemetry
//! exists once per process.

use faults::{FaultId, Scope};
use serde_json::Value;
use testkit::faults::Flags;
use testkit::receiver::Receiver;
use testkit::scenario;

use crate::harness::{Platform, config, deposited, settled};

/// Description of the query for one fact.
const SINGLE: &str = r#"{"find":"facts","filter":{"_id":"?"}}"#;
/// Facts that the fault reads for one record.
const FACTS_READ: usize = 6;

#[test]
fn settled_bet_reads_each_fact_of_its_player() {
    scenario::run("armed_faults::scenario");
}

#[test]
#[ignore = "runs in the process that the test above starts"]
fn scenario() {
    let Some((receiver, (bet, deposit, other))) = scenario::received("analytics", |_| handle_last_records())
    else {
        return;
    };
    let queries = queries_of(&receiver, &bet);
    let singles = queries.iter().filter(|query| *query == SINGLE).count();
    assert_eq!(singles, FACTS_READ, "{queries:#?}");
    assert!(queries[0].contains("player_id"), "the query for the ids: {queries:#?}");
    assert!(queries[1..=FACTS_READ].iter().all(|query| query == SINGLE), "consecutive: {queries:#?}");
    for id in [&deposit, &other] {
        let queries = queries_of(&receiver, id);
        assert!(!queries.is_empty() && !queries.iter().any(|query| query == SINGLE), "{queries:#?}");
    }
}

/// Lets analytics handle eight bets and a deposit of a player with the fault, and then a bet of another player. Returns the ids
/// of the last bet, the deposit and the other player's bet.
async fn handle_last_records() -> (String, String, String) {
    let affected = Scope::Player("affected".to_owned());
    let reads = i64::try_from(FACTS_READ).unwrap();
    let flags = Flags::scoped("analytics", &[(FaultId::AnalyticsNPlusOne, affected, &[("bets_max", reads)])]);
    let platform = Platform::start_with_faults(config(), flags.faults()).await;
    let bets: Vec<_> = (0..8).map(|_| settled("affected", 100, 50)).collect();
    let (deposit, other) = (deposited("affected", 500), settled("other", 100, 50));
    platform.publish(&bets).await;
    platform.publish(&[deposit.clone(), other.clone()]).await;
    platform.facts(10).await;
    let summary = platform.summary(9).await;
    assert_eq!(summary["games"][0]["payout_minor"], 450, "the figures are as without the fault");
    assert!(flags.applied(FaultId::AnalyticsNPlusOne) >= 8, "each bet met it");
    platform.stop().await;
    let last = bets.last().unwrap().id.to_string();
    (last, deposit.id.to_string(), other.id.to_string())
}

/// Returns the queries of a record's transaction in the order of their start.
fn queries_of(receiver: &Receiver, message_id: &str) -> Vec<String> {
    let items = receiver.items();
    let mut records = items.iter().filter(|(kind, item)| {
        let trace = &item["contexts"]["trace"];
        let is_handling = kind == "transaction" && trace["op"] == "queue.process";
        is_handling && trace["data"]["messaging.message.id"] == message_id
    });
    let (_, record) = records.next().expect("a transaction of the record");
    let mut spans: Vec<&Value> =
        record["spans"].as_array().unwrap().iter().filter(|span| span["op"] == "db").collect();
    spans.sort_by(|left, right| start_s(left).total_cmp(&start_s(right)));
    spans.iter().map(|span| span["description"].as_str().unwrap().to_owned()).collect()
}

fn start_s(span: &Value) -> f64 {
    span["start_timestamp"].as_f64().unwrap()
}
