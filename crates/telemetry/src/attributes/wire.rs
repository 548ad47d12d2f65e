//! Mapping of attribute, log field and label names to the names that are sent to Sentry.
//!
//! Sentry's conventions and OpenTelemetry define some names. Every other Pitboss name gets the prefix `pitboss.`, so that it is
//! never confused with theirs (`event.id` is a number there). A log field that means one of their names but is spelled
//! differently is renamed (`topic`). Standard output and Prometheus keep the short names.

use std::borrow::Cow;

use serde_json::Value;

use super::FLAG_EVALUATION;

/// Value type of a name from the conventions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Whole,
    Flag,
    Texts,
}

use Kind::{Flag, Text, Texts, Whole};

const OURS: &str = "pitboss.";
/// Prefix of the SDK's own attributes.
const SENTRYS: &str = "sentry.";

/// Names from the conventions that Pitboss uses, sorted.
const THEIRS: [(&str, Kind); 42] = [
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
    ("db.operation.batch.size", Whole),
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
    ("thread.id", Whole),
    ("thread.name", Text),
    ("url.scheme", Text),
    ("url.template", Text),
    ("user.id", Text),
];

/// Log fields and metric labels, with the names that the conventions have for them.
const SPELLED: [(&str, &str); 9] = [
    ("code.module.name", "code.namespace"),
    ("error", "exception.message"),
    ("group", "messaging.consumer.group.name"),
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

/// Returns the name under which a span attribute is sent.
pub(crate) fn of_attribute(name: &str) -> Cow<'_, str> {
    let is_known = [OURS, SENTRYS, FLAG_EVALUATION].iter().any(|prefix| name.starts_with(*prefix));
    if is_known || theirs(name).is_some() {
        return Cow::Borrowed(name);
    }
    Cow::Owned(format!("{OURS}{name}"))
}

/// Returns every name under which a log field or metric label may be sent, because the type of its value decides.
pub(crate) fn names_of_field(name: &str) -> Vec<String> {
    let spelled = SPELLED.iter().find(|(known, _)| *known == name).map(|(_, theirs)| *theirs);
    match theirs(spelled.unwrap_or(name)) {
        Some((known, _)) => vec![known.to_owned(), format!("{OURS}{name}")],
        None => vec![of_attribute(name).into_owned()],
    }
}

/// Returns the name and value under which a log field or metric label is sent. A convention's name needs a value of its type.
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

/// Converts the value to that type, or returns it unchanged as the error.
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

/// Name of a value's type, which accompanies the value in a log or a metric.
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
    fn list_is_sorted() {
        assert!(THEIRS.is_sorted_by_key(|(name, _)| name));
        assert!(SPELLED.iter().all(|(_, name)| theirs(name).is_some()));
    }

    #[test]
    fn sentry_names_are_kept_and_others_get_prefix() {
        for (name, wire) in [
            ("messaging.system", "messaging.system"),
            ("pitboss.outcome", "pitboss.outcome"),
            ("sentry.trace_lifecycle", "sentry.trace_lifecycle"),
            ("flag.evaluation.payment.random-failure", "flag.evaluation.payment.random-failure"),
            ("event.id", "pitboss.event.id"),
            ("player.id", "pitboss.player.id"),
        ] {
            assert_eq!(of_attribute(name), wire);
        }
    }

    #[test]
    fn names_of_a_field_include_the_sent_one() {
        for (name, value) in [
            ("status", json!(404)),
            ("status", json!("up")),
            ("error", json!("disk full")),
            ("bet.id", json!("b")),
            ("sentry.origin", json!("manual")),
        ] {
            let sent = of_field(name, value).0.into_owned();
            assert!(names_of_field(name).contains(&sent), "{name}: {sent}");
        }
        assert_eq!(names_of_field("bet.id"), ["pitboss.bet.id"]);
    }

    #[test]
    fn log_field_gets_sentry_name_and_type() {
        for ((name, value), (wire, written)) in [
            (("partition", json!(4)), ("messaging.destination.partition.id", json!("4"))),
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
