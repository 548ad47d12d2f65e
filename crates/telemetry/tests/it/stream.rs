//! Streamed spans on the wire: their envelopes, their losses and the limits that they obey.

use std::collections::BTreeSet;
use std::process::Output;

use serde_json::{Value, json};

use super::receiver::{Behaviour, Item, Receiver};
use super::scenario;

fn run(name: &str, more: &[(&str, &str)]) -> (Receiver, Output) {
    run_with(Behaviour::Normal, name, more)
}

fn run_with(behaviour: Behaviour, name: &str, more: &[(&str, &str)]) -> (Receiver, Output) {
    let receiver = Receiver::start(behaviour);
    let arguments: Vec<(&str, &str)> = more.iter().copied().chain([scenario::STREAMED]).collect();
    let output = scenario::run(name, &receiver.dsn(), &arguments);
    (receiver, output)
}

/// The spans of an item.
fn spans_in(item: &Item) -> &[Value] {
    item.payload["items"].as_array().unwrap()
}

fn spans(receiver: &Receiver) -> Vec<Value> {
    receiver.items_of("span").iter().flat_map(|item| spans_in(item).to_vec()).collect()
}

/// Names of the segments, in order of arrival.
fn segments(receiver: &Receiver) -> Vec<String> {
    let segments = spans(receiver).into_iter().filter(|span| span["is_segment"] == true);
    segments.map(|span| span["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn handler_is_a_segment_with_its_spans() {
    let (receiver, _) = run("handler", &[]);
    assert!(receiver.transactions().is_empty(), "each span is sent once");
    let spans = spans(&receiver);
    let value = |span: &Value, name: &str| span["attributes"][name]["value"].clone();
    let with_op = |op: &str| spans.iter().find(|span| value(span, "sentry.op") == op).unwrap();
    assert_eq!(spans.len(), 7);
    let process = with_op("queue.process");
    assert_eq!((&process["name"], &process["status"]), (&json!("casino.bets.commands.v1"), &json!("ok")));
    assert_eq!(process["parent_span_id"], "b7ad6b7169203331");
    assert_eq!(segments(&receiver), ["casino.bets.commands.v1"]);
    for (name, expected) in [
        ("sentry.segment.name.source", json!("task")),
        ("sentry.platform", json!("native")),
        ("server.address", json!("game")),
        ("messaging.kafka.offset", json!(1_234)),
    ] {
        assert_eq!(value(process, name), expected, "{name}");
    }
    for span in &spans {
        assert_eq!(span["trace_id"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(value(span, "sentry.segment.id"), process["span_id"]);
        for (name, expected) in [
            ("sentry.segment.name", "casino.bets.commands.v1"),
            ("sentry.release", "game@1.2.3"),
            ("sentry.environment", "test"),
            ("sentry.trace_lifecycle", "stream"),
            ("user.id", "player-7"),
        ] {
            assert_eq!(value(span, name), expected, "{name}");
        }
    }
    let publish = with_op("queue.publish");
    assert_eq!((&publish["status"], &publish["parent_span_id"]), (&json!("error"), &process["span_id"]));
    assert_eq!(value(publish, "sentry.status.message"), "deadline_exceeded");
    assert_eq!(value(with_op("db"), "db.query.text"), with_op("db")["name"]);
    assert_eq!(
        with_op("cache.get")["attributes"]["cache.key"],
        json!({"type": "array", "value": ["session:?"]})
    );
}

#[test]
fn envelope_has_spans_of_one_trace() {
    for name in ["handler", "links", "late"] {
        let (receiver, output) = run(name, &[]);
        let items = receiver.items_of("span");
        assert!(!items.is_empty(), "{name}: {output:?}");
        for item in &items {
            let spans = spans_in(item);
            assert_eq!(item.header["item_count"], spans.len());
            assert_eq!(item.header["content_type"], "application/vnd.sentry.items.span.v2+json");
            let traces: BTreeSet<&str> =
                spans.iter().map(|span| span["trace_id"].as_str().unwrap()).collect();
            assert_eq!(
                traces,
                BTreeSet::from([item.envelope["trace"]["trace_id"].as_str().unwrap()]),
                "{name}"
            );
            assert!(item.envelope.get("event_id").is_none(), "there is no event");
        }
    }
}

#[test]
fn origins_of_a_batch_are_links() {
    let (receiver, output) = run("links", &[]);
    let spans = spans(&receiver);
    let rollup = spans.iter().find(|span| span["name"] == "rollup").unwrap();
    let linked: Vec<&str> =
        rollup["links"].as_array().unwrap().iter().map(|link| link["trace_id"].as_str().unwrap()).collect();
    assert_eq!(linked, [scenario::printed(&output, "first"), scenario::printed(&output, "second")]);
    let attributes = json!({"sentry.link.type": {"type": "string", "value": "message_origin"}});
    assert_eq!(rollup["links"][0]["attributes"], attributes);
}

#[test]
fn losses_are_of_spans_alone() {
    let (receiver, output) = run("wide", &[]);
    let items = receiver.items_of("span");
    assert!(items.iter().all(|item| spans_in(item).len() <= 1_000));
    assert_eq!(spans(&receiver).len(), 1_001, "the root and a thousand below it");
    assert_eq!(scenario::printed(&output, "drops"), r#"[("buffer_overflow", 500)]"#);
    assert_eq!(receiver.reported("buffer_overflow", "span"), 500);

    let (receiver, output) = run("unsampled", &[("RATE", "0")]);
    assert!(receiver.items_of("span").is_empty());
    assert_eq!(receiver.reported("sample_rate", "span"), 400, "root and child");
    assert_eq!(receiver.reported("sample_rate", "transaction"), 0);
    assert_eq!(scenario::printed(&output, "drops"), "[]");
}

/// A first answer with a limit of this category.
fn limit_of(category: &str) -> Behaviour {
    let limit = format!("x-sentry-rate-limits: 60:{category}:organization\r\n");
    Behaviour::First(Box::new(Behaviour::Answer(200, limit)))
}

#[test]
fn limit_of_spans_stops_them() {
    let (receiver, _) = run_with(limit_of("span"), "two_waves", &[]);
    assert_eq!(segments(&receiver), ["first"]);
    assert_eq!(receiver.items_of("event").len(), 1, "errors were not limited");
    assert_eq!(receiver.reported("ratelimit_backoff", "span"), 10);
    assert_eq!(receiver.reported("ratelimit_backoff", "transaction"), 0);
}

#[test]
fn limit_of_transactions_does_not_stop_spans() {
    let (receiver, output) = run_with(limit_of("transaction"), "two_waves", &[]);
    assert_eq!(segments(&receiver).iter().filter(|name| *name == "second").count(), 5);
    assert_eq!(scenario::printed(&output, "drops"), "[]");
}
