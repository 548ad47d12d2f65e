//! Makes a streamed span of an OTLP span, by the rules of Sentry's ingestion (`relay-spans` of getsentry/relay).

use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;

use super::{
    OtlpError,
    batches::Batches,
    record::{Attribute, Link, Origin, Shared, Span, Value, find, seconds},
};
use crate::protocol::derived_op::{DEFAULT_OP, derived_op};

/// Flags of a span: whether it is known that its parent is in another process, and whether it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
/// Flag of a link: the linked span is sampled.
const SAMPLED: u32 = 1;
/// Codes of a status that is no error: "unset" and "ok", which Sentry does not tell apart.
const STATUS_NO_ERROR: [u64; 2] = [0, 1];
/// Names of the kinds 1 to 5.
const KINDS: [&str; 5] = ["internal", "server", "client", "producer", "consumer"];
/// Attributes from which Sentry takes the environment of a span or log that does not name it, the first one first.
const ENVIRONMENTS: [&str; 2] = ["resource.deployment.environment", "resource.deployment.environment.name"];

/// A value with its type.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "type", content = "value")]
pub(super) enum Typed<'r> {
    #[serde(rename = "string")]
    Text(&'r str),
    #[serde(rename = "boolean")]
    Bool(bool),
    #[serde(rename = "integer")]
    Int(i64),
    #[serde(rename = "double")]
    Double(f64),
}

impl<'r> From<&'r Value<'_>> for Typed<'r> {
    fn from(value: &'r Value<'_>) -> Self {
        match value {
            Value::Text(text) => Self::Text(text),
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Int(number) => Self::Int(*number),
            Value::Double(number) => Self::Double(*number),
        }
    }
}

/// Attributes of a span or log in Sentry.
pub(super) type TypedAttributes<'r> = BTreeMap<&'r str, Typed<'r>>;

#[derive(Debug, Serialize)]
struct SentrySpan<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: &'r str,
    status: &'static str,
    is_segment: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_timestamp: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_timestamp: Option<f64>,
    attributes: TypedAttributes<'r>,
    links: Vec<SentryLink<'r>>,
}

#[derive(Debug, Serialize)]
struct SentryLink<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    sampled: bool,
    attributes: TypedAttributes<'r>,
}

impl<'r> SentryLink<'r> {
    fn of(link: &'r Link<'_>) -> Self {
        Self {
            trace_id: link.trace_id.map(hex::encode),
            span_id: link.span_id.map(hex::encode),
            sampled: link.flags & SAMPLED != 0,
            attributes: link.attributes.iter().map(entry).collect(),
        }
    }
}

/// Writes a span.
pub(super) fn write(origin: Origin<'_, '_>, span: &Span<'_>, out: &mut Batches) -> Result<(), OtlpError> {
    let description = description(&span.attributes, &span.name);
    let mut attributes = typed(origin, "auto.otlp.spans", &span.attributes);
    if let Some(description) = &description {
        attributes.entry("sentry.description").or_insert(Typed::Text(description));
    }
    attributes.entry("sentry.op").or_insert(Typed::Text(op(&span.attributes, span.kind)));
    if let Some(kind) = kind(span.kind) {
        attributes.insert("sentry.kind", Typed::Text(kind));
    }
    if !span.status_message.is_empty() {
        attributes.insert("sentry.status.message", Typed::Text(&span.status_message));
    }
    let is_remote = (span.flags & HAS_IS_REMOTE != 0).then_some(span.flags & IS_REMOTE != 0);
    if let Some(is_remote) = is_remote {
        attributes.insert("sentry.is_remote", Typed::Bool(is_remote));
    }
    out.push(&SentrySpan {
        trace_id: span.trace_id.map(hex::encode),
        span_id: span.span_id.map(hex::encode),
        parent_span_id: span.parent_span_id.map(hex::encode),
        name: match span.name.as_ref() {
            "" => name(span),
            given => given,
        },
        status: if STATUS_NO_ERROR.contains(&span.status_code) { "ok" } else { "error" },
        is_segment: is_remote == Some(true) || span.parent_span_id.is_none(),
        start_timestamp: seconds(span.start_ns),
        end_timestamp: seconds(span.end_ns),
        attributes,
        links: span.links.iter().map(SentryLink::of).collect(),
    })
}

/// Returns the attributes of resource, scope and record, and the environment. Those of the record count when a name is there twice.
pub(super) fn typed<'r>(
    origin: Origin<'r, '_>,
    sentry_origin: &'static str,
    own: &'r [Attribute<'_>],
) -> TypedAttributes<'r> {
    let Shared(of_resource) = origin.resource;
    let Shared(of_scope) = origin.scope;
    let shared = of_resource.iter().chain(of_scope).map(|(name, value)| (name.as_str(), Typed::from(value)));
    let mut attributes: TypedAttributes<'r> = shared.collect();
    attributes.insert("sentry.origin", Typed::Text(sentry_origin));
    if let Some(language) = origin.resource.text("resource.telemetry.sdk.language") {
        attributes.insert("sentry.platform", Typed::Text(platform(language)));
    }
    attributes.extend(own.iter().map(entry));
    let environment = ENVIRONMENTS.iter().find_map(|name| attributes.get(*name).copied());
    if let Some(environment) = environment {
        attributes.entry("sentry.environment").or_insert(environment);
    }
    attributes
}

fn entry<'r>((name, value): &'r Attribute<'_>) -> (&'r str, Typed<'r>) {
    (name.as_ref(), value.into())
}

/// Returns Sentry's name of a language.
fn platform(language: &str) -> &str {
    match language {
        "dotnet" => "csharp",
        "nodejs" => "node",
        "webjs" => "javascript",
        other => other,
    }
}

fn kind(kind: u64) -> Option<&'static str> {
    let position = usize::try_from(kind).ok()?.checked_sub(1)?;
    KINDS.get(position).copied()
}

/// Returns the op of a span that does not name its own.
fn op<'r>(attributes: &'r [Attribute<'_>], span_kind: u64) -> &'r str {
    let by_names = derived_op(kind(span_kind), |name| find(attributes, name).is_some());
    let trigger = || find(attributes, "faas.trigger").and_then(Value::text);
    by_names.or_else(trigger).unwrap_or(DEFAULT_OP)
}

/// Returns the description, for which Sentry shows the name if there is none.
fn description<'r>(attributes: &'r [Attribute<'_>], name: &'r str) -> Option<Cow<'r, str>> {
    let text = |name: &str| find(attributes, name).and_then(Value::text);
    if text("sentry.origin") == Some("manual") {
        return Some(name.into());
    }
    if let Some(query) = text("db.query.text").or_else(|| text("db.statement")) {
        return Some(query.into());
    }
    let method = text("http.request.method").or_else(|| text("http.method"))?;
    let url = text("url.full").or_else(|| text("http.url"))?;
    Some(format!("{method} {url}").into())
}

/// Returns the name of a span without one.
fn name(span: &Span<'_>) -> &'static str {
    let named = span.attributes.iter().find_map(|(attribute, _)| match &**attribute {
        key if key.starts_with("db") => Some("db"),
        "http.method" | "http.request.method" => Some(match kind(span.kind) {
            Some("server") => "http.server",
            Some("client") => "http.client",
            _ => "http",
        }),
        _ => None,
    });
    named.unwrap_or_default()
}
