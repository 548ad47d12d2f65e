//! CloudEvents structured mode: one JSON object, as people type it. Only `type` and `data` are required.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::binary::{SOURCE_BYTES_MAX, known_type};
use super::header_set::HeaderSet;
use super::{Attributes, parse_time};
use crate::decode_error::DecodeError;
use crate::ids::EventId;
use crate::json::{self, printable};
use crate::message::Message;
use crate::{headers, ids};

/// What the errors call it.
const WHAT: &str = "structured event";

/// The attributes we know; another one is a mistyped one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    #[serde(rename = "type")]
    event_type: String,
    data: Box<RawValue>,
    id: Option<String>,
    source: Option<String>,
    time: Option<String>,
    subject: Option<String>,
    specversion: Option<String>,
    datacontenttype: Option<String>,
    causationid: Option<String>,
    requesthash: Option<String>,
}

pub(super) fn decode(set: &HeaderSet<'_>, value: &[u8]) -> Result<(Attributes, Message), DecodeError> {
    // A retried or dead-lettered record carries its first identity in a header; any other attribute in a header means
    // binary mode, and then the type is missing.
    if set.has_attributes_beside_id() {
        return Err(DecodeError::MissingType);
    }
    match set.media_type().as_deref() {
        None | Some(headers::APPLICATION_CLOUDEVENTS_JSON | headers::APPLICATION_JSON) => {}
        Some(headers::APPLICATION_PROTOBUF) => return Err(DecodeError::NotAnEvent),
        Some(other) => return Err(DecodeError::UnknownContentType { name: printable(other) }),
    }
    if value.first() != Some(&b'{') {
        return Err(DecodeError::NotAnEvent);
    }
    let text = std::str::from_utf8(value).map_err(|_| DecodeError::NotUtf8)?;
    let envelope: Envelope =
        json::read(text, "the value").map_err(|problem| DecodeError::Json { what: WHAT, problem })?;
    let event_type = known_type(&envelope.event_type)?;
    let attributes = attributes(set, &envelope)?;
    let message = Message::from_json(event_type, envelope.data.get())?;
    Ok((attributes, message))
}

fn attributes(set: &HeaderSet<'_>, envelope: &Envelope) -> Result<Attributes, DecodeError> {
    if envelope.specversion.as_deref().is_some_and(|version| version != headers::SPEC_VERSION) {
        return Err(wrong("specversion", "is not 1.0"));
    }
    let json_data = |media_type: &str| media_type == headers::APPLICATION_JSON;
    if envelope.datacontenttype.as_deref().is_some_and(|media_type| !json_data(media_type)) {
        return Err(wrong("datacontenttype", "is not application/json"));
    }
    let source = envelope.source.as_deref();
    if source.is_some_and(|text| text.is_empty() || text.len() > SOURCE_BYTES_MAX) {
        return Err(wrong("source", "is empty or too long"));
    }
    let time = match envelope.time.as_deref() {
        Some(text) => Some(parse_time(text).ok_or_else(|| wrong("time", "is not an RFC 3339 time"))?),
        None => None,
    };
    let own_id = id("id", envelope.id.as_deref())?;
    let carried_id = id("ce_id", set.id)?;
    if let (Some(own), Some(carried)) = (&own_id, &carried_id)
        && own != carried
    {
        return Err(wrong("id", "differs from the ce_id header"));
    }
    let request_hash = envelope.requesthash.as_deref().map(str::parse::<ids::RequestHash>).transpose();
    Ok(Attributes {
        id: own_id.or(carried_id),
        source: source.map(str::to_owned),
        time,
        subject: envelope.subject.clone(),
        causation_id: id("causationid", envelope.causationid.as_deref())?,
        request_hash: request_hash
            .map_err(|_| wrong("requesthash", "is not 64 lower-case hexadecimal digits"))?,
    })
}

fn id(name: &'static str, text: Option<&str>) -> Result<Option<EventId>, DecodeError> {
    text.map(str::parse).transpose().map_err(|_| wrong(name, "is not 1 to 128 visible ASCII characters"))
}

fn wrong(name: &'static str, problem: &'static str) -> DecodeError {
    DecodeError::Attribute { name, problem }
}
