//! CloudEvents structured mode: one JSON object, as people type it and as SDKs write it.
//!
//! Only `type` and `data` (or `data_base64`) are required. CloudEvents headers are copies and ignored (`ce_id` fills in `id`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::envelope::Envelope;
use super::media_type::MediaType;
use super::record_headers::{HASH_PROBLEM, ID_PROBLEM, RecordHeaders, TIME_PROBLEM};
use super::{Attributes, Read, SOURCE_BYTES_MAX, TraceExtension, known_type, parse_time, payload};
use crate::decode_error::DecodeError;
use crate::ids::EventId;
use crate::message::Message;
use crate::{EventType, headers, json};

/// Name of the document in errors.
const WHAT: &str = "structured event";

pub(super) fn decode(all: RecordHeaders<'_>, value: &[u8]) -> Result<Read, DecodeError> {
    let text = std::str::from_utf8(payload::unframed(value)?).map_err(|_| DecodeError::NotUtf8)?;
    let envelope: Envelope =
        json::read(text, "the value").map_err(|problem| DecodeError::Json { what: WHAT, problem })?;
    if let Some(name) = envelope.miscased {
        return Err(invalid(name, "is written in another letter case"));
    }
    let event_type = known_type(envelope.event_type.as_deref().ok_or(invalid("type", "is missing"))?)?;
    let attributes = attributes(all, &envelope)?;
    let message = message(event_type, &envelope, data_type(all)?.as_ref())?;
    let trace = TraceExtension { traceparent: envelope.traceparent, tracestate: envelope.tracestate };
    Ok(Read { attributes, message, trace })
}

fn attributes(all: RecordHeaders<'_>, envelope: &Envelope) -> Result<Attributes, DecodeError> {
    if envelope.specversion.as_deref().is_some_and(|version| version != headers::SPEC_VERSION) {
        return Err(invalid("specversion", "is not 1.0"));
    }
    let source = envelope.source.as_deref();
    if source.is_some_and(|text| text.is_empty() || text.len() > SOURCE_BYTES_MAX) {
        return Err(invalid("source", "is empty or too long"));
    }
    let time = match envelope.time.as_deref() {
        Some(text) => Some(parse_time(text).ok_or(invalid("time", TIME_PROBLEM))?),
        None => None,
    };
    let id = match id("id", envelope.id.as_deref())? {
        Some(id) => Some(id),
        None => all.id()?,
    };
    let request_hash = envelope.requesthash.as_deref().map(str::parse).transpose();
    Ok(Attributes {
        id,
        source: source.map(str::to_owned),
        time,
        subject: envelope.subject.clone(),
        causation_id: self::id("causationid", envelope.causationid.as_deref())?,
        request_hash: request_hash.map_err(|_| invalid("requesthash", HASH_PROBLEM))?,
    })
}

/// The data's content type if the header has it, as Python's `cloudevents.v1` writes it.
fn data_type(all: RecordHeaders<'_>) -> Result<Option<MediaType>, DecodeError> {
    Ok(match all.media_type()? {
        Some(media_type) if !media_type.is_structured()? => Some(media_type),
        _ => None,
    })
}

/// The message, inline as JSON or in base64 with the content type that `datacontenttype` names.
fn message(
    event_type: EventType,
    envelope: &Envelope,
    data_type: Option<&MediaType>,
) -> Result<Message, DecodeError> {
    let media_type = envelope.datacontenttype.as_deref().map(MediaType::of);
    match (&envelope.data, &envelope.data_base64) {
        (Some(_), Some(_)) => Err(invalid("data_base64", "must not occur together with `data`")),
        (None, None) => Err(invalid("data", "is missing")),
        (Some(data), None) => match media_type {
            Some(other) if !other.is_json() => Err(invalid("datacontenttype", "is not JSON, as `data` is")),
            _ => Message::from_json(event_type, data.get()),
        },
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text).map_err(|_| invalid("data_base64", "is not base64"))?;
            if bytes.is_empty() {
                return Err(DecodeError::EmptyValue);
            }
            payload::read(event_type, media_type.as_ref().or(data_type), &bytes)
        }
    }
}

fn id(name: &'static str, text: Option<&str>) -> Result<Option<EventId>, DecodeError> {
    text.map(str::parse).transpose().map_err(|_| invalid(name, ID_PROBLEM))
}

fn invalid(name: &'static str, problem: &'static str) -> DecodeError {
    DecodeError::Attribute { name, problem }
}
