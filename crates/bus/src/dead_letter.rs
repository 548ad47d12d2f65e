//! Dead letters: the original record, with the reason why it could not be handled.
//!
//! It guarantees that **a record is passed only after its dead letter was acknowledged**. Key, value and headers are the
//! original's, byte for byte, with repeated headers. `dlq-*` headers describe the failure, without payload. When a record is
//! dead-lettered again, they name its FIRST place and its LAST failure: they are replaced, not accumulated. Of several
//! `traceparent` or `sentry-trace` headers, only the effective one is kept. Its `baggage` stays whole, with the
//! faults of the first request (`pitboss.faults`). A replay must not send that entry again. It begins a new trace, linked to the
//! first.
//!
//! **No record is too large for a dead letter.** It is compressed, because the original may have been. If the broker still
//! rejects it, it holds what fits and states what is missing, and an error event names the place of the whole record.

use std::fmt;

use contracts::{Group, Topic, headers};
use rdkafka::message::{Header, OwnedHeaders};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::PublishError;
use crate::producer::Producer;
use crate::record::Record;

mod part;
use part::Part;

/// Number of record bytes to keep, tried in this order while a dead letter is too large.
const PART_BYTES: [usize; 5] = [1_048_576, 262_144, 65_536, 16_384, 4_096];
/// Maximum length of the error message in a dead letter.
const ERROR_MESSAGE_BYTES_MAX: usize = 512;

/// Reason of a dead letter: the closed set of `dlq-error-class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeadLetterClass {
    /// The codec could not decode the record.
    Undecodable,
    /// The handler reported that the record can never be handled.
    Poison,
    /// The handler panicked on the record too often.
    Panic,
}

impl DeadLetterClass {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::Poison => "poison",
            Self::Panic => "panic",
        }
    }
}

/// Failure of a record that could not be handled.
pub(crate) struct Failure<'a> {
    pub(crate) class: DeadLetterClass,
    pub(crate) reason: &'a (dyn fmt::Display + Sync),
    pub(crate) attempts: u32,
}

/// Error event for a dead letter that is not the whole record.
#[derive(Debug, thiserror::Error)]
#[error("{place} is too large for {topic}: its dead letter is cut; copy the whole record from its own topic")]
struct Cut {
    place: String,
    topic: String,
}

/// Publishes a dead letter and waits for its acknowledgement. Cuts the record if it is too large.
pub(crate) async fn park(
    producer: &Producer,
    group: Group,
    record: &Record,
    message_id: &str,
    failure: &Failure<'_>,
) -> Result<(), PublishError> {
    let topic = topic_name(&record.topic, group)?;
    let (now, service) = (OffsetDateTime::now_utc(), producer.service());
    let (mut part, mut sizes) = (Part::whole(record), PART_BYTES.into_iter());
    loop {
        let (key, value, is_cut) = (part.key, part.value, part.is_cut());
        let native = headers_of(record, part, group, service, failure, now);
        let names = (message_id, failure.class.as_str());
        match producer.publish_verbatim(&topic, key, value, native, names).await {
            Ok(_) => {
                if is_cut {
                    report_cut(record, group, topic);
                }
                return Ok(());
            }
            Err(error @ PublishError::Unwritable { .. }) => match sizes.next() {
                Some(bytes_max) => part = Part::within(record, bytes_max),
                None => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
}

fn report_cut(record: &Record, group: Group, topic: String) {
    let place = format!("{}/{}/{}", record.topic, record.partition, record.offset);
    telemetry::report(
        &Cut { place: place.clone(), topic },
        &[
            ("error.kind", "dead_letter_cut"),
            ("messaging.destination.name", &record.topic),
            ("messaging.consumer.group.name", group.as_str()),
            ("kafka.record", &place),
        ],
    );
}

fn topic_name(original: &str, group: Group) -> Result<String, PublishError> {
    let topic = Topic::of_record(original).ok_or_else(|| PublishError::Unwritable {
        topic: original.to_owned(),
        reason: "the topic is not in the catalogue, so it has no dead-letter topic".to_owned(),
    })?;
    Ok(topic.dlq(group))
}

fn headers_of(
    record: &Record,
    part: Part<'_>,
    group: Group,
    service: &str,
    failure: &Failure<'_>,
    now: OffsetDateTime,
) -> OwnedHeaders {
    let cuts = headers::DLQ_CUTS.map(|name| (name, missing(record, &part, name)));
    let mut native = part.headers;
    let mut add = |name: &str, value: &str| {
        let filled = std::mem::replace(&mut native, OwnedHeaders::new_with_capacity(0));
        native = filled.insert(Header { key: name, value: Some(value) });
    };
    let view = record.view();
    let first = view.first_appearance().unwrap_or(view.place());
    add(headers::DLQ_TOPIC, first.topic);
    add(headers::DLQ_PARTITION, &first.partition.to_string());
    add(headers::DLQ_OFFSET, &first.offset.to_string());
    if let Some(timestamp_ms) = first.timestamp_ms {
        add(headers::DLQ_TIMESTAMP_MS, &timestamp_ms.to_string());
    }
    add(headers::DLQ_GROUP, group.as_str());
    add(headers::DLQ_SERVICE, service);
    add(headers::DLQ_ERROR_CLASS, failure.class.as_str());
    add(headers::DLQ_ERROR_MESSAGE, &bounded(&failure.reason.to_string()));
    add(headers::DLQ_ATTEMPTS, &failure.attempts.to_string());
    add(headers::DLQ_AT, &now.format(&Rfc3339).unwrap_or_default());
    for (name, amount) in cuts {
        if let Some(amount) = amount {
            add(name, &amount.to_string());
        }
    }
    native
}

/// Returns the value of a cut header. A record that was cut before keeps the value of the first cut.
fn missing(record: &Record, part: &Part<'_>, name: &str) -> Option<usize> {
    let before = record.header(name).map(|value| std::str::from_utf8(value).ok()?.parse().ok());
    before.map(Option::unwrap_or_default).or_else(|| part.cut(name))
}

/// Returns one line of bounded length, cut at a character boundary.
fn bounded(message: &str) -> String {
    let mut end = message.len().min(ERROR_MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let cut = message.get(..end).unwrap_or_default();
    cut.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::bounded;

    #[test]
    fn error_message_becomes_one_bounded_line() {
        assert_eq!(bounded("a\nb\u{0}c"), "a b c");
        let long = bounded(&"ä".repeat(1_000));
        assert_eq!(long.len(), 512);
    }
}
