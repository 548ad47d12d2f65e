//! Makes a Sentry log of an OTLP log record, by the rules of Sentry's ingestion (`relay-ourlogs` of getsentry/relay).

use std::borrow::Cow;

use serde::Serialize;

use super::{
    OtlpError,
    batches::Batches,
    record::{LogRecord, Origin, Value, seconds},
    spans::{TypedAttributes, typed},
};

#[derive(Debug, Serialize)]
struct SentryLog<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'r, str>>,
    attributes: TypedAttributes<'r>,
}

/// Writes a log. A body that is no text is that of its JSON. Sentry shows nothing for it.
pub(super) fn write(
    origin: Origin<'_, '_>,
    record: &LogRecord<'_>,
    out: &mut Batches,
) -> Result<(), OtlpError> {
    out.push(&SentryLog {
        timestamp: seconds(record.time_ns).or_else(|| seconds(record.observed_ns)),
        trace_id: record.trace_id.map(hex::encode),
        span_id: record.span_id.map(hex::encode),
        level: level(record.severity_number, &record.severity_text),
        body: record.body.as_ref().and_then(Value::shown),
        attributes: typed(origin, "auto.otlp.logs", &record.attributes),
    })
}

/// Returns Sentry's level of a severity. The text counts if the number is unknown.
fn level(number: u64, text: &str) -> &'static str {
    match number {
        1..=4 => "trace",
        5..=8 => "debug",
        9..=12 => "info",
        13..=16 => "warn",
        17..=20 => "error",
        21..=24 => "fatal",
        _ => match text.to_ascii_lowercase().as_str() {
            "trace" => "trace",
            "debug" => "debug",
            "warn" | "warning" => "warn",
            "error" => "error",
            "fatal" => "fatal",
            _ => "info",
        },
    }
}
