//! Reads an export in protobuf. The numbers of the fields are those of `opentelemetry-proto` 1.x.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    OtlpError,
    record::{ATTRIBUTES_MAX, Attributes, LINKS_MAX, Link, LogRecord, Origin, Shared, Span, Value, id},
    wire::{Message, OTHER_SIGNAL, Wire, WireError, last, repeated, text},
};

impl From<WireError> for OtlpError {
    fn from(error: WireError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Calls `each` with every span of `ExportTraceServiceRequest`.
pub(super) fn each_span<'a>(
    export: &'a [u8],
    each: &mut dyn FnMut(Origin<'_, 'a>, Span<'a>) -> Result<(), OtlpError>,
) -> Result<(), OtlpError> {
    each_record(export, &mut |origin, message| each(origin, span(message)?))
}

/// Calls `each` with every record of `ExportLogsServiceRequest`.
pub(super) fn each_log<'a>(
    export: &'a [u8],
    each: &mut dyn FnMut(Origin<'_, 'a>, LogRecord<'a>) -> Result<(), OtlpError>,
) -> Result<(), OtlpError> {
    each_record(export, &mut |origin, message| each(origin, log_record(message)?))
}

/// What is done with each record's message.
type Each<'e, 'a> = dyn FnMut(Origin<'_, 'a>, &'a [u8]) -> Result<(), OtlpError> + 'e;

/// Both exports have the same numbers: a list of groups with a resource, each with a list of groups with a scope.
fn each_record<'a>(export: &'a [u8], each: &mut Each<'_, 'a>) -> Result<(), OtlpError> {
    for of_resource in repeated(export, 1) {
        let of_resource = of_resource?;
        let resource = match last(of_resource, 1)? {
            Some(resource) => Shared::of_resource(attributes(resource, 1)?),
            None => Shared::default(),
        };
        for of_scope in repeated(of_resource, 2) {
            let of_scope = of_scope?;
            let scope = match last(of_scope, 1)? {
                Some(scope) => Shared::of_scope(
                    attributes(scope, 3)?,
                    text(last(scope, 1)?.unwrap_or_default())?.into(),
                    text(last(scope, 2)?.unwrap_or_default())?.into(),
                ),
                None => Shared::default(),
            };
            for record in repeated(of_scope, 2) {
                each(Origin { resource: &resource, scope: &scope }, record?)?;
            }
        }
    }
    Ok(())
}

fn span(message: &[u8]) -> Result<Span<'_>, WireError> {
    let mut span = Span::default();
    for field in Message(message) {
        match field? {
            (1, Wire::Bytes(bytes)) => span.trace_id = id(bytes),
            (2, Wire::Bytes(bytes)) => span.span_id = id(bytes),
            (4, Wire::Bytes(bytes)) => span.parent_span_id = id(bytes),
            (5, Wire::Bytes(bytes)) => span.name = text(bytes)?.into(),
            (6, Wire::Varint(kind)) => span.kind = kind,
            (7, Wire::Fixed64(nanos)) => span.start_ns = nanos,
            (8, Wire::Fixed64(nanos)) => span.end_ns = nanos,
            (9, Wire::Bytes(pair)) => add(&mut span.attributes, pair)?,
            (13, Wire::Bytes(bytes)) if span.links.len() < LINKS_MAX => span.links.push(link(bytes)?),
            (15, Wire::Bytes(bytes)) => (span.status_code, span.status_message) = status(bytes)?,
            (16, Wire::Fixed32(flags)) => span.flags = flags,
            // The time, the severity and the time of observation of a log.
            (1 | 11, Wire::Fixed64(_)) | (2, Wire::Varint(_)) => return Err(OTHER_SIGNAL),
            _ => {}
        }
    }
    Ok(span)
}

fn link(message: &[u8]) -> Result<Link<'_>, WireError> {
    let mut link = Link::default();
    for field in Message(message) {
        match field? {
            (1, Wire::Bytes(bytes)) => link.trace_id = id(bytes),
            (2, Wire::Bytes(bytes)) => link.span_id = id(bytes),
            (4, Wire::Bytes(pair)) => add(&mut link.attributes, pair)?,
            (6, Wire::Fixed32(flags)) => link.flags = flags,
            _ => {}
        }
    }
    Ok(link)
}

/// Returns the code and the message of a status.
fn status(message: &[u8]) -> Result<(u64, Cow<'_, str>), WireError> {
    let (mut code, mut reason) = (0, Cow::default());
    for field in Message(message) {
        match field? {
            (2, Wire::Bytes(bytes)) => reason = text(bytes)?.into(),
            (3, Wire::Varint(number)) => code = number,
            _ => {}
        }
    }
    Ok((code, reason))
}

fn log_record(message: &[u8]) -> Result<LogRecord<'_>, WireError> {
    let mut record = LogRecord::default();
    for field in Message(message) {
        match field? {
            (1, Wire::Fixed64(nanos)) => record.time_ns = nanos,
            (2, Wire::Varint(number)) => record.severity_number = number,
            (3, Wire::Bytes(bytes)) => record.severity_text = text(bytes)?.into(),
            (5, Wire::Bytes(bytes)) => record.body = value(bytes)?,
            (6, Wire::Bytes(pair)) => add(&mut record.attributes, pair)?,
            (9, Wire::Bytes(bytes)) => record.trace_id = id(bytes),
            (10, Wire::Bytes(bytes)) => record.span_id = id(bytes),
            (11, Wire::Fixed64(nanos)) => record.observed_ns = nanos,
            // The ids of a span.
            (1 | 2, Wire::Bytes(_)) => return Err(OTHER_SIGNAL),
            _ => {}
        }
    }
    Ok(record)
}

fn attributes(message: &[u8], number: u32) -> Result<Attributes<'_>, WireError> {
    let mut attributes = Vec::new();
    for pair in repeated(message, number) {
        add(&mut attributes, pair?)?;
    }
    Ok(attributes)
}

/// Adds an attribute, unless it has no value or there are too many.
fn add<'a>(attributes: &mut Attributes<'a>, pair: &'a [u8]) -> Result<(), WireError> {
    if attributes.len() < ATTRIBUTES_MAX
        && let Some(any) = last(pair, 2)?
        && let Some(value) = value(any)?
    {
        attributes.push((text(last(pair, 1)?.unwrap_or_default())?.into(), value));
    }
    Ok(())
}

/// Reads `AnyValue`.
fn value(message: &[u8]) -> Result<Option<Value<'_>>, WireError> {
    let mut value = scalar(message)?;
    for field in Message(message) {
        match field? {
            (5, Wire::Bytes(list)) => value = Value::json(&scalars(list)?),
            (6, Wire::Bytes(map)) => value = Value::json(&scalars_by_name(map)?),
            _ => {}
        }
    }
    Ok(value)
}

/// Reads `AnyValue` without lists and maps.
fn scalar(message: &[u8]) -> Result<Option<Value<'_>>, WireError> {
    let mut value = None;
    for field in Message(message) {
        match field? {
            (1, Wire::Bytes(bytes)) => value = Some(Value::Text(text(bytes)?.into())),
            (2, Wire::Varint(flag)) => value = Some(Value::Bool(flag != 0)),
            (3, Wire::Varint(number)) => value = Some(Value::Int(number.cast_signed())),
            (4, Wire::Fixed64(bits)) => value = Value::double(f64::from_bits(bits)),
            (7, Wire::Bytes(bytes)) => value = text(bytes).ok().map(|text| Value::Text(text.into())),
            _ => {}
        }
    }
    Ok(value)
}

/// Reads `ArrayValue`. Lists and maps in it are left out.
fn scalars(list: &[u8]) -> Result<Vec<Value<'_>>, WireError> {
    let mut entries = Vec::new();
    for any in repeated(list, 1) {
        if entries.len() < ATTRIBUTES_MAX {
            entries.extend(scalar(any?)?);
        }
    }
    Ok(entries)
}

/// Reads `KeyValueList`. Lists and maps in it are left out.
fn scalars_by_name(map: &[u8]) -> Result<BTreeMap<&str, Value<'_>>, WireError> {
    let mut entries = BTreeMap::new();
    for pair in repeated(map, 1) {
        let pair = pair?;
        if entries.len() < ATTRIBUTES_MAX
            && let Some(any) = last(pair, 2)?
            && let Some(value) = scalar(any)?
        {
            entries.insert(text(last(pair, 1)?.unwrap_or_default())?, value);
        }
    }
    Ok(entries)
}
