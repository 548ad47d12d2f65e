//! What a name becomes on its way to Sentry.
//!
//! Sentry's conventions and OpenTelemetry own their names; everything else that we say stands under `pitboss.`, so that no name
//! of ours is taken for one of theirs (`event.id` is a number there). A name that they have and a log line spells differently is
//! theirs in the end (`kafka.topic`). Standard output and Prometheus keep the short names.

use std::borrow::Cow;

use serde_json::Value;

/// What kind of value a name of theirs has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Whole,
    Flag,
    Texts,
}

use Kind::{Flag, Text, Texts, Whole};

const OURS: &str = "pitboss.";
/// The SDK's own attributes.
const SENTRYS: &str = "sentry.";

/// The names of theirs that we use, in order.
const THEIRS: [(&str, Kind); 39] = [
    ("cache.hit", Flag),
    ("cache.item_size", Whole),
    ("cache.key", Texts),
    ("cache.ttl", Whole),
    ("code.file.path", Text),
    ("code.line.number", Whole),
    ("code.namespace", Text),
    ("db.collection.name", Text),
    ("db.name", Text),
    ("db.namespace", Text),
    ("db.operation", Text),
    ("db.operation.name", Text),
    ("db.response.returned_rows", Whole),
    ("db.system", Text),
    ("db.system.name", Text),
    ("error.type", Text),
    ("exception.message", Text),
    ("http.request.method", Text),
    ("http.response.status_code", Whole),
    ("http.route", Text),
    ("messaging.consumer.group.name", Text),
    ("messaging.destination.name", Text),
    ("messaging.destination.partition.id", Text),
    ("messaging.kafka.offset", Whole),
    ("messaging.message.body.size", Whole),
    ("messaging.message.id", Text),
    ("messaging.message.receive.latency", Whole),
    ("messaging.message.retry.count", Whole),
    ("messaging.operation.name", Text),
    ("messaging.operation.type", Text),
    ("messaging.system", Text),
    ("network.protocol.version", Text),
    ("os.name", Text),
    ("os.version", Text),
    ("server.address", Text),
    ("server.port", Whole),
    ("url.scheme", Text),
    ("url.template", Text),
    ("user.id", Text),
];

/// Log fields and metric labels that mean a name of theirs.
const SPELLED: [(&str, &str); 14] = [
    ("code.module.name", "code.namespace"),
    ("error", "exception.message"),
    ("group", "messaging.consumer.group.name"),
    ("http.status", "http.response.status_code"),
    ("kafka.group", "messaging.consumer.group.name"),
    ("kafka.offset", "messaging.kafka.offset"),
    ("kafka.partition", "messaging.destination.partition.id"),
    ("kafka.topic", "messaging.destination.name"),
    ("method", "http.request.method"),
    ("partition", "messaging.destination.partition.id"),
    ("retry.count", "messaging.message.retry.count"),
    ("route", "http.route"),
    ("status", "http.response.status_code"),
    ("topic", "messaging.destination.name"),
];

fn theirs(name: &str) -> Option<(&'static str, Kind)> {
    THEIRS.binary_search_by_key(&name, |(known, _)| known).ok().map(|index| THEIRS[index])
}

/// A span attribute's name on the wire.
pub(crate) fn of_attribute(name: &str) -> Cow<'_, str> {
    if name.starts_with(OURS) || name.starts_with(SENTRYS) || theirs(name).is_some() {
        return Cow::Borrowed(name);
    }
    Cow::Owned(format!("{OURS}{name}"))
}

/// A log field or metric label with its value: under their name when they have one and the value is of its kind.
pub(crate) fn of_field(name: &str, value: Value) -> (Cow<'_, str>, Value) {
    let spelled = SPELLED.iter().find(|(known, _)| *known == name).map(|(_, theirs)| *theirs);
    let Some((known, kind)) = theirs(spelled.unwrap_or(name)) else {
        return (of_attribute(name), value);
    };
    match typed(kind, value) {
        Ok(value) => (Cow::Borrowed(known), value),
        Err(value) => (Cow::Owned(format!("{OURS}{name}")), value),
    }
}

/// The value as that kind; what cannot be is given back.
fn typed(kind: Kind, value: Value) -> Result<Value, Value> {
    match (kind, value) {
        (Text, Value::Number(number)) => Ok(Value::String(number.to_string())),
        (Text, value @ Value::String(_))
        | (Flag, value @ Value::Bool(_))
        | (Texts, value @ Value::Array(_)) => Ok(value),
        (Whole, Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(Value::Number(number)),
        (Whole, Value::String(text)) => text.parse::<i64>().map(Value::from).map_err(|_| Value::String(text)),
        (_, value) => Err(value),
    }
}

/// The word for a value's type that stands beside it in a log or a metric.
pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "double",
        Value::Number(_) => "integer",
        Value::Array(_) => "array",
        Value::Null | Value::String(_) | Value::Object(_) => "string",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_list_is_in_order() {
        assert!(THEIRS.is_sorted_by_key(|(name, _)| name));
        assert!(SPELLED.iter().all(|(_, name)| theirs(name).is_some()));
    }

    #[test]
    fn what_is_theirs_keeps_its_name_and_the_rest_is_ours() {
        for (name, wire) in [
            ("messaging.system", "messaging.system"),
            ("pitboss.outcome", "pitboss.outcome"),
            ("sentry.trace_lifecycle", "sentry.trace_lifecycle"),
            ("event.id", "pitboss.event.id"),
            ("player.id", "pitboss.player.id"),
        ] {
            assert_eq!(of_attribute(name), wire);
        }
    }

    #[test]
    fn a_field_that_means_a_name_of_theirs_gets_it_with_the_right_type() {
        for ((name, value), (wire, written)) in [
            (("kafka.partition", json!(4)), ("messaging.destination.partition.id", json!("4"))),
            (("status", json!("404")), ("http.response.status_code", json!(404))),
            (("status", json!("up")), ("pitboss.status", json!("up"))),
            (("error", json!("disk full")), ("exception.message", json!("disk full"))),
            (("bet.id", json!("b")), ("pitboss.bet.id", json!("b"))),
            (("attempt", json!(1.5)), ("pitboss.attempt", json!(1.5))),
        ] {
            let (wire_name, wire_value) = of_field(name, value);
            assert_eq!((wire_name.as_ref(), &wire_value), (wire, &written), "{name}");
        }
    }
}
