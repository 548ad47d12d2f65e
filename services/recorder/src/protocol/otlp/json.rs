//! Reads an export in JSON. An invalid member costs only itself.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::value::RawValue;

use super::{
    OtlpError,
    record::{ATTRIBUTES_MAX, Attributes, LINKS_MAX, Link, LogRecord, Origin, Shared, Span, Value, id},
};
use crate::protocol::fields::{self, Fields};

/// Calls `each` with every span of `ExportTraceServiceRequest`.
pub(super) fn each_span<'a>(
    export: &'a [u8],
    each: &mut dyn FnMut(Origin<'_, 'a>, Span<'a>) -> Result<(), OtlpError>,
) -> Result<(), OtlpError> {
    each_record(export, ["resourceSpans", "scopeSpans", "spans"], &mut |origin, fields| {
        each(origin, span(fields))
    })
}

/// Calls `each` with every record of `ExportLogsServiceRequest`.
pub(super) fn each_log<'a>(
    export: &'a [u8],
    each: &mut dyn FnMut(Origin<'_, 'a>, LogRecord<'a>) -> Result<(), OtlpError>,
) -> Result<(), OtlpError> {
    each_record(export, ["resourceLogs", "scopeLogs", "logRecords"], &mut |origin, fields| {
        each(origin, log_record(fields))
    })
}

/// Lists of an export, each of another signal, and where Sentry takes them.
const PLACES: [(&str, &str); 3] = [
    ("resourceSpans", "belong to the path /integration/otlp/v1/traces"),
    ("resourceLogs", "belong to the path /integration/otlp/v1/logs"),
    ("resourceMetrics", "are not taken"),
];

/// Refuses an export of another signal, which would be taken for one without records.
fn check_signal(export: &Fields<'_>, of_resources: &str) -> Result<(), OtlpError> {
    if export.get(of_resources).is_some() {
        return Ok(());
    }
    let other = PLACES.iter().find(|(name, _)| export.get(name).is_some());
    other.map_or(Ok(()), |(name, place)| Err(OtlpError::Malformed(format!("its {name} {place}"))))
}

fn each_record<'a>(
    export: &'a [u8],
    [of_resources, of_scopes, records]: [&str; 3],
    each: &mut dyn FnMut(Origin<'_, 'a>, &Fields<'a>) -> Result<(), OtlpError>,
) -> Result<(), OtlpError> {
    let json: &RawValue =
        serde_json::from_slice(export).map_err(|error| OtlpError::Malformed(error.to_string()))?;
    if !json.get().starts_with('{') {
        return Err(OtlpError::Malformed("the export is not a JSON object".to_owned()));
    }
    let export = Fields::of(Some(json));
    check_signal(&export, of_resources)?;
    let mut done = Ok(());
    each_object(&export, of_resources, &mut |of_resource| {
        let resource = Shared::of_resource(attributes(&of_resource.object("resource")));
        each_object(&of_resource, of_scopes, &mut |of_scope| {
            let scope = scope(&of_scope.object("scope"));
            each_object(&of_scope, records, &mut |record| {
                if done.is_ok() {
                    done = each(Origin { resource: &resource, scope: &scope }, &record);
                }
            });
        });
    });
    done
}

fn each_object<'a>(parent: &Fields<'a>, name: &str, each: &mut dyn FnMut(Fields<'a>)) {
    if let Some(list) = parent.get(name) {
        fields::each_object(list.get(), each);
    }
}

fn scope<'a>(fields: &Fields<'a>) -> Shared<'a> {
    Shared::of_scope(attributes(fields), text(fields, "name"), text(fields, "version"))
}

fn span<'a>(fields: &Fields<'a>) -> Span<'a> {
    let status = fields.object("status");
    let mut links = Vec::new();
    each_object(fields, "links", &mut |link_fields| {
        if links.len() < LINKS_MAX {
            links.push(link(&link_fields));
        }
    });
    Span {
        trace_id: hex_id(fields, "traceId"),
        span_id: hex_id(fields, "spanId"),
        parent_span_id: hex_id(fields, "parentSpanId"),
        name: text(fields, "name"),
        kind: number(fields, "kind"),
        start_ns: number(fields, "startTimeUnixNano"),
        end_ns: number(fields, "endTimeUnixNano"),
        attributes: attributes(fields),
        links,
        status_code: number(&status, "code"),
        status_message: text(&status, "message"),
        flags: number(fields, "flags"),
    }
}

fn link<'a>(fields: &Fields<'a>) -> Link<'a> {
    Link {
        trace_id: hex_id(fields, "traceId"),
        span_id: hex_id(fields, "spanId"),
        attributes: attributes(fields),
        flags: number(fields, "flags"),
    }
}

fn log_record<'a>(fields: &Fields<'a>) -> LogRecord<'a> {
    LogRecord {
        trace_id: hex_id(fields, "traceId"),
        span_id: hex_id(fields, "spanId"),
        time_ns: number(fields, "timeUnixNano"),
        observed_ns: number(fields, "observedTimeUnixNano"),
        severity_number: number(fields, "severityNumber"),
        severity_text: text(fields, "severityText"),
        body: value(&fields.object("body")),
        attributes: attributes(fields),
    }
}

fn attributes<'a>(fields: &Fields<'a>) -> Attributes<'a> {
    let mut attributes = Vec::new();
    each_object(fields, "attributes", &mut |pair| {
        if attributes.len() < ATTRIBUTES_MAX
            && let Some(value) = value(&pair.object("value"))
        {
            attributes.push((text(&pair, "key"), value));
        }
    });
    attributes
}

/// Reads `AnyValue`.
fn value<'a>(any: &Fields<'a>) -> Option<Value<'a>> {
    if any.get("arrayValue").is_some() {
        return Value::json(&scalars(&any.object("arrayValue")));
    }
    if any.get("kvlistValue").is_some() {
        return Value::json(&scalars_by_name(&any.object("kvlistValue")));
    }
    scalar(any)
}

/// Reads `AnyValue` without lists and maps. A whole number of 64 bits is a text in JSON.
fn scalar<'a>(any: &Fields<'a>) -> Option<Value<'a>> {
    let bytes = || BASE64_STANDARD.decode(any.text("bytesValue")?).ok();
    let parsed = any.text("stringValue").map(|text| Value::Text(text.into()));
    parsed
        .or_else(|| any.boolean("boolValue").map(Value::Bool))
        .or_else(|| any.text("intValue")?.parse().ok().map(Value::Int))
        .or_else(|| any.text("doubleValue")?.parse().ok().and_then(Value::double))
        .or_else(|| String::from_utf8(bytes()?).ok().map(|text| Value::Text(text.into())))
}

/// Reads `ArrayValue`. Lists and maps in it are left out.
fn scalars<'a>(list: &Fields<'a>) -> Vec<Value<'a>> {
    let mut entries = Vec::new();
    each_object(list, "values", &mut |any| {
        if entries.len() < ATTRIBUTES_MAX {
            entries.extend(scalar(&any));
        }
    });
    entries
}

/// Reads `KeyValueList`. Lists and maps in it are left out.
fn scalars_by_name<'a>(map: &Fields<'a>) -> BTreeMap<Cow<'a, str>, Value<'a>> {
    let mut entries = BTreeMap::new();
    each_object(map, "values", &mut |pair| {
        if entries.len() < ATTRIBUTES_MAX
            && let Some(value) = scalar(&pair.object("value"))
        {
            entries.insert(text(&pair, "key"), value);
        }
    });
    entries
}

fn text<'a>(fields: &Fields<'a>, name: &str) -> Cow<'a, str> {
    fields.text(name).unwrap_or_default().into()
}

/// Returns a number, which may be a text. 0 stands for an absent or invalid one, as in protobuf.
fn number<N: std::str::FromStr + Default>(fields: &Fields<'_>, name: &str) -> N {
    fields.text(name).and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn hex_id<const LENGTH: usize>(fields: &Fields<'_>, name: &str) -> Option<[u8; LENGTH]> {
    id(&hex::decode(fields.text(name)?).ok()?)
}
