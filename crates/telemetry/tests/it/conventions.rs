//! Every name that is sent is in Sentry's published conventions or has the prefix `pitboss.`.
//!
//! The test checks the names that arrived. They come from the scenarios of the other tests, and from one that sends every metric
//! with every label of `schemas/names.json`, and the fields of Pitboss log lines.

use serde_json::Value;
use telemetry::metric::{self, Kind, Metric};
use telemetry::{attributes, spans};

use super::receiver::{Behaviour, Receiver};
use super::scenario;

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    (name == "every_name").then_some(every_name)
}

const NAMES: &str = include_str!("../../../../schemas/names.json");

fn every_name() {
    let telemetry = scenario::telemetry();
    let names: Value = serde_json::from_str(NAMES).unwrap();
    let declared = names["metric_labels"].as_array().unwrap().iter().filter_map(Value::as_str);
    let labels: Vec<(&str, &str)> = declared
        .filter(|name| !name.starts_with("sentry."))
        .map(|name| match name {
            // Sent by their own names, and compared below
            "http.response.status_code" => ("status", "404"),
            "messaging.destination.name" => ("topic", "casino.bets.commands.v1"),
            _ => (name, "x"),
        })
        .collect();
    let root = spans::background("root", []);
    root.in_scope(|| {
        for metric in Metric::ALL {
            match metric.kind() {
                Kind::Counter => metric::count(*metric, 1, &labels),
                Kind::Gauge => metric::gauge(*metric, 0.5, &labels),
                Kind::Distribution => metric::distribution(*metric, 1.5, &labels),
            }
        }
        tracing::info!(
            event.id = "4f1c",
            event.type = "casino.bets.v1.PlaceBet",
            player.id = "p-1",
            bet.id = "b-1",
            messaging.destination.name = "t",
            messaging.destination.partition.id = 3,
            messaging.kafka.offset = "12",
            messaging.consumer.group.name = "game",
            error.class = "transient",
            retry.count = 2,
            delay_ms = 10,
            deadline_ms = 10.5,
            db.collection.name = "bets",
            process.id = 77,
            http.response.status_code = 200,
            reason = %"because",
            flag = true,
            error = "disk full",
            "a line"
        );
        let db = spans::db("mongodb", "game", "bets", "find", "{}");
        spans::set_attr(&db, attributes::DB_RESPONSE_RETURNED_ROWS, 3);
        spans::set_attr(&db, attributes::DB_OPERATION_BATCH_SIZE, 3);
        spans::set_attr(&db, "anything.else", "of ours");
    });
    drop(root);
    scenario::finish(telemetry);
}

#[test]
fn every_attribute_is_conventional_or_prefixed() {
    let receiver = Receiver::start(Behaviour::Normal);
    for name in [
        "every_name",
        "handler",
        "links",
        "linked",
        "flagged",
        "server",
        "client",
        "canaries",
        "late",
        "odd_method",
        "given_up",
    ] {
        scenario::run(name, &receiver.dsn(), &[]);
        scenario::run(name, &receiver.dsn(), &[scenario::STREAMED]);
    }
    let mut violations: Vec<String> = receiver
        .items()
        .iter()
        .flat_map(|item| {
            testkit::conventions::violations(item.header["type"].as_str().unwrap(), &item.payload)
        })
        .collect();
    violations.sort();
    violations.dedup();
    assert_eq!(violations, Vec::<String>::new());
    for kind in ["transaction", "span", "log", "trace_metric"] {
        assert!(!receiver.items_of(kind).is_empty(), "no {kind} was checked");
    }
}

#[test]
fn log_fields_have_wire_names() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("every_name", &receiver.dsn(), &[]);
    let logs: Vec<Value> = receiver
        .items_of("log")
        .iter()
        .flat_map(|item| item.payload["items"].as_array().unwrap().clone())
        .collect();
    let line = logs.iter().find(|log| log["body"] == "a line").unwrap();
    let attribute = |name: &str| line["attributes"][name]["value"].clone();
    assert_eq!(attribute("pitboss.event.id"), "4f1c");
    assert_eq!(attribute("messaging.destination.partition.id"), "3");
    assert_eq!(attribute("messaging.kafka.offset"), 12);
    assert_eq!(attribute("exception.message"), "disk full");
    assert!(line["attributes"].get("event.id").is_none() && line["attributes"].get("retry.count").is_none());
    let sent: Vec<String> = Metric::ALL
        .iter()
        .filter(|metric| metric.export() == metric::Export::Each)
        .map(|metric| metric.sentry_name().to_owned())
        .collect();
    let metrics: Vec<Value> = receiver
        .items_of("trace_metric")
        .iter()
        .flat_map(|item| item.payload["items"].as_array().unwrap().clone())
        .collect();
    for name in sent {
        let metric = metrics.iter().find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(metric["attributes"]["http.response.status_code"]["value"], 404);
        assert_eq!(metric["attributes"]["messaging.destination.name"]["value"], "casino.bets.commands.v1");
    }
}
