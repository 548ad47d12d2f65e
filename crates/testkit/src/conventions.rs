//! Checks every attribute, op, metric and link of an envelope item against Sentry's published conventions.
//!
//! The data is `@sentry/conventions` 0.33.0, condensed (`crates/telemetry/tests/conventions`). Any other name must be in our own
//! namespace (`pitboss.`) or on the short list of names that OpenTelemetry has and Sentry has not. Types must match. A deprecated
//! name needs its replacement beside it, with the same value.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::{Map, Value};

const DATA: &str = include_str!("../../telemetry/tests/conventions/attributes-0.33.0.json");

/// Our own namespace.
const OURS: &str = "pitboss.";

/// Names that OpenTelemetry's semantic conventions (1.44) have and Sentry's do not, with their type.
const OPENTELEMETRY: [(&str, &str); 2] = [
    // Sentry has no consumer groups, and without them a slow reader cannot be distinguished from the others
    ("messaging.consumer.group.name", "string"),
    // number of documents that a query returned or touched
    ("db.response.returned_rows", "integer"),
];

/// Deprecated without a replacement attribute, because the log's top-level `span_id` replaces it.
const PARENT_SPAN_ID: &str = "sentry.trace.parent_span_id";

const LINK_TYPES: [&str; 4] = ["previous_trace", "cache_origin", "message_origin", "server_request"];
const SOURCES: [&str; 6] = ["route", "component", "view", "task", "custom", "url"];

#[derive(Deserialize)]
struct Conventions {
    ops: HashSet<String>,
    metrics: HashSet<String>,
    attributes: HashMap<String, Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    #[serde(rename = "type")]
    kind: String,
    /// The replacement's name, or `true` when there is none.
    #[serde(default)]
    deprecated: Option<Value>,
}

#[expect(clippy::expect_used, reason = "the data is part of this program")]
fn conventions() -> &'static Conventions {
    static CONVENTIONS: OnceLock<Conventions> = OnceLock::new();
    CONVENTIONS.get_or_init(|| serde_json::from_str(DATA).expect("the condensed conventions are JSON"))
}

/// Returns every problem with the names in one envelope item, one sentence each.
///
/// `item_type` is the item header's `type`. Only `transaction`, `span` (version 2), `log` and `trace_metric` are checked.
#[must_use]
pub fn violations(item_type: &str, payload: &Value) -> Vec<String> {
    let mut violations = Vec::new();
    match item_type {
        "transaction" => transaction(payload, &mut violations),
        "span" => each_of(payload, "items", |span| streamed_span(span, &mut violations)),
        "log" => each_of(payload, "items", |log| entry("log", log, &mut violations)),
        "trace_metric" => each_of(payload, "items", |metric| {
            metric_name(metric, &mut violations);
            entry("metric", metric, &mut violations);
        }),
        _ => {}
    }
    violations.sort();
    violations.dedup();
    violations
}

fn each_of(payload: &Value, list: &str, check: impl FnMut(&Value)) {
    payload[list].as_array().into_iter().flatten().for_each(check);
}

fn transaction(payload: &Value, violations: &mut Vec<String>) {
    let root = &payload["contexts"]["trace"];
    let source = payload["transaction_info"]["source"].as_str().unwrap_or_default();
    if !SOURCES.contains(&source) {
        violations.push(format!("transaction source {source:?} is unknown"));
    }
    span(root, violations);
    each_of(payload, "spans", |child| span(child, violations));
}

fn span(span: &Value, violations: &mut Vec<String>) {
    let op = span["op"].as_str().unwrap_or_default();
    check_op(op, violations);
    let place = format!("span {op}");
    if let Some(data) = span["data"].as_object() {
        attributes(&place, data, violations);
    }
    check_links(&place, span, violations);
}

fn streamed_span(span: &Value, violations: &mut Vec<String>) {
    let data = unwrapped(&span["attributes"], "span", violations);
    let op = data.get("sentry.op").and_then(Value::as_str).unwrap_or_default();
    check_op(op, violations);
    attributes(&format!("span {op}"), &data, violations);
}

fn check_op(op: &str, violations: &mut Vec<String>) {
    if !conventions().ops.contains(op) {
        violations.push(format!("op {op:?} is unknown"));
    }
}

fn check_links(place: &str, span: &Value, violations: &mut Vec<String>) {
    each_of(span, "links", |link| {
        let data = link["attributes"].as_object().cloned().unwrap_or_default();
        let kind = data.get("sentry.link.type").and_then(Value::as_str);
        if kind.is_some_and(|kind| !LINK_TYPES.contains(&kind)) {
            violations.push(format!("{place}: a link is of type {kind:?}"));
        }
        attributes(&format!("{place}, link"), &data, violations);
    });
}

fn metric_name(metric: &Value, violations: &mut Vec<String>) {
    let name = metric["name"].as_str().unwrap_or_default();
    if !name.starts_with(OURS) && !conventions().metrics.contains(name) {
        violations.push(format!("metric {name:?} is neither known nor in our namespace"));
    }
}

fn entry(what: &str, entry: &Value, violations: &mut Vec<String>) {
    let data = unwrapped(&entry["attributes"], what, violations);
    if data.contains_key(PARENT_SPAN_ID) && entry["span_id"] != data[PARENT_SPAN_ID] {
        violations.push(format!("{what}: {PARENT_SPAN_ID} without the same top-level span_id"));
    }
    attributes(what, &data, violations);
}

/// Converts `{"name": {"value": …, "type": …}}` to `{"name": …}`.
fn unwrapped(wrapped: &Value, what: &str, violations: &mut Vec<String>) -> Map<String, Value> {
    let mut plain = Map::new();
    for (name, attribute) in wrapped.as_object().into_iter().flatten() {
        let stated = attribute["type"].as_str().unwrap_or_default();
        if !fits(&attribute["value"], stated) {
            violations.push(format!("{what}: {name} states type {stated:?} and is {}", attribute["value"]));
        }
        plain.insert(name.clone(), attribute["value"].clone());
    }
    plain
}

fn attributes(place: &str, data: &Map<String, Value>, violations: &mut Vec<String>) {
    for (name, value) in data {
        if name.starts_with(OURS) {
            continue;
        }
        let Some((kind, deprecated)) = known(name) else {
            violations.push(format!("{place}: {name} is neither known nor in our namespace"));
            continue;
        };
        if !fits(value, kind) {
            violations.push(format!("{place}: {name} is {value}, not of type {kind}"));
        }
        match deprecated {
            Some(Value::String(replacement)) if data.get(replacement) != Some(value) => violations.push(
                format!("{place}: {name} is deprecated and {replacement} is not present with the same value"),
            ),
            Some(Value::Bool(_)) if name != PARENT_SPAN_ID => {
                violations.push(format!("{place}: {name} is deprecated without a replacement"));
            }
            _ => {}
        }
    }
}

/// Returns the type of an attribute, and its replacement if it is deprecated.
fn known(name: &str) -> Option<(&'static str, Option<&'static Value>)> {
    let all = &conventions().attributes;
    if let Some(found) = all.get(name).or_else(|| dynamic(name)) {
        return Some((found.kind.as_str(), found.deprecated.as_ref()));
    }
    OPENTELEMETRY.iter().find(|(known, _)| *known == name).map(|(_, kind)| (*kind, None))
}

/// Finds the template of a dynamic name: `flag.evaluation.<key>` for `flag.evaluation.x`. A key may contain dots.
fn dynamic(name: &str) -> Option<&'static Attribute> {
    let mut families = name.rmatch_indices('.').filter_map(|(dot, _)| name.get(..dot));
    families.find_map(|family| conventions().attributes.get(&format!("{family}.<key>")))
}

fn fits(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "double" => value.is_number(),
        "array" => value.is_array(),
        "string[]" => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_data(data: Value) -> Vec<String> {
        let trace = json!({"op": "queue.process", "data": data});
        violations(
            "transaction",
            &json!({"contexts": {"trace": trace}, "transaction_info": {"source": "task"}}),
        )
    }

    #[test]
    fn known_names_of_the_right_type_pass() {
        let data = json!({
            "messaging.message.receive.latency": 2,
            "messaging.destination.partition.id": "4",
            "messaging.consumer.group.name": "game",
            "cache.key": ["session:?"],
            "db.system": "redis", "db.system.name": "redis",
            "pitboss.outcome": "applied",
            "flag.evaluation.x": true,
            "flag.evaluation.payment.random-failure": true,
        });
        assert_eq!(of_data(data), Vec::<String>::new());
    }

    #[test]
    fn each_violation_is_named() {
        for (data, expected) in [
            (json!({"messaging.message.receive.latency": 1.5}), "not of type integer"),
            (json!({"messaging.destination.partition.id": 4}), "not of type string"),
            (json!({"cache.key": "session:?"}), "not of type string[]"),
            (json!({"event.type": "x"}), "neither known"),
            (json!({"event.id": "a"}), "not of type integer"),
            (json!({"db.system": "redis"}), "db.system.name is not present with the same value"),
            (json!({"db.system": "redis", "db.system.name": "mongodb"}), "is not present with"),
            (json!({"sentry.source": "task"}), "without a replacement"),
        ] {
            let violations = of_data(data.clone());
            assert!(violations.len() == 1 && violations[0].contains(expected), "{data}: {violations:?}");
        }
        let odd = json!({"contexts": {"trace": {"op": "kafka", "links": [{"attributes": {"sentry.link.type": "next_trace"}}]}}, "transaction_info": {"source": "?"}});
        assert_eq!(violations("transaction", &odd).len(), 3);
    }

    #[test]
    fn logs_and_metrics_are_checked_unwrapped() {
        let log = json!({"items": [{"span_id": "b", "attributes": {
            "sentry.trace.parent_span_id": {"value": "a", "type": "string"},
            "code.line.number": {"value": 4, "type": "string"},
        }}]});
        assert_eq!(violations("log", &log).len(), 2, "{:?}", violations("log", &log));
        let metric = json!({"items": [{"name": "bets.settled", "attributes": {"game": {"value": "slots", "type": "string"}}}]});
        assert_eq!(violations("trace_metric", &metric).len(), 2);
        assert!(violations("event", &json!({"tags": {"a": 1}})).is_empty());
    }
}
