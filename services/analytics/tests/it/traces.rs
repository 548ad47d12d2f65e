//! Links from a rollup to the records that it counts, by the spans that leave for Sentry. They are checked in a process of its own,
//! because telemetry exists once per process.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use telemetry::spans;
use testkit::receiver::Receiver;
use testkit::scenario;
use tracing::Instrument as _;

use crate::harness::{Platform, TIMEOUT, config, settled};

const ROLLUP: &str = "recompute rollups";
/// Longer than any test.
const HOUR_MS: u64 = 3_600_000;
/// Number of bets, each in a trace of its own.
const BETS: usize = 3;

#[test]
fn rollup_links_each_of_its_records() {
    scenario::run("traces::scenario");
}

#[test]
#[ignore = "runs in the process that the test above starts"]
fn scenario() {
    let Some((receiver, requests)) = scenario::received("analytics", count_bets_of_several_traces) else {
        return;
    };
    let sent = transactions(&receiver);
    let rollups: Vec<&Value> = sent.iter().filter(|item| item["transaction"] == ROLLUP).collect();
    assert_eq!(rollups.len(), 1, "one recompute for all records: {rollups:#?}");
    let rollup = &rollups[0]["contexts"]["trace"];
    assert!(!requests.contains(text(&rollup["trace_id"])), "the rollup has a trace of its own");
    let links = rollup["links"].as_array().expect("links");
    let kind = json!({ "sentry.link.type": "message_origin" });
    assert!(links.iter().all(|link| link["attributes"] == kind), "{links:#?}");

    let records: Vec<&Value> =
        sent.iter().filter(|item| item["contexts"]["trace"]["op"] == "queue.process").collect();
    assert_eq!((records.len(), links.len()), (BETS, BETS), "{records:#?} {links:#?}");
    let linked: BTreeSet<_> = links.iter().map(place).collect();
    let handled: BTreeSet<_> = records.iter().map(|item| place(&item["contexts"]["trace"])).collect();
    assert_eq!(linked, handled);
    let traces: BTreeSet<String> = handled.iter().map(|(trace_id, _)| (*trace_id).to_owned()).collect();
    assert_eq!(traces, requests);
    for record in records {
        let trace = &record["contexts"]["trace"];
        let mut inserts = record["spans"].as_array().expect("spans").iter().filter(|span| {
            let data = &span["data"];
            data["db.collection.name"] == "facts" && data["db.operation.name"] == "insert"
        });
        let insert = inserts.next().expect("the insert of its fact");
        assert_eq!((&insert["trace_id"], &insert["parent_span_id"]), (&trace["trace_id"], &trace["span_id"]));
    }
}

/// Lets analytics count bets of several traces in one recompute, which is that at its stop. Returns the ids of the traces.
async fn count_bets_of_several_traces(receiver: Arc<Receiver>) -> BTreeSet<String> {
    let mut config = config();
    (config.rollups.interval_ms, config.rollups.takeover_after_ms) = (HOUR_MS, 2 * HOUR_MS);
    let platform = Platform::start(config).await;
    let mut requests = BTreeSet::new();
    for _ in 0..BETS {
        let request = spans::background("request", []);
        requests.insert(spans::span_context(&request).trace_id().to_string());
        platform.publish(&[settled("player", 100, 50)]).instrument(request).await;
    }
    platform.facts(BETS).await;
    drop(platform);
    testkit::eventually("the recompute at the stop", TIMEOUT, || async {
        transactions(&receiver).iter().any(|item| item["transaction"] == ROLLUP).then_some(())
    })
    .await;
    requests
}

fn transactions(receiver: &Receiver) -> Vec<Value> {
    let items = receiver.items().into_iter().filter(|(kind, _)| kind == "transaction");
    items.map(|(_, item)| item).collect()
}

/// Returns the trace and the span that a link or a trace context names.
fn place(value: &Value) -> (&str, &str) {
    (text(&value["trace_id"]), text(&value["span_id"]))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}
